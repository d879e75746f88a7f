"""What we use of Orthanc's Python API, typed; the real module exists only inside Orthanc."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Protocol, cast


class Method(IntEnum):
    """orthanc.HttpMethod; HEAD and OPTIONS arrive as GET."""

    GET = 1
    POST = 2
    PUT = 3
    DELETE = 4


class Origin(IntEnum):
    """orthanc.InstanceOrigin."""

    DICOM_PROTOCOL = 2


class Received(IntEnum):
    """orthanc.ReceivedInstanceAction."""

    KEEP_AS_IS = 1
    MODIFY = 2


class RestOutput(Protocol):
    """The answer of a REST callback."""

    def AnswerBuffer(self, answer: bytes | str, mime: str) -> None: ...
    def SendHttpStatus(self, status: int, body: bytes | str) -> None: ...
    def SendMethodNotAllowed(self, allowed: str) -> None: ...


class DicomInstance(Protocol):
    """A received instance, in the C-STORE filter and in OnStored."""

    def GetInstanceMetadata(self, name: str) -> str: ...
    def HasInstanceMetadata(self, name: str) -> int: ...
    def GetInstanceSimplifiedJson(self) -> str: ...


class FindQuery(Protocol):
    """The identifier of a C-FIND."""

    def GetFindQuerySize(self) -> int: ...
    def GetFindQueryTagGroup(self, index: int) -> int: ...
    def GetFindQueryTagElement(self, index: int) -> int: ...
    def GetFindQueryValue(self, index: int) -> str: ...


class FindAnswers(Protocol):
    """Takes the answers of a C-FIND."""

    def FindAddAnswer(self, dicom: bytes) -> None: ...


class Orthanc(Protocol):
    """The module `orthanc`. Calls release Python's lock while Orthanc works (AllowThreads)."""

    OrthancException: type[Exception]

    def RestApiGet(self, uri: str) -> bytes: ...
    def RestApiPost(self, uri: str, body: bytes | str) -> bytes: ...
    def RestApiPut(self, uri: str, body: bytes | str) -> bytes: ...
    def RestApiDelete(self, uri: str) -> None: ...
    def RegisterRestCallback(self, uri: str, callback: Callable[..., None]) -> None: ...
    def RegisterIncomingHttpRequestFilter(self, callback: Callable[..., bool]) -> None: ...
    def RegisterOnStoredInstanceCallback(
        self, callback: Callable[[DicomInstance, str], None]
    ) -> None: ...
    def RegisterReceivedInstanceCallback(
        self, callback: Callable[[bytes, int], tuple[int, bytes | None]]
    ) -> None: ...
    def RegisterIncomingCStoreInstanceFilter(
        self, callback: Callable[[DicomInstance], int]
    ) -> None: ...
    def RegisterFindCallback(
        self, callback: Callable[[FindAnswers, FindQuery, str, str], None]
    ) -> None: ...
    def RegisterWorklistCallback(
        self, callback: Callable[[object, object, str, str], None]
    ) -> None: ...
    def RegisterStorageCommitmentScpCallback(
        self,
        factory: Callable[[str, str, list[str], list[str], str, str], Any],
        lookup: Callable[[str, str, Any], int | None],
    ) -> None: ...
    def RegisterMoveCallback2(
        self,
        create: Callable[..., Any],
        size: Callable[[Any], int],
        apply: Callable[[Any], int],
        free: Callable[[Any], None],
    ) -> None: ...
    def LogError(self, message: str) -> None: ...
    def LogWarning(self, message: str) -> None: ...


def load() -> Orthanc:
    """The real module; raises ImportError outside Orthanc."""
    return cast("Orthanc", importlib.import_module("orthanc"))

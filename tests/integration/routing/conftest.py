"""An archive that holds one CT study, and receivers that can be killed."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.db import Database
from gateway.settings import Settings
from tests.integration.http_service import Answer, Asked, HttpService
from tests.integration.worker_host import WorkerHost

STUDY = generate_uid()
SERIES = generate_uid()[:50].rstrip(".")


def make_file(number: int, sop_class: UID = CTImageStorage, **tags: Any) -> bytes:
    """A small CT slice."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = f"{SERIES}.{number}"
    dataset.StudyInstanceUID = STUDY
    dataset.SeriesInstanceUID = SERIES
    dataset.PatientID = "P1"
    dataset.PatientName = "Doe^Jane"
    dataset.Modality = "CT"
    dataset.InstanceNumber = number
    dataset.Rows = dataset.Columns = 32
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = bytes([number % 256, 1]) * 1024
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    FileDataset(None, dataset, preamble=b"\0" * 128, file_meta=meta).save_as(
        buffer, enforce_file_format=True
    )
    return buffer.getvalue()


class FakeArchive:
    """What routing asks of Orthanc, over HTTP."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.decompressed: dict[str, bytes] = {}
        service = HttpService(self._answer)
        self.url, self.close = service.url, service.close

    def add(self, *files: bytes) -> None:
        for file in files:
            self.files[str(dcmread(BytesIO(file)).SOPInstanceUID)] = file

    def _answer(self, asked: Asked) -> Answer:
        plain = "transfer-syntax=1.2.840.10008.1.2.1" in asked.headers["Accept"]
        return Answer(*self.found(asked.path, plain), "multipart/related; boundary=b")

    def found(self, path: str, plain: bool) -> tuple[int, bytes]:
        path, _, query = path.partition("?")
        place, _, uid = path.removesuffix("/metadata").rpartition("/")
        if path.endswith(uid) and place.endswith("/instances"):
            if uid not in self.files:
                return 404, b""
            file = self.decompressed.get(uid) if plain else self.files[uid]
            if file is None:
                return 500, b""  # as Orthanc without a decoder
            return 200, b"--b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n--b--" % file
        datasets = [dcmread(BytesIO(file), stop_before_pixels=True) for file in self.files.values()]
        if path.startswith("/places/"):
            return 200, json.dumps([_named(dataset) for dataset in datasets]).encode()
        if path.endswith("/series"):
            counted = Counter(str(dataset.SeriesInstanceUID) for dataset in datasets)
            return 200, json.dumps([_series(*each) for each in counted.items()]).encode()
        if path.endswith("/metadata"):
            datasets = [dataset for dataset in datasets if dataset.SOPInstanceUID == uid]
        if query == "limit=1":
            series = path.split("/")[-2]
            datasets = [one for one in datasets if one.SeriesInstanceUID == series][:1]
        return 200, json.dumps([dataset.to_json_dict() for dataset in datasets]).encode()


def _named(dataset: Dataset) -> list[str]:
    names = (dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.SOPClassUID)
    return [*names, str(dataset.InstanceNumber)]


def _series(uid: str, instances: int) -> dict[str, Any]:
    one = Dataset()
    one.SeriesInstanceUID, one.NumberOfSeriesRelatedInstances = uid, instances
    return one.to_json_dict()


class Receiver:
    """A C-STORE SCP that counts; it refuses, dies and stands still where it is told to."""

    def __init__(self, port: int = 0) -> None:
        self.received: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.refused: dict[str, int] = {}
        self.accession_numbers: list[str] = []
        self.associations = 0
        self.die_after = 0
        self.at_once = self.most_at_once = 0
        self.port = port
        self._changed = threading.Condition()
        self.go_on()
        self.start()

    def hold_after(self, count: int) -> None:
        """Acknowledge so many instances in all, and no other until `go_on`."""
        self._hold(most=count)

    def hold_until_at_once(self, count: int) -> None:
        """Acknowledge nothing until so many associations have an instance for it at a time."""
        self._hold(at_once=count)

    def go_on(self) -> None:
        self._hold()

    def _hold(self, *, most: float = math.inf, at_once: int = 0) -> None:
        with self._changed:
            self._most, self._wanted_at_once = most, at_once
            self._changed.notify_all()

    def _may_take(self) -> bool:
        few = sum(self.received.values()) < self._most
        return few and self.most_at_once >= self._wanted_at_once

    def start(self) -> None:
        ae = AE(ae_title="PACS")
        ae.maximum_pdu_size = 0
        for context in AllStoragePresentationContexts:
            assert context.abstract_syntax is not None
            ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        ae.add_supported_context(Verification)
        self._server = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_ESTABLISHED, self._count)],
        )
        self.port = self._server.server_address[1]  # type: ignore[union-attr]

    def stop(self) -> None:
        self.go_on()
        if self._server is not None:
            self._server.shutdown()
        self._server = None

    def _count(self, event: evt.Event) -> None:
        self.associations += 1

    def _store(self, event: evt.Event) -> int:
        with self._changed:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._changed.notify_all()
            self._changed.wait_for(self._may_take, 30)
            self.at_once -= 1
            return self._answer(event)

    def _answer(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if self.die_after and len(self.received) >= self.die_after:
            event.assoc.abort()  # nothing is stored and nothing answered
            return 0xC000
        if uid in self.refused:
            return self.refused[uid]
        self.received[uid] += 1
        self.accession_numbers.append(str(event.dataset.get("AccessionNumber", "")))
        self.files[uid] = event.encoded_dataset(include_meta=False)
        return 0x0000


@pytest.fixture
def archive() -> Iterator[FakeArchive]:
    archive = FakeArchive()
    yield archive
    archive.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def settings(settings: Settings, archive: FakeArchive) -> Settings:
    return replace(settings, orthanc_url=archive.url)


@pytest.fixture
def host(settings: Settings, database: Database, tmp_path: Path) -> Iterator[WorkerHost]:
    host = WorkerHost(settings)
    yield host
    host.kill()

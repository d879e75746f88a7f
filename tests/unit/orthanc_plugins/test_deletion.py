"""Deletion of a study: nothing goes without a record, and what fails says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from gateway.audit import Record
from gateway.db import Database
from gateway.identity import Principal, Role
from orthanc_plugins import deletion
from orthanc_plugins.access import Request
from orthanc_plugins.deletion import Ask
from orthanc_plugins.sdk import Orthanc

UID = "1.2.3"
Row = dict[str, Any] | None


class Archive:
    """Holds two studies under the UID, as when its PatientID differs, and notes what happens."""

    OrthancException = ValueError

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened
        self.breaks = False

    def RestApiPost(self, uri: str, body: str) -> bytes:
        assert json.loads(body)["Query"] == {"StudyInstanceUID": UID}
        return b'["first", "second"]'

    def RestApiDelete(self, uri: str) -> None:
        if self.breaks:
            raise ValueError
        self.happened.append(f"DELETE {uri}")


class Rows:
    """A database with the study of `owner`, which is `needed` by what is named."""

    def __init__(self, happened: list[str], owner: str | None, needed: list[str]) -> None:
        self.happened = happened  # also the records of the audit, in their order
        self.owner = owner
        self.needed = needed

    @contextmanager
    def system_session(self, _reason: str) -> Iterator[Rows]:
        yield self

    @contextmanager
    def tenant_session(self, tenant_id: str) -> Iterator[Rows]:
        assert tenant_id == self.owner
        yield self

    def execute(self, _statement: str, _values: list[Any]) -> Rows:
        return self

    def fetchone(self) -> Row:
        return None if self.owner is None else {"tenant_id": self.owner, "needed": self.needed}


class Output:
    """Takes the answer."""

    status = 0

    def SendHttpStatus(self, status: int, _body: bytes | str) -> None:
        self.status = status

    def SendMethodNotAllowed(self, _allowed: str) -> None:
        self.status = 405


@pytest.fixture(autouse=True)
def records_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def append(rows: Rows, record: Record) -> None:
        rows.happened.append(f"audit {record.action} {record.verdict}")

    monkeypatch.setattr(deletion, "append", append)


def delete(
    happened: list[str],
    *,
    owner: str | None,
    role: Role = Role.ADMIN,
    breaks: bool = False,
    needed: Sequence[str] = (),
    ask: Ask = lambda _session, _uid: [[], []],
) -> int:
    """The status that the tenant north's `role` gets."""
    archive = Archive(happened)
    archive.breaks = breaks
    who = Request(f"/deletions/studies/{UID}", Principal("p", role, "north"))
    database = cast("Database", Rows(happened, owner, list(needed)))
    output = Output()
    route = deletion.Deletion(cast("Orthanc", archive), database, lambda: who, ask).route
    route(cast("Any", output), who.path, "DELETE", (UID,))
    return output.status


def test_the_record_stands_before_anything_is_gone() -> None:
    happened: list[str] = []
    assert delete(happened, owner="north") == 204
    assert happened == [
        "audit delete-study allowed",
        "DELETE /studies/first",
        "DELETE /studies/second",
    ]


def test_a_deletion_that_fails_is_recorded_as_failed() -> None:
    happened: list[str] = []
    assert delete(happened, owner="north", breaks=True) == 500
    assert happened == ["audit delete-study allowed", "audit delete-study failed"]


@pytest.mark.parametrize(
    ("owner", "role", "status"),
    [("south", Role.OWNER, 404), (None, Role.OWNER, 404), ("north", Role.MEMBER, 403)],
)
def test_what_one_may_not_delete_stays_and_the_attempt_is_recorded(
    owner: str | None, role: Role, status: int
) -> None:
    happened: list[str] = []
    assert delete(happened, owner=owner, role=role) == status
    assert happened == ["audit delete-study denied"]


def test_what_is_needed_stays_and_the_attempt_is_recorded() -> None:
    happened: list[str] = []
    assert delete(happened, owner="north", needed=["routing: deliver"]) == 409
    assert happened == ["audit delete-study denied"]


def test_what_any_extension_has_not_finished_keeps_the_study() -> None:
    happened: list[str] = []
    asked = lambda _session, uid: [[], [f"rule 'A' with {uid}: held"]]  # noqa: E731
    assert delete(happened, owner="north", ask=asked) == 409
    assert happened == ["audit delete-study denied"]


def test_an_extension_that_cannot_say_what_it_needs_keeps_the_study() -> None:
    def broken(_session: object, _uid: str) -> list[list[str]]:
        raise LookupError

    happened: list[str] = []
    assert delete(happened, owner="north", ask=broken) == 500
    assert happened == ["audit delete-study denied"]

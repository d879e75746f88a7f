"""What an attacker does: files that pretend, and requests that no well-behaved client sends."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Mapping
from io import BytesIO

from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.isolation.world import Study, Whose, World


def forged(victim: Study, *, patient: str = "", new_instance: bool = True) -> bytes:
    """An instance of the victim's study with other pixels, by somebody who knows its UIDs."""
    ds = dcmread(BytesIO(victim.files[0]))
    ds.PixelData = bytes(len(ds.PixelData))
    ds.PatientName = "Forged^Fred"
    if patient:
        ds.PatientID = patient
    if new_instance:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def raw(
    world: World,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]] = (),
    connection: http.client.HTTPConnection | None = None,
) -> tuple[int, str]:
    """A request exactly as it is written here; the answer's status, and headers with body."""
    own = connection is None
    connection = connection or http.client.HTTPConnection(
        "127.0.0.1", world.gateway.http_port, timeout=30
    )
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = f"{answer.headers}\n{answer.read().decode(errors='replace')}"
    if own:
        connection.close()
    return answer.status, text


def pairs(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers as a list, to which others of the same name may be added."""
    return list(headers.items())


def secrets_in(world: World, text: str, *, asked: str = "") -> list[str]:
    """What of north's an answer tells beyond what the question said."""
    return [secret for secret in world.secrets if secret in text and secret not in asked]


def instances_seen(world: World, caller: str, study: str) -> set[str]:
    """The SOPInstanceUIDs of a study that somebody finds (QIDO-RS)."""
    key = world.caller(caller).key["Authorization"].removeprefix("Bearer ")
    rows = world.gateway.get(f"/dicom-web/studies/{study}/instances", key).json()
    return {row["00080018"]["Value"][0] for row in rows}


def assert_untouched(world: World, whose: Whose) -> None:
    """The study is its owner's, whole, with the content that was sent; no one else sees it."""
    study = world.studies[whose]
    owner, stranger = ("member", "north") if study.tenant == "south" else ("north", "member")
    assert instances_seen(world, owner, study.study) == {study.instance, study.second}
    assert instances_seen(world, stranger, study.study) == set()
    number = study.orthanc["instances"]
    assert world.content(number) == study.files[0]

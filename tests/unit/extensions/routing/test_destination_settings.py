from __future__ import annotations

from typing import Any

import pytest

from extensions.routing.destination_settings import MODELS, dump_settings, parse_settings
from gateway.errors import InvalidInput

PACS = {"host": "pacs", "port": "104", "called_aet": "PACS"}
WEB = {"url": "https://pacs.example/dicom-web/"}
FOLDER = {"folder": "research/ct"}
BUCKET = {"url": "https://s3.example", "bucket": "images", "access_key": "a", "secret_key": "s"}


def test_settings_of_every_kind_survive_the_database() -> None:
    kinds = {"dimse": PACS, "dicomweb": {**WEB, "token": "t"}, "folder": FOLDER, "s3": BUCKET}
    assert set(kinds) == set(MODELS)
    for kind, given in kinds.items():
        settings = parse_settings(kind, given)
        assert parse_settings(kind, dump_settings(settings)) == settings


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("ftp", {}, "kind: 'ftp' is unknown; use one of dimse, dicomweb, folder, s3"),
        ("dimse", {**PACS, "port": "0"}, "port: "),
        ("dimse", {**PACS, "port": "https"}, "port: "),
        ("dimse", {**PACS, "host": "a b"}, "host: must be a host name"),
        ("dimse", {**PACS, "called_aet": "A\\B"}, "called_aet: AE title"),
        ("dimse", {**PACS, "calling_aet": "SEVENTEEN-LETTERS"}, "calling_aet: AE title"),
        ("dimse", {"port": 104}, "host: Field required; called_aet: Field required"),
        ("dimse", {**PACS, "ports": "1"}, "ports: "),
        ("dicomweb", {**WEB, "verify": "commitment"}, "verify: "),
        ("dicomweb", {"url": "ftp://x"}, "url: must be like https://"),
        ("dicomweb", {"url": "https://u:p@x/"}, "url: must hold neither credentials"),
        ("dicomweb", {**WEB, "token": "t", "username": "u"}, "token: give either"),
        ("dicomweb", {**WEB, "username": "u"}, "password: a username and its password"),
        ("folder", {"folder": "../south"}, "folder: must be a name like"),
        ("folder", {"folder": "/etc"}, "folder: must be a name like"),
        ("folder", {"folder": "a/.ssh"}, "folder: must be a name like"),
        ("folder", {**FOLDER, "pattern": "{PatientID}.dcm"}, "pattern: must hold {SOPInstanceUID}"),
        ("folder", {**FOLDER, "pattern": "../{SOPInstanceUID}"}, "pattern: no part of the path"),
        ("s3", {**BUCKET, "pattern": "{Patient}/{SOPInstanceUID}"}, "pattern: {Patient} names no"),
        ("s3", {**BUCKET, "bucket": "A"}, "bucket: "),
        ("s3", {**BUCKET, "secret_key": ""}, "secret_key: "),
    ],
)
def test_a_wrong_field_is_named(kind: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_settings(kind, given)
    assert told in str(error.value)


def test_a_wrong_secret_is_not_quoted() -> None:
    with pytest.raises(InvalidInput) as error:
        parse_settings("dicomweb", {**WEB, "token": ["hush"]})
    assert "hush" not in str(error.value)
    assert "hush" not in repr(parse_settings("dicomweb", {**WEB, "token": "hush"}))

"""Settings of sources: checked, and secrets kept out of sight."""

from __future__ import annotations

import pytest

from extensions.polling.source_settings import dump_settings, parse_settings, with_secrets
from gateway.errors import InvalidInput


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        ("dicomweb", {"url": "ftp://x"}, "url"),
        ("dicomweb", {"url": "http://x", "interval_s": "1"}, "interval_s"),
        ("dicomweb", {"url": "http://x", "window": "late"}, "window"),
        ("dicomweb", {"url": "http://x", "time_zone": "Mars/Olympus"}, "time_zone"),
        ("dicomweb", {"url": "http://x", "time_zone": "../etc"}, "time_zone"),
        ("dicomweb", {"url": "http://x", "filter": "Modality=CT"}, "filter"),
        ("dicomweb", {"url": "http://x", "token": "t", "username": "u"}, "token"),
        ("dicomweb", {"url": "http://x", "username": "u"}, "password"),
        ("dimse", {"host": "h", "called_aet": "A"}, "deliver_to"),
        ("dimse", {"host": "a b", "called_aet": "A", "deliver_to": "B"}, "host"),
        ("folder", {"keep_days": "-1"}, "keep_days"),
        ("smb", {}, "kind"),
    ],
)
def test_what_is_wrong_is_named(kind: str, given: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        parse_settings(kind, given)


def test_a_complaint_does_not_repeat_a_secret() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_settings("dicomweb", {"url": "nowhere", "token": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_what_a_form_says_becomes_numbers_and_comes_back_from_the_row() -> None:
    settings = parse_settings("dicomweb", {"url": "http://x/", "interval_s": "60", "token": "t"})
    assert dump_settings(settings)["interval_s"] == 60
    assert parse_settings("dicomweb", dump_settings(settings)) == settings


def test_only_secrets_that_are_set_are_sealed() -> None:
    settings = parse_settings("dicomweb", {"url": "http://x", "token": "t"})
    sealed = dump_settings(with_secrets(settings, lambda secret: f"<{secret}>"))
    assert (sealed["token"], sealed["password"]) == ("<t>", "")
    assert "'t'" not in repr(settings)

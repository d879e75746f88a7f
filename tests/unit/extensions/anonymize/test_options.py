"""A project's options, its name, and which objects are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, UltrasoundImageStorage

from extensions import anonymize
from extensions.anonymize.burned_in import may_be_burned_in
from extensions.anonymize.options import (
    CHANGEABLE,
    SWITCHES,
    Options,
    changed,
    check_name,
    options_of,
    parse_options,
)
from gateway.errors import InvalidInput


def test_a_form_says_options_and_what_is_not_ticked_is_off() -> None:
    options = options_of({"retain_uids": "yes", "dates": "shifted", "shift_days": "30"})
    assert options.retain_uids
    assert not options.clean_descriptors
    assert (options.dates, options.shift_days, options.burned_in) == ("shifted", 30, "refuse")


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"dates": "some"}, "dates"),
        ({"shift_days": 0}, "shift_days"),
        ({"keep_names": 1}, "keep_names"),
    ],
)
def test_a_wrong_option_is_named(given: dict[str, object], place: str) -> None:
    with pytest.raises(InvalidInput, match=place):
        parse_options(given)


def test_a_change_leaves_what_pseudonyms_uids_and_dates_depend_on() -> None:
    before = Options(retain_uids=True, dates="shifted", shift_days=30, clean_graphics=True)
    form = {"clean_descriptors": "yes", "dates": "full", "shift_days": "9", "burned_in": "pass"}
    after = changed(before, form)
    assert (after.retain_uids, after.dates, after.shift_days) == (True, "shifted", 30)
    assert (after.clean_descriptors, after.clean_graphics, after.burned_in) == (True, False, "pass")
    assert "retain_uids" not in CHANGEABLE


def test_a_project_s_name_can_begin_a_pseudonym() -> None:
    assert check_name(" lung2 ") == "LUNG2"
    for wrong in ("", "L", "2LUNG", "LUNG-2", "L" * 17):
        with pytest.raises(InvalidInput):
            check_name(wrong)


@pytest.mark.parametrize(
    ("sop_class", "says", "refused"),
    [
        (CTImageStorage, "", False),
        (CTImageStorage, "YES", True),
        (CTImageStorage, "perhaps", True),
        (SecondaryCaptureImageStorage, "", True),
        (SecondaryCaptureImageStorage, "NO", False),
        (UltrasoundImageStorage, "", True),
    ],
)
def test_text_may_be_burned_in_where_an_object_says_so_or_its_kind_does(
    sop_class: str, says: str, refused: bool
) -> None:
    assert may_be_burned_in(sop_class, says) is refused


def test_the_manual_tells_of_every_option_and_its_code() -> None:
    manual = (Path(anonymize.__file__).parent / "README.md").read_text()
    for name in Options.model_fields:
        assert f"`{name}" in manual, name
    everything = Options.model_validate(dict.fromkeys(SWITCHES, True) | {"dates": "full"})
    for code, _ in everything.codes():
        assert f"| {code} |" in manual, code

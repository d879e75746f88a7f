"""Pseudonyms are the same within a project and cannot be linked between two."""

from __future__ import annotations

import re

import pytest

from extensions.anonymize.pseudonyms import Keys, identity, new_secret

LUNG, HEART = Keys("LUNG", new_secret()), Keys("HEART", new_secret())


def test_the_same_value_has_the_same_pseudonym_within_a_project() -> None:
    again = Keys(LUNG.project, LUNG.secret)
    assert LUNG.uid("1.2.3") == again.uid("1.2.3")
    assert LUNG.patient("patient P1") == again.patient("patient P1")
    assert LUNG.shift("patient P1", 365) == again.shift("patient P1", 365)


def test_two_projects_of_the_same_name_cannot_be_linked() -> None:
    other = Keys(LUNG.project, new_secret())
    assert LUNG.uid("1.2.3") != other.uid("1.2.3")
    assert LUNG.patient("patient P1") != other.patient("patient P1")


def test_a_uid_is_a_valid_one_below_2_25() -> None:
    uids = {LUNG.uid(f"1.2.{number}") for number in range(1000)}
    assert len(uids) == 1000
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{0,38}", uid) for uid in uids)


def test_a_patient_s_pseudonym_can_be_read_aloud_and_tells_its_project() -> None:
    for number in range(100):
        assert re.fullmatch(
            r"HEART-[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}", HEART.patient(str(number))
        )


@pytest.mark.parametrize("days", [1, 2, 30, 3650])
def test_dates_move_by_at_most_the_days_given_and_always_move(days: int) -> None:
    shifts = {LUNG.shift(f"patient {number}", days) for number in range(500)}
    assert 0 not in shifts
    assert min(shifts) >= -days
    assert max(shifts) <= days
    assert min(shifts) < 0 < max(shifts)


def test_a_patient_without_an_id_is_known_by_the_study_alone() -> None:
    assert identity(" P1 ", "1.2.3") == identity("P1", "1.2.4")
    assert identity("", "1.2.3") != identity("", "1.2.4")
    assert identity("1.2.3", "") != identity("", "1.2.3")

"""Naming a file by all of its UIDs, so that whose it is can be told from the request."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from gateway.files import study_named
from gateway.studies import orthanc_id

NAMES = ("Jürgen/7", "1.2", "1.2.3", "1.2.3.4")
PATH = f"/instances/{orthanc_id(*NAMES)}/file"


def told(*names: str) -> str:
    return "/".join(quote(name, safe="") for name in names)


def test_who_names_a_file_by_all_of_its_uids_has_named_its_study() -> None:
    assert study_named(PATH, told(*NAMES)) == "1.2"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (PATH, told("Jürgen/7", "9.9", "1.2.3", "1.2.3.4")),  # another study, e.g. one's own
        (PATH, told("Jürgen/7", "1.2", "1.2.3", "1.2.3.5")),
        (PATH, told("Jürgen/8", "1.2", "1.2.3", "1.2.3.4")),
        (PATH, told("Jürgen/7|1.2", "1.2.3", "1.2.3.4")),
        (PATH, ""),
        (PATH.replace("/file", "/tags"), told(*NAMES)),
        ("/instances/../file", told(*NAMES)),
    ],
)
def test_a_file_that_is_named_otherwise_is_of_no_study(path: str, names: str) -> None:
    assert study_named(path, names) is None


def test_a_part_of_a_patient_id_cannot_pass_for_a_study() -> None:
    """The hash of `7|9.9` with study 1.2 is that of `7` with study 9.9 and an odd series."""
    path = f"/instances/{orthanc_id('7|9.9', '1.2', '1.2.3', '1.2.3.4')}/file"
    assert study_named(path, told("7", "9.9", "1.2|1.2.3", "1.2.3.4")) is None
    assert study_named(path, told("7|9.9", "1.2", "1.2.3", "1.2.3.4")) == "1.2"

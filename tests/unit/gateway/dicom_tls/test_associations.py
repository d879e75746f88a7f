"""What the TLS port tells the node of an association."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.certificates import Certificate
from gateway.dicom_tls.associations import Association, Associations
from gateway.errors import UnknownAETitle

BY_TLS = Association("NORTH", "CT1", "192.0.2.7", Certificate("ab" * 32, "CN=ct1"))


@pytest.fixture
def associations(tmp_path: Path) -> Associations:
    made = Associations(tmp_path)
    made.clear()
    return made


def test_a_handle_stands_for_its_association_until_it_ends(associations: Associations) -> None:
    with associations.announced(BY_TLS) as handle:
        assert len(handle) == 16
        assert associations.of(handle, "CT1", "127.0.0.1") == BY_TLS
    with pytest.raises(UnknownAETitle):
        associations.of(handle, "CT1", "127.0.0.1")


def test_who_answers_later_is_still_told_whose_an_ended_association_was(
    associations: Associations, tmp_path: Path
) -> None:
    with associations.announced(BY_TLS) as handle:
        pass
    assert associations.of(handle, "CT1", ended=True) == BY_TLS
    with pytest.raises(UnknownAETitle):
        associations.of(handle, "CT2", ended=True)
    (file,) = (tmp_path / "run" / "associations").iterdir()
    os.utime(file, (0, 0))
    with associations.announced(BY_TLS):
        pass
    with pytest.raises(UnknownAETitle):
        associations.of(handle, "CT1", ended=True)


def test_a_handle_is_drawn_anew_each_time(associations: Associations) -> None:
    with associations.announced(BY_TLS) as one, associations.announced(BY_TLS) as other:
        assert one != other


def test_a_handle_is_of_no_use_to_another_calling_ae_title(associations: Associations) -> None:
    with associations.announced(BY_TLS) as handle, pytest.raises(UnknownAETitle):
        associations.of(handle, "CT2", "127.0.0.1")


def test_what_did_not_come_by_tls_is_what_orthanc_says(associations: Associations) -> None:
    assert associations.of("NORTH", "CT1", "192.0.2.7") == Association("NORTH", "CT1", "192.0.2.7")


@pytest.mark.parametrize("called", ["TLS~", "TLS~0123456789ab", "TLS~/../secret", "TLS~../../x"])
def test_a_handle_that_nobody_was_given_is_refused(
    associations: Associations, tmp_path: Path, called: str
) -> None:
    (tmp_path / "run" / "x").write_text("{}")
    with pytest.raises(UnknownAETitle):
        associations.of(called, "CT1", "192.0.2.7")


def test_what_a_killed_port_left_is_forgotten(associations: Associations) -> None:
    left = associations.announced(BY_TLS)
    handle = left.__enter__()
    associations.clear()
    with pytest.raises(UnknownAETitle):
        associations.of(handle, "CT1")

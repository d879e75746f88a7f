"""A file that is not stored, as transforms see it."""

from __future__ import annotations

from io import BytesIO

import pytest

from extensions.routing.rules import trying_file
from extensions.routing.uploaded import Nameless, NotStored, OneFile
from gateway.phantom import ct_phantom

TOLD = trying_file.read(BytesIO(ct_phantom(1)[0]))


def test_it_is_the_only_instance_of_its_study() -> None:
    archive = OneFile(TOLD)
    (head,) = archive.heads_of("whatever")
    assert (head.instance_count, head.metadata) == (1, TOLD)
    assert archive.metadata_of("1", "2", "3") == TOLD
    assert TOLD["00100010"]["Value"] == [{"Alphabetic": "Phantom^Argonath"}]
    (found,) = archive.references_of("whatever")
    named = (found.sop_instance_uid, found.series_instance_uid, found.sop_class_uid)
    assert named == tuple(TOLD[tag]["Value"][0] for tag in ("00080018", "0020000E", "00080016"))
    assert (head.series_instance_uid, found.number) == (found.series_instance_uid, 1)


def test_what_needs_more_than_its_tags_is_told_that_it_is_not_stored() -> None:
    archive = OneFile(TOLD)
    for read in (archive.file_of, archive.decompressed):
        with pytest.raises(NotStored):
            read("1", "2", "3")
    with pytest.raises(NotStored):
        archive.store(b"")


def test_without_uids_nothing_can_be_looked_up_for_it() -> None:
    archive = OneFile({tag: TOLD[tag] for tag in TOLD if tag != "00080018"})
    for read in (archive.series_of, archive.heads_of, archive.references_of):
        with pytest.raises(Nameless):
            read("1")

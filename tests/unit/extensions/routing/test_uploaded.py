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
    (found,) = archive.instances_of("whatever")
    assert archive.metadata_of("1", "2", "3") == found == TOLD
    (head,) = archive.heads_of("1")
    assert (head.instance_count, head.metadata) == (1, TOLD)
    assert found["00100010"]["Value"] == [{"Alphabetic": "Phantom^Argonath"}]


def test_what_needs_more_than_its_tags_is_told_that_it_is_not_stored() -> None:
    archive = OneFile(TOLD)
    for read in (archive.file_of, archive.decompressed):
        with pytest.raises(NotStored):
            read("1", "2", "3")
    with pytest.raises(NotStored):
        archive.store(b"")


def test_without_uids_nothing_can_be_looked_up_for_it() -> None:
    with pytest.raises(Nameless):
        OneFile({tag: TOLD[tag] for tag in TOLD if tag != "00080018"}).instances_of("1")

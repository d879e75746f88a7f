from __future__ import annotations

import types

import pytest

from gateway import jobs
from gateway.errors import ArchiveUnavailable, BrokenExtension
from gateway.runner import describe


def test_the_pause_doubles_up_to_its_limit() -> None:
    for failures, pause in ((1, 5), (2, 10), (3, 20), (8, 600), (1000, 600)):
        assert pause * 0.8 <= jobs.backoff_s(5, failures) <= pause * 1.2


def test_only_marked_functions_are_tasks() -> None:
    module = types.SimpleNamespace(good=jobs.task(lambda: None), plain=lambda: None, value=3)
    assert jobs.task_named(module, "good") is module.good
    for name in ("plain", "value", "absent"):
        with pytest.raises(BrokenExtension, match=name):
            jobs.task_named(module, name)


def test_our_own_errors_are_described_in_words() -> None:
    assert (
        describe(ArchiveUnavailable("x.")) == "ArchiveUnavailable: The archive does not answer. x."
    )


def test_other_errors_are_described_by_their_place_and_never_by_what_they_quote() -> None:
    try:
        int("DOE^JANE")
    except ValueError as error:
        told = describe(error)
    assert told.startswith("ValueError at ")
    assert "DOE" not in told

"""What of a source's studies is worth a look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from extensions.polling.news import (
    LONGEST_RETRY_S,
    MOST_TRIES,
    Known,
    Seen,
    retry_after_s,
    worth_a_look,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON, PAST = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("instances", "known", "is_news"),
    [
        (3, None, True),
        (3, Known(3), False),
        (4, Known(3), True),
        (2, Known(3), True),
        (None, Known(3), True),  # it does not tell whether it grew
        (3, Known(3, failures=1, next_try_at=SOON), False),
        (3, Known(3, failures=1, next_try_at=PAST), True),
        (3, Known(3, failures=1, next_try_at=None), False),
        (4, Known(3, failures=1, next_try_at=None), True),
        (None, Known(0, failures=1, next_try_at=SOON), False),
    ],
)
def test_what_is_new_has_changed_or_is_to_be_tried_again_is_looked_at(
    instances: int | None, known: Known | None, is_news: bool
) -> None:
    remembered = {"1.2": known} if known else {}
    assert bool(worth_a_look([Seen("1.2", instances)], remembered, NOW)) is is_news


def test_the_order_is_the_sources() -> None:
    seen = [Seen("1.3", 1), Seen("1.1", 1), Seen("1.2", 1)]
    assert worth_a_look(seen, {"1.1": Known(1)}, NOW) == [seen[0], seen[2]]


def test_a_study_that_fails_is_tried_less_and_less_and_in_the_end_no_more() -> None:
    pauses = [retry_after_s(failures) for failures in range(1, MOST_TRIES + 1)]
    assert pauses[:3] == [60.0, 120.0, 240.0]
    assert pauses[-1] is None
    assert all(pause is not None and pause <= LONGEST_RETRY_S for pause in pauses[:-1])

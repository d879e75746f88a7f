"""The study list's search."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidInput
from webapp.study_query import StudyQuery


def test_a_search_survives_the_way_into_an_address_and_back() -> None:
    query = StudyQuery.of({"patient": " Doe, J ", "since": "2026-01-01", "page": "2"})
    assert query.patient == "Doe, J"
    assert query.url() == "/studies?patient=Doe%2C+J&since=2026-01-01&page=2"


def test_choosing_a_column_twice_turns_the_order_round() -> None:
    query = StudyQuery.of({})
    assert "sort=patient&order=asc" in query.sorted_by("patient")
    assert "order=asc" in query.sorted_by("received")
    assert "order" not in StudyQuery.of({"sort": "patient", "order": "asc"}).sorted_by("patient")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"since": "1.2.2026"}, "since"),
        ({"sort": "patient; DROP TABLE study"}, "sort"),
        ({"page": "0"}, "page"),
        ({"page": "²"}, "page"),
    ],
)
def test_a_wrong_value_is_named(arguments: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        StudyQuery.of(arguments)

"""The README tells every setting and every field."""

from __future__ import annotations

from pathlib import Path

from extensions.polling import filters, news, png, poller, watching
from extensions.polling.sidecar import Sidecar
from extensions.polling.source_settings import MODELS

README = (Path(__file__).resolve().parents[4] / "extensions/polling/README.md").read_text()


def test_every_setting_of_every_kind_is_told() -> None:
    names = {name for model in MODELS.values() for name in model.model_fields} - {"kind"}
    assert [name for name in sorted(names | set(MODELS)) if f"`{name}`" not in README] == []


def test_every_field_of_a_sidecar_is_told_and_the_example_is_one() -> None:
    assert [name for name in Sidecar.model_fields if f"`{name}`" not in README] == []
    example = README.partition("```json\n")[2].partition("\n```")[0]
    assert Sidecar.model_validate_json(example).PatientID == "4711"


def test_the_example_of_a_filter_is_one() -> None:
    assert filters.parse(README.partition("as a QIDO-RS query: `")[2].partition("`")[0])


def test_the_numbers_are_what_they_are() -> None:
    assert (poller.MOST, poller.MOST_OF_TENANT) == (16, 4)  # sixteen, four
    assert (news.MOST_TRIES, news.RETRY_S) == (10, 60)  # ten times, a minute
    assert (watching.SETTLE_S, watching.ORPHAN_S) == (2, 600)  # two seconds, ten minutes
    assert png.MOST_PIXELS == 25_000_000
    assert all(f"`{ending}`" in README for ending in watching._UNFINISHED)

"""Which studies of a source are wanted."""

from __future__ import annotations

import pytest

from extensions.polling.filters import agree, alternatives, parse


def test_a_filter_is_written_as_a_qido_query() -> None:
    wanted = parse("ModalitiesInStudy=CT,MR&StudyDescription=Thorax%20low*")
    assert wanted == {"ModalitiesInStudy": "CT,MR", "StudyDescription": "Thorax low*"}
    assert parse(" ") == {}


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("CT", "ModalitiesInStudy=CT"),
        ("Modality=CT", "use ModalitiesInStudy"),
        ("Colour=red", "no keyword"),
        ("PixelData=1", "no keyword"),
        ("PatientID=", "1 to 256"),
        ("PatientID=1&PatientID=2", "PatientID twice"),
        ("StationName=1,2,3,4,5,6,7,8,9&ModalitiesInStudy=1,2,3,4,5,6,7,8", "64 searches"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        parse(text)


def test_a_list_is_one_search_for_each_value_but_not_where_a_comma_is_text() -> None:
    assert alternatives(parse("ModalitiesInStudy=CT,MR&PatientName=Doe, Jane")) == [
        {"ModalitiesInStudy": "CT", "PatientName": "Doe, Jane"},
        {"ModalitiesInStudy": "MR", "PatientName": "Doe, Jane"},
    ]
    assert alternatives({}) == [{}]


@pytest.mark.parametrize(
    ("wanted", "told", "verdict"),
    [
        ("ModalitiesInStudy=CT", {"ModalitiesInStudy": ["SR", "CT"]}, True),
        ("ModalitiesInStudy=CT,MR", {"ModalitiesInStudy": ["MR"]}, True),
        ("ModalitiesInStudy=CT", {"ModalitiesInStudy": ["MR"]}, False),
        ("ModalitiesInStudy=CT", {}, True),  # it does not tell
        ("StationName=ER?[1]*", {"StationName": ["er2[1]x"]}, True),
        ("StationName=ER[12]", {"StationName": ["ER1"]}, False),
        ("PatientName=doe*", {"PatientName": ["Doe^Jane=X"]}, True),
        ("StudyDate=20260101-20260131", {"StudyDate": ["20260131"]}, True),
        ("StudyDate=20260101-20260131", {"StudyDate": ["20260201"]}, False),
        ("StudyDate=20260101-", {"StudyDate": ["20251231"]}, False),
        ("StudyDate=-20260131", {"StudyDate": ["20251231"]}, True),
    ],
)
def test_a_source_that_ignores_the_filter_is_not_believed(
    wanted: str, told: dict[str, list[str]], verdict: bool
) -> None:
    assert agree(parse(wanted), told) is verdict

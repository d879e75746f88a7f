from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

from extensions.routing.rules import facts
from extensions.routing.rules.condition_parsing import parse


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def kept(element_by_tag: dict[str, Any]) -> dict[str, list[Any]]:
    found = facts.from_dicom_json(element_by_tag)
    json.dumps(found, allow_nan=False)
    return found


def coded(raw: bytes) -> dict[str, str]:
    return {"vr": "UN", "InlineBinary": base64.b64encode(raw).decode()}


def test_values_are_kept_by_keyword_and_empty_ones_are_absent() -> None:
    assert kept(
        {
            "00080008": element("CS", "ORIGINAL", None, "PRIMARY "),
            "00280010": element("US", 512),
            "00080050": {"vr": "SH"},
            "00100020": element("LO", ""),
            "60000010": element("US", 64),
        }
    ) == {"ImageType": ["ORIGINAL", "PRIMARY"], "Rows": [512], "OverlayRows": [64]}


def test_a_name_is_kept_in_all_its_ways_of_writing() -> None:
    name = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "^^"}
    assert kept({"00100010": element("PN", name)}) == {"PatientName": ["Yamada^Tarou", "山田^太郎"]}


def test_private_elements_are_found_by_their_creator_whichever_block_it_has() -> None:
    key = '(0019,"acme 1",10)'
    for block in ("10", "42"):
        tags = {f"001900{block}": element("LO", "ACME  1 "), f"0019{block}10": element("LO", "x")}
        assert kept(tags)[key] == ["x"]
    assert key not in kept({"00190010": element("LO", "OTHER"), "00191010": element("LO", "x")})
    assert kept({"00191010": element("LO", "nobody's")}) == {}


def test_a_private_text_whose_vr_was_lost_is_text_again() -> None:
    tags = {
        "00190010": coded(b"ACME "),
        "00191001": coded(b"one\\two "),
        "00191002": coded(b"\1\2"),
    }
    assert kept(tags)['(0019,"acme",01)'] == ["one", "two"]
    assert kept(tags)['(0019,"acme",02)'] == [None]


def test_items_are_facts_of_their_own_with_private_blocks_of_their_own() -> None:
    item = {"00190010": element("LO", "ACME"), "00191001": element("DS", 1.5)}
    found = kept({"00400275": element("SQ", item, {}, None)})
    first = {"RequestAttributesSequence": [found["RequestAttributesSequence"][0]]}
    field = 'RequestAttributesSequence.(0019,"ACME",01)'
    condition = parse({"field": field, "operator": "at least", "value": 1})
    assert condition.test(first, {})
    assert not condition.test(kept({"00400275": element("SQ", {"00191001": item["00191001"]})}), {})


def test_bulk_data_and_long_values_are_present_but_not_kept() -> None:
    found = kept(
        {
            "7FE00010": {"vr": "OW", "BulkDataURI": "bulk/7fe00010"},
            "00204000": element("LT", "x" * 1025),
            "00280030": element("DS", *range(100)),
            "00081140": element("SQ", *[{"00081155": element("UI", str(n))} for n in range(20)]),
        }
    )
    assert found["PixelData"] == [None]
    assert found["ImageComments"] == [None]
    assert found["PixelSpacing"] == [*range(64), None]
    assert found["ReferencedImageSequence"][16:] == [None]


def test_facts_stay_small_whatever_is_sent() -> None:
    tags = {"00190010": element("LO", "ACME")}
    tags |= {f"001910{n:02X}": element("LT", "x" * 1000) for n in range(256)}
    found = kept(tags)
    assert len(json.dumps(found)) < 80_000
    assert len(found) == 256
    deep: dict[str, Any] = {"00080050": element("SH", "A1")}
    for _ in range(50):
        deep = {"00400275": element("SQ", deep)}
    assert "A1" not in json.dumps(kept(deep))


def test_what_postgresql_refuses_is_taken_out() -> None:
    found = kept({"00081030": element("LO", "a\0b\ud800"), "00189073": element("FD", float("nan"))})
    assert found == {"StudyDescription": ["ab?"], "AcquisitionDuration": ["nan"]}


def test_a_series_knows_who_sent_it_and_a_study_what_no_instance_holds() -> None:
    ct = facts.of_series({"00080060": element("CS", "CT")}, calling_aet="CT1", instance_count=9)
    sr = facts.of_series({"00080060": element("CS", "SR")}, sender="10.0.0.7")
    assert ct == {"Modality": ["CT"], "calling_aet": ["CT1"], "NumberOfSeriesRelatedInstances": [9]}
    assert sr["sender"] == ["10.0.0.7"]
    study = facts.of_study(
        [sr, ct], instance_count=10, labels=["a"], results={"bleeding": True, "codes": ["x", "y"]}
    )
    assert study == {
        "ModalitiesInStudy": ["CT", "SR"],
        "instance_count": [10],
        "series_count": [2],
        "labels": ["a"],
        "result.bleeding": [True],
        "result.codes": ["x", "y"],
    }


def test_the_clock_is_a_fact() -> None:
    moment = datetime(2024, 1, 31, 7, 30, 15)  # noqa: DTZ001  what a clock on the wall shows
    assert facts.at(moment) == {"time_of_day": ["073015.000000"], "weekday": ["wednesday"]}

import io

import pydicom
import pytest

from gateway.errors import InvalidInput
from orthanc_plugins.dimse import Identifier, encode


class Unreadable(Exception):
    """What Orthanc raises for a key whose value is no text."""


class Query:
    """A C-FIND identifier; None is a value that cannot be read."""

    def __init__(self, **keys: str | None) -> None:
        self._keys = [(pydicom.datadict.tag_for_keyword(k) or 0, v) for k, v in keys.items()]

    def GetFindQuerySize(self) -> int:
        return len(self._keys)

    def GetFindQueryTagGroup(self, index: int) -> int:
        return self._keys[index][0] >> 16

    def GetFindQueryTagElement(self, index: int) -> int:
        return self._keys[index][0] & 0xFFFF

    def GetFindQueryValue(self, index: int) -> str:
        value = self._keys[index][1]
        if value is None:
            raise Unreadable
        return value


def identifier(**keys: str | None) -> Identifier:
    return Identifier.from_query(Query(**keys), Unreadable)


def test_keys_with_a_value_are_matched_and_all_are_returned() -> None:
    asked = identifier(
        QueryRetrieveLevel="STUDY ", PatientName="Doe*", StudyDate="20250101-", PatientID=""
    )
    request = asked.request()
    assert request["Level"] == "Study"
    assert request["Query"] == {"0010,0010": "Doe*", "0008,0020": "20250101-"}
    assert request["RequestedTags"] == ["0010,0010", "0008,0020", "0010,0020"]


def test_a_key_whose_value_is_no_text_is_returned_but_not_matched() -> None:
    asked = identifier(QueryRetrieveLevel="IMAGE", Rows=None)
    assert asked.request()["Query"] == {}
    assert asked.request()["RequestedTags"] == ["0028,0010"]


@pytest.mark.parametrize("level", ["PATIENT", "", "WORKLIST"])
def test_a_level_that_no_tenant_can_search_is_an_error_not_an_empty_answer(level: str) -> None:
    with pytest.raises(InvalidInput):
        identifier(QueryRetrieveLevel=level, PatientID="1")


def test_an_answer_holds_every_tag_that_was_asked_for() -> None:
    asked = identifier(QueryRetrieveLevel="STUDY", PatientName="", Rows="", AccessionNumber="")
    answer = asked.answer({"PatientName": "山田^太郎", "Rows": "512"}, "NORTH")
    read = pydicom.dcmread(io.BytesIO(encode(answer)))
    assert str(read.PatientName) == "山田^太郎"
    assert read.Rows == 512
    assert read.AccessionNumber == ""
    assert read.QueryRetrieveLevel == "STUDY"
    assert read.RetrieveAETitle == "NORTH"


def test_a_stored_value_that_makes_no_sense_is_told_as_absent() -> None:
    asked = identifier(QueryRetrieveLevel="IMAGE", Rows="")
    assert asked.answer({"Rows": "many"}, "NORTH").Rows is None

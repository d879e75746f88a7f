"""The command sets of a C-STORE, compared with those of pynetdicom."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom.dsutils import decode, encode

from extensions.routing.sending.command_set import Response, c_store_request, c_store_response


def encoded(**elements: object) -> bytes:
    """A command set as pynetdicom encodes it."""
    command = Dataset()
    for keyword, value in elements.items():
        setattr(command, keyword, value)
    found = encode(command, True, True)
    assert found is not None
    return found


def test_a_request_names_the_object_and_says_that_a_data_set_follows() -> None:
    request = decode(BytesIO(c_store_request(7, CTImageStorage, "1.2.3")), True, True)
    assert request.AffectedSOPClassUID == CTImageStorage
    assert request.AffectedSOPInstanceUID == "1.2.3"
    assert (request.CommandField, request.MessageID, request.Priority) == (0x0001, 7, 0)
    assert request.CommandDataSetType != 0x0101
    assert request.CommandGroupLength == len(c_store_request(7, CTImageStorage, "1.2.3")) - 12


def test_a_response_is_read_with_all_that_may_stand_in_it() -> None:
    command = encoded(
        CommandGroupLength=100,
        AffectedSOPClassUID=CTImageStorage,
        CommandField=0x8001,
        MessageIDBeingRespondedTo=7,
        CommandDataSetType=0x0101,
        Status=0xA700,
        OffendingElement=[0x00100010],
        ErrorComment="Disk full",
        AffectedSOPInstanceUID="1.2.3",
    )
    assert c_store_response(command) == Response(7, 0xA700, "Disk full")


def test_a_response_need_not_say_more_than_its_status() -> None:
    command = encoded(MessageIDBeingRespondedTo=65535, Status=0)
    assert c_store_response(command) == Response(65535, 0, "")


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\0" * 5,
        encoded(Status=0),
        encoded(MessageIDBeingRespondedTo=1),
        encoded(MessageIDBeingRespondedTo=1, Status=0)[:-1],
        encoded(MessageIDBeingRespondedTo=1, Status=0, PatientName="A"),
    ],
)
def test_what_is_no_response_is_refused(command: bytes) -> None:
    with pytest.raises(ValueError, match="C-STORE"):
        c_store_response(command)

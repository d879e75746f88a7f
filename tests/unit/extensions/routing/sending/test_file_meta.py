from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from extensions.routing.sending.file_meta import split
from tests.integration.routing.conftest import make_file


def test_a_file_falls_into_what_names_it_and_its_data_set() -> None:
    file = make_file(1)
    parts = split(file)
    dataset = dcmread(BytesIO(file))
    assert parts[:3] == (CTImageStorage, dataset.SOPInstanceUID, ExplicitVRLittleEndian)
    assert file.endswith(bytes(parts.data_set))
    assert parts.data_set[:2] == b"\x08\x00"  # its first group


def test_private_information_in_the_head_is_passed_over() -> None:
    dataset = dcmread(BytesIO(make_file(1)))
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = b"\x08\x00\x08\x00" * 20000
    buffer = BytesIO()
    dataset.save_as(buffer)
    assert split(buffer.getvalue()).data_set == split(make_file(1)).data_set


@pytest.mark.parametrize(
    "file",
    [
        b"",
        bytes(200),
        make_file(1)[132:],
        make_file(1)[:140],  # broken off within an element
        make_file(1)[:144],  # after the first
        make_file(1).replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI"),  # no transfer syntax
        make_file(1).replace(b"\x02\x00\x02\x00UI\x1a\x00", b"\x02\x00\x02\x00UI\xff\xff"),
        make_file(1).replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"\xff" * 26),
    ],
)
def test_what_is_no_file_is_said_to_be_none(file: bytes) -> None:
    with pytest.raises(ValueError, match=r"no DICOM file|no file meta|ascii"):
        split(file)

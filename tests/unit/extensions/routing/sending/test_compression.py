"""What a destination may refuse because it is compressed, and what is never taken for that."""

from __future__ import annotations

from io import BytesIO

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from extensions.routing.destination_settings import DicomwebSettings
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending.sender import Cues
from extensions.routing.sending.sender_dicomweb import DicomwebSender
from tests.integration.routing.conftest import make_file
from tests.unit.extensions.routing.sending.test_sender import failed


def compressed() -> bytes:
    dataset = dcmread(BytesIO(make_file(1)))
    dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def stow(answer: httpx.Response, file: bytes) -> Outcome:
    with DicomwebSender(DicomwebSettings(url="https://pacs.example/dicom-web")) as sender:
        sender._http.close()
        sender._http = httpx.Client(transport=httpx.MockTransport(lambda _: answer))
        return sender.send(Instance.to_send("1.2", "1", "1"), file, Cues())


@pytest.mark.parametrize(
    ("answer", "file", "unreadable"),
    [
        (httpx.Response(415), compressed(), True),
        (httpx.Response(409, json=failed("1.2", 0xC122)), compressed(), True),
        (httpx.Response(409, json=failed("1.2", 0xA900)), compressed(), False),
        (httpx.Response(415), make_file(1), False),
        (httpx.Response(415), b"no DICOM", False),
        (httpx.Response(200, json={}), compressed(), False),
    ],
)
def test_a_refusal_is_of_the_compression(
    answer: httpx.Response, file: bytes, unreadable: bool
) -> None:
    assert stow(answer, file).unreadable == unreadable

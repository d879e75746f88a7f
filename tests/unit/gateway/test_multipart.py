from __future__ import annotations

import pytest

from gateway.multipart import boundary_of, parts

BODIES = [b"", b"one\r\n--b\r\nin it", bytes(range(256)) * 40]
ANSWER = (
    b"preamble\r\n"
    + b"".join(
        b"--b\r\nContent-Type: application/dicom\r\ncontent-length: %d\r\n\r\n%b\r\n"
        % (len(body), body)
        for body in BODIES
    )
    + b"--b--\r\n"
)


def chunks(answer: bytes, size: int) -> list[bytes]:
    return [answer[start : start + size] for start in range(0, len(answer), size)]


@pytest.mark.parametrize("size", [1, 7, 1024, 1 << 20])
def test_the_parts_come_out_as_they_went_in_whatever_the_chunks(size: int) -> None:
    assert list(parts(chunks(ANSWER, size), b"b")) == BODIES


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER[:-8],
        ANSWER[:3000],
        ANSWER.replace(b"content-length", b"x-length"),
        ANSWER.replace(b"%d" % len(BODIES[2]), b"%d" % (len(BODIES[2]) - 1)),
        b"[]",
        b"x" * 10_000,
    ],
)
def test_an_answer_that_is_cut_off_or_lies_never_ends_well(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends too early|a part|a head"):
        list(parts(chunks(answer, 512), b"b"))


@pytest.mark.parametrize("value", ['multipart/related; boundary="b"; type="x"', "x; boundary=b"])
def test_the_boundary_is_found(value: str) -> None:
    assert boundary_of(value) == b"b"

"""Images become Secondary Capture: the same pixels, valid attributes, the same UIDs each time."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames

from extensions.polling import jpeg, png
from extensions.polling.secondary_capture import as_file, build
from extensions.polling.sidecar import Rejected, Sidecar

SAID = Sidecar(PatientID="P1", PatientName="Doe^Jane")


def noise(mode: str, size: tuple[int, int] = (37, 23)) -> Image.Image:
    """A picture on which an encoder uses every filter."""
    seed = random.Random(7)
    channels = len(Image.new(mode, (1, 1)).getbands())
    smooth = [[(x * 3 + y * y) % 256 for x in range(size[0])] for y in range(size[1])]
    data = bytes(
        (value + seed.randrange(9) + 40 * channel) % 256
        for row in smooth
        for value in row
        for channel in range(channels)
    )
    return Image.frombytes(mode, size, data)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def made(image: bytes, said: Sidecar = SAID, tenant: str = "north") -> Dataset:
    return dcmread(BytesIO(as_file(build(said, image, tenant))))


def why_not(image: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        build(SAID, image, "north")
    (complaint,) = caught.value.complaints
    assert complaint.cure
    return complaint.what


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_keeps_its_pixels(mode: str) -> None:
    image = noise(mode)
    ds = made(encoded(image))
    assert (ds.Rows, ds.Columns, ds.SamplesPerPixel) == (23, 37, len(mode))
    assert ds.PixelData[: 23 * 37 * len(mode)] == image.tobytes()
    assert ds.PhotometricInterpretation == {"L": "MONOCHROME2", "RGB": "RGB"}[mode]
    assert len(ds.PixelData) % 2 == 0


def test_a_16_bit_png_keeps_its_pixels() -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (23, 37), dtype="<u2")
    ds = made(encoded(Image.fromarray(pixels)))
    assert (ds.BitsStored, ds.PixelData) == (16, pixels.tobytes())


def test_a_png_of_colours_by_number_or_opaque_becomes_rgb() -> None:
    image = noise("RGB")
    by_number = image.quantize(200)
    assert made(encoded(by_number)).PixelData[:-1] == by_number.convert("RGB").tobytes()
    opaque = image.copy()
    opaque.putalpha(255)
    assert made(encoded(opaque)).PixelData[:-1] == image.tobytes()


def test_every_filter_of_png_is_undone() -> None:
    """Also those that an encoder chooses seldom."""
    import struct
    import zlib

    image = noise("RGB", (8, 5))
    rows = [image.tobytes()[i * 24 : (i + 1) * 24] for i in range(5)]
    raw = b""
    before = bytes(24)
    for kind, row in enumerate(rows):
        raw += bytes([kind]) + bytes(
            (value - _guess(kind, row, before, i)) & 255 for i, value in enumerate(row)
        )
        before = row
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (
            (b"IHDR", struct.pack(">IIBBBBB", 8, 5, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(raw)),
            (b"IEND", b""),
        )
    )
    assert Image.open(BytesIO(png.SIGNATURE + chunks)).convert("RGB").tobytes() == image.tobytes()
    assert png.read(png.SIGNATURE + chunks).pixels == image.tobytes()


def _guess(kind: int, row: bytes, above: bytes, i: int) -> int:
    a, c = (row[i - 3], above[i - 3]) if i >= 3 else (0, 0)
    b = above[i]
    p = a + b - c
    paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
    return (0, a, b, (a + b) // 2, paeth)[kind]


def test_a_png_that_cannot_be_taken_says_why() -> None:
    transparent = noise("RGBA")
    assert "transparent" in why_not(encoded(transparent))
    assert "8 bits" in why_not(encoded(noise("L").convert("1")))
    good = encoded(noise("RGB"))
    assert "cut off" in why_not(good[:-20])
    assert "cut off" in why_not(good[:200] + b"\0" + good[201:])


def test_a_png_cannot_be_a_bomb() -> None:
    bomb = encoded(Image.new("L", (6000, 6000)))
    assert "pixels" in why_not(bomb)


def test_a_jpeg_stays_as_it_is() -> None:
    image = encoded(noise("RGB", (40, 32)), "JPEG", quality=80)
    ds = made(image + b"what a camera appends")
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    assert frame.rstrip(b"\0") == image.rstrip(b"\0")
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert (ds.Rows, ds.Columns, ds.LossyImageCompression) == (32, 40, "01")


@pytest.mark.parametrize(
    ("subsampling", "photometric"), [("4:4:4", "YBR_FULL"), ("4:2:2", "YBR_FULL_422")]
)
def test_the_colours_of_a_jpeg_are_named_as_they_are(subsampling: str, photometric: str) -> None:
    image = encoded(noise("RGB", (40, 32)), "JPEG", subsampling=subsampling)
    assert jpeg.read(image).photometric == photometric
    assert jpeg.read(encoded(noise("L"), "JPEG")).photometric == "MONOCHROME2"


def test_a_jpeg_that_cannot_be_taken_says_why() -> None:
    image = noise("RGB", (40, 32))
    assert "progressive" in why_not(encoded(image, "JPEG", progressive=True))
    assert "three colours" in why_not(encoded(image.convert("CMYK"), "JPEG"))
    assert "cut off" in why_not(encoded(image, "JPEG")[:-30])
    turned = Image.Exif()
    turned[0x0112] = 6
    assert "turned" in why_not(encoded(image, "JPEG", exif=turned))
    upright = Image.Exif()
    upright[0x0112] = 1
    assert made(encoded(image, "JPEG", exif=upright)).Rows == 32


@pytest.mark.parametrize("length", range(0, 600, 7))
def test_a_broken_image_is_refused_and_breaks_nothing(length: int) -> None:
    for whole in (encoded(noise("RGB"), "JPEG"), encoded(noise("RGB"))):
        why_not(whole[:length])


def test_the_same_image_and_words_make_the_same_object_in_each_tenant_another() -> None:
    image = encoded(noise("L"))
    first, again = build(SAID, image, "north"), build(SAID, image, "north")
    assert as_file(first) == as_file(again)
    elsewhere = build(SAID, image, "south")
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    assert not any(first[uid].value == elsewhere[uid].value for uid in uids)


def test_images_of_one_visit_are_one_study_and_those_of_another_patient_are_not() -> None:
    words = {"PatientID": "P1", "PatientName": "Doe^Jane", "StudyDate": "20261121"}
    one = build(Sidecar(**words, InstanceNumber=1), encoded(noise("L")), "north")
    two = build(Sidecar(**words, InstanceNumber=2), encoded(noise("RGB")), "north")
    other = build(Sidecar(**words | {"PatientID": "P2"}), encoded(noise("L")), "north")
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.StudyInstanceUID == two.StudyInstanceUID != other.StudyInstanceUID


def test_the_study_that_is_named_is_joined() -> None:
    said = Sidecar(PatientID="P1", PatientName="Doe^Jane", StudyInstanceUID="1.2.3")
    assert build(said, encoded(noise("L")), "north").StudyInstanceUID == "1.2.3"


def test_every_attribute_that_secondary_capture_requires_is_there() -> None:
    """PS3.3 A.8.1: types 1 and 2 of the modules that are mandatory."""
    ds = made(encoded(noise("L")))
    required = (
        "PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate StudyTime "
        "ReferringPhysicianName StudyID AccessionNumber Modality SeriesInstanceUID SeriesNumber "
        "ConversionType InstanceNumber SamplesPerPixel PhotometricInterpretation Rows Columns "
        "BitsAllocated BitsStored HighBit PixelRepresentation PixelData SOPClassUID SOPInstanceUID"
    )
    assert [keyword for keyword in required.split() if keyword not in ds] == []
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7"

"""The phantom is a CT that readers accept, and the same every time."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmread

from gateway.phantom import SIZE, ct_phantom


def test_the_same_seed_gives_the_same_files() -> None:
    assert ct_phantom(2) == ct_phantom(2)


def test_a_slice_is_a_ct_image_with_pixels() -> None:
    first, second = (dcmread(BytesIO(file)) for file in ct_phantom(2))
    assert len(first.PixelData) == SIZE * SIZE * 2
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID

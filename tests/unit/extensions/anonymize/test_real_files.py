"""Over real files: no name, number, UID or date survives, burned-in pixels excepted."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from extensions.anonymize.options import Options
from extensions.anonymize.profile import apply
from extensions.anonymize.table import table_for
from tests.conftest import SHARED_DATA
from tests.unit.extensions.anonymize.conftest import KEYS, Deidentify
from tests.unit.extensions.anonymize.leaks import Leak, Original, leaks, original_of

pytestmark = [
    pytest.mark.skipif(
        not SHARED_DATA.is_dir(),
        reason="no real files here: name their folder in ARGONATH_TEST_DATA",
    ),
    # Some of the files are broken on purpose, and pydicom says so.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
# Words of DICOM's own that a file has as a name too, in elements with defined terms (VR CS):
# a phantom "HFS", "Perfusion" and "Text".
TERMS = {"hfs", "perfusion", "text"}
DUMMY_DATE = "19000101"
CLEANING = {
    "clean_descriptors": True,
    "clean_structured_content": True,
    "clean_graphics": True,
    "retain_patient_characteristics": True,
    "retain_safe_private": True,
}


@dataclass(frozen=True)
class Copy:
    """A file, and what was made of it."""

    path: Path
    original: Original
    file: bytes
    pixels: bytes | None


def datasets() -> Iterator[tuple[Path, Dataset]]:
    """Every file that is DICOM enough to have a SOP class or to be a DICOMDIR."""
    for path in sorted(path for path in SHARED_DATA.rglob("*") if path.is_file()):
        dataset = pydicom.dcmread(path, force=True)
        if dataset.get("SOPClassUID") or "DirectoryRecordSequence" in dataset:
            yield path, dataset


@cache
def copies(dates: str, cleaned: bool) -> list[Copy]:
    """Every file, de-identified and written."""
    options = Options.model_validate({"dates": dates, **(CLEANING if cleaned else {})})
    made, table = [], table_for(options)
    for path, dataset in datasets():
        original, pixels = original_of(dataset), dataset.get("PixelData")
        left = apply(dataset, table, KEYS)
        made.append(Copy(path, original, written(left), pixels))
    return made


def written(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    if dataset.file_meta.get("TransferSyntaxUID", "").startswith("1.2.840.10008.1.2.8."):
        # Newer than pydicom, which wants to be told.
        pydicom.dcmwrite(
            buffer, dataset, implicit_vr=False, little_endian=True, force_encoding=True
        )
    else:
        pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def is_known(leak: Leak) -> bool:
    term = leak.kind == "name" and leak.vr == "CS" and leak.value in TERMS
    return term or (leak.kind == "date" and leak.value == DUMMY_DATE)


@pytest.mark.parametrize(
    ("dates", "cleaned"), [("removed", False), ("shifted", True)], ids=["basic profile", "cleaned"]
)
def test_nothing_of_the_originals_survives(dates: str, cleaned: bool) -> None:
    made = copies(dates, cleaned)
    found = [
        (copy.path.name, leak)
        for copy in made
        for leak in leaks(copy.original, copy.file)
        if not is_known(leak)
    ]
    assert found == []
    assert len(made) > 300


def test_the_search_finds_the_originals_in_the_originals() -> None:
    kinds: Counter[str] = Counter()
    for path, dataset in datasets():
        kinds.update({leak.kind for leak in leaks(original_of(dataset), path.read_bytes())})
    assert min(kinds[kind] for kind in ("name", "id", "uid", "date")) > 100


def test_the_search_finds_each_name_of_other_letters_however_short_in_its_original() -> None:
    lengths: Counter[int] = Counter()
    for path, dataset in datasets():
        original = original_of(dataset)
        wanted = set(original.encoded.values())
        found = list(leaks(original, path.read_bytes()))
        assert {leak.value for leak in found if leak.kind == "encoded name"} == wanted, path.name
        decoded = {leak.value for leak in found if leak.kind == "name"}
        assert decoded >= {word.casefold() for word in wanted}, path.name
        lengths.update(map(len, wanted))
    assert min(lengths[1], lengths[2]) > 3


def test_dcmtk_reads_every_copy_whose_original_it_reads(tmp_path: Path) -> None:
    def is_read(path: Path) -> bool:
        command = ["/usr/bin/dcmdump", "-q", str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    made, unreadable = copies("shifted", True), []
    for copy in made:
        path = tmp_path / "copy.dcm"
        path.write_bytes(copy.file)
        if not is_read(path) and is_read(copy.path):
            unreadable.append(copy.path.name)
    assert unreadable == []
    assert len(made) > 300


def test_the_pixels_stay_as_they_are() -> None:
    for copy in copies("removed", False):
        left = pydicom.dcmread(BytesIO(copy.file), force=True)
        assert left.get("PixelData") == copy.pixels, copy.path.name


def test_two_studies_of_a_real_patient_keep_one_pseudonym_and_their_interval(
    deidentify: Deidentify,
) -> None:
    path = next((SHARED_DATA / "mr-siemens-t1-35").iterdir())
    first, second = pydicom.dcmread(path), pydicom.dcmread(path)
    day = date.fromisoformat(first.StudyDate)
    second.StudyInstanceUID = "1.2.3.4.5.6.7.8"
    second.StudyDate = day.replace(year=day.year + 1).strftime("%Y%m%d")
    days = (date.fromisoformat(second.StudyDate) - day).days
    left = [deidentify(dataset, dates="shifted") for dataset in (first, second)]
    assert left[0].PatientID == left[1].PatientID
    assert left[0].StudyInstanceUID != left[1].StudyInstanceUID
    moved = [date.fromisoformat(dataset.StudyDate) for dataset in left]
    assert (moved[1] - moved[0]).days == days
    assert moved[0] != day

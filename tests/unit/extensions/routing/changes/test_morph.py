from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from extensions.routing.changes.morph import CannotMorph, morph
from extensions.routing.changes.morph_settings import Morph
from extensions.routing.changes.original_attributes import Note, revert
from gateway.actions import Actions, Step, Transform
from gateway.errors import InvalidInput
from tests.conftest import SHARED_DATA

NOTE = Note("20260131120000.000000+0000", "ARGONATH morph", "COERCE", "CT1")
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
ACTIONS = Actions([Transform("morph", "", Morph, lambda *_: lambda dataset: dataset)])

type Encode = Callable[[Dataset], bytes]


def file_of(syntax: str = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """A file with odd values: what the changes below meet in real ones."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["morph"])
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "P1"
    dataset.AccessionNumber = ""
    dataset.StudyDescription = "CT chest native   "  # more padding than pydicom would write
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    first, second = Dataset(), Dataset()
    first.RequestedProcedureID, second.RequestedProcedureID = "R1", "R2"
    dataset.RequestAttributesSequence = [first, second]
    dataset["RequestAttributesSequence"].is_undefined_length = True
    dataset.private_block(0x0019, "ACME 1", create=True).add_new(0x10, "LO", "secret")
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    return encoded(
        FileDataset(
            None,
            dataset,
            preamble=b"\0" * 128,
            file_meta=meta,
            is_implicit_VR=UID(syntax).is_implicit_VR,
            is_little_endian=UID(syntax).is_little_endian,
        )
    )


def encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def read(file: bytes) -> FileDataset:
    return dcmread(BytesIO(file))


def settings_of(*changes: dict[str, Any], **others: Any) -> Morph:
    _, settings = ACTIONS.parse(Step("morph", {"changes": list(changes), **others}))
    assert isinstance(settings, Morph)
    return settings


def morphed(file: bytes, *changes: dict[str, Any], note: Note = NOTE) -> FileDataset:
    """What arrives of a file after the changes."""
    return read(encoded(morph(read(file), settings_of(*changes).changes, note)))


def changed(change: dict[str, Any], keyword: str, **tags: Any) -> Any:
    return morphed(file_of(**tags), change).get(keyword)


EACH_CHANGE: list[dict[str, Any]] = [
    {"do": "set", "tag": "InstitutionName", "value": "North"},
    {"do": "set", "tag": "PatientName", "value": "Roe^Richard"},
    {"do": "set", "tag": "PatientName", "value": ""},
    {"do": "set", "tag": "AccessionNumber", "value": "A1"},
    {"do": "set", "tag": "ImageType", "value": ["DERIVED", "SECONDARY"]},
    {"do": "set", "tag": "PatientName", "value": "Müller^Jürgen"},
    {"do": "set", "tag": "RequestAttributesSequence.AccessionNumber", "value": "A1"},
    {"do": "set", "tag": '(0019,"ACME 1",10)', "value": "open", "vr": "LO"},
    {"do": "set", "tag": '(0019,"ARGONATH",01)', "value": "new", "vr": "LO"},
    {"do": "copy", "from": "PatientID", "to": "AdmissionID"},
    {"do": "remove", "tag": "ImageType"},
    {"do": "remove", "tag": "AccessionNumber"},
    {"do": "remove", "tag": "RequestAttributesSequence"},
    {"do": "remove", "tag": "RequestAttributesSequence.RequestedProcedureID"},
    {"do": "remove", "tag": '(0019,"ACME 1",10)'},
    {"do": "replace", "tag": "StudyDescription", "pattern": "CT *", "with": "{1}"},
    {"do": "map", "tag": "ImageType", "table": {"AXIAL": "LOCALIZER"}},
    {"do": "prefix", "tag": "PatientID", "text": "N-"},
    {"do": "suffix", "tag": "PatientID", "text": "-N"},
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("change", EACH_CHANGE, ids=lambda c: f"{c['do']} {c.get('tag')}")
def test_each_change_has_an_effect_and_is_reverted_exactly(
    change: dict[str, Any], syntax: str
) -> None:
    file = file_of(syntax)
    sent = encoded(morph(read(file), settings_of(change).changes, NOTE))
    assert sent != file
    back = read(sent)
    assert revert(back) == 1
    assert encoded(back) == file


def test_what_is_only_read_keeps_its_bytes() -> None:
    file = file_of(PatientID="P1    ")
    back = morphed(file, {"do": "copy", "from": "PatientID", "to": "AdmissionID"})
    assert revert(back) == 1
    assert encoded(back) == file


def test_set_writes_a_value_and_an_empty_one_leaves_the_tag_there() -> None:
    assert changed({"do": "set", "tag": "PatientID", "value": "P2"}, "PatientID") == "P2"
    emptied = morphed(file_of(), {"do": "set", "tag": "PatientID", "value": ""})
    assert "PatientID" in emptied
    assert not emptied.PatientID


def test_numbers_are_written_as_numbers() -> None:
    assert changed({"do": "set", "tag": "SeriesNumber", "value": "7"}, "SeriesNumber") == 7
    change = {"do": "set", "tag": "KVP", "value": "120.5"}
    assert changed(change, "KVP") == 120.5
    assert (
        changed(
            {"do": "set", "tag": "InStackPositionNumber", "value": "3"}, "InStackPositionNumber"
        )
        == 3
    )


def test_a_path_reaches_every_item_of_a_sequence() -> None:
    change = {"do": "set", "tag": "RequestAttributesSequence.AccessionNumber", "value": "A1"}
    items = morphed(file_of(), change).RequestAttributesSequence
    assert [item.AccessionNumber for item in items] == ["A1", "A1"]
    assert [item.RequestedProcedureID for item in items] == ["R1", "R2"]


def test_copy_beside_each_other_stays_in_its_item_and_else_takes_the_first() -> None:
    procedure = "RequestAttributesSequence.RequestedProcedureID"
    beside = {"do": "copy", "from": procedure, "to": "RequestAttributesSequence.AccessionNumber"}
    items = morphed(file_of(), beside).RequestAttributesSequence
    assert [item.AccessionNumber for item in items] == ["R1", "R2"]
    outside = {"do": "copy", "from": procedure, "to": "AccessionNumber"}
    assert changed(outside, "AccessionNumber") == "R1"


def test_copying_an_absent_tag_changes_nothing() -> None:
    file = file_of()
    change = {"do": "copy", "from": "InstitutionName", "to": "PatientID"}
    assert encoded(morph(read(file), settings_of(change).changes, NOTE)) == file


@pytest.mark.parametrize(
    ("pattern", "template", "before", "after"),
    [
        ("CT *", "{1}", "CT chest", "chest"),
        ("*-*", "{2}/{1}", "a-b-c", "b-c/a"),
        ("A?C*", "{1}{2}", "ABCD", "BD"),
        (r"\*", "star", "*", "star"),
        (r"\*", "star", "x", "x"),
        ("*a*b", "{1}|{2}", "xaab", "x|a"),
        ("ab*ba", "no", "aba", "aba"),
        ("abc", "x", "abcd", "abcd"),
    ],
)
def test_replace_writes_anew_what_the_pattern_fits(
    pattern: str, template: str, before: str, after: str
) -> None:
    change = {"do": "replace", "tag": "StudyDescription", "pattern": pattern, "with": template}
    assert changed(change, "StudyDescription", StudyDescription=before) == after


def test_a_pattern_that_makes_regular_expressions_explode_is_quick() -> None:
    pattern = "*a" * 100 + "b"
    change = {"do": "replace", "tag": "TextValue", "pattern": pattern, "with": ""}
    assert changed(change, "TextValue", TextValue="a" * 10_000) == "a" * 10_000  # seconds: no end


@pytest.mark.parametrize(
    ("otherwise", "left"),
    [("keep", ["DERIVED", "PRIMARY", "AXIAL"]), ("remove", "DERIVED")],
)
def test_map_replaces_what_is_in_its_table(otherwise: str, left: Any) -> None:
    change = {
        "do": "map",
        "tag": "ImageType",
        "table": {"ORIGINAL": "DERIVED"},
        "otherwise": otherwise,
    }
    assert changed(change, "ImageType") == left


def test_map_can_refuse_what_is_not_in_its_table_and_does_not_quote_it() -> None:
    change = {"do": "map", "tag": "PatientID", "table": {"X": "Y"}, "otherwise": "fail"}
    with pytest.raises(CannotMorph, match="map PatientID: a value is not in the table") as error:
        changed(change, "PatientID", PatientID="SECRET")
    assert "SECRET" not in str(error.value)


def test_a_private_tag_is_found_by_its_creator_whatever_its_block() -> None:
    dataset = Dataset()
    dataset.private_block(0x0019, "OTHER", create=True)
    dataset.private_block(0x0019, "ACME 1", create=True).add_new(0x10, "LO", "secret")
    morph(
        dataset,
        settings_of({"do": "prefix", "tag": '(0019,"ACME 1",10)', "text": "x"}).changes,
        NOTE,
    )
    assert dataset[0x0019, 0x1110].value == "xsecret"


def test_what_becomes_too_long_is_refused_without_quoting_it() -> None:
    change = {"do": "prefix", "tag": "AccessionNumber", "text": "NORTH-"}
    with pytest.raises(CannotMorph, match="VR SH; give at most 16 characters") as error:
        changed(change, "AccessionNumber", AccessionNumber="SECRET78901")
    assert "SECRET" not in str(error.value)


def test_new_letters_make_ascii_text_utf_8_and_fit_where_the_character_set_has_them() -> None:
    change = {"do": "set", "tag": "PatientName", "value": "Müller"}
    widened = morphed(file_of(), change)
    assert (widened.SpecificCharacterSet, str(widened.PatientName)) == ("ISO_IR 192", "Müller")
    latin = morphed(file_of(SpecificCharacterSet="ISO_IR 100", InstitutionName="Köln"), change)
    assert (latin.SpecificCharacterSet, str(latin.PatientName)) == ("ISO_IR 100", "Müller")


def test_new_letters_that_other_text_forbids_are_refused() -> None:
    change = {"do": "set", "tag": "PatientName", "value": "Ωμέγα"}
    with pytest.raises(CannotMorph, match="ISO_IR 100, which lacks a character"):
        changed(change, "PatientName", SpecificCharacterSet="ISO_IR 100", InstitutionName="Köln")


def test_the_note_tells_what_was_there_by_whom_and_why() -> None:
    item = morphed(file_of(), EACH_CHANGE[0], EACH_CHANGE[1]).OriginalAttributesSequence[0]
    assert item.AttributeModificationDateTime == NOTE.at
    assert (item.ModifyingSystem, item.ReasonForTheAttributeModification) == (
        "ARGONATH morph",
        "COERCE",
    )
    assert item.SourceOfPreviousValues == "CT1"
    prior = item.ModifiedAttributesSequence[0]
    assert str(prior.PatientName) == "Doe^Jane"
    assert prior["InstitutionName"].is_empty  # it was absent


def test_every_private_value_in_a_note_has_its_creator_there() -> None:
    changes = [change for change in EACH_CHANGE if "0019" in change.get("tag", "")]
    item = morphed(file_of(), *changes).OriginalAttributesSequence[0]
    prior = item.ModifiedAttributesSequence[0]
    assert prior.private_block(0x0019, "ACME 1")[0x10].value == "secret"
    assert len(prior.group_dataset(0x0019)) == 2  # nothing of the block that was absent


def test_what_has_no_effect_leaves_no_note() -> None:
    file = file_of()
    changes = settings_of(
        {"do": "set", "tag": "PatientID", "value": "P1"}, {"do": "remove", "tag": "InstitutionName"}
    ).changes
    assert encoded(morph(read(file), changes, NOTE)) == file


def test_notes_of_others_stay_and_each_application_is_reverted_in_turn() -> None:
    other = Dataset()
    other.ModifyingSystem = "SOMEBODY"
    for originals in ([], [other]):
        file = file_of(OriginalAttributesSequence=originals)
        once = encoded(morphed(file, EACH_CHANGE[1]))
        twice = morphed(once, EACH_CHANGE[2], EACH_CHANGE[7])
        systems = [item.ModifyingSystem for item in twice.OriginalAttributesSequence]
        assert systems == [item.ModifyingSystem for item in originals] + ["ARGONATH morph"] * 2
        assert revert(twice) == 2
        assert encoded(twice) == file


def test_the_same_instance_becomes_the_same_copy() -> None:
    file = file_of()
    assert encoded(morphed(file, *EACH_CHANGE[:4])) == encoded(morphed(file, *EACH_CHANGE[:4]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"do": "set", "tag": "StudyDate", "value": "31.1.2026"},
            "value: not a value of VR DA; give a date such as",
        ),
        ({"do": "set", "tag": "StudyDate", "value": "20260231"}, "value: not a value of VR DA"),
        ({"do": "set", "tag": "StudyTime", "value": "25"}, "value: not a value of VR TM"),
        (
            {"do": "set", "tag": "Modality", "value": "ct"},
            "value: not a value of VR CS; give at most 16 of capital",
        ),
        (
            {"do": "set", "tag": "AccessionNumber", "value": "12345678901234567"},
            "VR SH; give at most 16",
        ),
        ({"do": "set", "tag": "PatientID", "value": "a\nb"}, "VR LO; give at most 64"),
        ({"do": "set", "tag": "SeriesNumber", "value": "1.5"}, "VR IS; give an integer"),
        (
            {"do": "set", "tag": "InStackPositionNumber", "value": "-1"},
            "VR UL; give an integer of its size",
        ),
        ({"do": "set", "tag": "PatientID", "value": ["a", "b"]}, "2 values where 1 can be"),
        (
            {"do": "set", "tag": "PatientNam", "value": "x"},
            "tag 'PatientNam' is unknown; did you mean PatientName?",
        ),
        (
            {"do": "set", "tag": "PixelData", "value": "x"},
            "PixelData cannot be changed: it holds the pixels",
        ),
        (
            {"do": "set", "tag": "SOPInstanceUID", "value": "1.2"},
            "SOPInstanceUID cannot be changed: it names",
        ),
        (
            {"do": "remove", "tag": "ReferencedStudySequence.ReferencedSOPInstanceUID"},
            "cannot be changed: it names the object",
        ),
        ({"do": "remove", "tag": "TransferSyntaxUID"}, "belongs to the file"),
        ({"do": "remove", "tag": "OriginalAttributesSequence"}, "holds what was there before"),
        ({"do": "set", "tag": "SpecificCharacterSet", "value": "x"}, "says how all text is read"),
        (
            {"do": "set", "tag": "RequestAttributesSequence", "value": "x"},
            "has VR SQ; choose a tag",
        ),
        (
            {"do": "set", "tag": "PatientID.AccessionNumber", "value": "x"},
            "only the last tag of a path",
        ),
        (
            {"do": "set", "tag": "PatientID.", "value": "x"},
            "'PatientID.' is no tag; write a keyword",
        ),
        ({"do": "set", "tag": '(0019,"ACME 1",10)', "value": "x"}, "vr: the VR of (0019"),
        (
            {"do": "set", "tag": '(0018,"ACME 1",10)', "value": "x", "vr": "LO"},
            "group 0018 is not a private one",
        ),
        (
            {"do": "replace", "tag": "PatientID", "pattern": "a*", "with": "{2}"},
            "with: there is no {2}; the pattern has 1",
        ),
        (
            {"do": "replace", "tag": "PatientID", "pattern": "a\\", "with": "b"},
            "pattern: ends with a backslash",
        ),
        ({"do": "map", "tag": "StudyDate", "table": {"a": "b"}}, "table: not a value of VR DA"),
        ({"do": "prefix", "tag": "StudyDate", "text": "2"}, "only to text something can be added"),
        ({"do": "copy", "from": "PixelData", "to": "PatientID"}, "has VR OB or OW; choose a tag"),
        ({"do": "copy", "from": "PatientID", "to": "PatientID"}, "to: it is the tag that is read"),
        ({"do": "set", "tag": "StudyID", "value": 7}, "value: give text, in YAML in quotes"),
        ({"do": "turn", "tag": "PatientID"}, "changes: 0: Input tag 'turn' found using 'do'"),
    ],
)
def test_a_wrong_change_is_refused_when_saved_with_its_place_and_the_cure(
    change: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        settings_of(change)
    assert "changes: 0: " in str(error.value)
    assert told in str(error.value)


REAL_CHANGES: list[dict[str, Any]] = [
    *(change for change in EACH_CHANGE if change["do"] in {"remove", "map", "replace", "copy"}),
    {"do": "set", "tag": "PatientName", "value": "Doe^J"},
    {"do": "set", "tag": "OtherPatientNames", "value": ["A^B", "C^D"]},
    {"do": "set", "tag": "InstitutionName", "value": "North"},
    {"do": "set", "tag": '(0029,"SIEMENS CSA HEADER",08)', "value": "X", "vr": "CS"},
    {"do": "set", "tag": '(0011,"ARGONATH TEST",01)', "value": "X", "vr": "LO"},
    {"do": "remove", "tag": "WindowCenter"},
    {"do": "remove", "tag": "ReferencedStudySequence"},
    {"do": "remove", "tag": "PerFrameFunctionalGroupsSequence.FrameContentSequence.StackID"},
]


def real_files() -> list[Path]:
    return sorted(path for path in SHARED_DATA.rglob("*") if path.is_file())


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the shared data")
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of what is wrong in real files
@pytest.mark.parametrize("name", ["Doe^J", "Doe^Jörg"])
def test_every_real_file_is_reverted_exactly(name: str) -> None:
    last = {"do": "set", "tag": "PatientName", "value": name}
    changes = settings_of(*REAL_CHANGES, last).changes
    reverted = refused = 0
    for path in real_files():
        try:
            original = encoded(dcmread(path))
        except Exception:  # noqa: BLE001  pydicom cannot write it as it is
            continue
        dataset = dcmread(path)
        try:
            sent = encoded(morph(dataset, changes, NOTE))
        except CannotMorph:
            refused += 1
            continue
        back = read(sent)
        assert revert(back) == 1, path.name
        assert encoded(back) == original, path.name
        reverted += 1
    assert reverted > 300
    assert refused == 0 if name.isascii() else refused > 5


def test_dcmdump_shows_the_new_values_and_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "sent.dcm"
    path.write_bytes(encoded(morphed(file_of(), EACH_CHANGE[1], EACH_CHANGE[4])))
    dump = subprocess.run(
        ["/usr/bin/dcmdump", "-q", path], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    names = [line.split("#")[0].strip() for line in dump if "(0010,0010)" in line]
    assert names == ["(0010,0010) PN [Roe^Richard]", "(0010,0010) PN [Doe^Jane]"]
    assert any("(0008,0008) CS [DERIVED\\SECONDARY]" in line for line in dump)
    assert any("(0400,0563) LO [ARGONATH morph]" in line for line in dump)

"""What a rule's line *morph* says, checked when the rule is saved. No I/O."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydicom.datadict import keyword_for_tag

from extensions.routing.changes import glob_replace, tag_path, tag_values
from extensions.routing.changes.tag_path import TagPath

_NAMES_THE_OBJECT = (
    "names the object, or another one: destinations, the ledger and other objects know it by that; "
    "the action anonymize replaces UIDs so that they still fit each other"
)
_READS_THE_PIXELS = "says how the pixels are read; leave it"
_FORBIDDEN = {
    **dict.fromkeys(
        (
            "SOPClassUID",
            "SOPInstanceUID",
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "ReferencedSOPClassUID",
            "ReferencedSOPInstanceUID",
        ),
        _NAMES_THE_OBJECT,
    ),
    **dict.fromkeys(
        (
            "SamplesPerPixel",
            "PhotometricInterpretation",
            "PlanarConfiguration",
            "NumberOfFrames",
            "Rows",
            "Columns",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
        ),
        _READS_THE_PIXELS,
    ),
    "SpecificCharacterSet": "says how all text is read; it becomes UTF-8 by itself where needed",
    "OriginalAttributesSequence": "holds what was there before a change",
}
_FILE_META, _PIXEL_GROUP = 0x0002, 0x7FE0


def _known(text: str) -> str:
    tag_path.parse(text)
    return text


def _changeable(text: str) -> str:
    for step in tag_path.parse(text).steps:
        if step.creator:
            continue
        group = step.tag >> 16
        keyword = keyword_for_tag(step.tag)
        why = _FORBIDDEN.get(keyword)
        if group <= _FILE_META:
            why = "belongs to the file or the transfer, not to the object"
        elif group == _PIXEL_GROUP:
            why = "holds the pixels; leave it"
        if why:
            raise ValueError(f"{keyword} cannot be changed: it {why}")
    return text


def _textual(text: str) -> str:
    vr = tag_path.parse(text).vr
    if vr and vr not in tag_values.WRITABLE:
        raise ValueError(f"{text} has VR {vr}; choose a tag that holds text or a number")
    return text


type Tag = Annotated[str, AfterValidator(_changeable)]
type TextTag = Annotated[str, AfterValidator(_changeable), AfterValidator(_textual)]
type SourceTag = Annotated[str, AfterValidator(_known), AfterValidator(_textual)]
type Value = Annotated[str, Field(max_length=10240)]


def _one_line(text: str) -> str:
    tag_values.check("LO", [text])
    return text


def _texts(given: object) -> object:
    several = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in several):
        raise ValueError("give text, in YAML in quotes, or a list of texts")
    return given


type Reason = Literal["COERCE", "CORRECT"]
type Source = Annotated[str, Field(max_length=64), AfterValidator(_one_line)]


class _Change(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Set(_Change):
    """Give a tag a value, or several; an empty one leaves the tag there without a value."""

    do: Literal["set"] = "set"
    tag: TextTag = Field(description="The tag.")
    value: Annotated[Value | list[Value], BeforeValidator(_texts)] = Field(
        description="Its new value, or a list of values."
    )
    vr: str = Field(default="", description="VR of a private tag that the dictionary lacks.")

    @property
    def values(self) -> list[str]:
        """The value as a list, empty for none."""
        given = [self.value] if isinstance(self.value, str) else self.value
        return [] if given == [""] else given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        path = tag_path.parse(self.tag)
        if self.vr and path.vr and self.vr != path.vr:
            raise ValueError(f"vr: {self.tag} has VR {path.vr}; leave vr out")
        vr = self.vr or path.vr
        if not vr:
            raise ValueError(f"vr: the VR of {self.tag} is not known; add vr, such as LO")
        _check(path, vr, "value", self.values)
        return self


class Copy(_Change):
    """Give a tag the values of another one; where that is absent, nothing changes."""

    do: Literal["copy"]
    from_: SourceTag = Field(alias="from", description="The tag that is read.")
    to: TextTag = Field(description="The tag that is written.")

    @property
    def tag(self) -> str:
        """The tag that is written."""
        return self.to

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.from_ == self.to:
            raise ValueError("to: it is the tag that is read; name another one")
        return self


class Remove(_Change):
    """Take a tag away, or a whole sequence."""

    do: Literal["remove"]
    tag: Tag = Field(description="The tag.")


class Replace(_Change):
    """Write anew each value that a pattern fits; others stay."""

    do: Literal["replace"]
    tag: TextTag = Field(description="The tag.")
    pattern: str = Field(
        min_length=1, max_length=256, description="`*` is any text, `?` one character."
    )
    with_: str = Field(
        alias="with",
        max_length=1024,
        description="The new value; `{1}` is what `*` no. 1 stood for.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            wildcards = glob_replace.Glob(self.pattern).wildcards
        except ValueError as error:
            raise ValueError(f"pattern: {error}") from None
        used = glob_replace.references(self.with_)
        if wrong := sorted(n for n in used if not 1 <= n <= wildcards):
            raise ValueError(
                f"with: there is no {{{wrong[0]}}}; the pattern has {wildcards} wildcards"
            )
        path = tag_path.parse(self.tag)
        if not used and path.vr:
            _check(path, path.vr, "with", [self.with_], number=False)
        return self


class Map(_Change):
    """Write another value for each value, by a table."""

    do: Literal["map"]
    tag: TextTag = Field(description="The tag.")
    table: dict[str, Value] = Field(
        min_length=1, max_length=1000, description="Old value: new one."
    )
    otherwise: Literal["keep", "remove", "fail"] = Field(
        default="keep", description="What happens to a value that the table does not have."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        path = tag_path.parse(self.tag)
        if path.vr:
            _check(path, path.vr, "table", list(self.table.values()), number=False)
        return self


class Affix(_Change):
    """Write text before (`prefix`) or after (`suffix`) each value."""

    do: Literal["prefix", "suffix"]
    tag: TextTag = Field(description="The tag.")
    text: str = Field(min_length=1, max_length=64, description="What is added.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        path = tag_path.parse(self.tag)
        if path.vr and path.vr not in tag_values.AFFIXABLE:
            raise ValueError(
                f"tag: {self.tag} has VR {path.vr}; only to text something can be added"
            )
        if path.vr:
            _check(path, path.vr, "text", [self.text], number=False)
        return self


type Change = Annotated[Set | Copy | Remove | Replace | Map | Affix, Field(discriminator="do")]


class Morph(BaseModel):
    """Change tags of what the lines after this one send."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    changes: list[Change] = Field(min_length=1, max_length=64, description="Done in this order.")
    reason: Reason = Field(
        default="COERCE", description="COERCE: to fit the destination; CORRECT: it was wrong."
    )
    source: Source = Field(default="", description="Who sent the values that were there before.")


def _check(path: TagPath, vr: str, place: str, values: list[str], *, number: bool = True) -> None:
    try:
        tag_values.check(vr, values)
        if number:
            tag_values.check_number(values, path.values)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None

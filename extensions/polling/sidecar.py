"""The JSON beside an image that says whose it is. Keywords of PS3.6; pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

MOST_BYTES = 65536
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


@dataclass(frozen=True)
class Complaint:
    """What is wrong, where, and what to do about it."""

    where: str
    what: str
    cure: str

    def as_json(self) -> dict[str, str]:
        """As it stands in a `.error.json`."""
        return asdict(self)


class Rejected(Exception):
    """A file that can never be stored as it is."""

    def __init__(self, *complaints: Complaint) -> None:
        super().__init__("; ".join(f"{c.where}: {c.what}" for c in complaints))
        self.complaints = complaints


def _text(value: str) -> str:
    if "\\" in value or not value.isprintable():
        raise ValueError("must hold neither a backslash nor control characters")
    return value


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _date(value: str) -> str:
    digits = value.replace("-", "")
    try:
        if value:
            datetime.strptime(digits, "%Y%m%d")  # noqa: DTZ007  a day has no zone
    except ValueError:
        raise ValueError("must be a day like 20261121 or 2026-11-21") from None
    return digits


def _time(value: str) -> str:
    digits = value.replace(":", "")
    if not re.fullmatch(r"|([01]\d|2[0-3])([0-5]\d([0-5]\d)?)?", digits):
        raise ValueError("must be a time like 143000 or 14:30:00")
    return digits


def _uid(value: str) -> str:
    if value and (len(value) > 64 or not _UID.fullmatch(value)):
        raise ValueError("must be a UID: numbers joined by points, at most 64 characters")
    return value


def _name(value: str) -> str:
    if any(len(group) > 64 for group in value.split("=")):
        raise ValueError("must have at most 64 characters in each form")
    return value


type Text = Annotated[str, BeforeValidator(_stripped), AfterValidator(_text)]
type Day = Annotated[str, BeforeValidator(_stripped), AfterValidator(_date)]
type Clock = Annotated[str, BeforeValidator(_stripped), AfterValidator(_time)]
type UniqueId = Annotated[str, BeforeValidator(_stripped), AfterValidator(_uid)]
type Name = Annotated[str, BeforeValidator(_stripped), AfterValidator(_text), AfterValidator(_name)]


class Sidecar(BaseModel):
    """What is known of an image."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    PatientID: Text = Field(min_length=1, max_length=64, description="Identifier of the patient.")
    PatientName: Name = Field(min_length=1, description="As in Doe^Jane.")
    PatientBirthDate: Day = Field("", description="Day of birth.")
    PatientSex: Literal["", "M", "F", "O"] = Field("", description="M, F, O or empty.")
    StudyInstanceUID: UniqueId = Field(
        "", description="Of the study that it joins; empty: made from what else is said here."
    )
    StudyDate: Day = Field("", description="Day of the study.")
    StudyTime: Clock = Field("", description="Time of the study.")
    StudyDescription: Text = Field("", max_length=64, description="What was done.")
    StudyID: Text = Field("", max_length=16, description="Number of the study.")
    AccessionNumber: Text = Field("", max_length=16, description="Number of the order.")
    ReferringPhysicianName: Name = Field("", description="As in Doe^Jane.")
    Modality: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_ ]{0,15}$")] = Field(
        "OT", description="Of the series; XC is a photograph, OT anything else."
    )
    SeriesDescription: Text = Field("", max_length=64, description="What the series shows.")
    SeriesNumber: int = Field(1, ge=0, le=2147483647, description="Number of the series.")
    InstanceNumber: int = Field(1, ge=0, le=2147483647, description="Place in the series.")
    BodyPartExamined: Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{0,16}$")] = Field(
        "", description="As in PS3.16 annex L: HAND, SKIN..."
    )
    ConversionType: Literal["DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"] = Field(
        "WSD", description="How the image was made (PS3.3 C.8.6.1)."
    )
    BurnedInAnnotation: Literal["", "YES", "NO"] = Field(
        "", description="Whether the picture itself names the patient."
    )
    ImageComments: Text = Field("", max_length=1024, description="Anything else.")


def parse(content: bytes, name: str = "") -> Sidecar:
    """Read a sidecar; raises `Rejected` with every error and its cure, not with what stood there.

    What stood there may name a patient, and error files are passed around.
    """
    if len(content) > MOST_BYTES:
        cure = f"Leave out what is not needed: at most {MOST_BYTES} bytes."
        raise Rejected(Complaint(name, "The file is too long.", cure))
    try:
        given = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        cure = "Write it as an object in UTF-8, as the manual of polling shows."
        raise Rejected(Complaint(name, f"It is no JSON{line}.", cure)) from None
    try:
        return Sidecar.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise Rejected(*(_complaint(dict(e)) for e in found)) from None


def _complaint(error: dict[str, Any]) -> Complaint:
    where = ".".join(str(place) for place in error["loc"]) or "sidecar"
    field = Sidecar.model_fields.get(where)
    what = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return Complaint(where, "There is no such field.", _spelling(where))
    if error["type"] == "missing":
        return Complaint(where, "It is missing.", f"Add it: {_help(field)}")
    return Complaint(where, what[:1].upper() + what[1:] + ".", f"Correct it: {_help(field)}")


def _help(field: FieldInfo | None) -> str:
    return (field.description or "") if field else "see the manual of polling."


def _spelling(where: str) -> str:
    same = [name for name in Sidecar.model_fields if name.lower() == where.lower()]
    if same:
        return f"Write {same[0]}."
    return f"Remove it, or use one of {', '.join(Sidecar.model_fields)}."

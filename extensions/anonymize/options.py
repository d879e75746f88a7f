"""What a research project keeps, cleans and refuses: the options of PS3.15 E.3. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import InvalidInput

type Code = tuple[str, str]  # value and meaning, of the scheme DCM (PS3.16 CID 7050)

LONGEST_DESCRIPTION = 200
BASIC_PROFILE: Code = ("113100", "Basic Application Confidentiality Profile")


@dataclass(frozen=True)
class Switch:
    """An option that is on or off: its title, its code, and its column of table E.1-1."""

    title: str
    code: Code
    column: str


SWITCHES: Mapping[str, Switch] = {
    "retain_safe_private": Switch(
        "Retain safe private attributes", ("113111", "Retain Safe Private Option"), ""
    ),
    "retain_uids": Switch("Retain UIDs", ("113110", "Retain UIDs Option"), "uids"),
    "retain_device_identity": Switch(
        "Retain device identity", ("113109", "Retain Device Identity Option"), "device"
    ),
    "retain_institution_identity": Switch(
        "Retain institution identity",
        ("113112", "Retain Institution Identity Option"),
        "institution",
    ),
    "retain_patient_characteristics": Switch(
        "Retain patient characteristics",
        ("113108", "Retain Patient Characteristics Option"),
        "characteristics",
    ),
    "clean_descriptors": Switch(
        "Clean descriptors", ("113105", "Clean Descriptors Option"), "descriptors"
    ),
    "clean_structured_content": Switch(
        "Clean structured content", ("113104", "Clean Structured Content Option"), "structured"
    ),
    "clean_graphics": Switch("Clean graphics", ("113103", "Clean Graphics Option"), "graphics"),
}
_DATES: Mapping[str, Switch] = {
    "full": Switch(
        "kept",
        ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
        "full_dates",
    ),
    "shifted": Switch(
        "moved",
        ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
        "modified_dates",
    ),
}


# What pseudonyms, UIDs and dates of copies depend on: a later copy must fit those that have left.
FIXED = frozenset({"retain_uids", "dates", "shift_days"})
CHANGEABLE: Mapping[str, Switch] = {
    name: switch for name, switch in SWITCHES.items() if name not in FIXED
}


class Options(BaseModel):
    """Everything off is the Basic Application Level Confidentiality Profile itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retain_safe_private: bool = False
    retain_uids: bool = False
    retain_device_identity: bool = False
    retain_institution_identity: bool = False
    retain_patient_characteristics: bool = False
    clean_descriptors: bool = False
    clean_structured_content: bool = False
    clean_graphics: bool = False
    dates: Literal["removed", "shifted", "full"] = "removed"
    shift_days: Annotated[int, Field(ge=1, le=3650)] = 365
    burned_in: Literal["refuse", "pass"] = "refuse"

    def chosen(self) -> list[Switch]:
        """The options that are on."""
        found = [switch for name, switch in SWITCHES.items() if getattr(self, name)]
        return [*found, _DATES[self.dates]] if self.dates in _DATES else found

    def columns(self) -> frozenset[str]:
        """The columns of table E.1-1 that hold."""
        return frozenset(switch.column for switch in self.chosen())

    def codes(self) -> list[Code]:
        """The profile and its options, as De-identification Method Code Sequence names them."""
        return [BASIC_PROFILE, *(switch.code for switch in self.chosen())]


def parse_options(given: Mapping[str, Any]) -> Options:
    """Validated options; raises `InvalidInput` that names each wrong one."""
    try:
        return Options.model_validate(dict(given))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"{told}.") from None


def options_of(form: Mapping[str, str]) -> Options:
    """The options that a filled-in form says; raises `InvalidInput`."""
    given: dict[str, Any] = {name: form.get(name) == "yes" for name in SWITCHES}
    given |= {name: form[name] for name in ("dates", "shift_days", "burned_in") if form.get(name)}
    return parse_options(given)


def changed(options: Options, form: Mapping[str, str]) -> Options:
    """The options as a filled-in form changes them; those that are `FIXED` stay."""
    fixed = {name: getattr(options, name) for name in FIXED}
    return parse_options(options_of(form).model_dump() | fixed)


def check_description(text: str) -> str:
    """What people say of a project; raises `InvalidInput`."""
    description = text.strip()
    if len(description) > LONGEST_DESCRIPTION:
        raise InvalidInput(f"description: at most {LONGEST_DESCRIPTION} characters.")
    return description


def check_name(text: str) -> str:
    """A project's name, which begins every pseudonym, such as ``LUNG``; raises `InvalidInput`."""
    name = text.strip().upper()
    if not re.fullmatch(r"[A-Z][A-Z0-9]{1,15}", name):
        raise InvalidInput("name: 2 to 16 letters and digits, with a letter first, such as LUNG.")
    return name

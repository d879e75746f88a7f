"""The form of a source, field by field as its kind's settings have them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extensions.polling.source_settings import MODELS, SECRET_FIELDS, Polled, SourceSettings
from gateway.errors import InvalidInput

KINDS: Mapping[str, str] = {
    "dicomweb": "DICOMweb (QIDO-RS, WADO-RS)",
    "dimse": "DICOM (C-FIND, C-MOVE)",
    "folder": "Watched folder",
}
_LABELS: Mapping[str, str] = {
    "url": "Address",
    "token": "Bearer token",
    "username": "User",
    "password": "Password",
    "host": "Host",
    "port": "Port",
    "called_aet": "AE title",
    "calling_aet": "Our AE title",
    "deliver_to": "Delivers to",
    "interval_s": "Interval",
    "window": "Window",
    "time_zone": "Time zone",
    "look_back_days": "Days back",
    "filter": "Filter",
    "studies_per_minute": "Studies a minute",
    "timeout_s": "Time-out",
    "keep_days": "Days in done/",
}


@dataclass(frozen=True)
class Field:
    """One input: its name, label, hint, type, value, and what to choose from, if anything."""

    name: str
    label: str
    hint: str
    type: str
    value: str
    choices: Sequence[str] = ()


def fields_of(
    kind: str, values: Mapping[str, Any], ae_titles: Sequence[str], *, is_known: bool
) -> tuple[list[Field], list[Field]]:
    """The fields of a kind: where it is, and when it is asked for what."""
    place: list[Field] = []
    schedule: list[Field] = []
    for name, info in model_of(kind).model_fields.items():
        if name == "kind":
            continue
        is_secret = name in SECRET_FIELDS
        default = "" if info.is_required() else info.default
        hint = (info.description or "").rstrip(".")
        field = Field(
            name,
            _LABELS[name],
            f"{hint}; empty: as before" if is_secret and is_known else hint,
            "password" if is_secret else "number" if info.annotation is int else "text",
            "" if is_secret else str(values.get(name, default)),
            ae_titles if name == "deliver_to" else (),
        )
        (schedule if name in Polled.model_fields else place).append(field)
    return place, schedule


def settings_of(form: Mapping[str, str], kind: str) -> dict[str, str]:
    """The fields of the kind's settings; of a number that is empty the default is meant."""
    model = model_of(kind)
    given = {name: form.get(name, "").strip() for name in model.model_fields if name != "kind"}
    return {name: value for name, value in given.items() if value}


def shown(settings: SourceSettings) -> dict[str, Any]:
    """What a form may show of settings: not their secrets."""
    return settings.model_dump(exclude={"kind", *SECRET_FIELDS})


def model_of(kind: str) -> type[SourceSettings]:
    """The settings of a kind; raises `InvalidInput`."""
    model = MODELS.get(kind)
    if model is None:
        raise InvalidInput(f"kind: {kind[:20]!r} is unknown; use {', '.join(MODELS)}.")
    return model

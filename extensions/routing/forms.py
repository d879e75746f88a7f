"""What a filled-in form says: settings of a destination, or which deliveries. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from extensions.routing.destination_settings import MODELS
from extensions.routing.ledger import STATES, Filter
from extensions.routing.sending.limits import Limits
from gateway.errors import InvalidInput


def settings_of(form: Mapping[str, str], kind: str) -> dict[str, Any]:
    """The fields of the kind's settings; an empty one is left to its default."""
    model = MODELS.get(kind)
    if model is None:
        raise InvalidInput(f"kind: {kind!r} is unknown; use one of {', '.join(MODELS)}.")
    # Kinds share a form, and some a field's name: `dicomweb-url` stands before `url`.
    given = {
        name: form.get(f"{kind}-{name}", form.get(name, "")).strip()
        for name in model.model_fields
        if name != "kind"
    }
    return {name: value for name, value in given.items() if value}


def limits_of(form: Mapping[str, str]) -> dict[str, str]:
    """The fields of a destination's limits; an empty number is left to its default."""
    given = {name: form.get(name, "").strip() for name in Limits.model_fields if name in form}
    hours = {"window", "off_peak"}
    return {name: value for name, value in given.items() if value or name in hours}


def filter_of(given: Mapping[str, str]) -> Filter:
    """Which deliveries a list shows; dates are days of this clock, the last one included."""
    state = next((known for known in STATES if known == given.get("state")), None)
    until = _day_of(given.get("until", ""), "until")
    return Filter(
        state,
        given.get("destination", "").strip(),
        given.get("rule", "").strip(),
        given.get("cause", "").strip()[:128],
        _day_of(given.get("since", ""), "since"),
        until + timedelta(days=1) if until else None,
    )


def _day_of(text: str, name: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone() if text else None
    except ValueError:
        raise InvalidInput(f"{name}: a date like 2026-01-31.") from None


def number_of(text: str, name: str) -> int:
    """A row's number; raises `InvalidInput` that names the field."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput(f"{name}: choose one from the list.")
    return int(text)

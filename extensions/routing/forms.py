"""What a filled-in form says: settings of a destination. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extensions.routing.destination_settings import MODELS
from gateway.errors import InvalidInput


def settings_of(form: Mapping[str, str], kind: str) -> dict[str, Any]:
    """The fields of the kind's settings; an empty one is left to its default."""
    model = MODELS.get(kind)
    if model is None:
        raise InvalidInput(f"kind: {kind!r} is unknown; use dimse or dicomweb.")
    given = {name: form.get(name, "").strip() for name in model.model_fields if name != "kind"}
    return {name: value for name, value in given.items() if value}


def number_of(text: str, name: str) -> int:
    """A row's number; raises `InvalidInput` that names the field."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput(f"{name}: choose one from the list.")
    return int(text)

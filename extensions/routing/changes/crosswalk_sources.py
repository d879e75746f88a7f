"""Where the rows of a table come from, by kind. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.addresses import HttpUrl, validated
from gateway.errors import InvalidInput

NAME = r"[a-z0-9][a-z0-9_-]{0,31}"  # so that a note's `ARGONATH crosswalk NAME v1` fits into an LO


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableSource(_Source):
    """Rows that people import and edit."""

    kind: Literal["table"] = "table"


class CsvSource(_Source):
    """A CSV file at a URL, fetched again and again; it replaces all rows."""

    kind: Literal["csv"] = "csv"
    url: HttpUrl = Field(max_length=1024, description="Where the file is.")
    key_column: str = Field(
        min_length=1, max_length=64, description="The column that is looked up."
    )
    every_s: int = Field(default=3600, ge=60, le=604800, description="Seconds between two fetches.")
    token: str = Field(default="", description="Bearer token.", repr=False)


class LookupSource(_Source):
    """A service that is asked for one key, ``GET url?key=...``, and answers a JSON object."""

    kind: Literal["lookup"] = "lookup"
    url: HttpUrl = Field(max_length=1024, description="The service.")
    parameter: str = Field(
        default="key", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="The parameter of the key."
    )
    keep_s: int = Field(
        default=3600, ge=0, le=604800, description="Seconds for which an answer is kept."
    )
    token: str = Field(default="", description="Bearer token.", repr=False)


type Source = TableSource | CsvSource | LookupSource

MODELS: dict[str, type[TableSource | CsvSource | LookupSource]] = {
    "table": TableSource,
    "csv": CsvSource,
    "lookup": LookupSource,
}


def parse_source(kind: str, given: Mapping[str, Any]) -> Source:
    """A source from a form or a row; raises `InvalidInput` that names each wrong field."""
    model = MODELS.get(kind)
    if model is None:
        raise InvalidInput(f"kind: {kind!r} is unknown; use {', '.join(MODELS)}.")
    return validated(model, given)

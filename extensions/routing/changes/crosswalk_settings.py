"""What a rule's line *crosswalk* says, checked when the rule is saved. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from extensions.routing.changes import tag_path, tag_values
from extensions.routing.changes.crosswalk_sources import NAME
from extensions.routing.changes.morph_settings import Reason, Set, Source, SourceTag, TextTag, Value

type Column = Annotated[str, Field(min_length=1, max_length=64)]


class Crosswalk(BaseModel):
    """Set tags of what the lines after this one send, by a row of a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    table: str = Field(pattern=f"^{NAME}$", description="The table's name.")
    look_up: SourceTag = Field(description="The tag whose first value is looked up.")
    sets: dict[Column, TextTag] = Field(
        min_length=1, max_length=32, description="Which column of the row is written to which tag."
    )
    on_miss: Literal["hold", "default", "keep"] = Field(
        default="hold",
        description="Without a row: wait for a person, write the defaults, or change nothing.",
    )
    defaults: dict[Column, Value] = Field(
        default_factory=dict, description="For `default`: the value of each column."
    )
    reason: Reason = Field(
        default="COERCE", description="COERCE: to fit the destination; CORRECT: it was wrong."
    )
    source: Source = Field(default="", description="Who sent the values that were there before.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for column, tag in self.sets.items():
            if not tag_path.parse(tag).vr:
                raise ValueError(f"sets: {column}: the VR of {tag} is not known; use another tag")
        if self.on_miss != "default" and self.defaults:
            raise ValueError("defaults: only on_miss default uses them; set it, or remove them")
        if self.on_miss == "default" and set(self.defaults) != set(self.sets):
            raise ValueError(f"defaults: give a value for each of {', '.join(self.sets)}")
        for column, value in self.defaults.items():
            try:
                tag_values.check(tag_path.parse(self.sets[column]).vr, [value])
            except ValueError as error:
                raise ValueError(f"defaults: {column}: {error}") from None
        return self


def changes_of(settings: Crosswalk, row: Mapping[str, str]) -> list[Set]:
    """The changes that a row makes; raises ValueError naming the column, never its value."""
    changes = []
    for column, tag in settings.sets.items():
        if column not in row:
            raise ValueError(f"it has no column {column}")
        try:
            tag_values.check(tag_path.parse(tag).vr, [row[column]])
        except ValueError as error:
            raise ValueError(f"its column {column} cannot be written to {tag}: {error}") from None
        changes.append(Set(tag=tag, value=row[column]))
    return changes

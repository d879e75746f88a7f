"""What a line of a rule names and the tenant does not have. Takes a tenant's session."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from gateway.actions import Step
from gateway.db import Session

# By action: the setting that names something, its table, and what people call it.
_NAMED = {
    "forward": ("to", "destination", "destination"),
    "notify": ("webhook", "webhook", "webhook"),
    "crosswalk": ("table", "crosswalk", "crosswalk table"),
}


def missing_of_step(session: Session, step: Step) -> list[str]:
    """Each with its cure; see `PortalHooks.missing_of_step`."""
    setting, table, title = _NAMED.get(step.action, ("", "", ""))
    name = step.settings.get(setting)
    if not name:
        return []
    rows = session.execute(f"SELECT name FROM {table}")  # noqa: S608  ours
    known = {row["name"] for row in rows}
    if name not in known:
        return [f"there is no {title} {name!r}; {_cure(name, known)}"]
    return _columns(session, step) if step.action == "crosswalk" else []


def _cure(name: str, known: Collection[str]) -> str:
    by_case = {one.casefold(): one for one in known}
    near = get_close_matches(name.casefold(), by_case, n=1)
    return f"did you mean {by_case[near[0]]!r}?" if near else "add it first, or choose another."


def _columns(session: Session, step: Step) -> list[str]:
    """Of a table that holds rows of its own; what others answer is known only when they do."""
    rows = session.execute(
        """
        SELECT wanted FROM crosswalk c, unnest(%s::text[]) AS wanted
        WHERE c.name = %s AND c.kind <> 'lookup'
          AND EXISTS (SELECT FROM crosswalk_row r
                      WHERE r.crosswalk_id = c.crosswalk_id AND until IS NULL)
          AND NOT EXISTS (SELECT FROM crosswalk_row r WHERE r.crosswalk_id = c.crosswalk_id
                          AND until IS NULL AND r.columns ? wanted)
        """,
        [list(step.settings["sets"]), step.settings["table"]],
    )
    return [
        f"the crosswalk table {step.settings['table']!r} has no column {row['wanted']!r}; "
        "look at the table's first line."
        for row in rows
    ]

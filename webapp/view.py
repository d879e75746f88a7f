"""How values are shown: names, dates, ages, counts. Jinja escapes whatever comes out of here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Flask, g, request, url_for

from gateway import access
from gateway.access import Action
from gateway.portal import Badge
from webapp import extensions, guard

STATES = {
    "claimed": Badge("announced", "plain"),
    "receiving": Badge("arriving", "busy"),
    "stable": Badge("complete", "good"),
}


def person_name(value: str) -> str:
    """A DICOM person name (PS3.5 section 6.2.1) as 'Family, Given Middle (other script)'."""
    alphabetic, _, others = value.partition("=")
    latin = _components(alphabetic, ", ")
    other = _components(others.partition("=")[0], " ")
    return f"{latin} ({other})" if latin and other else latin or other


def _components(group: str, separator: str) -> str:
    family, *rest = [part.strip() for part in group.split("^")]
    given = " ".join(part for part in rest[:2] if part)
    return separator.join(part for part in (family, given) if part)


def sender(source: str) -> str:
    """Who sent a study, of its source such as 'C-STORE CT1 10.0.0.7 by TLS'."""
    _protocol, *who = source.removesuffix(" by TLS").split(" ")
    return " ".join(who[:-1]) or source


def dicom_date(value: str) -> str:
    """YYYYMMDD as YYYY-MM-DD; anything else as it is."""
    if len(value) == 8 and value.isdigit():
        return f"{value[:4]}-{value[4:6]}-{value[6:]}"
    return value


def age(moment: datetime | None) -> str:
    """How long ago, in words that fit a column; a date when it is more than a day."""
    if moment is None:
        return "never"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds / 3600:.0f} h ago"
    return moment.strftime("%Y-%m-%d")


def exact(moment: datetime | None) -> str:
    """The moment to the second, with its zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def plural(count: int, noun: str) -> str:
    """'1 study', '2 studies', '7 days', '1,200 series'."""
    if count == 1 or noun.endswith("series"):
        return f"{count:,} {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}s"


def study_state(state: str) -> Badge:
    """What a study's state means to a reader."""
    return STATES.get(state, Badge(state))


def install(app: Flask) -> None:
    """Make the filters, and what the frame of each page shows, known to the templates."""
    app.jinja_env.filters.update(
        person_name=person_name,
        sender=sender,
        dicom_date=dicom_date,
        age=age,
        exact=exact,
        plural=plural,
        study_state=study_state,
    )
    app.context_processor(_frame)


@dataclass(frozen=True)
class Entry:
    """One entry of a menu; `current` when it leads to the page that is shown."""

    title: str
    url: str

    @property
    def current(self) -> bool:
        """Whether the page that is shown is this one or below it."""
        return request.path == self.url or request.path.startswith(self.url.rstrip("/") + "/")


def _frame() -> dict[str, Any]:
    who = g.get("principal")
    if who is None:
        return {"principal": None}
    inside = who.tenant_id is not None
    menu = [("Studies", "studies.index"), *extensions.menu()] if inside else []
    wanted = (
        ("Tenants", "tenants.index", Action.MANAGE_TENANTS),
        ("People", "people.index", Action.MANAGE_PEOPLE),
        ("API keys", "keys.index", Action.MANAGE_KEYS),
        ("Audit", "audit.index", Action.READ_AUDIT),
        ("Extensions", "extensions.index", Action.MANAGE_KEYS),
    )
    administration = [
        (title, endpoint)
        for title, endpoint, action in wanted
        if access.permits(who, action) and (inside or endpoint != "keys.index")
    ]
    return {
        "principal": who,
        "menu": [Entry(title, url_for(endpoint)) for title, endpoint in menu],
        "administration": [Entry(title, url_for(endpoint)) for title, endpoint in administration],
        "is_system": access.is_system(who),
        "settings": guard.context().settings,
    }

"""What kind of event a record is, in DICOM's own codes (PS3.16 CID 400 and 401); pure.

Both exports name it: DICOM's audit messages (PS3.15 A.5) and FHIR's AuditEvent take the same codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

type Row = Mapping[str, Any]  # of the table `audit`
type ActionCode = Literal["C", "R", "U", "D", "E"]


@dataclass(frozen=True)
class Code:
    """A code of the scheme DCM and its meaning."""

    value: str
    meaning: str


@dataclass(frozen=True)
class Event:
    """The event of a record: what happened, of which sort, and whether it made, read, changed..."""

    id: Code
    action: ActionCode
    type: Code | None = None


_APPLICATION = Code("110100", "Application Activity")
_LOG_USED = Code("110101", "Audit Log Used")
_ACCESSED = Code("110103", "DICOM Instances Accessed")
_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
_DELETED = Code("110105", "DICOM Study Deleted")
_QUERY = Code("110112", "Query")
_ALERT = Code("110113", "Security Alert")
_SIGN_IN = Code("110114", "User Authentication")
_STOPPED = Code("110121", "Application Stop")
_LOGIN = Code("110122", "Login")
_LOGOUT = Code("110123", "Logout")
_SECURITY = Code("110129", "Security Configuration")
_SOFTWARE = Code("110131", "Software Configuration")
_RESTRICTED = Code("110127", "Use of Restricted Function")
_USERS = Code("110137", "User Security Attributes Changed")

_OF_ACTION: Mapping[str, Event] = {
    "store-study": Event(_TRANSFERRED, "C"),
    "deliver-study": Event(_TRANSFERRED, "R"),
    "retrieve-study": Event(_TRANSFERRED, "C"),
    "commit-storage": Event(_QUERY, "E"),
    "report-commitment": Event(_QUERY, "E"),
    "read-worklist": Event(_QUERY, "E"),
    "delete-study": Event(_DELETED, "D"),
    "read-audit": Event(_LOG_USED, "R"),
    "export-audit": Event(_LOG_USED, "R"),
    "sign-in": Event(_SIGN_IN, "E", _LOGIN),
    "sign-out": Event(_SIGN_IN, "E", _LOGOUT),
    "enter-tenant": Event(_ALERT, "E", _USERS),
    "raw-archive": Event(_ALERT, "E", _RESTRICTED),
    "reidentify": Event(_ALERT, "E", _RESTRICTED),
    "unknown-route": Event(_ALERT, "E", _RESTRICTED),
    "audit.tampered": Event(_ALERT, "E", _SECURITY),
    "audit.lost-reads": Event(_ALERT, "E", _SECURITY),
    "node.unclean-stop": Event(_APPLICATION, "E", _STOPPED),
}
_VERBS: Mapping[str, ActionCode] = {
    "create": "C",
    "add": "C",
    "change": "U",
    "set": "U",
    "revoke": "D",
    "remove": "D",
    "delete": "D",
}
_SUBJECTS: Mapping[str, Code] = {
    "key": _USERS,
    "user": _USERS,
    "member": _USERS,
    "role": _USERS,
    "password": _USERS,
    "tenant": _SECURITY,
    "certificate": _SECURITY,
    "tls-only": _SECURITY,
    "destination": _SOFTWARE,
    "rule": _SOFTWARE,
    "source": _SOFTWARE,
}


def event_of(row: Row) -> Event:
    """The event; what nobody foresaw is an activity of the application."""
    action = str(row["action"])
    if action == "read-study":
        return _read(row)
    if action in _OF_ACTION:
        return _OF_ACTION[action]
    verb, _, subject = action.partition("-")
    if subject in _SUBJECTS:
        return Event(_ALERT, _VERBS.get(verb, "E"), _SUBJECTS[subject])
    return Event(_APPLICATION, "E")


def _read(row: Row) -> Event:
    if row["detail"].startswith("C-MOVE"):
        return Event(_TRANSFERRED, "R")
    if row["resource"] == "search" or row["detail"].startswith(("search", "C-FIND")):
        return Event(_QUERY, "E")
    return Event(_ACCESSED, "R")


def outcome_of(row: Row) -> str:
    """0 success, 4 minor failure (refused), 8 serious failure (PS3.15 A.5.2)."""
    return {"allowed": "0", "denied": "4"}.get(row["verdict"], "8")


def uid_of(row: Row) -> tuple[str, str]:
    """(`study`, `series` or `instance`, UID) of the resource, or two empty strings."""
    level, _, uid = row["resource"].partition(" ")
    named = level in ("study", "series", "instance") and uid.replace(".", "").isdecimal()
    return (level, uid) if named else ("", "")


def recorded(row: Row) -> str:
    """When it was written, as xsd:dateTime and FHIR's instant in UTC."""
    return f"{row['at']:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def is_address(text: str) -> bool:
    """Whether an origin is an IP address rather than a name."""
    return ":" in text or text.replace(".", "").isdecimal()

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


ACTIVITY = Code("110100", "Application Activity")
LOG_USED = Code("110101", "Audit Log Used")
_ACCESSED = Code("110103", "DICOM Instances Accessed")
TRANSFERRED = Code("110104", "DICOM Instances Transferred")
_DELETED = Code("110105", "DICOM Study Deleted")
QUERY = Code("110112", "Query")
_ALERT = Code("110113", "Security Alert")
OF_STUDIES = frozenset({_ACCESSED, TRANSFERRED, _DELETED})
_SIGN_IN = Code("110114", "User Authentication")
_STOPPED = Code("110121", "Application Stop")
_LOGIN = Code("110122", "Login")
_LOGOUT = Code("110123", "Logout")
_NODE = Code("110126", "Node Authentication")
_SECURITY = Code("110129", "Security Configuration")
_SOFTWARE = Code("110131", "Software Configuration")
_RESTRICTED = Code("110132", "Use of Restricted Function")
_OBJECT = Code("110135", "Object Security Attributes Changed")
_USERS = Code("110137", "User Security Attributes Changed")

_OF_ACTION: Mapping[str, Event] = {
    "store-study": Event(TRANSFERRED, "C"),
    "deliver-study": Event(TRANSFERRED, "R"),
    "retrieve-study": Event(TRANSFERRED, "C"),
    "commit-storage": Event(QUERY, "E"),
    "report-commitment": Event(QUERY, "E"),
    "read-worklist": Event(QUERY, "E"),
    "delete-study": Event(_DELETED, "D"),
    "read-audit": Event(LOG_USED, "R"),
    "export-audit": Event(LOG_USED, "R"),
    "sign-in": Event(_SIGN_IN, "E", _LOGIN),
    "sign-in-oidc": Event(_SIGN_IN, "E", _LOGIN),
    "sign-out": Event(_SIGN_IN, "E", _LOGOUT),
    "enter-tenant": Event(_ALERT, "E", _USERS),
    "raw-archive": Event(_ALERT, "E", _RESTRICTED),
    "open-share": Event(_ACCESSED, "R"),
    "share-study": Event(_ALERT, "E", _OBJECT),
    "invite": Event(_ALERT, "E", _USERS),
    "reidentify": Event(_ALERT, "E", _RESTRICTED),
    "read-crosswalk": Event(_ALERT, "E", _RESTRICTED),  # its keys name patients
    # What a rule does with a study, other than a change of the rule.
    "hold-rule": Event(ACTIVITY, "E"),
    "end-rule": Event(ACTIVITY, "E"),
    "apply-rule": Event(ACTIVITY, "E"),
    "unknown-route": Event(_ALERT, "E", _RESTRICTED),
    "audit.tampered": Event(_ALERT, "E", _SECURITY),
    "audit.lost-reads": Event(_ALERT, "E", _SECURITY),
    "node.unclean-stop": Event(ACTIVITY, "E", _STOPPED),
}
_SUBJECTS: Mapping[str, Code] = {
    "key": _USERS,
    "user": _USERS,
    "member": _USERS,
    "role": _USERS,
    "password": _USERS,
    "account": _USERS,
    "invitation": _USERS,
    "share": _OBJECT,
    "sharing-address": _OBJECT,
    "tenant": _SECURITY,
    "certificate": _SECURITY,
    "tls-only": _SECURITY,
    "project": _SECURITY,  # of research: how copies are de-identified, and the way back
    "destination": _SOFTWARE,
    "rule": _SOFTWARE,
    "rules": _SOFTWARE,
    "crosswalk": _SOFTWARE,
    "webhook": _SOFTWARE,
    "stuck-alert": _SOFTWARE,
    "extension": _SOFTWARE,
    "page": _RESTRICTED,
    "source": _SOFTWARE,
}


def event_of(row: Row) -> Event:
    """The event; what nobody foresaw is an activity of the application.

    Those of studies name one (PS3.15 A.5.3.6 to 8): a refusal that cannot is a security alert.
    """
    event = _event_of(row, str(row["action"]))
    if event.id in OF_STUDIES and row["verdict"] == "denied" and uid_of(row)[0] != "study":
        return Event(_ALERT, "E", _NODE if row["resource"].startswith("called ") else _RESTRICTED)
    return event


def _event_of(row: Row, action: str) -> Event:
    if action == "read-study":
        return _read(row)
    if action in _OF_ACTION:
        return _OF_ACTION[action]
    subject = action.partition("-")[2]
    if subject in _SUBJECTS:
        return Event(_ALERT, "E", _SUBJECTS[subject])
    return Event(ACTIVITY, "E")


def _read(row: Row) -> Event:
    if row["detail"].startswith("C-MOVE"):
        return Event(TRANSFERRED, "R")
    if row["resource"] == "search" or row["detail"].startswith(("search", "C-FIND")):
        return Event(QUERY, "E")
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

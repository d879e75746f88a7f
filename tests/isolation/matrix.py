"""Calls every combination of route, method, caller and resource, and judges the answers."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from gateway.access import Action
from gateway.needs import Open
from tests.isolation import expectations
from tests.isolation.expectations import NEVER_ALLOWED, STATUSES, WRITES, Expected
from tests.isolation.routes import Route
from tests.isolation.world import Caller, Whose, World

RESOURCES: tuple[Whose, ...] = ("own", "other", "shared", "lent", "absent")
CALLERS = (
    "nobody", "revoked", "viewer", "member", "admin", "owner", "system admin in south",
    "system admin", "link",
)  # fmt: skip
# What differs from answer to answer and tells nothing.
_VOLATILE = frozenset({"date", "x-request-id", "content-length", "connection", "keep-alive"})
# Pages that list what the caller itself has asked for, so that its own words come back; of a study,
# too: a series of another's that was asked for as one of its own stands in its audit.
ECHOES = frozenset({"/audit", "/audit/export", "/studies/{uid}"})
FORM = urlencode(
    {
        "role": "viewer", "enabled": "yes", "disabled": "yes", "ae_title": "MATRIX",
        "name": "matrix", "kind": "dimse", "host": "127.0.0.1", "port": "1",
        "called_aet": "X", "calling_aet": "Y", "destination": "987654", "label": "matrix",
        "certificate": "CN=matrix", "lifetime": "30", "tenant": "nowhere", "address": "nowhere",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One request, and what must come of it."""

    route: Route
    method: str
    caller: Caller
    whose: Whose | None  # None: the route names no resource
    path: str
    expected: Expected
    named: tuple[str, ...] = ()  # the identifiers that the path holds
    may_know: bool = False

    def __str__(self) -> str:
        whose = f" ({self.whose})" if self.whose else ""
        return f"{self.caller.name}: {self.method} {self.route.path}{whose}"


@dataclass
class Answer:
    """What came: the status, and the rest with the named identifiers taken out."""

    case: Case
    status: int
    masked: bytes
    headers: tuple[tuple[str, str], ...]
    told: tuple[str, ...]  # secrets that it holds
    seconds: float


@dataclass(frozen=True)
class Mismatch:
    """What should not have happened."""

    case: str
    what: str


@dataclass
class Run:
    """A whole run, for the report."""

    answers: list[Answer] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)
    left_out: list[Case] = field(default_factory=list)
    seconds: float = 0.0


def cases(
    world: World,
    routes: Iterable[Route],
    *,
    methods: Sequence[str],
    callers: Sequence[str] = CALLERS,
    resources: Sequence[Whose] = RESOURCES,
) -> Iterator[Case]:
    """Every combination."""
    for route in routes:
        has_owner = bool(set(route.places) & (expectations.OWNED | {"tenant_id"}))
        for method in methods:
            for whose in resources if has_owner else (None,):
                path, named = filled(world, route, whose or "absent")
                for name in callers:
                    who = world.caller(name)
                    wanted = None
                    if method in expectations.ORTHANC_METHODS:
                        wanted = expectations.needs(route, method, path)
                    answer = _expected(route, method, path, who, whose, wanted)
                    yield Case(
                        route,
                        method,
                        who,
                        whose,
                        path,
                        answer,
                        named,
                        expectations.may_know(who.principal, wanted),
                    )


def _expected(
    route: Route,
    method: str,
    path: str,
    who: Caller,
    whose: Whose | None,
    wanted: Action | Open | None,
) -> Expected:
    if who.principal is not None and who.principal.study_uid is not None:
        return expectations.by_link(route, method, path, is_its_study=whose == "lent")
    return expectations.expected(route, method, path, who.principal, owner_of(whose, wanted))


def owner_of(whose: Whose | None, wanted: Action | Open | None) -> str | None:
    """Whose a resource is for an action: what is lent to south is its own to read, and no more."""
    if whose == "lent" and wanted is Action.READ_STUDY:
        return "south"
    owners = {"own": "south", "other": "north", "shared": "north", "lent": "north"}
    return owners.get(whose or "")


def filled(world: World, route: Route, whose: Whose) -> tuple[str, tuple[str, ...]]:
    """The path with a resource's identifiers in its places, and these identifiers."""
    study, numbers = world.studies[whose], world.numbers[whose]
    parts = route.path.split("/")
    level = next((p for p in parts if p in study.orthanc), "")
    section = next((p for p in parts if p in numbers), "")
    known = {
        "study": study.study, "uid": study.study, "series": study.series,
        "instance": study.instance, "patient": study.patient, "accession": study.accession,
        "tenant_id": numbers["tenant"], "person_id": numbers["person_id"],
        "credential_id": numbers["credential_id"], "invitation_id": numbers["invitation_id"],
        "number": numbers.get(section, "0"), "rule_name": numbers["rules"],
        "run_id": numbers["runs"], "tryout_id": numbers["tryouts"],
        "table_name": numbers["crosswalks"],
        "id": study.orthanc.get(level, "absent"),
    }  # fmt: skip
    if route.path.startswith("/orthanc/studies/{study}"):
        known["study"] = study.orthanc["studies"]
    fixed = {
        "frame": "0" if "orthanc" in parts else "1", "rest": "7FE00010", "index": "0",
        "label": "tenant-north", "key": "archive", "path": "PatientName",
        "name": "routing", "filename": "argonath.css", "route": "x",
        "version": "1",
    }  # fmt: skip
    names = set(route.places)
    if "attachments" in parts or "metadata" in parts:
        fixed["name"] = "dicom" if "attachments" in parts else "ReceptionDate"
    path = re.sub(
        r"{(\w+)}", lambda m: quote(known.get(m[1]) or fixed.get(m[1], "absent")), route.path
    )
    return path, tuple(sorted({known[n] for n in names & known.keys()}, key=len, reverse=True))


def run(world: World, wanted: Iterable[Case], *, workers: int = 8) -> Run:
    """Make every request that may be made, over connections that are kept, and judge."""
    began = time.monotonic()
    result, asked = Run(), []
    for case in wanted:
        (result.left_out if is_left_out(case) else asked).append(case)
    with closing(Client(world)) as client, ThreadPoolExecutor(workers) as pool:
        result.answers = list(pool.map(client.ask, asked, chunksize=16))
    result.mismatches = [*judged(result.answers), *differences(result.answers)]
    result.seconds = time.monotonic() - began
    return result


def is_left_out(case: Case) -> bool:
    """A write that the policy permits would do what it says."""
    return case.method in WRITES and case.expected is Expected.ALLOWED


class Client:
    """HTTP over one kept connection for each thread."""

    def __init__(self, world: World) -> None:
        self._port = world.gateway.http_port
        self._secrets = re.compile("|".join(map(re.escape, world.secrets)).encode())
        asked = [name for study in world.studies.values() for name in study.identifiers]
        # The label in paths of Orthanc's own REST, the AE title that attacks by DIMSE pretend, and
        # what stands in paths by its name.
        named = [world.numbers["other"][place] for place in ("rules", "crosswalks")]
        self._asked = [*asked, "tenant-north", "NORTHCT9", *named]
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Close every connection."""
        for connection in self._opened:
            connection.close()

    def ask(self, case: Case) -> Answer:
        """Make one request."""
        began = time.monotonic()
        status, headers, body = self._exchange(case)
        seconds = time.monotonic() - began
        heard = body + b"\n" + "\n".join(f"{k}: {v}" for k, v in headers).encode()
        told = {found.decode() for found in self._secrets.findall(heard)}
        named = self._asked if case.route.path in ECHOES else case.named
        told = {secret for secret in told if not any(secret in name for name in named)}
        kept = tuple(
            (name.lower(), mask(value.encode(), case.named).decode())
            for name, value in headers
            if name.lower() not in _VOLATILE
        )
        masked = mask(body, case.named)
        return Answer(case, status, masked, kept, tuple(sorted(told)), seconds)

    def _exchange(self, case: Case) -> tuple[int, list[tuple[str, str]], bytes]:
        headers, body = request_of(case)
        for attempt in (1, 2, 3):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
                self._local.connection = connection
                self._opened.append(connection)
            try:
                connection.request(case.method, case.path, body, dict(headers))
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            except (http.client.HTTPException, ConnectionError):
                connection.close()
                self._local.connection = None
                if attempt == 3:
                    raise
        raise AssertionError


def request_of(case: Case) -> tuple[Mapping[str, str], bytes | None]:
    """The headers and body: a browser's for the portal, a program's for the archive."""
    if case.route.group == "portal":
        headers = {**case.caller.session, "Accept": "application/json"}
        if case.method not in WRITES:
            return headers, None
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return headers, FORM.encode()
    headers = dict(case.caller.key)
    return headers, b"{}" if case.method in WRITES else None


def mask(text: bytes, named: Iterable[str]) -> bytes:
    """The text without the identifiers that were asked for, and without its own correlation id."""
    text = re.sub(rb'(correlation": ?")[0-9a-f]{32}', rb"\1#", text)
    for name in named:
        if name.isdigit():
            text = re.sub(rb"\b%s\b" % name.encode(), b"#", text)
        else:
            text = text.replace(name.encode(), b"#")
    return text


def judged(answers: Iterable[Answer]) -> Iterator[Mismatch]:
    """Answers of another status than the policy says, and those that tell a secret."""
    for answer in answers:
        case = answer.case
        if answer.told and not case.may_know:
            yield Mismatch(str(case), f"tells of the other tenant: {', '.join(answer.told[:3])}")
        if answer.status >= 500:
            yield Mismatch(str(case), f"the gateway broke: {answer.status}")
        elif case.expected in STATUSES:
            if answer.status not in STATUSES[case.expected]:
                yield Mismatch(str(case), f"must be {case.expected.value}, was {answer.status}")
        elif case.expected is Expected.ALLOWED and answer.status in NEVER_ALLOWED:
            yield Mismatch(str(case), f"is allowed, was {answer.status}")


def differences(answers: Iterable[Answer]) -> Iterator[Mismatch]:
    """Where what belongs to the other tenant is answered otherwise than what does not exist."""
    groups: dict[tuple[Route, str, str], dict[Whose | None, Answer]] = {}
    for answer in answers:
        case = answer.case
        if case.expected is not Expected.ALLOWED:
            key = (case.route, case.method, case.caller.name)
            groups.setdefault(key, {})[case.whose] = answer
    for (route, _method, _caller), found in groups.items():
        absent = found.get("absent")
        for whose in ("other", "shared", "lent"):
            answer = found.get(whose)
            if answer is None or absent is None:
                continue
            if whose == "shared" and set(route.places) == {"patient"}:
                continue  # the PatientID is the caller's own, too: it finds the caller's study
            if answer.case.expected is not absent.case.expected:
                continue
            for what in ("status", "masked", "headers"):
                one, two = getattr(answer, what), getattr(absent, what)
                if one != two:
                    told = "body" if what == "masked" else what
                    yield Mismatch(
                        str(answer.case), f"{told} is {one!r:.200}, of an absent one {two!r:.200}"
                    )

"""A gateway with two tenants: `north` has what `south` must not notice, and somebody of each role.

Everything that is asked is asked by south, by nobody, or by the system's administrator.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import httpx
import psycopg
from psycopg.types.json import Jsonb
from pydicom import dcmread

from extensions.routing.rules.trying import Report
from gateway import identity, share_links
from gateway.db import Database
from gateway.identity import Principal, Role
from gateway.phantom import ct_phantom
from gateway.routes import LINK_COOKIE, SESSION_COOKIE
from gateway.studies import orthanc_id
from tests.acceptance.conftest import RunningGateway

# lent: of north, which lets south read it; other was lent to south, and is not any more.
type Whose = Literal["own", "other", "shared", "lent", "absent"]

SHARED_PATIENT = "SHARED-4711"
_BOUNDARY = "isolation"
STOW = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'


@dataclass(frozen=True)
class Study:
    """A study of two instances, and every name under which it could be asked for."""

    tenant: str
    study: str
    series: str
    instance: str
    second: str
    patient: str
    patient_name: str
    accession: str
    files: tuple[bytes, ...] = field(repr=False)

    @property
    def orthanc(self) -> Mapping[str, str]:
        """Orthanc's ids by the first part of their path."""
        uids = (self.patient, self.study, self.series, self.instance)
        levels = ("patients", "studies", "series", "instances")
        return {level: orthanc_id(*uids[: n + 1]) for n, level in enumerate(levels)}

    @property
    def identifiers(self) -> tuple[str, ...]:
        """What of it a request can name."""
        uids = (self.study, self.series, self.instance, self.accession, self.patient)
        return (*uids, *self.orthanc.values())


@dataclass(frozen=True)
class Caller:
    """Somebody, and what they show to be let in."""

    name: str
    principal: Principal | None
    key: Mapping[str, str]
    session: Mapping[str, str]


@dataclass
class World:
    """The gateway, its people, and what there is of each kind."""

    gateway: RunningGateway
    sources: Path  # what the gateway runs from
    database: Database
    studies: dict[Whose, Study]
    callers: dict[str, Caller]
    numbers: dict[Whose, dict[str, str]]
    secrets: tuple[str, ...] = ()

    def caller(self, name: str) -> Caller:
        """Somebody by name; `make_caller` says which there are."""
        return self.callers[name]

    def as_admin(self) -> psycopg.Connection[Any]:
        """The database as its owner, whom no policy binds."""
        url = f"host={self.gateway.data}/run/postgresql user=argonath dbname=argonath"
        return psycopg.connect(url, autocommit=True)

    def orthanc(self, path: str, **asked: Any) -> httpx.Response:
        """GET on Orthanc's own REST as our own processes do; POST where there is JSON to send."""
        answer = httpx.request(
            "POST" if asked else "GET",
            environment_of(self.gateway)["ARGONATH_ORTHANC_URL"] + path,
            headers={"Authorization": f"Bearer {internal_token(self.gateway)}"},
            timeout=60,
            **asked,
        )
        return answer.raise_for_status()

    def content(self, orthanc_instance: str) -> bytes:
        """The file as the archive holds it."""
        return self.orthanc(f"/instances/{orthanc_instance}/file").content

    def owner_of(self, study_uid: str) -> str | None:
        """Whose row the study has."""
        with self.as_admin() as session:
            row = session.execute(
                "SELECT tenant_id FROM study WHERE study_instance_uid = %s", [study_uid]
            ).fetchone()
        return row[0] if row else None

    def snapshot(self) -> dict[str, str]:
        """What must not change: north's rows, every instance, and Orthanc's settings."""
        state = {}
        with self.as_admin() as session:
            for table, columns in _tables(session).items():
                row = session.execute(
                    f"SELECT count(*), md5(coalesce(string_agg(r, ' ' ORDER BY r), '')) FROM "
                    f"(SELECT ROW({', '.join(columns)})::text AS r FROM {table} "
                    "WHERE tenant_id = 'north') AS rows"
                ).fetchone()
                state[f"rows of {table}"] = str(row)
        for path in ("/modalities", "/peers", "/dicom-web/servers", "/tools/log-level"):
            state[f"orthanc {path}"] = self.orthanc(path).text
        for whose in ("own", "other", "shared", "lent"):
            study = self.studies[whose]
            for level, number in study.orthanc.items():
                found = self.orthanc(f"/{level}/{number}?full").json()
                for name in ("LastUpdate", "IsStable"):
                    found.pop(name, None)
                state[f"orthanc {whose} {level}"] = str(sorted(found.items()))
            content = f"/instances/{study.orthanc['instances']}/attachments/dicom/md5"
            state[f"content of {whose}"] = self.orthanc(content).text
        return state


def environment_of(gateway: RunningGateway) -> dict[str, str]:
    """The ARGONATH_* values with which the gateway runs."""
    lines = (gateway.data / "run/environment").read_text().splitlines()
    pairs = (line.removeprefix("export ").partition("=") for line in lines)
    return {name: value.strip("'") for name, _, value in pairs}


def internal_token(gateway: RunningGateway) -> str:
    """The token of the gateway's own processes."""
    return (gateway.data / "secrets/internal_token").read_text().strip()


def make_study(tenant: str, patient: str, name: str) -> Study:
    """A new phantom study that nobody has stored yet."""
    accession = f"ACC-{secrets.token_hex(5).upper()}"
    files = []
    for content in ct_phantom(2, seed=secrets.token_hex(8), patient_name=name, patient_id=patient):
        ds = dcmread(BytesIO(content))
        ds.AccessionNumber = accession
        ds.StudyDescription = f"Description of {name}"
        buffer = BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    first, second = (dcmread(BytesIO(f), stop_before_pixels=True) for f in files)
    return Study(
        tenant,
        str(first.StudyInstanceUID),
        str(first.SeriesInstanceUID),
        str(first.SOPInstanceUID),
        str(second.SOPInstanceUID),
        patient,
        name,
        accession,
        tuple(files),
    )


def multipart(*files: bytes) -> bytes:
    """The body of a STOW-RS request."""
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + file + b"\r\n" for file in files) + f"--{_BOUNDARY}--".encode()


def stow(world: World, caller: str, *files: bytes, study: str = "") -> httpx.Response:
    """Store files as somebody, perhaps into a study."""
    return httpx.post(
        f"{world.gateway.url}/dicom-web/studies" + (f"/{study}" if study else ""),
        content=multipart(*files),
        headers={
            **world.caller(caller).key,
            "Content-Type": STOW,
            "Accept": "application/dicom+json",
        },
        timeout=60,
    )


@contextmanager
def make_world(gateway: RunningGateway, sources: Path) -> Iterator[World]:
    """Fill a gateway that has started with its two demonstration tenants."""
    database = Database(environment_of(gateway)["ARGONATH_DATABASE_URL"], max_size=4)
    try:
        studies: dict[Whose, Study] = {
            "own": make_study("south", SHARED_PATIENT, "Common^Chris"),
            "other": make_study("north", f"N-{secrets.token_hex(5)}", "Verborgen^Nora"),
            "shared": make_study("north", SHARED_PATIENT, "Secreto^Nestor"),
            "lent": make_study("north", f"L-{secrets.token_hex(5)}", "Lent^Lena"),
            "absent": make_study("nobody", f"A-{secrets.token_hex(5)}", "Absent^Anna"),
        }
        world = World(gateway, sources, database, studies, _callers(gateway, database), {})
        north = ("other", "shared", "lent")
        for whose in ("own", *north):
            caller = "north" if whose in north else "member"
            answer = stow(world, caller, *studies[whose].files)
            assert answer.status_code == 200, answer.text
        _fill(world)
        world.callers["link"] = _visitor(world)
        yield world
    finally:
        database.close()


def _callers(gateway: RunningGateway, database: Database) -> dict[str, Caller]:
    people = {
        "viewer": ("south", Role.VIEWER),
        "member": ("south", Role.MEMBER),
        "admin": ("south", Role.ADMIN),
        "owner": ("south", Role.OWNER),
        "north": ("north", Role.OWNER),
        "system admin": (None, Role.SYSTEM_ADMIN),
        "system admin in south": ("south", Role.SYSTEM_ADMIN),
        "revoked": ("south", Role.OWNER),
    }
    callers = {}
    for name, (tenant, role) in people.items():
        callers[name] = _caller(gateway, database, name, tenant, role)
    with database.system_session("revoke") as session:
        session.execute(
            "UPDATE credential SET revoked_at = now() WHERE label = 'revoked' OR person_id = "
            "(SELECT person_id FROM person WHERE email = 'revoked@isolation.example')"
        )
    callers["revoked"] = Caller("revoked", None, callers["revoked"].key, callers["revoked"].session)
    callers["nobody"] = Caller("nobody", None, {}, _form(gateway, ""))
    return callers


def _caller(
    gateway: RunningGateway, database: Database, name: str, tenant: str | None, role: Role
) -> Caller:
    email, password = f"{name.replace(' ', '-')}@isolation.example", secrets.token_urlsafe(16)
    is_system = role is Role.SYSTEM_ADMIN
    with database.system_session("people of a test") as session:
        person = identity.create_person(session, email, password, system_admin=is_system)
        if tenant and not is_system:
            identity.add_member(session, person, tenant, role)
        key = identity.create_api_key(session, tenant, role, label=name)
    token = identity.sign_in(database, email, password, hours=12)
    if tenant and is_system:
        with database.system_session("enter") as session:
            entering = identity.authenticate(database, token)
            identity.enter_tenant(session, entering, tenant)
    return Caller(
        name,
        Principal(name, role, tenant),
        MappingProxyType({"Authorization": f"Bearer {key}"}),
        _form(gateway, token),
    )


def _visitor(world: World) -> Caller:
    """Somebody who opened a link to the study that is lent."""
    until, study = datetime.now(UTC) + timedelta(hours=3), world.studies["lent"].study
    with world.database.tenant_session("north") as session:
        link = share_links.create(session, "north", study, until, "", with_code=False)
    visit = share_links.visit(world.database, link.token, "", "")
    shown = f"{LINK_COOKIE}={visit.token}"
    form = dict(_form(world.gateway, ""))
    form["Cookie"] = f"{form['Cookie']}; {shown}"
    return Caller(
        "link",
        share_links.visitor(world.database, visit.token),
        MappingProxyType({"Cookie": shown}),
        MappingProxyType(form),
    )


def _form(gateway: RunningGateway, token: str) -> Mapping[str, str]:
    """What a browser sends with a form: session, the form's cookie and its token."""
    page = httpx.get(f"{gateway.url}/sign-in", headers={"Accept": "text/html"}, timeout=30)
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert found, "the sign-in form has no csrf_token"
    cookies = [f"{name}={value}" for name, value in page.cookies.items()]
    if token:
        cookies.append(f"{SESSION_COOKIE}={token}")
    return MappingProxyType({"Cookie": "; ".join(cookies), "X-CSRFToken": found[1]})


def _fill(world: World) -> None:
    """Rows of both tenants in every table that a page shows."""
    with world.as_admin() as session:
        for whose, tenant in (("own", "south"), ("other", "north")):
            study = world.studies[whose]
            world.numbers[whose] = _rows_of(session, tenant, study, secrets.token_hex(4))
        world.numbers["shared"] = world.numbers["lent"] = world.numbers["other"]
        session.execute(
            "INSERT INTO study_share (tenant_id, study_instance_uid, with_tenant_id, expires_at, "
            "created_by) VALUES ('north', %s, 'south', now() + '1 day', ''), "
            "('north', %s, 'south', now() - '1 minute'::interval, '')",
            [world.studies["lent"].study, world.studies["shared"].study],
        )
        address = session.execute(
            "SELECT sharing_address::text FROM tenant WHERE tenant_id = 'north'"
        ).fetchone()
        world.numbers["absent"] = dict.fromkeys(world.numbers["own"], "987654")
    for whose in ("own", "other", "shared", "lent", "absent"):
        tenant = {"own": "south", "absent": "nowhere"}.get(whose, "north")
        world.numbers[whose] = world.numbers[whose] | {"tenant": tenant}
    hidden = [world.studies["other"], world.studies["shared"]]
    found = {
        "North Hospital",
        "tenant-north",
        "north-vault",
        "north-rule",
        "north-source",
        "north-webhook",
        "north-cause",
        "north-deed",
        "north-table",
        "NORTHVAULT",
        "NORTHCT9",
        "north spare key",
    }
    assert address is not None
    found |= {"10.99.88.77", "north@isolation.example", address[0]}
    for study in hidden:
        found |= {*study.identifiers, study.second, study.patient_name}
    own = world.studies["own"]
    found -= {own.patient, own.orthanc["patients"]}  # the PatientID is known to both
    world.secrets = tuple(sorted(found))


def _rows_of(
    session: psycopg.Connection[Any], tenant: str, study: Study, mark: str
) -> dict[str, str]:
    """A destination, rule, delivery, modality, member and key of a tenant; their numbers."""

    def one(statement: str, *values: object) -> str:
        row = session.execute(statement.encode(), values).fetchone()
        assert row is not None
        return str(row[0])

    host = "10.99.88.77" if tenant == "north" else "10.1.1.1"
    settings = f'{{"host": "{host}", "port": 104, "called_aet": "VAULT"}}'
    destination = one(
        "INSERT INTO destination (tenant_id, name, kind, settings, enabled) "
        "VALUES (%s, %s, 'dimse', %s, false) RETURNING destination_id",
        tenant, f"{tenant}-vault", settings,
    )  # fmt: skip
    rule = f"{tenant}-rule"
    forward = [
        {"name": rule, "enabled": False, "actions": [{"forward": {"to": f"{tenant}-vault"}}]}
    ]
    session.execute(
        "INSERT INTO rulebook (tenant_id, version, rules, author) VALUES (%s, 1, %s, 'test')",
        [tenant, Jsonb(forward)],
    )
    delivery = one(
        "INSERT INTO delivery (tenant_id, study_instance_uid, destination_id, destination_name, "
        "rule_name) VALUES (%s, %s, %s, %s, %s) RETURNING delivery_id",
        tenant, study.study, destination, f"{tenant}-vault", f"{tenant}-rule",
    )  # fmt: skip
    session.execute(
        "INSERT INTO delivery_instance (delivery_id, tenant_id, sop_instance_uid, "
        "series_instance_uid, sop_class_uid, cause) VALUES (%s, %s, %s, %s, '1.2', %s)",
        [delivery, tenant, study.instance, study.series, f"{tenant}-instance"],
    )
    title = f"{tenant.upper()}CT9"
    session.execute(
        "INSERT INTO calling_ae_title (tenant_id, ae_title, may_query, host, port) "
        "VALUES (%s, %s, true, %s, 104)",
        [tenant, title, host],
    )
    email = "north@isolation.example" if tenant == "north" else "viewer@isolation.example"
    person = one("SELECT person_id FROM person WHERE email = %s", email)
    key = one(
        "INSERT INTO credential (kind, token_hash, tenant_id, role, label) "
        "VALUES ('api-key', %s, %s, 'viewer', %s) RETURNING credential_id",
        mark.encode(), tenant, f"{tenant} spare key",
    )  # fmt: skip
    invitation = one(
        "INSERT INTO invitation (tenant_id, email, role, token_hash, invited_by, expires_at) "
        "VALUES (%s, %s, 'viewer', %s, 'admin', now() + interval '1 day') RETURNING invitation_id",
        tenant, f"guest@{tenant}.example", f"invitation {mark}".encode(),
    )  # fmt: skip
    share = one(
        "INSERT INTO study_share (tenant_id, study_instance_uid, with_tenant_id, expires_at, "
        "revoked_at, created_by) VALUES (%s, %s, %s, now() + '1 day', now(), '') "
        "RETURNING share_id",
        tenant, study.study, "south" if tenant == "north" else "north",
    )  # fmt: skip
    link = one(
        "INSERT INTO share_link (tenant_id, study_instance_uid, token_hash, expires_at, "
        "revoked_at, created_by) VALUES (%s, %s, %s, now() + '1 day', now(), '') "
        "RETURNING link_id",
        tenant, study.study, mark.encode(),
    )  # fmt: skip
    project = one(
        "INSERT INTO research_project (tenant_id, name, options, secret) "
        "VALUES (%s, %s, '{}', 'sealed:') RETURNING project_id",
        tenant, f"{tenant.upper()}VAULT",
    )  # fmt: skip
    source = one(
        "INSERT INTO polling_source (tenant_id, name, kind, settings, enabled) "
        "VALUES (%s, %s, 'dicomweb', %s, false) RETURNING source_id",
        tenant, f"{tenant}-source", f'{{"url": "http://{host}/dicom-web"}}',
    )  # fmt: skip
    run = one(
        "INSERT INTO rule_run (tenant_id, study_instance_uid, rule_name, rulebook_version, reason, "
        "steps, priority, state, cause, instances) VALUES (%s, %s, %s, 1, '[]', "
        "'[{\"hold\": {\"reason\": \"\"}}]', 'normal', 'held', %s, 1) RETURNING run_id",
        tenant, study.study, rule, f"{tenant}-cause",
    )  # fmt: skip
    tryout = one(
        "INSERT INTO tryout (tenant_id, rules, most_studies, author, state, report) "
        "VALUES (%s, '[]', 1, 'test', 'done', %s) RETURNING tryout_id",
        tenant, Jsonb({**Report(studies=1, series=1).as_json(), "by_deed": {f"{tenant}-deed": 1}}),
    )  # fmt: skip
    table = one(
        "INSERT INTO crosswalk (tenant_id, name, kind) VALUES (%s, %s, 'table') RETURNING name",
        tenant, f"{tenant}-table",
    )  # fmt: skip
    webhook = one(
        "INSERT INTO webhook (tenant_id, name, url, secret) "
        "VALUES (%s, %s, %s, 'sealed:') RETURNING webhook_id",
        tenant, f"{tenant}-webhook", f"http://{host}/told",
    )  # fmt: skip
    return {
        "runs": run,
        "tryouts": tryout,
        "crosswalks": table,
        "webhooks": webhook,
        "sources": source,
        "projects": project,
        "links": link,
        "shares": share,
        "destinations": destination,
        "rules": rule,
        "deliveries": delivery,
        "person_id": person,
        "credential_id": key,
        "invitation_id": invitation,
    }


_CHANGES_BY_ITSELF = {
    "last_used_at",
    "last_received_at",
    "stable_at",
    "state",
    "updated_at",
    "views",
}
_CHANGING_TABLES = {"audit", "outbox", "job"}


def _tables(session: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Every table with a tenant, and its columns; not those that change by themselves."""
    found: dict[str, list[str]] = {}
    for table, column in session.execute(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c "
        "JOIN information_schema.columns t ON t.table_name = c.table_name "
        "AND t.table_schema = 'public' AND t.column_name = 'tenant_id' "
        "WHERE c.table_schema = 'public' ORDER BY 1, c.ordinal_position"
    ):
        if table not in _CHANGING_TABLES and column not in _CHANGES_BY_ITSELF:
            found.setdefault(table, []).append(column)
    return found

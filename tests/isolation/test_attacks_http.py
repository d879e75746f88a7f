"""Attacks over HTTP by a member of south, who knows every identifier of north's studies."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import quote

import httpx
import pytest

from tests.isolation.attacks import (
    assert_untouched,
    forged,
    instances_seen,
    pairs,
    raw,
    secrets_in,
)
from tests.isolation.world import World, make_study, stow


@pytest.fixture(scope="module", autouse=True)
def _nothing_changes(world: World) -> Iterator[None]:
    yield
    for whose in ("own", "other", "shared"):
        assert_untouched(world, whose)


PATIENTS = ("", "SOMEBODY-ELSE")


@pytest.mark.parametrize("patient", PATIENTS, ids=["same patient", "another patient"])
@pytest.mark.parametrize("new_instance", [True, False], ids=["new instance", "same UIDs"])
def test_stow_cannot_add_to_another_tenants_study_nor_replace_its_pixels(
    world: World, patient: str, new_instance: bool
) -> None:
    victim = world.studies["other"]
    attack = forged(victim, patient=patient, new_instance=new_instance)
    for into in ("", victim.study):
        answer = stow(world, "member", attack, study=into)
        assert answer.status_code in (400, 409)
        asked = f"{victim.study} {victim.series} {victim.instance}"
        assert secrets_in(world, answer.text, asked=asked) == []
    assert_untouched(world, "other")


def test_a_foreign_instance_among_own_ones_is_refused_alone(world: World) -> None:
    own = make_study("south", f"S-{secrets.token_hex(4)}", "Own^Olga")
    attack = forged(world.studies["other"])
    answer = stow(world, "member", own.files[0], attack, own.files[1])
    assert answer.status_code == 202
    failed = answer.json()["00081198"]["Value"]
    assert len(failed) == 1
    assert instances_seen(world, "member", own.study) == {own.instance, own.second}
    assert_untouched(world, "other")


@pytest.mark.parametrize("caller", ["member", "owner", "system admin", "system admin in south"])
def test_nobody_posts_instances_past_the_policy(world: World, caller: str) -> None:
    answer = httpx.post(
        f"{world.gateway.url}/orthanc/instances",
        content=forged(world.studies["other"]),
        headers=dict(world.caller(caller).key),
    )
    assert answer.status_code == 403
    assert_untouched(world, "other")


def test_the_tenant_header_of_our_own_processes_does_nothing_for_a_client(world: World) -> None:
    study = make_study("south", f"S-{secrets.token_hex(4)}", "Header^Hanna")
    key = {**world.caller("member").key, "X-Argonath-Tenant": "north"}
    found = httpx.get(f"{world.gateway.url}/dicom-web/studies", headers=key)
    assert not secrets_in(world, found.text)
    assert stow(world, "member", *study.files).status_code == 200
    assert world.owner_of(study.study) == "south"


@pytest.mark.parametrize("keep_source", [True, False])
@pytest.mark.parametrize("job", ["modify", "anonymize"])
@pytest.mark.parametrize("patient", PATIENTS, ids=["same patient", "another patient"])
def test_the_output_of_a_job_cannot_join_another_tenants_study(
    world: World, job: str, patient: str, keep_source: bool
) -> None:
    source = make_study("south", f"S-{secrets.token_hex(4)}", "Job^Judith")
    stow(world, "member", *source.files)
    victim = world.studies["other"]
    replace = {"StudyInstanceUID": victim.study, "PatientID": patient or victim.patient}
    if not patient:  # Orthanc compares them with what it knows of the patient
        replace |= {
            "PatientName": victim.patient_name,
            "PatientSex": "O",
            "PatientBirthDate": "",
        }
    httpx.post(
        f"{world.gateway.url}/orthanc/studies/{source.orthanc['studies']}/{job}",
        json={
            "Replace": replace,
            "Force": True,
            "KeepSource": keep_source,
            "Synchronous": True,
        },
        headers=dict(world.caller("system admin").key),
        timeout=60,
    )
    assert_untouched(world, "other")
    assert instances_seen(world, "member", source.study) == {source.instance, source.second}
    holders = world.orthanc(
        "/tools/find", json={"Level": "Study", "Query": {"StudyInstanceUID": victim.study}}
    ).json()
    assert holders == [victim.orthanc["studies"]]


def test_the_output_of_a_job_belongs_to_the_owner_of_its_source(world: World) -> None:
    source = world.studies["other"]
    answer = httpx.post(
        f"{world.gateway.url}/orthanc/studies/{source.orthanc['studies']}/anonymize",
        json={"Synchronous": True},
        headers=dict(world.caller("system admin").key),
        timeout=60,
    ).json()
    made = world.orthanc(f"/studies/{answer['ID']}").json()["MainDicomTags"]["StudyInstanceUID"]
    assert world.owner_of(made) == "north"
    assert instances_seen(world, "member", made) == set()
    assert len(instances_seen(world, "north", made)) == 2
    assert_untouched(world, "other")


def test_two_tenants_who_race_for_a_new_study_get_one_owner(world: World) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(8):
            study = make_study("?", "RACE", "Race^Rita")
            callers = ("member", "north")
            files = dict(zip(callers, study.files, strict=True))
            answers = dict(
                zip(
                    callers, pool.map(lambda c, f=files: stow(world, c, f[c]), callers), strict=True
                )
            )
            winners = [caller for caller, a in answers.items() if a.status_code == 200]
            assert len(winners) == 1, {c: a.status_code for c, a in answers.items()}
            loser = next(caller for caller in callers if caller not in winners)
            assert answers[loser].status_code == 400
            assert len(instances_seen(world, winners[0], study.study)) == 1
            assert instances_seen(world, loser, study.study) == set()


def test_a_patient_id_that_both_tenants_use_finds_each_tenants_own(world: World) -> None:
    own, foreign = world.studies["own"], world.studies["shared"]
    assert own.patient == foreign.patient
    for caller, mine, yours in (("member", own, foreign), ("north", foreign, own)):
        key = world.caller(caller).key["Authorization"].removeprefix("Bearer ")
        for query in (f"PatientID={own.patient}", "PatientID=SHARED*", "PatientID=*"):
            for level in ("studies", "series", "instances"):
                found = world.gateway.get(f"/dicom-web/{level}?{query}&limit=500", key).text
                assert mine.study in found, (caller, level, query)
                assert yours.study not in found, (caller, level, query)


SEARCHES = (
    "StudyInstanceUID=*", "StudyInstanceUID={uid},{own}", "StudyInstanceUID={uid}%5C{own}",
    "StudyInstanceUID={uid}%5C{uid}", "StudyInstanceUID={uid}*", "StudyInstanceUID=%20{uid}",
    "StudyInstanceUID={uid}&StudyInstanceUID={own}", "StudyInstanceUID={own}&0020000D={uid}",
    "0020000D={uid}", "0020,000D={uid}", "studyinstanceuid={uid}", "PatientName=Verborgen*",
    "PatientName=*&includefield=all", "AccessionNumber={accession}", "AccessionNumber=ACC*",
    "Labels=tenant-north", "Labels=tenant-north&LabelsConstraint=Any", "LabelsConstraint=None",
    "Labels=&LabelsConstraint=None", "SeriesInstanceUID=*", "SOPInstanceUID=*",
    "fuzzymatching=true&PatientName=Verborgen", "offset=0&limit=1000", "RetrieveURL=*",
    "ParentStudy={id}", "MetadataQuery=x", "StudyInstanceUID={uid}%00", "StudyInstanceUID=?*",
)  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES)
def test_no_search_finds_anothers_studies(world: World, search: str) -> None:
    victim = world.studies["other"]
    names = {
        "uid": victim.study, "own": world.studies["own"].study, "accession": victim.accession,
        "id": victim.orthanc["studies"],
    }  # fmt: skip
    asked = search.format(**names)
    for level in ("studies", "series", "instances"):
        path = f"/dicom-web/{level}?{asked}"
        status, text = raw(world, "GET", path, pairs(world.caller("member").key))
        assert status < 500, path
        assert secrets_in(world, text, asked=path) == [], path
        rows = text.partition("\n\n")[2]
        assert victim.study not in rows, path


PATHS = (
    "/orthanc//studies", "/orthanc/./studies", "/orthanc/x/../studies",
    "/dicom-web/../orthanc/studies",
    "/ORTHANC/studies", "/%6frthanc/studies", "/orthanc/%73tudies", "/orthanc/%2e%2e/studies",
    "/orthanc/studies/", "/orthanc/studies%00", "/orthanc/studies;a=b", "/orthanc/studies%3Fexpand",
    "/orthanc/dicom-web/../studies", "/orthanc/dicom-web/studies/../../studies?expand",
    "/dicom-web/studies/../../studies", "/dicom-web/studies/..%2f..%2fstudies",
    "/dicom-web/studies/%2e%2e/%2e%2e/studies", "/dicom-web/studies/{own}/../../../studies/{id}",
    "/dicom-web/studies/{own}/%2e%2e/%2e%2e/%2e%2e/studies/{id}", "/dicom-web//studies/{uid}",
    "/dicom-web/studies/{uid}/", "/dicom-web/studies//{uid}", "/dicom-web/studies/{uid}//metadata",
    "/dicom-web/studies/{uid}/metadata/", "/dicom-web/studies/{own}/series/{series}",
    "/dicom-web/studies/{own}/series/{series}/instances/{instance}",
    "/dicom-web/studies/{own}/series/{series}/instances/{instance}/frames/1",
    "/dicom-web/studies/{own}/series/{series}/metadata",
    "/dicom-web/studies/{own}/series/{series}/instances/{instance}/rendered",
    "/dicom-web/studies/{uid}%20/metadata", "/dicom-web/studies/{uid}%5C{own}/metadata",
    "/dicom-web/studies/{uid},{own}/metadata", "/dicom-web/studies/*/metadata",
    "/dicom-web/studies/*", "/dicom-web/studies/%2A/series", "/dicom-web/studies/{uid}?x=/metadata",
    "/DICOM-WEB/studies/{uid}/metadata", "/dicom-web\\studies", "/wado/../orthanc/studies",
    "/wado?requestType=WADO&studyUID={own}&seriesUID={series}&objectUID={instance}",
    "/wado?requestType=WADO&studyUID=*&seriesUID=*&objectUID=*", "/wado/?requestType=WADO",
    "/studies/../orthanc/studies", "/studies/{uid}", "/studies/{uid}/", "//studies/{uid}",
    "/auth/explain", "/static/../../../../etc/passwd", "/static/..%2f..%2fsecrets/internal_token",
    "/orthanc/argonath/ready", "/orthanc/%61rgonath/admit", "/orthanc/app/../studies?expand",
    "http://orthanc/orthanc/studies", "/orthanc/webdav/by-studies/",
    "/orthanc/instances/{inst}/file",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_spelling_of_a_path_gets_around_the_policy(world: World, method: str, path: str) -> None:
    victim, own = world.studies["other"], world.studies["own"]
    path = path.format(
        uid=victim.study, own=own.study, series=victim.series, instance=victim.instance,
        id=victim.orthanc["studies"], inst=victim.orthanc["instances"],
    )  # fmt: skip
    caller = world.caller("member")
    shown = [*pairs(caller.key), *pairs(caller.session)]
    status, text = raw(world, method, path, [*shown, ("Content-Length", "0")])
    assert status < 500
    assert secrets_in(world, text, asked=path) == []
    assert "root:" not in text


@pytest.mark.parametrize("method", ["PROPFIND", "SEARCH", "TRACE", "MKCOL", "MOVE", "LOCK", "get"])
@pytest.mark.parametrize("path", ["/orthanc/webdav/", "/dicom-web/studies", "/studies", "/"])
def test_unusual_methods_tell_nothing(world: World, method: str, path: str) -> None:
    caller = world.caller("member")
    status, text = raw(world, method, path, pairs(caller.key))
    assert status >= 400
    assert secrets_in(world, text) == []


@pytest.mark.parametrize("caller", ["viewer", "member", "admin", "owner", "system admin in south"])
@pytest.mark.parametrize("root", ["/dicom-web", "/deletions", "/orthanc/deletions", "/orthanc"])
def test_nobody_deletes_another_tenants_study(world: World, caller: str, root: str) -> None:
    victim = world.studies["other"]
    for name in (victim.study, victim.orthanc["studies"]):
        path = f"{root}/studies/{name}"
        status, text = raw(world, "DELETE", path, pairs(world.caller(caller).key))
        assert status in (403, 404, 405)
        assert secrets_in(world, text, asked=path) == []
    assert_untouched(world, "other")


OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")


@pytest.mark.parametrize("header", OVERRIDES)
def test_a_method_in_a_header_deletes_nothing(world: World, header: str) -> None:
    for whose in ("own", "other"):
        study = world.studies[whose]
        for path in (f"/dicom-web/studies/{study.study}?_method=DELETE", f"/studies/{study.study}"):
            for method in ("GET", "POST"):
                headers = [*pairs(world.caller("owner").key), (header, "DELETE")]
                raw(world, method, path, [*headers, ("Content-Length", "0")])
        assert_untouched(world, whose)


IDENTITIES = (
    ("X-Argonath-Tenant", "north"), ("X-Tenant", "north"), ("X-Forwarded-User", "north"),
    ("Remote-User", "north@isolation.example"), ("X-Remote-User", "north"),
    ("X-Real-IP", "127.0.0.1"), ("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1"),
    ("X-Original-URI", "/orthanc/studies"), ("X-Original-Method", "GET"), ("Host", "orthanc"),
    ("X-Forwarded-Host", "north"), ("Authorization", "Bearer "), ("Authorization", "Basic bjpu"),
    ("Cookie", "argonath_session="), ("X-Forwarded-Prefix", "/orthanc"),
    ("X-Auth-Request-Email", "north@isolation.example"), ("X-Original-Status", "200"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value"), IDENTITIES)
@pytest.mark.parametrize("caller", ["member", "nobody"])
def test_no_header_lends_an_identity(world: World, caller: str, name: str, value: str) -> None:
    victim = world.studies["other"]
    who = world.caller(caller)
    for path in (
        f"/dicom-web/studies/{victim.study}/metadata", f"/studies/{victim.study}",
        "/dicom-web/studies", "/orthanc/studies?expand", "/metrics", "/audit",
    ):  # fmt: skip
        shown = pairs(who.key if path.startswith(("/dicom", "/orthanc")) else who.session)
        status, text = raw(world, "GET", path, [*shown, (name, value)])
        assert status < 500, path
        assert secrets_in(world, text, asked=path) == [], path
        if caller == "nobody":
            assert status in (400, 401, 302, 303), path


def test_each_request_of_a_kept_connection_is_its_own_tokens(world: World) -> None:
    study = world.studies["other"]
    path = f"/dicom-web/studies/{study.study}/metadata"

    def alternate(_: int) -> None:
        port = world.gateway.http_port
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            for turn in range(30):
                name = ("north", "member", "nobody", "revoked")[turn % 4]
                status, text = raw(world, "GET", path, pairs(world.caller(name).key), connection)
                assert status == {"north": 200, "member": 404}.get(name, 401)
                if name != "north":
                    assert secrets_in(world, text, asked=path) == []

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(alternate, range(6)))


def test_a_key_that_is_revoked_ends_on_a_connection_that_is_open(world: World) -> None:
    key = world.gateway.argonath("api-key", "create", "--tenant", "south")
    headers = [("Authorization", f"Bearer {key}")]
    with closing(HTTPConnection("127.0.0.1", world.gateway.http_port, timeout=30)) as connection:

        def status() -> int:
            return raw(world, "GET", "/dicom-web/studies?limit=1", headers, connection)[0]

        assert status() == 200
        world.gateway.argonath("api-key", "revoke", key)
        world.gateway.wait_until(lambda: status() == 401)


def test_nobody_enters_a_tenant_that_is_not_theirs(world: World) -> None:
    for name in ("member", "owner"):
        who = world.caller(name)
        answers = [
            httpx.post(
                f"{world.gateway.url}/enter",
                data={"tenant": tenant},
                headers={**who.session, "Accept": "application/json"},
            )
            for tenant in ("north", "nowhere")
        ]
        assert [a.status_code for a in answers] == [404, 404]
        bodies = {
            a.text.replace("north", "#")
            .replace("nowhere", "#")
            .replace(a.headers["X-Request-ID"], "")
            for a in answers
        }
        assert len(bodies) == 1
        page = httpx.get(f"{world.gateway.url}/studies", headers=dict(who.session))
        assert not secrets_in(world, page.text)


def test_a_rule_cannot_send_to_another_tenants_destination(world: World) -> None:
    statuses = []
    for whose in ("other", "absent"):
        answer = httpx.post(
            f"{world.gateway.url}/routing/rules/new",
            data={
                "name": f"Steal {quote(whose)}",
                "destination": world.numbers[whose]["destinations"],
                "enabled": "yes",
            },
            headers=dict(world.caller("admin").session),
        )
        statuses.append(answer.status_code)
        assert not secrets_in(world, answer.text)
    assert statuses[0] == statuses[1]
    assert statuses[0] >= 400
    with world.as_admin() as session:
        row = session.execute("SELECT count(*) FROM rulebook WHERE rules::text LIKE '%Steal%'")
        assert row.fetchone() == (0,)


@pytest.mark.parametrize("form", ["fhir", "dicom"])
@pytest.mark.parametrize("caller", ["admin", "owner", "system admin in south"])
def test_no_export_of_the_audit_names_anothers_patient(
    world: World, caller: str, form: str
) -> None:
    """What south was refused stands in south's audit, where an export looks for its patient."""
    victim, key = world.studies["other"], pairs(world.caller("member").key)
    assert raw(world, "GET", f"/dicom-web/studies/{victim.study}/metadata", key)[0] == 404
    headers = pairs(world.caller(caller).session)
    status, text = raw(
        world, "GET", f"/audit/export?format={form}&resource={victim.study}", headers
    )
    assert status == 200
    assert victim.study in text
    asked = " ".join(victim.identifiers[:3])
    assert secrets_in(world, text, asked=asked) == []


UNKNOWN_AT_THE_NODE = 'argonath_unknown_route_total{part="node"}'


def test_a_route_that_no_policy_knows_is_counted(world: World) -> None:
    def counted() -> float:
        page = httpx.get(
            f"{world.gateway.url}/metrics", headers=dict(world.caller("system admin").key)
        )
        line = next(x for x in page.text.splitlines() if x.startswith(UNKNOWN_AT_THE_NODE))
        return float(line.split()[1])

    before = counted()
    for name in ("member", "system admin"):
        answer = httpx.get(
            f"{world.gateway.url}/orthanc/no-such-route", headers=dict(world.caller(name).key)
        )
        assert answer.status_code == 403
    assert counted() >= before + 2

"""Who read what stands in the audit, by whichever way, with the id of the request."""

from __future__ import annotations

import json
import os
import subprocess
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydicom import dcmread

from gateway.phantom import ct_phantom
from gateway.studies import orthanc_id
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.stow import stow
from tests.acceptance.trail import last_record, records

TITLE = "READS"
NOBODY = "1.2.826.0.1.3680043.8.498.404"


@pytest.fixture(scope="module")
def key(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a tenant of its own, which CT1 may query and have studies sent to."""
    gateway.argonath("tenant", "create", "reads")
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        owner.execute(
            "INSERT INTO calling_ae_title (tenant_id, ae_title, may_query, host, port) "
            "VALUES ('reads', 'CT1', true, '127.0.0.1', 1)"
        )
    gateway.wait_until_known(TITLE, tmp_path_factory.mktemp("known"))
    return gateway.argonath("api-key", "create", "--tenant", "reads", "--label", "reader")


@pytest.fixture
def study(gateway: RunningGateway, key: str, tmp_path: Path) -> str:
    return gateway.send_phantom(tmp_path, "Secret^Name", called=TITLE)


def instance_of(gateway: RunningGateway, key: str, study: str) -> tuple[str, str]:
    (first, *_) = gateway.get(f"/dicom-web/studies/{study}/instances", key).json()
    return first["0020000E"]["Value"][0], first["00080018"]["Value"][0]


def new(gateway: RunningGateway, after: int, **wanted: str) -> list[dict[str, Any]]:
    """The records of reads since `after`, as soon as there are some."""

    def found() -> list[dict[str, Any]]:
        return [
            row
            for row in records(gateway, after=after)
            if row["action"] == "read-study" and all(row[k] == v for k, v in wanted.items())
        ]

    gateway.wait_until(found)
    return found()


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("studies/{study}", "retrieve"),
        ("studies/{study}/metadata", "metadata"),
        ("studies/{study}/series", "search series"),
        ("studies/{study}/series/{series}", "retrieve"),
        ("studies/{study}/series/{series}/instances/{instance}", "retrieve"),
        ("studies/{study}/series/{series}/instances/{instance}/metadata", "metadata"),
        ("studies/{study}/series/{series}/instances/{instance}/rendered", "rendered"),
        ("studies/{study}/series/{series}/instances/{instance}/frames/1", "frames"),
    ],
)
def test_each_way_of_reading_a_study_is_recorded(
    gateway: RunningGateway, key: str, study: str, path: str, way: str
) -> None:
    series, instance = instance_of(gateway, key, study)
    # As somebody else: what was read just now by this one is counted for a minute.
    other = gateway.argonath("api-key", "create", "--tenant", "reads", "--label", f"{way} {study}")
    after = last_record(gateway)
    answer = gateway.get(
        "/dicom-web/" + path.format(study=study, series=series, instance=instance), other
    )
    assert answer.status_code == 200
    (row,) = new(gateway, after, actor=f"{way} {study}")
    assert (row["tenant_id"], row["resource"], row["verdict"]) == (
        "reads", f"study {study}", "allowed",
    )  # fmt: skip
    assert row["detail"].split(";")[0] == way
    assert row["origin"] == "127.0.0.1"
    assert row["correlation"] == answer.headers["X-Request-ID"]


def test_wado_uri_is_recorded(gateway: RunningGateway, key: str, study: str) -> None:
    series, instance = instance_of(gateway, key, study)
    other = gateway.argonath("api-key", "create", "--tenant", "reads", "--label", f"uri {study}")
    after = last_record(gateway)
    query = f"requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
    assert gateway.get(f"/wado?{query}&contentType=image/jpeg", other).status_code == 200
    assert any("WADO-URI" in row["detail"] for row in new(gateway, after, actor=f"uri {study}"))


def test_a_search_is_recorded_by_its_attributes_and_never_by_their_values(
    gateway: RunningGateway, key: str, study: str
) -> None:
    after = last_record(gateway)
    assert gateway.get("/dicom-web/studies?PatientName=Secret*&Modality=CT", key).status_code == 200
    (row,) = new(gateway, after, resource="search", tenant_id="reads")
    assert "PatientName" in row["detail"]
    assert "Secret" not in str(row)


@pytest.mark.parametrize("foreign", [True, False], ids=["another tenant's", "nobody's"])
def test_a_study_that_is_not_the_tenants_is_denied_in_the_audit_before_the_answer(
    gateway: RunningGateway, key: str, tmp_path: Path, foreign: bool
) -> None:
    uid = gateway.send_phantom(tmp_path, "Other^One") if foreign else NOBODY
    after = last_record(gateway)
    answer = gateway.get(f"/dicom-web/studies/{uid}/metadata", key)
    assert answer.status_code == 404
    rows = [row for row in records(gateway, after=after) if row["resource"] == f"study {uid}"]
    (row,) = [row for row in rows if row["action"] == "read-study"]
    assert (row["verdict"], row["tenant_id"], row["actor"]) == ("denied", "reads", "reader")
    assert row["correlation"] == answer.headers["X-Request-ID"]


def test_the_id_of_a_request_is_nginx_s_and_not_the_clients(gateway: RunningGateway) -> None:
    after = last_record(gateway)
    told = "f" * 32
    answer = gateway.get("/dicom-web/studies", "not-a-key", **{"X-Request-ID": told})
    assert answer.status_code == 401
    identifier = answer.headers["X-Request-ID"]
    assert identifier != told
    assert answer.json()["correlation"] == identifier
    assert [row["correlation"] for row in records(gateway, after=after)] == [identifier]
    anonymous = gateway.get("/dicom-web/studies")
    assert anonymous.json()["correlation"] == anonymous.headers["X-Request-ID"]


def test_a_refused_write_has_one_id_in_the_node_and_the_portal(
    gateway: RunningGateway, key: str
) -> None:
    viewer = gateway.argonath("api-key", "create", "--tenant", "reads", "--role", "viewer")
    after = last_record(gateway)
    answer = httpx.post(
        f"{gateway.url}/dicom-web/studies",
        content=b"x",
        headers={
            "Authorization": f"Bearer {viewer}",
            "Content-Type": 'multipart/related; type="application/dicom"; boundary=x',
            "X-Request-ID": "f" * 32,
        },
    )
    assert answer.status_code == 403
    rows = records(gateway, after=after)
    assert len(rows) == 2
    assert {row["correlation"] for row in rows} == {answer.headers["X-Request-ID"]}


def test_a_c_find_is_recorded_without_values(gateway: RunningGateway, key: str, study: str) -> None:
    after = last_record(gateway)
    done = subprocess.run(
        ["/usr/bin/findscu", "-S", "-aec", TITLE, "-aet", "CT1", "-k", "QueryRetrieveLevel=STUDY",
         "-k", "PatientName=Secret*", "-k", "StudyInstanceUID", "127.0.0.1",
         str(gateway.dicom_port)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = new(gateway, after, actor="CT1")
    assert (row["resource"], row["verdict"], row["tenant_id"]) == ("search", "allowed", "reads")
    assert row["detail"] == "C-FIND search STUDY by PatientName"


def test_a_c_move_is_recorded_with_its_destination(
    gateway: RunningGateway, key: str, study: str
) -> None:
    after = last_record(gateway)
    subprocess.run(
        ["/usr/bin/movescu", "-S", "-aec", TITLE, "-aet", "CT1", "-aem", "CT1",
         "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "127.0.0.1",
         str(gateway.dicom_port)],
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    (row,) = new(gateway, after, actor="CT1")
    assert row["resource"] == f"study {study}"
    assert row["detail"] == "C-MOVE to CT1 at 127.0.0.1:1: 2 instances"


def test_what_a_system_admin_does_on_the_raw_archive_is_recorded(
    gateway: RunningGateway, key: str, study: str
) -> None:
    root = gateway.argonath("api-key", "create", "--role", "system-admin", "--label", "root")
    after = last_record(gateway)
    assert gateway.get("/orthanc/studies", root).status_code == 200
    answer = httpx.post(
        f"{gateway.url}/orthanc/tools/lookup",
        content=study,
        headers={"Authorization": f"Bearer {root}"},
    )
    assert answer.status_code == 200
    (written,) = [
        row for row in records(gateway, after=after) if row["resource"].startswith("POST")
    ]
    assert (written["actor"], written["action"]) == ("root", "raw-archive")
    assert written["correlation"] == answer.headers["X-Request-ID"]
    gateway.wait_until(
        lambda: any(row["resource"] == "GET /studies" for row in records(gateway, after=after))
    )


def test_the_owner_sees_that_a_system_admin_read_its_study(
    gateway: RunningGateway, key: str, study: str
) -> None:
    root = gateway.argonath("api-key", "create", "--role", "system-admin", "--label", "looker")
    after = last_record(gateway)
    assert gateway.get(f"/dicom-web/studies/{study}/metadata", root).status_code == 200
    (row,) = new(gateway, after, actor="looker")
    assert row["tenant_id"] == "reads"


def test_the_owner_sees_that_a_system_admin_took_its_study_from_the_raw_archive(
    gateway: RunningGateway, key: str, study: str
) -> None:
    root = gateway.argonath("api-key", "create", "--role", "system-admin", "--label", "taker")
    found = gateway.get(f"/dicom-web/studies/{study}/instances", key).json()[0]
    uids = [found[tag]["Value"][0] for tag in ("00100020", "0020000D", "0020000E", "00080018")]
    number = orthanc_id(*uids)
    after = last_record(gateway)
    assert gateway.get(f"/orthanc/instances/{number}/file", root).status_code == 200

    def told() -> list[dict[str, Any]]:
        return [row for row in records(gateway, after=after) if row["action"] == "raw-archive"]

    gateway.wait_until(told)
    (row,) = told()
    assert (row["tenant_id"], row["resource"]) == ("reads", f"study {study}")
    assert row["detail"] == f"Orthanc's REST: GET /instances/{number}/file"


def test_everybody_who_stores_into_a_study_is_recorded_once(
    gateway: RunningGateway, key: str
) -> None:
    other = gateway.argonath("api-key", "create", "--tenant", "reads", "--label", "second")
    files = ct_phantom(4, seed=f"{time.time()}", patient_id="SENDERS")
    uid = dcmread(BytesIO(files[0]), stop_before_pixels=True).StudyInstanceUID
    for file, shown in zip(files, (key, key, other, key), strict=True):
        assert stow(gateway, file, key=shown).status_code == 200
    stored = [
        (row["actor"], row["verdict"], row["origin"])
        for row in records(gateway, after=0)
        if (row["action"], row["resource"]) == ("store-study", f"study {uid}")
    ]
    assert stored == [(name, "allowed", "127.0.0.1") for name in ("reader", "second")]


def test_who_adds_to_a_study_that_was_complete_is_recorded_again(
    gateway: RunningGateway, key: str
) -> None:
    files = ct_phantom(2, seed=f"{time.time()}", patient_id="LATER")
    uid = dcmread(BytesIO(files[0]), stop_before_pixels=True).StudyInstanceUID

    def is_stable() -> bool:
        with psycopg.connect(
            f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
        ) as owner:
            row = owner.execute("SELECT state FROM study WHERE study_instance_uid = %s", [uid])
            return row.fetchone() == ("stable",)

    for file in files:
        assert stow(gateway, file, key=key).status_code == 200
        gateway.wait_until(is_stable, 60)
    deeds = [
        row["action"] for row in records(gateway, after=0) if row["resource"] == f"study {uid}"
    ]
    assert deeds.count("store-study") == 2


def test_the_trail_verifies_with_its_anchor_and_exports(gateway: RunningGateway, key: str) -> None:
    gateway.wait_until((gateway.data / "audit/anchor.json").exists, 10)
    told = gateway.argonath("audit", "verify")
    assert told.startswith("The chain holds: ")
    assert "anchor" not in told
    lines = gateway.argonath("audit", "export", "--tenant", "reads").splitlines()
    assert {json.loads(line)["tenant_id"] for line in lines} == {"reads"}


def test_what_was_only_counted_yet_is_written_when_the_node_stops(
    gateway: RunningGateway, key: str, study: str
) -> None:
    for _ in range(2):  # the first is written at once; one more is counted for the minute
        assert gateway.get(f"/dicom-web/studies/{study}/metadata", key).status_code == 200
        gateway.wait_until(lambda: reads_of(gateway, study))
    time.sleep(1)  # four beats
    assert [row["detail"] for row in reads_of(gateway, study)] == ["metadata"]
    supervisor = f"unix://{gateway.data}/run/supervisor.sock"
    subprocess.run(
        ["supervisorctl", "-s", supervisor, "restart", "node:orthanc"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    told = [row["detail"].partition(";")[0] for row in reads_of(gateway, study)]
    assert told == ["metadata", "metadata"]
    gateway.wait_until(gateway.is_ready, 60)


def reads_of(gateway: RunningGateway, study: str) -> list[dict[str, Any]]:
    return [
        row
        for row in records(gateway, after=0)
        if row["resource"] == f"study {study}" and row["action"] == "read-study"
    ]

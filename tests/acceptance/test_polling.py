"""Sources that are polled, and the watched folder: everything comes, once, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydicom import dcmread
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from extensions.polling import memory
from extensions.polling.sources import (
    Source,
    create_source,
    delete_source,
    get_source,
    hurry_source,
    list_sources,
    switch_source,
    update_source,
)
from gateway.db import Database, Session
from gateway.phantom import ct_phantom
from tests.acceptance.browsing import enter, fill, wait_for_text
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.line import Line
from tests.bench.stock import StockOrthanc, running

SLICES = 40
SELDOM = {"interval_s": 3600}  # between the first run and what a person asks for
ALL_DATES = {"look_back_days": 0, "interval_s": 5, "studies_per_minute": 0, "timeout_s": 5}


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockOrthanc]:
    """Somebody else's archive."""
    with running(tmp_path_factory.mktemp("stock") / "orthanc") as stock:
        yield stock


@contextmanager
def tenant(gateway: RunningGateway, tenant_id: str = "north") -> Iterator[Session]:
    """A session of a tenant on the running gateway's database."""
    database = Database(
        f"postgresql://argonath_app@/argonath?host={gateway.data}/run/postgresql", max_size=1
    )
    try:
        with database.tenant_session(tenant_id) as session:
            yield session
    finally:
        database.close()


@pytest.fixture
def add(gateway: RunningGateway) -> Iterator[Callable[..., int]]:
    """Adds a source that is gone after the test; its number."""
    made: list[tuple[str, int]] = []

    def add_one(kind: str, tenant_id: str = "north", **settings: Any) -> int:
        with tenant(gateway, tenant_id) as session:
            source = create_source(
                session, name=uuid.uuid4().hex[:8], kind=kind, settings=settings, actor="test"
            )
        made.append((tenant_id, source.source_id))
        return source.source_id

    yield add_one
    for tenant_id, number in made:
        with tenant(gateway, tenant_id) as session:
            delete_source(session, number, actor="test")


def put(stock: StockOrthanc, patient: str, slices: int = SLICES, seed: str = "") -> str:
    """Put a study of `patient` there, or more slices of it; its StudyInstanceUID."""
    files = ct_phantom(slices, seed=seed or patient, patient_name=patient, patient_id=patient)
    for file in files:
        assert httpx.post(f"{stock.url}/instances", content=file, timeout=30).status_code == 200
    return str(dcmread(BytesIO(files[0])).StudyInstanceUID)


def bytes_of(slices: int) -> int:
    """How many bytes so many slices have, each like the other."""
    return slices * len(ct_phantom(1)[0])


def here(gateway: RunningGateway, study: str) -> int:
    """How many instances of a study north has."""
    answer = gateway.get(f"/dicom-web/studies/{study}/instances", gateway.north_key)
    return len(answer.json()) if answer.status_code == 200 else 0


def source(gateway: RunningGateway, number: int, tenant_id: str = "north") -> Source:
    with tenant(gateway, tenant_id) as session:
        return get_source(session, number)


def poll(gateway: RunningGateway, number: int) -> Source:
    """Run a source now, and return it when that run has ended."""
    with tenant(gateway) as session:
        hurry_source(session, number, actor="test")
    gateway.wait_until(lambda: not source(gateway, number).hurried, 60)
    return source(gateway, number)


def retrievals(gateway: RunningGateway, study: str) -> list[str]:
    """What the audit tells of retrievals of a study."""
    with tenant(gateway) as session:
        rows = session.execute(
            "SELECT verdict, detail FROM audit WHERE action = 'retrieve-study' AND resource = %s "
            "ORDER BY audit_id",
            [f"study {study}"],
        ).fetchall()
    return [f"{row['verdict']} {row['detail']}" for row in rows]


def kill_polling(gateway: RunningGateway) -> None:
    """End the process of the service at once, as a crash would; its parent lives."""
    parent = subprocess.run(
        ["supervisorctl", "-s", f"unix://{gateway.data}/run/supervisor.sock", "pid",
         "edge:services"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""},
    ).stdout.strip()  # fmt: skip
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


def by_dicomweb(stock: StockOrthanc, patient: str) -> dict[str, Any]:
    return {"url": f"{stock.url}/dicom-web", "filter": f"PatientID={patient}", **ALL_DATES}


def test_what_is_new_at_a_dicomweb_source_comes_once_and_again_when_it_grows(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int]
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    study = put(stock, patient, 3)
    number = add("dicomweb", **by_dicomweb(stock, patient) | SELDOM)
    gateway.wait_until(lambda: here(gateway, study) == 3, 60)
    again = poll(gateway, number)
    assert again.last_told == "1 study listed, 0 retrieved."
    put(stock, patient, 5)
    grown = poll(gateway, number)
    assert grown.last_told == "1 study listed, 1 retrieved, 2 instances."
    assert here(gateway, study) == 5
    assert retrievals(gateway, study) == ["allowed 3 instances", "allowed 2 instances"]


def test_what_is_here_already_is_not_retrieved(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int], tmp_path: Path
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    study = put(stock, patient, 2)
    for index, file in enumerate(ct_phantom(2, seed=patient, patient_id=patient)):
        (tmp_path / f"{index}.dcm").write_bytes(file)
    assert gateway.storescu(*tmp_path.glob("*.dcm")).returncode == 0
    number = add("dicomweb", **by_dicomweb(stock, patient))
    gateway.wait_until(lambda: source(gateway, number).last_run_at, 60)
    assert source(gateway, number).last_told == "1 study listed, 0 retrieved."
    assert retrievals(gateway, study) == []


def test_a_killed_poller_goes_on_where_it_was(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int]
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    study = put(stock, patient, 60)
    with closing(Line(stock.http_port)) as line:
        line.hold_after(bytes_of(20))
        url = f"http://127.0.0.1:{line.port}/dicom-web"
        add("dicomweb", **by_dicomweb(stock, patient) | {"url": url, "timeout_s": 60})
        gateway.wait_until(lambda: here(gateway, study) >= 5, 60)
        kill_polling(gateway)
        assert here(gateway, study) < 60
        line.mend()
        gateway.wait_until(lambda: here(gateway, study) == 60, 90)
        gateway.wait_until(lambda: retrievals(gateway, study), 30)
    # It brought only what was missing.
    (told,) = retrievals(gateway, study)
    assert 0 < int(told.split()[1]) < 60
    gateway.wait_until(gateway.is_ready, 60)


def test_a_source_that_hangs_costs_the_others_nothing_and_says_what_is_wrong(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int]
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = [
            add("dicomweb", "south", url=f"http://127.0.0.1:{port}/dicom-web", **ALL_DATES)
            for _ in range(6)
        ]
        study = put(stock, patient, 2)
        add("dicomweb", **by_dicomweb(stock, patient))
        gateway.wait_until(lambda: here(gateway, study) == 2, 20)
        gateway.wait_until(lambda: source(gateway, hanging[0], "south").last_error, 60)
        told = source(gateway, hanging[0], "south")
        assert "ReadTimeout" in (told.last_error or "")
        assert told.failures >= 1


def test_a_paused_source_stops_and_goes_on_when_it_is_resumed(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int]
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    studies = [put(stock, patient, 1, seed=f"{patient} {number}") for number in range(4)]
    settings = by_dicomweb(stock, patient)
    number = add("dicomweb", **settings | {"studies_per_minute": 1})
    gateway.wait_until(lambda: any(here(gateway, study) for study in studies), 60)
    with tenant(gateway) as session:
        switch_source(session, number, enabled=False, actor="test")
    gateway.wait_until(lambda: not source(gateway, number).is_running, 30)
    assert not all(here(gateway, study) for study in studies)
    with tenant(gateway) as session:
        name = get_source(session, number).name
        update_source(
            session, number, name=name, kind="dicomweb", settings=settings, enabled=False,
            actor="test",
        )  # fmt: skip
        switch_source(session, number, enabled=True, actor="test")
    gateway.wait_until(lambda: all(here(gateway, study) for study in studies), 60)


def test_another_tenants_study_is_not_retrieved_and_stays_as_it_was(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int], tmp_path: Path
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    study = put(stock, patient, 3)
    file = tmp_path / "south.dcm"
    file.write_bytes(ct_phantom(1, seed=patient, patient_id=patient)[0])
    assert gateway.storescu(file, called="SOUTH").returncode == 0
    number = add("dicomweb", **by_dicomweb(stock, patient))
    gateway.wait_until(lambda: source(gateway, number).last_run_at, 60)
    with tenant(gateway) as session:
        (failed,) = memory.failed(session, number)
    assert failed.next_try_at is None
    assert "cannot join" in failed.last_error
    assert here(gateway, study) == 0
    assert len(gateway.dicomweb(gateway.south_key).search_for_instances(study)) == 1


def by_dimse(stock: StockOrthanc, patient: str) -> dict[str, Any]:
    return {
        "host": "127.0.0.1", "port": stock.dicom_port, "called_aet": "ORTHANC",
        "calling_aet": "ARGONATH", "deliver_to": "NORTH", "filter": f"PatientID={patient}",
        **ALL_DATES,
    }  # fmt: skip


def test_a_dicom_source_delivers_by_c_move_what_is_new(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int]
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    study = put(stock, patient, 3)
    _know(stock, "ARGONATH", 104)
    number = add("dimse", **by_dimse(stock, patient) | SELDOM)
    gateway.wait_until(lambda: source(gateway, number).last_run_at, 60)
    with tenant(gateway) as session:
        (failed,) = memory.failed(session, number)
    assert "does it know where NORTH is?" in failed.last_error
    _know(stock, "NORTH", gateway.dicom_port)
    assert poll(gateway, number).last_told == "1 study listed, 1 retrieved, 3 instances."
    put(stock, patient, 5)
    assert poll(gateway, number).last_told == "1 study listed, 1 retrieved, 2 instances."
    assert poll(gateway, number).last_told == "1 study listed, 0 retrieved."
    assert here(gateway, study) == 5


def test_a_poller_that_is_killed_while_a_dicom_source_delivers_goes_on(
    gateway: RunningGateway, stock: StockOrthanc, add: Callable[..., int]
) -> None:
    patient = f"P{uuid.uuid4().hex[:8]}"
    studies = [put(stock, patient, 8, seed=f"{patient} {number}") for number in range(10)]
    _know(stock, "ARGONATH", 104)
    with closing(Line(gateway.dicom_port)) as line:
        line.hold_after(bytes_of(20))
        _know(stock, "NORTH", line.port)
        add("dimse", **by_dimse(stock, patient))
        gateway.wait_until(lambda: any(here(gateway, study) for study in studies), 60)
        kill_polling(gateway)
        assert any(here(gateway, study) < 8 for study in studies)
        line.mend()
        gateway.wait_until(lambda: all(here(gateway, study) == 8 for study in studies), 90)
        gateway.wait_until(lambda: all(_is_settled(gateway, study) for study in studies), 60)
    gateway.wait_until(gateway.is_ready, 60)


def _is_settled(gateway: RunningGateway, study: str) -> bool:
    """Whether a study arrived whole, and nothing of it is still on its way."""
    with tenant(gateway) as session:
        row = session.execute(
            "SELECT state, instance_count FROM study WHERE study_instance_uid = %s", [study]
        ).fetchone()
    return row == {"state": "stable", "instance_count": 8}


def _know(stock: StockOrthanc, ae_title: str, port: int) -> None:
    told = {"AET": ae_title, "Host": "127.0.0.1", "Port": port}
    answer = httpx.put(f"{stock.url}/modalities/{ae_title.lower()}", json=told)
    assert answer.status_code == 200


def inbox(gateway: RunningGateway) -> Path:
    folder = gateway.data / "inbox" / "north"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def picture(colour: int = 0) -> bytes:
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    image.putpixel((0, 0), (colour, 0, 0))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_files_of_the_folder_become_studies_and_lie_in_done(
    gateway: RunningGateway, add: Callable[..., int]
) -> None:
    folder, patient = inbox(gateway), f"P{uuid.uuid4().hex[:8]}"
    (folder / "CT").mkdir(exist_ok=True)
    for index, file in enumerate(ct_phantom(2, seed=patient, patient_id=patient)):
        (folder / "CT" / f"{patient}-{index}").write_bytes(file)
    said = {"PatientID": patient, "PatientName": "Folder^Fiona", "Modality": "XC"}
    (folder / f"{patient}.jpg").write_bytes(picture())
    (folder / f"{patient}.json").write_text(json.dumps(said))
    add("folder")
    client = gateway.dicomweb(gateway.north_key)
    gateway.wait_until(
        lambda: len(client.search_for_studies(search_filters={"PatientID": patient})) == 2, 60
    )
    gateway.wait_until(lambda: len(list((folder / "done").rglob(f"{patient}*"))) == 4, 30)
    photo = client.search_for_instances(search_filters={"PatientID": patient, "Modality": "XC"})
    assert len(photo) == 1
    study, series, uid = (photo[0][tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    stored = client.retrieve_instance(study, series, uid, media_types=(("application/dicom", "*"),))
    assert picture() in stored.PixelData


def test_what_the_folder_cannot_take_is_rejected_with_every_error_and_its_cure(
    gateway: RunningGateway, add: Callable[..., int]
) -> None:
    folder, name = inbox(gateway), uuid.uuid4().hex[:8]
    (folder / f"{name}.jpg").write_bytes(picture())
    (folder / f"{name}.json").write_text('{"PatientId": "1", "StudyDate": "yesterday"}')
    add("folder")
    told = folder / "rejected" / f"{name}.jpg.error.json"
    gateway.wait_until(told.exists, 60)
    errors = {error["where"]: error for error in json.loads(told.read_text())["errors"]}
    assert set(errors) == {"PatientID", "PatientName", "PatientId", "StudyDate"}
    assert errors["PatientId"]["cure"] == "Write PatientID."
    gateway.wait_until((folder / "rejected" / f"{name}.json").exists, 10)
    assert not (folder / f"{name}.jpg").exists()


def test_a_file_that_is_being_written_is_left_alone(
    gateway: RunningGateway, add: Callable[..., int]
) -> None:
    folder, patient = inbox(gateway), f"P{uuid.uuid4().hex[:8]}"
    content = ct_phantom(1, seed=patient, patient_id=patient)[0]
    add("folder")
    with (folder / f"{patient}.dcm").open("wb") as file:
        file.write(content[:9000])
        file.flush()
        time.sleep(6)
        assert not list((folder / "rejected").glob(f"{patient}*"))
        file.write(content[9000:])
    gateway.wait_until(lambda: list((folder / "done").rglob(f"{patient}.dcm")), 60)


def test_a_poller_that_is_killed_over_a_folder_loses_nothing_and_stores_nothing_twice(
    gateway: RunningGateway, add: Callable[..., int]
) -> None:
    folder, patient = inbox(gateway), f"P{uuid.uuid4().hex[:8]}"
    for index in range(SLICES):
        said = {"PatientID": patient, "PatientName": "Killed^Kim", "InstanceNumber": index}
        (folder / f"{patient}-{index}.png").write_bytes(_png(index))
        (folder / f"{patient}-{index}.json").write_text(json.dumps(said))
    add("folder")
    client = gateway.dicomweb(gateway.north_key)

    def stored() -> int:
        return len(client.search_for_instances(search_filters={"PatientID": patient}))

    for enough in (3, 20):
        gateway.wait_until(lambda enough=enough: stored() >= enough, 90)  # type: ignore[misc]
        kill_polling(gateway)
    gateway.wait_until(
        lambda: len(list((folder / "done").rglob(f"{patient}*.json"))) == SLICES, 120
    )
    assert stored() == SLICES
    assert not list((folder / "rejected").glob(f"{patient}*"))
    assert not list(folder.glob(f"{patient}*"))
    gateway.wait_until(gateway.is_ready, 60)


def _png(level: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (40, 30), (level, 2 * level, 100)).save(buffer, "PNG")
    return buffer.getvalue()


def test_status_names_the_services(gateway: RunningGateway) -> None:
    assert "services" in gateway.argonath("status")


def test_a_source_is_added_tested_and_seen_at_work_in_the_portal(
    gateway: RunningGateway, stock: StockOrthanc, browser: Chrome
) -> None:
    patient, name = f"P{uuid.uuid4().hex[:8]}", uuid.uuid4().hex[:8]
    put(stock, patient, 2)
    enter(browser, gateway)
    browser.get(f"{gateway.url}/polling/sources/new")
    fill(browser, name=name, url=f"{stock.url}/dicom-web", look_back_days="0")
    fill(browser, filter=f"PatientID={patient}")
    shoot(browser, "source-new")
    browser.find_element(By.CSS_SELECTOR, "button[value=test]").click()
    wait_for_text(browser, "1 study would be looked at now.")
    shoot(browser, "source")
    browser.get(f"{gateway.url}/polling/sources")
    wait_for_text(browser, "1 study listed, 1 retrieved, 2 instances.")
    with tenant(gateway) as session:
        create_source(
            session,
            name="Gone",
            kind="dicomweb",
            settings={"url": "http://127.0.0.1:9/dicom-web"},
            actor="test",
        )
    wait_for_text(browser, "ConnectError")
    shoot(browser, "sources")
    with tenant(gateway) as session:
        for one in list_sources(session):
            delete_source(session, one.source_id, actor="test")


def shoot(browser: Chrome, name: str) -> None:
    """Keep a picture where ARGONATH_SCREENSHOTS names a folder."""
    if folder := os.environ.get("ARGONATH_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))

"""Sharing on a whole gateway, with a tenant and by a link: exactly one study, until it ends."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from gateway.phantom import ct_phantom
from tests.acceptance import trail
from tests.acceptance.browsing import client_of, sign_in, text_of, wait_for, wait_for_text
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.stow import stow
from tests.acceptance.test_viewer import CANVAS, chromium, drawn
from tests.timing import soonest

__all__ = ["chromium"]

WITHIN_S = 1.0


@dataclass
class Lent:
    """A study of north that is shared with south, and another of the same patient that is not."""

    gateway: RunningGateway
    owner: httpx.Client
    study: str
    series: str
    instance: str
    files: list[bytes] = field(repr=False)
    sibling: tuple[str, str, str]
    patient: str

    @property
    def paths(self) -> list[str]:
        """Ways to read the study itself."""
        study = f"/dicom-web/studies/{self.study}"
        series = f"{study}/series/{self.series}"
        instance = f"{series}/instances/{self.instance}"
        return [
            study, f"{study}/metadata", f"{study}/series", f"{study}/instances",
            f"{study}/rendered", series, f"{series}/metadata", f"{series}/instances",
            f"{series}/rendered", instance, f"{instance}/metadata", f"{instance}/frames/1",
            f"{instance}/rendered",
            f"/wado?requestType=WADO&studyUID={self.study}&seriesUID={self.series}&objectUID="
            + self.instance,
        ]  # fmt: skip

    def share(self, tenant: str = "south") -> None:
        address = sharing_address(self.gateway, tenant)
        self.act(f"/studies/{self.study}/shares", address=address, lifetime="1")

    def revoke(self) -> None:
        self.act(f"/shares/{self.number()}/revoke")

    def act(self, path: str, **form: str) -> None:
        token = csrf_token(self.owner)
        answer = self.owner.post(path, data=form | {"csrf_token": token})
        assert answer.status_code == 303, answer.text

    def number(self) -> int:
        page = self.owner.get(f"/studies/{self.study}", headers={"Accept": "text/html"}).text
        return int(page.partition('action="/shares/')[2].partition("/")[0])

    def seen(self, query: str, key: str = "") -> list[str]:
        """The StudyInstanceUIDs that south finds (QIDO-RS)."""
        answer = self.gateway.get(f"/dicom-web/{query}", key or self.gateway.south_key)
        assert answer.status_code == 200, answer.text
        return sorted({row["0020000D"]["Value"][0] for row in answer.json()})

    def status(self, path: str) -> int:
        return self.gateway.get(path, self.gateway.south_key).status_code

    def reads(self, path: str) -> bool:
        """Whether south gets anything there; a list may be empty."""
        answer = self.gateway.get(path, self.gateway.south_key)
        return answer.status_code == 200 and answer.content.strip() != b"[]"


def sharing_address(gateway: RunningGateway, tenant: str) -> str:
    """What an admin of the tenant would pass on."""
    url = f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    with psycopg.connect(url) as owner:
        row = owner.execute(
            "SELECT sharing_address::text FROM tenant WHERE tenant_id = %s", [tenant]
        ).fetchone()
    assert row is not None
    return str(row[0])


def uids_of(file: bytes) -> tuple[str, str, str]:
    ds = dcmread(BytesIO(file))
    return str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)


def delete(gateway: RunningGateway, study: str, key: str) -> httpx.Response:
    path = f"{gateway.url}/dicom-web/studies/{study}"
    return httpx.delete(path, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def csrf_token(client: httpx.Client) -> str:
    page = client.get("/studies", headers={"Accept": "text/html"}).text
    return page.partition('name="csrf_token" value="')[2].partition('"')[0]


def phantom(patient: str) -> list[bytes]:
    seed = secrets.token_hex(8)
    return list(ct_phantom(2, seed=seed, patient_name="Lent^Lena", patient_id=patient))


@pytest.fixture
def lent(gateway: RunningGateway) -> Iterator[Lent]:
    """Shared at the beginning, and for ever deleted at the end."""
    patient = f"LENT-{secrets.token_hex(4)}"
    files, others = phantom(patient), phantom(patient)
    for file in (*files, *others):
        assert stow(gateway, file).status_code == 200
    first, other = uids_of(files[0]), uids_of(others[0])
    password = (gateway.data / "secrets/first_password").read_text().strip()
    owner = client_of(gateway, gateway.north_email, password)
    study = Lent(
        gateway,
        owner,
        *first,
        files,
        other,
        patient,
    )
    study.share()
    gateway.wait_until(lambda: study.status(study.paths[1]) == 200)
    yield study
    owner.close()
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    for uid in (study.study, study.sibling[0]):
        # 409 for the moment in which an extension is told that it has arrived
        gateway.wait_until(lambda uid=uid: delete(gateway, uid, key).status_code == 204)


def test_the_receiver_reads_the_study_by_every_way(lent: Lent) -> None:
    assert {path: lent.status(path) for path in lent.paths} == dict.fromkeys(lent.paths, 200)


def test_the_sibling_of_the_same_patient_is_not_seen(lent: Lent) -> None:
    for query in (
        f"studies?PatientID={lent.patient}",
        f"series?PatientID={lent.patient}&includefield=0020000D",
        f"instances?PatientID={lent.patient}&includefield=0020000D",
        f"studies?StudyInstanceUID={lent.study},{lent.sibling[0]}",
        "studies?PatientName=Lent*",
    ):
        assert lent.seen(query) == [lent.study], query
    assert lent.seen(f"studies?StudyInstanceUID={lent.sibling[0]}") == []
    study, series, instance = lent.sibling
    for path in lent.paths:
        inner = path.replace(lent.series, series).replace(lent.instance, instance)
        assert not lent.reads(path.replace(lent.study, study)), "its own parts in the sibling"
        assert not lent.reads(inner.replace(lent.study, study)), "the sibling"
        assert inner == path or not lent.reads(inner), "the sibling's parts in it"


def test_the_receivers_list_holds_the_shared_study_beside_its_own(lent: Lent) -> None:
    own = set(lent.seen("studies")) - {lent.study}
    assert own, "south has studies of its own"
    assert lent.study in lent.seen("studies")
    assert lent.seen(f"series?StudyInstanceUID={lent.study}") == [lent.study]
    assert lent.seen(f"instances?SOPInstanceUID={lent.instance}&includefield=0020000D") == [
        lent.study
    ]
    pages = [lent.seen(f"studies?limit=1&offset={number}") for number in range(len(own) + 1)]
    assert sorted(uid for page in pages for uid in page) == sorted(own | {lent.study})


def test_a_third_tenant_sees_nothing_of_it(lent: Lent) -> None:
    name = f"east-{secrets.token_hex(3)}"
    lent.gateway.argonath("tenant", "create", name, "--ae-title", name.upper())
    key = lent.gateway.argonath("api-key", "create", "--tenant", name)
    assert lent.seen("studies", key) == []
    assert lent.gateway.get(lent.paths[1], key).status_code == 404


def last_read(lent: Lent) -> float:
    """How long after its revocation a share was still good for clients that never rest, in s."""
    stop, refused, read = threading.Event(), list[float](), list[float]()

    def hammer(path: str) -> None:
        headers = {"Authorization": f"Bearer {lent.gateway.south_key}"}
        with httpx.Client(base_url=lent.gateway.url, headers=headers, timeout=30) as client:
            while not stop.is_set():
                asked = time.monotonic()
                answer = client.get(path)
                is_read = answer.status_code == 200 and answer.content.strip() != b"[]"
                (read if is_read else refused).append(asked)

    if not lent.reads(lent.paths[1]):
        lent.share()
        lent.gateway.wait_until(lambda: lent.status(lent.paths[1]) == 200)
    hammers = [threading.Thread(target=hammer, args=[path]) for path in lent.paths[1:5]]
    for thread in hammers:
        thread.start()
    lent.gateway.wait_until(lambda: read)
    lent.revoke()
    revoked = time.monotonic()
    time.sleep(2 * WITHIN_S)
    lent.gateway.wait_until(lambda: len(refused) > 20)
    stop.set()
    for thread in hammers:
        thread.join(30)
    print(f"{len(read)} reads, the last {max(read) - revoked:+.3f} s after the revocation")
    return max(read) - revoked


def test_after_revocation_a_hammering_client_is_refused_within_a_second(lent: Lent) -> None:
    assert soonest(lambda: last_read(lent), WITHIN_S) < WITHIN_S
    assert [path for path in lent.paths if lent.reads(path)] == []
    assert lent.study not in lent.seen("studies")
    assert lent.seen(f"studies?StudyInstanceUID={lent.study}") == []


def forged(lent: Lent) -> bytes:
    ds = dcmread(BytesIO(lent.files[0]))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_receiver_can_neither_add_to_the_study_nor_delete_it(lent: Lent) -> None:
    gateway = lent.gateway
    admin = gateway.argonath("api-key", "create", "--tenant", "south", "--role", "admin")
    assert stow(gateway, forged(lent), key=admin).status_code in (400, 409)
    assert delete(gateway, lent.study, admin).status_code == 404
    found = gateway.get(f"/dicom-web/studies/{lent.study}/instances", gateway.north_key).json()
    assert len(found) == 2
    assert gateway.get("/orthanc/studies", admin).status_code == 403


def test_views_are_counted_and_both_tenants_have_it_in_the_audit(lent: Lent) -> None:
    def records() -> list[dict[str, Any]]:
        return [
            record
            for record in trail.records(lent.gateway, after=0)
            if record["resource"] == f"study {lent.study}" and "share" in record["action"]
        ]

    for _ in range(3):
        for path in lent.paths:
            lent.status(path)
    lent.gateway.wait_until(lambda: any(r["action"] == "open-share" for r in records()))
    lent.revoke()
    lent.gateway.wait_until(lambda: lent.status(lent.paths[1]) == 404)
    lent.gateway.wait_until(lambda: records()[-1]["verdict"] == "denied")
    for tenant in ("north", "south"):
        told = [(r["action"], r["verdict"]) for r in records() if r["tenant_id"] == tenant]
        assert told == [
            ("share-study", "allowed"),
            ("open-share", "allowed"),
            ("revoke-share", "allowed"),
            ("open-share", "denied"),
        ]
    page = lent.owner.get(f"/studies/{lent.study}", headers={"Accept": "text/html"}).text
    assert '<td class="number">1</td>' in page


def test_a_share_outlives_a_restart_of_the_node_and_its_end_too(lent: Lent, tmp_path: Path) -> None:
    gateway = lent.gateway
    gateway.kill("node:orthanc")
    gateway.wait_until(lambda: lent.status(lent.paths[1]) == 200, 60)
    lent.revoke()
    gateway.wait_until(lambda: lent.status(lent.paths[1]) == 404)
    gateway.kill("node:orthanc")
    gateway.wait_until(gateway.is_ready, 60)
    assert lent.status(lent.paths[1]) == 404


@dataclass
class Visitor:
    """A browser that was let in by a link to the study, by its owner's form."""

    client: httpx.Client
    link: str
    code: str
    number: int

    def sees(self, path: str) -> bool:
        answer = self.client.get(path)
        return answer.status_code == 200 and answer.content.strip() != b"[]"


def make_link(lent: Lent, *, code: str = "no") -> tuple[str, str]:
    """The path of a new link, and its code."""
    form = {"lifetime": "1", "code": code, "csrf_token": csrf_token(lent.owner)}
    page = lent.owner.post(f"/studies/{lent.study}/links", data=form)
    assert page.status_code == 200, page.text
    told = re.findall(r'<code class="secret" id="(?:link|code)">([^<]+)</code>', page.text)
    return httpx.URL(told[0]).path, told[1] if len(told) > 1 else ""


def open_link(client: httpx.Client, link: str, code: str = "") -> httpx.Response:
    page = client.get(link)
    assert page.status_code == 200, page.text
    token = page.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    return client.post(link, data={"csrf_token": token, "code": code})


@contextmanager
def visiting(lent: Lent) -> Iterator[Visitor]:
    """By a new link."""
    link, code = make_link(lent)
    with httpx.Client(base_url=lent.gateway.url, timeout=30) as client:
        opened = open_link(client, link)
        assert (opened.status_code, opened.headers["Location"]) == (303, "/s/")
        page = lent.owner.get(f"/studies/{lent.study}", headers={"Accept": "text/html"}).text
        number = int(page.partition('action="/links/')[2].partition("/")[0])
        yield Visitor(client, link, code, number)


@pytest.fixture
def visitor(lent: Lent) -> Iterator[Visitor]:
    with visiting(lent) as visitor:
        yield visitor


def test_a_link_shows_the_page_of_the_study_and_every_way_to_read_it(
    lent: Lent, visitor: Visitor
) -> None:
    page = visitor.client.get("/s/")
    assert "Lent, Lena" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    pictures = re.findall(r'src="(/dicom-web/[^"]+)"', page.text)
    assert pictures
    viewer = re.findall(r'href="(/viewer/[^"]+)"', page.text)
    for path in (*lent.paths, *pictures, *viewer):
        assert visitor.sees(path), path


def test_a_link_reads_nothing_else(lent: Lent, visitor: Visitor) -> None:
    get = visitor.client.get
    for query in ("studies", f"studies?PatientID={lent.patient}", "series", "instances"):
        rows = get(f"/dicom-web/{query}", params={"includefield": "0020000D"}).json()
        assert {row["0020000D"]["Value"][0] for row in rows} == {lent.study}, query
    study, series, instance = lent.sibling
    for path in lent.paths:
        inner = path.replace(lent.series, series).replace(lent.instance, instance)
        assert not visitor.sees(path.replace(lent.study, study))
        assert not visitor.sees(inner.replace(lent.study, study))
        assert inner == path or not visitor.sees(inner)
    for uid in (study, f"{lent.study},{study}"):
        rows = get(f"/dicom-web/studies?StudyInstanceUID={uid}").json()
        assert study not in str(rows)
    json = {"Accept": "application/json"}
    for path in (
        "/", "/studies", f"/studies/{lent.study}", "/shared", "/audit", "/keys", "/people",
        "/tenants", "/routing/rules", "/enter", "/metrics", "/orthanc/studies", "/orthanc/system",
    ):  # fmt: skip
        assert get(path, headers=json).status_code in (401, 404), path


def test_a_link_writes_nothing(lent: Lent, visitor: Visitor) -> None:
    boundary = 'multipart/related; type="application/dicom"; boundary=bad-input'
    part = b"--bad-input\r\nContent-Type: application/dicom\r\n\r\n"
    stored = visitor.client.post(
        f"/dicom-web/studies/{lent.study}",
        content=part + forged(lent) + b"\r\n--bad-input--",
        headers={"Content-Type": boundary, "Accept": "application/json"},
    )
    assert stored.status_code in (401, 403)
    deleted = visitor.client.delete(f"/dicom-web/studies/{lent.study}")
    assert deleted.status_code in (401, 403)
    again = visitor.client.post(f"/studies/{lent.study}/links", data={"lifetime": "1"})
    assert again.status_code in (302, 400, 401)
    assert len(visitor.client.get(f"/dicom-web/studies/{lent.study}/instances").json()) == 2


def end_of_visit(lent: Lent) -> float:
    """How long after the revocation of its link a visit ended, in seconds."""
    with visiting(lent) as visitor:
        assert visitor.sees(lent.paths[1])
        lent.act(f"/links/{visitor.number}/revoke")
        revoked = time.monotonic()
        lent.gateway.wait_until(lambda: not visitor.sees(lent.paths[1]))
        ended = time.monotonic() - revoked
        print(f"the visit ended {ended:.3f} s after the revocation")
        assert [path for path in (*lent.paths, "/s/", visitor.link) if visitor.sees(path)] == []
        return ended


def test_after_its_revocation_a_link_and_its_visits_are_worthless_within_a_second(
    lent: Lent,
) -> None:
    assert soonest(lambda: end_of_visit(lent), WITHIN_S) < WITHIN_S


def test_a_code_opens_once_and_a_wrong_one_never(lent: Lent) -> None:
    link, code = make_link(lent, code="yes")
    assert re.fullmatch(r"\d{8}", code)
    with (
        httpx.Client(base_url=lent.gateway.url, timeout=30) as first,
        httpx.Client(base_url=lent.gateway.url, timeout=30) as second,
    ):
        assert open_link(first, link, "no code").status_code == 401
        assert first.get(lent.paths[1]).status_code == 401
        assert open_link(first, link, code).status_code == 303
        assert first.get(lent.paths[1]).status_code == 200
        assert open_link(second, link, code).status_code == 401
        assert second.get(lent.paths[1]).status_code == 401


def test_the_owner_finds_in_the_audit_who_opened_a_link_and_what_they_read(
    lent: Lent, visitor: Visitor
) -> None:
    visitor.sees(lent.paths[1])
    lent.act(f"/links/{visitor.number}/revoke")
    with httpx.Client(base_url=lent.gateway.url, timeout=30) as late:
        assert late.get(visitor.link).status_code == 404

    def told() -> set[tuple[str, str, str]]:
        return {
            (record["action"], record["actor"], record["verdict"])
            for record in trail.records(lent.gateway, after=0)
            if record["resource"] == f"study {lent.study}" and record["tenant_id"] == "north"
        }

    name = f"link {visitor.number}"
    lent.gateway.wait_until(lambda: ("read-study", name, "allowed") in told())
    assert ("open-share", name, "allowed") in told()
    assert ("open-share", name, "denied") in told()
    assert ("revoke-share", lent.gateway.north_email, "allowed") in told()
    assert visitor.link.rpartition("/")[2] not in str(trail.records(lent.gateway, after=0))


def test_somebody_signed_in_may_open_a_link_too(lent: Lent) -> None:
    link, _code = make_link(lent)
    lent.revoke()
    password = lent.gateway.argonath("api-key", "create", "--tenant", "south")
    with httpx.Client(
        base_url=lent.gateway.url, headers={"Authorization": f"Bearer {password}"}, timeout=30
    ) as south:
        lent.gateway.wait_until(lambda: south.get(lent.paths[1]).status_code == 404)
        own = {row["0020000D"]["Value"][0] for row in south.get("/dicom-web/studies").json()}
        assert open_link(south, link).status_code == 303
        assert south.get(lent.paths[1]).status_code == 200
        after = {row["0020000D"]["Value"][0] for row in south.get("/dicom-web/studies").json()}
        assert after == own


def test_in_a_browser_the_owner_makes_a_link_and_a_stranger_sees_the_pictures(
    lent: Lent, browser: Chrome, chromium: Chrome
) -> None:
    gateway = lent.gateway
    sign_in(browser, gateway, email=gateway.north_email)
    browser.get(f"{gateway.url}/studies/{lent.study}")
    browser.find_element(By.CSS_SELECTOR, "form[action$='/links'] button").click()
    wait_for_text(browser, "shown only now")
    link, code = text_of(browser, "#link"), text_of(browser, "#code")
    browser.get(f"{gateway.url}/studies/{lent.study}")
    part = browser.find_element(By.CSS_SELECTOR, "[aria-labelledby=sharing]")
    browser.execute_script("arguments[0].scrollIntoView()", part)

    chromium.get(link.replace("localhost", "127.0.0.1"))
    chromium.find_element(By.ID, "code").send_keys(code)
    chromium.find_element(By.CSS_SELECTOR, "button.primary").click()
    wait_for_text(chromium, "This visit ends")
    wait_for(
        chromium,
        lambda b: b.execute_script("return document.querySelector('.picture img').naturalWidth"),
    )
    chromium.find_element(By.LINK_TEXT, "Open in viewer").click()
    wait_for(chromium, lambda b: b.find_elements(By.CSS_SELECTOR, CANVAS), 90)
    wait_for(chromium, lambda b: drawn(b).max() > 200, 90)

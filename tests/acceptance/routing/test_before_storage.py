"""Rules of `before storage`: what is stored is the corrected object, for everybody."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from gateway.archive import Archive
from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway, study_uid_of
from tests.acceptance.line import Line
from tests.acceptance.stow import phantom, stow
from tests.acceptance.trail import decisions, last_record
from tests.timing import soonest

OURS = "North Hospital"
SLICES = 100
RULES = """\
rules:
- name: Our name
  trigger: before storage
  when: {field: StationName, operator: absent}
  actions:
  - morph:
      changes:
      - {do: set, tag: InstitutionName, value: North Hospital}
      - {do: prefix, tag: AccessionNumber, text: N-}
      - {do: prefix, tag: PatientID, text: N}
      reason: CORRECT
- name: Only for known accession numbers
  trigger: before storage
  when: {field: calling_aet, operator: equals, value: STRICT}
  actions:
  - morph: {changes: [{do: map, tag: StationName, table: {A: B}, otherwise: fail}]}
"""


def put_rules(gateway: RunningGateway, key: str, text: str) -> None:
    """Replace the rules of the key's tenant."""
    answer = httpx.put(
        f"{gateway.url}/routing/rules.yaml",
        content=text,
        headers={"Authorization": f"Bearer {key}", "If-Match": "*"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def north(gateway: RunningGateway) -> Iterator[RunningGateway]:
    """The gateway; north corrects before storage, south does not."""
    admin = gateway.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    before = gateway.get("/routing/rules.yaml", admin).text
    put_rules(gateway, admin, RULES)
    gateway.wait_until(lambda: is_corrected(gateway))
    yield gateway
    put_rules(gateway, admin, before)


def is_corrected(gateway: RunningGateway, name: str = OURS) -> bool:
    """Whether the node knows the rules: an object of a new study is changed."""
    file = phantom(f"known {uuid.uuid4()}", InstitutionName="Old")
    assert stow(gateway, file).status_code == 200
    return bool(stored(gateway, gateway.north_key, file).InstitutionName == name)


def stored(gateway: RunningGateway, key: str, file: bytes) -> Dataset:
    """The instance as dicomweb-client retrieves it."""
    sent = dcmread(BytesIO(file))
    return gateway.dicomweb(key).retrieve_instance(
        sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID
    )


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file of this content."""
    file = folder / name
    file.write_bytes(content)
    return file


def series(folder: Path, slices: int) -> list[Path]:
    """The files of a new study."""
    folder.mkdir()
    contents = ct_phantom(slices, seed=uuid.uuid4().hex, patient_id=f"P{uuid.uuid4().hex[:6]}")
    return [written(folder, f"{n}.dcm", content) for n, content in enumerate(contents)]


def answers(sent: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What storescu was answered, by file."""
    told = re.findall(
        r"Sending file: (\S+)\n(?:.*\n)*?.*Received Store Response \((.*)\)",
        sent.stderr + sent.stdout,
    )
    return dict(told)


def names_in(gateway: RunningGateway, key: str, study_uid: str) -> list[str]:
    """The InstitutionName of each instance of a study; empty where it has none."""
    found = gateway.dicomweb(key).retrieve_study_metadata(study_uid)
    return [(each.get("00080080", {}).get("Value") or [""])[0] for each in found]


def test_what_a_modality_stores_is_corrected_and_says_what_it_was(
    north: RunningGateway, tmp_path: Path
) -> None:
    file = written(tmp_path, "a.dcm", phantom("one", AccessionNumber="77", InstitutionName="Old"))
    sent = north.storescu(file)
    assert sent.returncode == 0
    assert "Received Store Response (Success)" in sent.stderr + sent.stdout
    now = stored(north, north.north_key, file.read_bytes())
    assert (now.InstitutionName, now.AccessionNumber) == ("North Hospital", "N-77")
    copy = tmp_path / "stored.dcm"
    now.save_as(copy, enforce_file_format=True)
    dump = subprocess.run(
        ["/usr/bin/dcmdump", copy], capture_output=True, text=True, check=True
    ).stdout
    for told in ("[ARGONATH before storage]", "[CORRECT]", "[Old]", "[77]"):
        assert told in dump


def test_what_is_stored_by_stow_rs_is_found_by_its_corrected_number(north: RunningGateway) -> None:
    file = phantom("two", AccessionNumber="88")
    client = north.dicomweb(north.north_key)
    client.store_instances([dcmread(BytesIO(file))])
    found = client.search_for_studies(search_filters={"AccessionNumber": "N-88"})
    assert len(found) == 1
    assert client.search_for_studies(search_filters={"AccessionNumber": "88"}) == []


def test_every_instance_of_many_associations_is_corrected_and_no_other_tenants(
    north: RunningGateway, tmp_path: Path
) -> None:
    def send(number: int) -> tuple[str, str]:
        called = "NORTH" if number % 2 else "SOUTH"
        files = series(tmp_path / str(number), 5)
        sent = north.storescu(*files, called=called, calling=f"CT{number % 3}")
        assert list(answers(sent).values()) == ["Success"] * 5, sent.stderr + sent.stdout
        return called, study_uid_of(files[0])

    # More associations than Orthanc has threads: each serves north and south in turn.
    with ThreadPoolExecutor(8) as pool:
        studies = list(pool.map(send, range(40)))
    keys = {"NORTH": north.north_key, "SOUTH": north.south_key}
    expected = {"NORTH": [OURS] * 5, "SOUTH": [""] * 5}
    for called, study_uid in studies:
        assert names_in(north, keys[called], study_uid) == expected[called]


def test_the_page_of_a_study_says_that_it_was_corrected(
    north: RunningGateway, tmp_path: Path
) -> None:
    (file,) = series(tmp_path / "page", 1)
    admin = north.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    assert north.storescu(file).returncode == 0
    north.wait_until(
        lambda: "in 1 of 1 series" in north.get(f"/studies/{study_uid_of(file)}", admin).text, 30
    )


def test_what_cannot_be_corrected_is_refused_and_its_audit_holds_no_value(
    north: RunningGateway, tmp_path: Path
) -> None:
    after = last_record(north)
    content = phantom("refused", StationName="SECRET", AccessionNumber="99")
    files = [written(tmp_path, f"{n}.dcm", content) for n in range(2)]
    sent = north.storescu(*files, calling="STRICT")
    assert set(answers(sent).values()) == {"Error: CannotUnderstand"}
    found = north.dicomweb(north.north_key).search_for_studies(
        search_filters={"StudyInstanceUID": study_uid_of(files[0])}
    )
    assert found == []
    refused = [row for row in decisions(north, after=after) if row["verdict"] == "denied"]
    assert refused
    for row in refused:
        assert (row["tenant_id"], row["actor"]) == ("north", "STRICT")
        assert row["detail"].startswith("CannotMorph map StationName")
        assert "SECRET" not in str(row)


def test_by_stow_rs_a_refusal_is_told_for_its_instance_alone(north: RunningGateway) -> None:
    by_address = RULES.replace("field: calling_aet", "field: Modality").replace("STRICT", "MR")
    admin = north.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    put_rules(north, admin, by_address)
    bad = phantom("bad", StationName="SECRET", Modality="MR")
    try:
        north.wait_until(lambda: stow(north, bad).status_code == 400)
        answer = stow(north, phantom(f"good {uuid.uuid4()}"), bad)
    finally:
        put_rules(north, admin, RULES)
    assert answer.status_code == 202
    told = answer.json()
    assert len(told["00081199"]["Value"]) == 1
    (failed,) = told["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0x0110]


def test_the_same_object_again_is_a_success_and_stays_as_it_was(
    north: RunningGateway, tmp_path: Path
) -> None:
    (file,) = series(tmp_path / "again", 1)
    for _ in range(2):
        assert north.storescu(file).returncode == 0
    now = stored(north, north.north_key, file.read_bytes())
    assert len(now.OriginalAttributesSequence) == 1


def test_what_our_own_services_store_for_a_tenant_is_corrected_like_any_arrival(
    north: RunningGateway,
) -> None:
    environment = (north.data / "run/environment").read_text()
    (url,) = re.findall(r"ARGONATH_ORTHANC_URL='?([^'\n]+)", environment)
    token = (north.data / "secrets/internal_token").read_text().strip()
    file = phantom(f"polled {uuid.uuid4()}")
    with Archive(url, token, "north") as archive:
        archive.store(file)
    assert stored(north, north.north_key, file).InstitutionName == OURS


def test_a_rule_holds_within_a_second_of_its_saving(north: RunningGateway) -> None:
    admin = north.argonath("api-key", "create", "--tenant", "north", "--role", "admin")

    def holds_after_s() -> float:
        name = f"Name {uuid.uuid4().hex}"
        put_rules(north, admin, RULES.replace(OURS, name))
        saved = time.monotonic()
        north.wait_until(lambda: is_corrected(north, name))
        return time.monotonic() - saved

    try:
        assert soonest(holds_after_s, 1.0) < 1.0
    finally:
        put_rules(north, admin, RULES)
        north.wait_until(lambda: is_corrected(north))


def test_what_was_acknowledged_when_orthanc_is_killed_is_there_and_corrected(
    north: RunningGateway, tmp_path: Path
) -> None:
    studies = [series(tmp_path / str(number), SLICES) for number in range(4)]

    def on_disk() -> int:
        return sum(1 for _ in (north.data / "orthanc").rglob("*-*-*-*-*"))

    before = on_disk()
    with ThreadPoolExecutor(4) as pool, closing(Line(north.dicom_port)) as line:
        line.hold_after(SLICES * 20_000)  # about sixty instances
        sending = [pool.submit(north.storescu, *files, port=line.port) for files in studies]
        north.kill("node:orthanc", when=lambda: on_disk() > before + 10)
        line.mend()
        sent = [each.result() for each in sending]
    north.wait_until(north.is_ready, 60)
    acknowledged = 0
    for files, each in zip(studies, sent, strict=True):
        told = answers(each)
        assert set(told.values()) <= {"Success"}
        acknowledged += len(told)
        for file in told:
            now = stored(north, north.north_key, Path(file).read_bytes())
            assert now.InstitutionName == OURS
        if told:
            assert set(names_in(north, north.north_key, study_uid_of(files[0]))) == {OURS}
    assert 0 < acknowledged < 4 * SLICES

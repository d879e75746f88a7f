"""A study that is sent to the gateway is read by its tenant alone; attacks: tests/isolation."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from requests import HTTPError

from gateway.archive import Reference
from gateway.errors import NotFound
from gateway.files import Files
from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway, study_uid_of

REFUSED = "Unknown Status: 0x124"  # PS3.7 annex C: refused, not authorized


@pytest.fixture
def study(gateway: RunningGateway, tmp_path: Path) -> str:
    return gateway.send_phantom(tmp_path, "Isolated^Ida")


def test_the_owner_finds_the_study_by_wildcard_and_by_encoded_name(
    gateway: RunningGateway, study: str
) -> None:
    client = gateway.dicomweb(gateway.north_key)
    for pattern in ("Isolated^*", "ISOLATED^IDA", "*solated*"):
        found = client.search_for_studies(search_filters={"PatientName": pattern})
        assert study in {row["0020000D"]["Value"][0] for row in found}, pattern


def test_the_owner_reads_metadata_a_frame_and_the_whole_study(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    sent = [dcmread(BytesIO(f)) for f in ct_phantom(3, seed=f"{tmp_path}", patient_id="W1")]
    files = [tmp_path / f"{n}.dcm" for n in range(3)]
    for file, ds in zip(files, sent, strict=True):
        ds.save_as(file)
    assert gateway.storescu(*files).returncode == 0
    first = sent[0]
    client = gateway.dicomweb(gateway.north_key)
    uids = (first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID)
    assert client.retrieve_instance_metadata(*uids)["00280010"]["Value"] == [first.Rows]
    assert client.retrieve_instance_frames(*uids, frame_numbers=[1])[0] == first.PixelData
    got = {ds.SOPInstanceUID: ds for ds in client.retrieve_series(*uids[:2])}
    assert got == {ds.SOPInstanceUID: ds for ds in sent}


def test_our_own_process_finds_the_instances_and_files_of_the_tenant_it_acts_for_alone(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    sent = dcmread(BytesIO(ct_phantom(1, seed=f"{tmp_path}")[0]))
    sent.SpecificCharacterSet, sent.PatientID = "ISO_IR 100", "Müller/7"
    sent.save_as(tmp_path / "0.dcm")
    assert gateway.storescu(tmp_path / "0.dcm").returncode == 0
    study, place = sent.StudyInstanceUID, (sent.SeriesInstanceUID, sent.SOPInstanceUID)
    with gateway.archive("north") as archive:
        assert archive.places(study, "somebody", [place]) == [None]
        assert archive.places(study, "Müller/7", [place]) != [None]
        for patient_id in ("Müller/7", "somebody"):  # by its UIDs alone it is found too
            with Files(archive, gateway.data / "orthanc", study, patient_id, [place]) as files:
                assert dcmread(BytesIO(files.file_of(*place))) == sent
        (held,) = archive.references_of(study)
        assert held == Reference(place[1], place[0], sent.SOPClassUID, sent.InstanceNumber)
    with gateway.archive("south") as archive:
        with pytest.raises(NotFound):
            archive.places(study, "Müller/7", [place])
        with pytest.raises(NotFound):
            archive.references_of(study)
    asked = {"patient_id": "Müller/7", "instances": [place]}
    for path in ("/places/studies/", "/orthanc/places/studies/"):
        for key in (gateway.north_key, gateway.south_key, "nobodys"):
            for method, body in (("POST", asked), ("GET", None)):
                answer = httpx.request(
                    method,
                    f"{gateway.url}{path}{study}",
                    json=body,
                    headers={"Authorization": f"Bearer {key}"},
                )
                assert answer.status_code in {401, 403, 404, 405}, path


def test_another_tenant_finds_nothing_and_gets_404(gateway: RunningGateway, study: str) -> None:
    client = gateway.dicomweb(gateway.south_key)
    assert client.search_for_studies(search_filters={"StudyInstanceUID": study}) == []
    assert client.search_for_series(study) == []
    assert client.search_for_instances(study) == []
    with pytest.raises(HTTPError) as caught:
        client.retrieve_study_metadata(study)
    assert caught.value.response.status_code == 404


def test_the_list_of_all_instances_holds_the_own_alone(gateway: RunningGateway, study: str) -> None:
    for key, sees in ((gateway.north_key, True), (gateway.south_key, False)):
        rows = gateway.get(f"/dicom-web/instances?StudyInstanceUID={study}", key).json()
        every = gateway.get("/dicom-web/instances?limit=1000&includefield=0020000D", key).json()
        assert bool(rows) is sees
        assert (study in {r["0020000D"]["Value"][0] for r in every}) is sees


@pytest.mark.parametrize("key", ["", "argonath_wrong"])
def test_without_a_valid_key_the_answer_is_401_and_how_to_get_one(
    gateway: RunningGateway, key: str
) -> None:
    answer = gateway.get("/dicom-web/studies", key)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "cure" in answer.json()


def test_a_revoked_key_is_refused(gateway: RunningGateway) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north")
    assert gateway.get("/dicom-web/studies", key).status_code == 200
    gateway.argonath("api-key", "revoke", key)
    gateway.wait_until(lambda: gateway.get("/dicom-web/studies", key).status_code == 401)


def test_a_system_admin_reaches_orthanc(gateway: RunningGateway) -> None:
    key = gateway.argonath("api-key", "create", "--role", "system-admin")
    assert gateway.get("/orthanc/system", key).json()["Version"]
    assert b"argonath" in gateway.get("/metrics", key).content


def test_an_unknown_called_ae_title_is_refused(gateway: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    file.write_bytes(ct_phantom(1, seed="unknown", patient_id="U")[0])
    sent = gateway.storescu(file, called="NOBODY")
    assert REFUSED in sent.stderr
    path = f"/dicom-web/studies/{study_uid_of(file)}/metadata"
    assert gateway.get(path, gateway.north_key).status_code == 404


def test_a_study_stored_by_stow_belongs_to_the_tenant_of_the_key(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    ds = dcmread(BytesIO(ct_phantom(1, seed=f"stow {tmp_path}", patient_id="STOW")[0]))
    gateway.dicomweb(gateway.south_key).store_instances([ds])
    for key, count in ((gateway.south_key, 1), (gateway.north_key, 0)):
        found = gateway.dicomweb(key).search_for_instances(ds.StudyInstanceUID)
        assert len(found) == count


def test_a_viewers_key_cannot_store(gateway: RunningGateway) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--role", "viewer")
    ds = dcmread(BytesIO(ct_phantom(1, seed="viewer", patient_id="V")[0]))
    with pytest.raises(HTTPError) as caught:
        gateway.dicomweb(key).store_instances([ds])
    assert caught.value.response.status_code == 403

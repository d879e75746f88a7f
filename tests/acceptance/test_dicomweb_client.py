"""Every call of dicomweb-client, as it makes it by default, and deletion by role."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from requests import HTTPError

from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.trail import decisions, last_record


@pytest.fixture
def study(gateway: RunningGateway, tmp_path: Path) -> tuple[str, str, str]:
    """UIDs of a phantom's study, its series and one of its three instances."""
    uid = gateway.send_phantom(tmp_path, "Client^Clara", slices=3)
    one = dcmread(next(tmp_path.glob("*.dcm")))
    return uid, one.SeriesInstanceUID, one.SOPInstanceUID


def test_searches(gateway: RunningGateway, study: tuple[str, str, str]) -> None:
    client = gateway.dicomweb(gateway.north_key)
    uid, series, instance = study

    found = client.search_for_studies(
        search_filters={"PatientName": "Client*", "StudyInstanceUID": uid}
    )
    assert [row["0020000D"]["Value"] for row in found] == [[uid]]
    assert client.search_for_studies(
        fuzzymatching=False, limit=1, offset=0, fields=["StudyDescription"]
    )
    every = client.search_for_studies(get_remaining=True)
    assert uid in {row["0020000D"]["Value"][0] for row in every}
    assert [row["0020000E"]["Value"] for row in client.search_for_series(uid)] == [[series]]
    assert client.search_for_series(search_filters={"SeriesInstanceUID": series})
    assert len(client.search_for_instances(uid)) == 3
    assert len(client.search_for_instances(uid, series)) == 3
    assert len(client.search_for_instances(search_filters={"SOPInstanceUID": instance})) == 1


def test_retrievals(gateway: RunningGateway, study: tuple[str, str, str]) -> None:
    client = gateway.dicomweb(gateway.north_key)
    uid, series, instance = study

    assert len(client.retrieve_study(uid)) == len(list(client.iter_study(uid))) == 3
    assert (
        len(client.retrieve_series(uid, series)) == len(list(client.iter_series(uid, series))) == 3
    )
    whole = client.retrieve_instance(uid, series, instance)
    assert whole.SOPInstanceUID == instance

    assert len(client.retrieve_study_metadata(uid)) == 3
    assert len(client.retrieve_series_metadata(uid, series)) == 3
    metadata = client.retrieve_instance_metadata(uid, series, instance)
    assert metadata["00080018"]["Value"] == [instance]

    assert client.retrieve_instance_frames(uid, series, instance, [1]) == [whole.PixelData]
    assert list(client.iter_instance_frames(uid, series, instance, [1])) == [whole.PixelData]
    pixels = metadata["7FE00010"]["BulkDataURI"]
    assert pixels.startswith(gateway.url)
    assert client.retrieve_bulkdata(pixels) == [whole.PixelData]
    assert list(client.iter_bulkdata(pixels)) == [whole.PixelData]

    for picture in (
        client.retrieve_series_rendered(uid, series),
        client.retrieve_instance_rendered(uid, series, instance),
        client.retrieve_instance_frames_rendered(uid, series, instance, [1]),
    ):
        assert picture.startswith(b"\xff\xd8\xff")


def test_what_was_stored_over_stow_is_deleted_by_an_admin_and_the_audit_tells_it(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    (tmp_path / "one.dcm").write_bytes(ct_phantom(1, seed=f"{tmp_path}", patient_id="DELETED")[0])
    dataset = dcmread(tmp_path / "one.dcm")
    admin = gateway.dicomweb(
        gateway.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    )
    admin.store_instances([dataset])
    before = last_record(gateway)

    admin.delete_study(dataset.StudyInstanceUID)

    assert admin.search_for_instances(dataset.StudyInstanceUID) == []
    trail = [
        (row["action"], row["verdict"], row["tenant_id"])
        for row in decisions(gateway, after=before)
        if row["resource"] == f"study {dataset.StudyInstanceUID}"
    ]
    assert trail == [("delete-study", "allowed", "north")]
    # Its UID is free again: the same study may come back.
    gateway.wait_until(lambda: _row_is_gone(gateway, dataset.StudyInstanceUID))
    admin.store_instances([dataset])
    gateway.wait_until(lambda: len(admin.search_for_instances(dataset.StudyInstanceUID)) == 1)


def _row_is_gone(gateway: RunningGateway, uid: str) -> bool:
    import psycopg

    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        found = owner.execute("SELECT FROM study WHERE study_instance_uid = %s", [uid])
        return found.fetchone() is None


@pytest.mark.parametrize(
    ("tenant", "role", "status"), [("north", "member", 403), ("south", "owner", 404)]
)
def test_nobody_else_deletes_it_and_learns_why(
    gateway: RunningGateway, study: tuple[str, str, str], tenant: str, role: str, status: int
) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", tenant, "--role", role)
    before = last_record(gateway)
    with pytest.raises(HTTPError) as refused:
        gateway.dicomweb(key).delete_study(study[0])
    answer = refused.value.response
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["cure"]
    denied = [row for row in decisions(gateway, after=before) if row["verdict"] == "denied"]
    assert {row["action"] for row in denied} == {"delete-study"}
    assert len(gateway.dicomweb(gateway.north_key).search_for_instances(study[0])) == 3

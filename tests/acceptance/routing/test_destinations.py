"""Every kind of destination, with receivers not ours: files, S3, dcmtk, another Orthanc."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from extensions.routing.destinations import create_destination, delete_destination
from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.test_forwarding import ledger, routing
from tests.acceptance.stow import stow
from tests.bench.stock import StockOrthanc, running
from tests.ports import free_port
from tests.routing_rules import add_rule, remove_rule


@contextmanager
def destination(gateway: RunningGateway, kind: str, actions: Any = None, **settings: Any):
    """A destination to which a rule of north forwards the studies of a patient; who that is."""
    name = f"D{uuid.uuid4().hex[:8]}"
    key = (gateway.data / "secrets" / "encryption_key").read_text().strip()
    with routing(gateway) as session:
        made = create_destination(
            session, name=name, kind=kind, settings=settings, encryption_key=key, actor="test"
        )
        more = {"actions": [*actions, {"forward": {"to": name}}]} if actions else {}
        add_rule(session, name, name, ("PatientID", "equals", name), **more)
    yield name
    with routing(gateway) as session:
        remove_rule(session, name)
        delete_destination(session, made.destination_id, actor="test")


def send(gateway: RunningGateway, patient: str, *files: bytes) -> tuple[str, dict[str, bytes]]:
    """Store files as a study of the patient; its UID, and the files by theirs."""
    study, sent = generate_uid(), {}
    for file in files:
        dataset = dcmread(BytesIO(file))
        dataset.PatientID, dataset.StudyInstanceUID = patient, study
        buffer = BytesIO()
        dataset.save_as(buffer)
        sent[str(dataset.SOPInstanceUID)] = buffer.getvalue()
    assert stow(gateway, *sent.values()).status_code == 200
    return study, sent


def becomes(gateway: RunningGateway, study: str, **states: int) -> None:
    gateway.wait_until(lambda: ledger(gateway, study) == states, 90)


def slices(patient: str, number: int) -> list[bytes]:
    return ct_phantom(number, seed=patient, patient_id=patient)


def test_a_study_becomes_files_in_the_tenants_folder(gateway: RunningGateway) -> None:
    pattern = "{PatientID}/{SOPInstanceUID}.dcm"
    with destination(gateway, "folder", folder="research/ct", pattern=pattern) as patient:
        study, sent = send(gateway, patient, *slices(patient, 5))
        becomes(gateway, study, delivered=5)
    folder = gateway.data / "export" / "north" / "research" / "ct" / patient
    written = {path.stem: path.read_bytes() for path in folder.iterdir()}
    assert written == sent


@pytest.fixture
def bucket() -> Iterator[Any]:
    """A client of an S3 server of its own, with a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="ann",
        aws_secret_access_key="hush",
    )
    httpx.post(
        f"http://{host}:{port}/moto-api/reset"
    )  # all its servers in a process share one store
    client.create_bucket(Bucket="studies")
    yield client
    client.close()
    server.stop()


def test_a_study_becomes_objects_in_a_bucket(gateway: RunningGateway, bucket: Any) -> None:
    there = {"url": bucket.meta.endpoint_url, "bucket": "studies", "access_key": "ann"}
    with destination(gateway, "s3", **there, secret_key="hush") as patient:
        study, sent = send(gateway, patient, *slices(patient, 5))
        becomes(gateway, study, delivered=5)
    kept = [each["Key"] for each in bucket.list_objects_v2(Bucket="studies")["Contents"]]
    assert {key.split("/")[0] for key in kept} == {patient}
    for key in kept:
        uid = key.rpartition("/")[2].removesuffix(".dcm")
        assert bucket.get_object(Bucket="studies", Key=key)["Body"].read() == sent[uid]


def test_dcmtk_that_takes_no_compression_gets_what_can_be_decompressed(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    port = free_port()
    process = subprocess.Popen(["/usr/bin/storescp", "-od", tmp_path, "-aet", "OLD", str(port)])
    names = ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"]
    files = []
    for name in names:
        dataset = dcmread(get_testdata_file(name))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        buffer = BytesIO()
        dataset.save_as(buffer)
        files.append(buffer.getvalue())
    assert dcmread(BytesIO(files[0])).file_meta.TransferSyntaxUID == RLELossless
    try:
        there = {"host": "127.0.0.1", "port": port, "called_aet": "OLD"}
        with destination(gateway, "dimse", **there) as patient:
            study, _ = send(gateway, patient, *files)
            becomes(gateway, study, delivered=1, failed=1)
    finally:
        process.kill()
        process.wait()
    (received,) = [dcmread(path) for path in tmp_path.iterdir()]
    assert received.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert received.PixelData == dcmread(get_testdata_file("MR_small.dcm")).PixelData


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockOrthanc]:
    """Another Orthanc, that may be asked what it has."""
    folder = tmp_path_factory.mktemp("other") / "orthanc"
    with running(folder, DicomAlwaysAllowFind=True) as stock:
        yield stock


def test_another_orthanc_is_asked_by_c_find_what_it_has(
    gateway: RunningGateway, orthanc: StockOrthanc
) -> None:
    there = {"host": "127.0.0.1", "port": orthanc.dicom_port, "called_aet": "ORTHANC"}
    with destination(gateway, "dimse", **there, verify="query") as patient:
        study, _ = send(gateway, patient, *slices(patient, 5))
        becomes(gateway, study, verified=5)


def test_another_orthanc_is_asked_by_qido_what_it_has(
    gateway: RunningGateway, orthanc: StockOrthanc
) -> None:
    there = {"url": f"{orthanc.url}/dicom-web", "verify": "query"}
    with destination(gateway, "dicomweb", **there) as patient:
        study, _ = send(gateway, patient, *slices(patient, 5))
        becomes(gateway, study, verified=5)

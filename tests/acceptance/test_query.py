"""A C-FIND is answered in letters that every modality can read."""

from __future__ import annotations

import subprocess
import uuid
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from pydicom import Dataset, dcmread

from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway

TITLE = "LETTERS"
NAMES = [
    pytest.param("ISO_IR 192", "山田^太郎", id="Japanese in Unicode"),
    pytest.param("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", id="Japanese by escapes"),
    pytest.param("ISO_IR 144", "Пушкин^Александр", id="Russian"),
    pytest.param("ISO_IR 100", "Müller^Jörg", id="German"),
    pytest.param("ISO_IR 6", "Doe^John", id="English"),
]


@pytest.fixture(scope="module")
def tenant(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tenant of its own, which CT1 may query."""
    folder = tmp_path_factory.mktemp("known")
    gateway.argonath("tenant", "create", "letters")
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        owner.execute(
            "INSERT INTO calling_ae_title (tenant_id, ae_title, may_query) "
            "VALUES ('letters', 'CT1', true)"
        )
    gateway.wait_until_known(TITLE, folder)
    gateway.wait_until(lambda: find(gateway, folder, "PatientID=*"))
    return TITLE


def store(gateway: RunningGateway, folder: Path, charset: str, name: str) -> str:
    """A study of this patient; its PatientID."""
    patient_id = uuid.uuid4().hex[:12]
    ds = dcmread(BytesIO(ct_phantom(1, seed=patient_id, patient_id=patient_id)[0]))
    ds.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    ds.PatientName = name
    ds.save_as(folder / "sent.dcm")
    sent = gateway.storescu(folder / "sent.dcm", called=TITLE)
    assert sent.returncode == 0, sent.stderr
    return patient_id


def find(gateway: RunningGateway, folder: Path, *keys: str) -> list[Dataset]:
    """The answers to a C-FIND at study level."""
    asked = [word for key in ("QueryRetrieveLevel=STUDY", *keys) for word in ("-k", key)]
    subprocess.run(
        ["/usr/bin/findscu", "-S", "-X", "-od", folder, "-aec", TITLE, "-aet", "CT1", *asked,
         "127.0.0.1", str(gateway.dicom_port)],
        check=True,
    )  # fmt: skip
    return [dcmread(file, force=True) for file in sorted(folder.glob("rsp*.dcm"))]


@pytest.mark.parametrize(("charset", "name"), NAMES)
def test_a_name_is_told_as_it_was_stored(
    gateway: RunningGateway, tenant: str, tmp_path: Path, charset: str, name: str
) -> None:
    patient_id = store(gateway, tmp_path, charset, name)
    (answer,) = find(gateway, tmp_path, f"PatientID={patient_id}", "PatientName")
    assert str(answer.PatientName) == name


@pytest.mark.parametrize(
    ("name", "pattern"), [("Пушкин^Александр", "Пушкин*"), ("Müller^Jörg", "*Jörg")]
)
def test_a_name_is_found_by_its_own_letters(
    gateway: RunningGateway, tenant: str, tmp_path: Path, name: str, pattern: str
) -> None:
    patient_id = store(gateway, tmp_path, "ISO_IR 192", name)
    found = find(
        gateway,
        tmp_path,
        "SpecificCharacterSet=ISO_IR 192",
        f"PatientID={patient_id}",
        f"PatientName={pattern}",
    )
    assert [str(answer.PatientName) for answer in found] == [name]

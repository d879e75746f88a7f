"""The action `anonymize` on studies that a modality has sent, and the way back in the portal."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from extensions.anonymize import projects
from extensions.anonymize.action import ANONYMIZE, AnonymizeSettings
from extensions.anonymize.options import Options
from gateway.actions import Actions, NeedsPerson
from gateway.archive import Archive
from gateway.context import TaskContext
from gateway.db import Database
from gateway.phantom import ct_phantom
from gateway.settings import Settings
from tests.acceptance.browsing import click, fill, sign_in, text_of, wait_for_text
from tests.acceptance.conftest import RunningGateway, study_uid_of


@pytest.fixture
def north(gateway: RunningGateway) -> Iterator[TaskContext]:
    """What a job of the tenant north is given."""
    environment = {}
    for line in (gateway.data / "run/environment").read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        environment[name] = value.strip("'")
    settings = Settings.load(environment)
    database = Database(settings.database_url)
    with Archive(settings.orthanc_url, settings.internal_token, "north") as archive:
        log, actions = logging.getLogger("test"), Actions([ANONYMIZE])
        yield TaskContext("north", settings, database, archive, log, actions)
    database.close()


def create(north: TaskContext, name: str, **options: Any) -> AnonymizeSettings:
    with north.database.tenant_session("north") as session:
        projects.create_project(
            session,
            name,
            Options.model_validate(options),
            encryption_key=north.settings.encryption_key,
            actor="test",
            origin="",
        )
    return AnonymizeSettings(project=name)


def send(gateway: RunningGateway, folder: Path, study_date: str, **tags: Any) -> str:
    """A study of Jane Doe; its StudyInstanceUID."""
    (content,) = ct_phantom(1, seed=study_date, patient_name="Doe^Jane", patient_id="MRN-4711")
    dataset = pydicom.dcmread(BytesIO(content))
    dataset.StudyDate = study_date
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    file = folder / f"{study_date}.dcm"
    dataset.save_as(file)
    assert gateway.storescu(file).returncode == 0
    return study_uid_of(file)


def copies_of(north: TaskContext, settings: AnonymizeSettings, study: str) -> list[Dataset]:
    """What would leave, prepared anew as another process would."""
    change = ANONYMIZE.prepare(north, settings, study)
    files = [
        north.archive.file_of(study, it.series_instance_uid, it.sop_instance_uid)
        for it in north.archive.references_of(study)
    ]
    return [change(pydicom.dcmread(BytesIO(file))) for file in files]


def picture(browser: Chrome, name: str) -> None:
    """Keep a picture where ARGONATH_SCREENSHOTS names a folder."""
    if folder := os.environ.get("ARGONATH_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def dumped(dataset: Dataset, folder: Path) -> str:
    """As dcmtk reads the copy."""
    file = folder / "copy.dcm"
    dataset.save_as(file)
    done = subprocess.run(["/usr/bin/dcmdump", file], capture_output=True, text=True, check=True)
    return done.stdout


def test_two_studies_of_a_patient_leave_under_one_pseudonym_that_leads_back(
    gateway: RunningGateway, north: TaskContext, browser: Chrome, tmp_path: Path
) -> None:
    project = create(north, "LUNG", dates="shifted", clean_descriptors=True)
    studies = [send(gateway, tmp_path, day) for day in ("20260304", "20260404")]
    first, second = (copies_of(north, project, study)[0] for study in studies)
    (again,) = copies_of(north, project, studies[0])
    assert again == first

    text = dumped(first, tmp_path)
    assert not any(told in text for told in ("Doe", "Jane", "MRN-4711", "20260304", studies[0]))
    assert first.PatientID in text
    assert first.PatientID == second.PatientID
    days = [date.fromisoformat(copy.StudyDate) for copy in (first, second)]
    assert (days[1] - days[0]).days == 31

    sign_in(browser, gateway, email=gateway.north_email)
    browser.get(gateway.url + "/anonymize/projects")
    assert "moved by up to 365 days" in text_of(browser)
    browser.find_element(By.LINK_TEXT, "Look up").click()
    fill(browser, pseudonym=str(first.StudyInstanceUID))
    click(browser, "main form button.primary")
    wait_for_text(browser, "MRN-4711")
    assert "Doe, Jane" in text_of(browser)
    picture(browser, "reidentified")


def test_no_copy_is_made_of_what_has_burned_in_text_unless_its_project_lets_it_pass(
    gateway: RunningGateway, north: TaskContext, tmp_path: Path
) -> None:
    study = send(gateway, tmp_path, "20260505", BurnedInAnnotation="YES")
    with pytest.raises(NeedsPerson, match="burned into the pixels"):
        copies_of(north, create(north, "STRICT"), study)
    (copy,) = copies_of(north, create(north, "LENIENT", burned_in="pass"), study)
    assert copy.PatientIdentityRemoved == "YES"

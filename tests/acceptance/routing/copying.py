"""North with one rule that sends a study twice: corrected, and without names."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydicom import Dataset

from extensions.anonymize import projects
from extensions.anonymize.options import Options
from extensions.routing import labels, ledger, runs
from extensions.routing.changes import crosswalk_tables
from extensions.routing.destinations import create_destination, delete_destination
from extensions.routing.ledger import Delivery, Instance
from tests.acceptance.browsing import client_of
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.chest_ct import Examination, chest_ct, objects_in
from tests.acceptance.routing.test_before_storage import put_rules
from tests.acceptance.routing.test_forwarding import routing
from tests.bench.stock import running
from tests.ports import free_port

PROJECT = "CHEST"
TABLE = "/routing/rules/crosswalks/accession"
RULES = f"""\
rules:
- name: Chest CT with contrast from the emergency room
  when:
    all:
    - {{field: Modality, operator: equals, value: CT}}
    - {{field: BodyPartExamined, operator: equals, value: CHEST}}
    - {{field: ContrastBolusAgent, operator: exists}}
    - {{field: calling_aet, operator: matches pattern, value: ER*}}
  actions:
  - crosswalk: {{table: accession, look_up: AccessionNumber, sets: {{theirs: AccessionNumber}}}}
  - morph: {{changes: [{{do: set, tag: InstitutionName, value: Northern Trust}}]}}
  - forward: {{to: archive}}
  - anonymize: {{project: {PROJECT}}}
  - forward: {{to: research}}
- name: The others
  fallback: true
  actions:
  - label: {{add: [stays here]}}
"""


@dataclass
class Hospital:
    """North with that rule, and what its receivers have on their disks."""

    gateway: RunningGateway
    admin: httpx.Client
    archive: Path
    research: Path

    def import_table(self, rows: str) -> None:
        """As an admin does it in the portal."""
        form = {"do": "import", "key_column": "ours"}
        self.press(TABLE, TABLE, form, {"file": ("accession.csv", f"ours,theirs\n{rows}")})

    def press(self, page: str, to: str, form: dict[str, str], files: Any = None) -> None:
        """A button of a page."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.admin.get(page).text)
        assert token is not None
        answer = self.admin.post(to, data={"csrf_token": token[1], **form}, files=files)
        assert answer.status_code == 303, answer.text

    def examine(
        self, folder: Path, accession_number: str, *, calling: str = "ER_CT", **tags: Any
    ) -> Examination:
        """An examination that a modality has sent."""
        made = chest_ct(folder, accession_number, **tags)
        assert self.gateway.storescu(*made.files, calling=calling).returncode == 0
        return made

    def deliveries_of(self, study: str) -> dict[str, tuple[Delivery, list[Instance]]]:
        """By destination."""
        with routing(self.gateway) as session:
            return {
                each.destination_name: (each, ledger.instances_of(session, each.delivery_id))
                for each in ledger.deliveries_of_study(session, study)
            }

    def in_archive(self, made: Examination) -> dict[Path, Dataset]:
        """What the archive has of an examination, whose UIDs stay there."""
        found = objects_in(self.archive).items()
        return {path: it for path, it in found if it.StudyInstanceUID == made.study_uid}

    def in_research(self, made: Examination) -> dict[Path, Dataset]:
        """What research has of it, by the ledger's word for which study that is."""
        _, instances = self.deliveries_of(made.study_uid)["research"]
        sent = {each.sent_study for each in instances}
        found = objects_in(self.research).items()
        return {path: it for path, it in found if it.StudyInstanceUID in sent}

    def is_left(self, study: str) -> bool:
        """Whether the fallback alone has caught it, and is done."""
        with routing(self.gateway) as session:
            caught = {run.rule_name for run in runs.runs_of_study(session, study)}
            assert caught <= {"The others"}
            return labels.of_study(session, study) == ["stays here"]


@contextmanager
def hospital_of(gateway: RunningGateway, folder: Path) -> Iterator[Hospital]:
    """With dcmtk's storescp as the archive, and another Orthanc as research, by STOW-RS."""
    archive, research = folder / "archive", folder / "research"
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    before = gateway.get("/routing/rules.yaml", key).text
    admin = client_of(gateway, gateway.north_email, gateway.admin_password)
    with _storescp(archive) as port, running(research) as orthanc:
        there = {"host": "127.0.0.1", "port": port, "called_aet": "ARCHIVE"}
        made = [
            _create(gateway, "archive", "dimse", **there),
            _create(
                gateway, "research", "dicomweb", url=f"{orthanc.url}/dicom-web", verify="query"
            ),
        ]
        _create_project(gateway)
        hospital = Hospital(gateway, admin, archive, research)
        new = "/routing/rules/crosswalks/new"
        hospital.press(new, new, {"name": "accession", "kind": "table"})
        hospital.import_table("A-31001,N-81001\n")
        put_rules(gateway, key, RULES)
        yield hospital
        put_rules(gateway, key, before)
        with routing(gateway) as session:
            for number in made:
                delete_destination(session, number, actor="test")
            project = projects.find_project(session, PROJECT)
            projects.delete_project(
                session, project, confirmed=PROJECT, uses=(), actor="test", origin=""
            )
            crosswalk_tables.delete_table(session, "accession", by=crosswalk_tables.By("test"))
    admin.close()


@contextmanager
def _storescp(folder: Path) -> Iterator[int]:
    """dcmtk's, which writes into the folder; its port."""
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen(
        ["/usr/bin/storescp", "-od", folder, "-aet", "ARCHIVE", "+xa", str(port)]
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def _create(gateway: RunningGateway, name: str, kind: str, **settings: Any) -> int:
    key = (gateway.data / "secrets" / "encryption_key").read_text().strip()
    with routing(gateway) as session:
        return create_destination(
            session, name=name, kind=kind, settings=settings, encryption_key=key, actor="test"
        ).destination_id


def _create_project(gateway: RunningGateway) -> None:
    key = (gateway.data / "secrets" / "encryption_key").read_text().strip()
    with routing(gateway) as session:
        projects.create_project(
            session, PROJECT, Options(), encryption_key=key, actor="test", origin=""
        )

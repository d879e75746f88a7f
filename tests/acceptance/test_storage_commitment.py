"""A modality asks which of its instances are safe here, and may be forgotten there."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, ModalityWorklistInformationFind, MRImageStorage

from gateway.phantom import ct_phantom
from tests.acceptance.committing import (
    ALL_COMMITTED,
    NO_ANSWER,
    SOME_FAILED,
    Modality,
    modality,
    n_action,
    request,
    run_sql,
)
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.trail import last_record, records

PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119
SETTLED_S = 3.0  # a report that is to come is there long before


@pytest.fixture(scope="module")
def pair(gateway: RunningGateway) -> Iterator[tuple[Modality, Modality]]:
    """Two tenants, each with a CT of the same AE title in another place."""
    for tenant in ("east", "west"):
        gateway.argonath("tenant", "create", tenant)
    east, west = (modality(gateway, tenant, "CTSAME") for tenant in ("east", "west"))
    with ExitStack() as stack:
        for each in (east, west):
            stack.enter_context(each.listening())
        asked = request([(CTImageStorage, "1.2.3")])
        for each in (east, west):
            gateway.wait_until(lambda at=each.called: n_action(gateway, asked, "CTSAME", at) == 0)
            each.answer(str(asked.TransactionUID))
        yield east, west


@pytest.fixture
def east(pair: tuple[Modality, Modality]) -> Modality:
    return pair[0]


@pytest.fixture
def west(pair: tuple[Modality, Modality]) -> Modality:
    return pair[1]


def send(sender: Modality, folder: Path, count: int = 2) -> list[str]:
    """Store a new study; its SOPInstanceUIDs."""
    files = []
    for content in ct_phantom(count, seed=uuid.uuid4().hex):
        files.append(folder / f"{uuid.uuid4().hex}.dcm")
        files[-1].write_bytes(content)
    sent = sender.gateway.storescu(*files, called=sender.called, calling=sender.title)
    assert sent.returncode == 0, sent.stdout
    return [str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files]


def audited(
    gateway: RunningGateway, after: int, action: str, transaction: str = ""
) -> list[dict[str, Any]]:
    """The records of an action since `after`, as soon as there are some; of one transaction?"""

    def found() -> list[dict[str, Any]]:
        made = [row for row in records(gateway, after=after) if row["action"] == action]
        return [it for it in made if transaction in it["resource"]]

    gateway.wait_until(found)
    return found()


def test_what_was_sent_is_committed(east: Modality, tmp_path: Path) -> None:
    sent = send(east, tmp_path)
    event, committed, failed = east.answer(east.ask(*sent))
    assert (event, set(committed), failed) == (ALL_COMMITTED, set(sent), {})


def test_another_tenants_instance_is_answered_as_one_that_is_nowhere(
    east: Modality, west: Modality, tmp_path: Path
) -> None:
    own, foreign, absent = send(east, tmp_path), send(west, tmp_path), generate_uid()
    event, committed, failed = east.answer(east.ask(own[0], foreign[0], absent))
    assert (event, committed) == (SOME_FAILED, [own[0]])
    assert failed == {foreign[0]: NO_SUCH_INSTANCE, absent: NO_SUCH_INSTANCE}
    alone = [east.answer(east.ask(uid)) for uid in (foreign[0], absent)]
    assert alone == [(SOME_FAILED, [], {uid: NO_SUCH_INSTANCE}) for uid in (foreign[0], absent)]


def test_the_report_goes_to_the_tenants_modality_and_not_to_its_namesake(
    east: Modality, west: Modality, tmp_path: Path
) -> None:
    transactions = {each.called: each.ask(*send(each, tmp_path)) for each in (east, west)}
    for each in (east, west):
        assert each.answer(transactions[each.called])[0] == ALL_COMMITTED
    assert transactions["WEST"] not in east.reported
    assert transactions["EAST"] not in west.reported


def test_the_class_must_be_the_one_that_was_stored(east: Modality, tmp_path: Path) -> None:
    (uid,) = send(east, tmp_path, 1)
    assert east.answer(east.ask(uid, sop_class=MRImageStorage))[2] == {uid: CLASS_CONFLICT}


def test_what_is_damaged_on_the_disk_is_not_committed(east: Modality, tmp_path: Path) -> None:
    whole, damaged = send(east, tmp_path)
    (file,) = [
        path
        for path in (east.gateway.data / "orthanc").rglob("*-*-*-*-*")
        if damaged.encode() in path.read_bytes()
    ]
    file.write_bytes(file.read_bytes()[:-2] + b"\7\7")
    event, committed, failed = east.answer(east.ask(whole, damaged))
    assert (event, committed) == (SOME_FAILED, [whole])
    assert failed == {damaged: PROCESSING_FAILURE}


def test_the_audit_tells_who_asked_for_how_many_and_that_it_was_reported(
    east: Modality, tmp_path: Path
) -> None:
    sent, after = send(east, tmp_path), last_record(east.gateway)
    transaction = east.ask(*sent, generate_uid())
    (asked,) = audited(east.gateway, after, "commit-storage", transaction)
    assert (asked["actor"], asked["tenant_id"], asked["verdict"]) == ("CTSAME", "east", "allowed")
    assert asked["resource"] == f"transaction {transaction}"
    assert asked["detail"] == "3 instances: 2 committed, 1 no such instance"
    (reported,) = audited(east.gateway, after, "report-commitment", transaction)
    assert (reported["verdict"], reported["tenant_id"]) == ("allowed", "east")
    assert reported["detail"] == f"reported to CTSAME at 127.0.0.1:{east.port}"


def test_who_is_listed_by_another_tenant_alone_is_refused_and_audited(
    east: Modality, tmp_path: Path
) -> None:
    (own,) = send(east, tmp_path, 1)
    for called in ("SOUTH", "NOBODYS"):
        after = last_record(east.gateway)
        transaction = east.ask(own, called=called)
        (refused,) = audited(east.gateway, after, "commit-storage")
        assert (refused["verdict"], refused["detail"]) == ("denied", "UnknownAETitle")
        assert (refused["actor"], refused["resource"]) == ("CTSAME", f"called {called}")
        time.sleep(SETTLED_S)
        assert transaction not in east.reported


def test_an_ae_title_that_nobody_lists_is_hung_up_on(east: Modality) -> None:
    asked = request([(CTImageStorage, "1.2.3")])
    assert n_action(east.gateway, asked, "STRANGER", "EAST") == NO_ANSWER


def test_a_modality_that_is_away_is_told_when_it_is_back(
    gateway: RunningGateway, pair: object, tmp_path: Path
) -> None:
    away = modality(gateway, "east", "CTAWAY")
    after, asked = last_record(gateway), request([(CTImageStorage, "1.2.3")])
    gateway.wait_until(lambda: n_action(gateway, asked, "CTAWAY", "EAST") == 0)
    failed = audited(gateway, after, "report-commitment", str(asked.TransactionUID))[0]
    assert failed["verdict"] == "failed"
    assert f"CTAWAY at 127.0.0.1:{away.port}: no association" in failed["detail"]
    with away.listening():
        event, _, reasons = away.answer(str(asked.TransactionUID))
    assert (event, reasons) == (SOME_FAILED, {"1.2.3": NO_SUCH_INSTANCE})


@pytest.mark.parametrize(
    ("instances", "transaction"),
    [([], ""), (["1." * 40 + "1"], ""), (["1.2.3"], "nonsense")],
    ids=["nothing", "a long UID", "no Transaction UID"],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
def test_what_makes_no_sense_is_refused_and_audited(
    pair: tuple[Modality, Modality], instances: list[str], transaction: str
) -> None:
    east, west = pair
    asked = request([(CTImageStorage, uid) for uid in instances], transaction)
    after = last_record(east.gateway)
    n_action(east.gateway, asked, "CTSAME", "EAST")
    (refused,) = audited(east.gateway, after, "commit-storage")
    assert (refused["verdict"], refused["detail"]) == ("denied", "InvalidInput")
    time.sleep(1)
    assert str(asked.TransactionUID) not in east.reported | west.reported


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_bad_requests_disturb_no_good_one(east: Modality, tmp_path: Path) -> None:
    (own,) = send(east, tmp_path, 1)
    without = request([(CTImageStorage, own)])
    del without.ReferencedSOPSequence
    for bad in (without, request([(CTImageStorage, "")])):
        assert n_action(east.gateway, bad, "CTSAME", "EAST", patience_s=2) == NO_ANSWER
    odd = ["*", "1.2.?", "1.2.ABC", "';DROP"]
    _, committed, failed = east.answer(east.ask(own, *odd))
    assert committed == [own]
    assert failed == dict.fromkeys(odd, NO_SUCH_INSTANCE)


def test_thousands_of_instances_are_answered_one_by_one(east: Modality, tmp_path: Path) -> None:
    own, absent = send(east, tmp_path), [generate_uid() for _ in range(5000)]
    event, committed, failed = east.answer(east.ask(*absent[:2500], *own, *absent[2500:]))
    assert (event, committed) == (SOME_FAILED, own)
    assert failed == dict.fromkeys(absent, NO_SUCH_INSTANCE)


def test_it_is_offered_again_after_a_crash(east: Modality, tmp_path: Path) -> None:
    (own,) = send(east, tmp_path, 1)
    asked, after = request([(CTImageStorage, own)]), last_record(east.gateway)
    east.gateway.kill("node:orthanc")
    audited(east.gateway, after, "node.unclean-stop")
    east.gateway.wait_until(lambda: n_action(east.gateway, asked, "CTSAME", "EAST") == 0, 60)
    assert east.answer(str(asked.TransactionUID))[:2] == (ALL_COMMITTED, [own])


def test_a_tenant_that_has_switched_it_off_answers_nobody(west: Modality, tmp_path: Path) -> None:
    (own,) = send(west, tmp_path, 1)
    run_sql(west.gateway, "INSERT INTO extension_setting VALUES ('west', 'commitment', false)")
    after = last_record(west.gateway)
    transaction = west.ask(own)
    (refused,) = audited(west.gateway, after, "commit-storage")
    assert (refused["verdict"], refused["detail"]) == ("denied", "NotAllowed")
    time.sleep(SETTLED_S)
    assert transaction not in west.reported


def test_a_worklist_is_refused_by_status_and_audited(gateway: RunningGateway, pair: object) -> None:
    modality(gateway, "east", "CTQUERY", may_query=True)
    ae, question = AE(ae_title="CTQUERY"), Dataset()
    ae.add_requested_context(ModalityWorklistInformationFind)
    question.PatientName = "*"
    after = last_record(gateway)
    opened = ae.associate("127.0.0.1", gateway.dicom_port, ae_title="EAST")
    with opened.dul.socket.socket:  # pynetdicom leaves one that the other side has closed
        answers = list(opened.send_c_find(question, ModalityWorklistInformationFind))
        opened.release()
        opened.join()
    assert [(status.Status, match) for status, match in answers] == [(0xC000, None)]
    (refused,) = audited(gateway, after, "read-worklist")
    assert (refused["actor"], refused["verdict"]) == ("CTQUERY", "denied")

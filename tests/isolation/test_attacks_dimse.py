"""Attacks by DIMSE: modalities of south, and of nobody, who know north's AE titles and UIDs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityWorklistInformationFind,
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from tests.acceptance.committing import n_action, request
from tests.isolation.attacks import assert_untouched, forged, instances_seen
from tests.isolation.world import Study, Whose, World, make_study, stow
from tests.ports import free_port

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # that is the attack
NOT_AUTHORIZED = 0x0124
STUDY_ROOT = StudyRootQueryRetrieveInformationModelFind


@contextmanager
def association(
    world: World, *contexts: str, calling: str, called: str, scp_role: bool = False
) -> Iterator[Association]:
    """An association as a modality opens it."""
    ae = AE(ae_title=calling)
    for context in contexts:
        ae.add_requested_context(context)
    roles = []
    if scp_role:
        ae.add_requested_context(CTImageStorage)
        roles = [build_role(CTImageStorage, scp_role=True)]
    opened = ae.associate(
        "127.0.0.1", world.gateway.dicom_port, ae_title=called, ext_neg=roles or None
    )
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()


def store(world: World, file: bytes, *, calling: str = "SOUTHCT9", called: str = "SOUTH") -> int:
    """The status of a C-STORE."""
    with association(world, CTImageStorage, calling=calling, called=called) as opened:
        assert opened.is_established
        return int(opened.send_c_store(dcmread(BytesIO(file))).Status)


def find(
    world: World, identifier: Dataset, *, calling: str, called: str, model: str = STUDY_ROOT
) -> tuple[int, list[Dataset]]:
    """The last status of a C-FIND, and what it found."""
    with association(world, model, calling=calling, called=called) as opened:
        if not opened.is_established or not opened.accepted_contexts:
            return -1, []
        answers = list(opened.send_c_find(identifier, model))
    found = [match for _, match in answers if match is not None]
    return int(getattr(answers[-1][0], "Status", -1)), found


def asking(level: str, **keys: str) -> Dataset:
    """A C-FIND identifier that asks for every name of what it finds."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    names = ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDescription")
    for name in names:
        setattr(ds, name, "")
    if level in ("SERIES", "IMAGE"):
        ds.SeriesInstanceUID = ""
    if level == "IMAGE":
        ds.SOPInstanceUID = ""
    for name, value in keys.items():
        setattr(ds, name, value)
    return ds


@pytest.mark.parametrize("patient", ["", "SOMEBODY-ELSE"], ids=["same patient", "another patient"])
@pytest.mark.parametrize("new_instance", [True, False], ids=["new instance", "same UIDs"])
def test_c_store_cannot_add_to_another_tenants_study_nor_replace_its_pixels(
    world: World, patient: str, new_instance: bool
) -> None:
    attack = forged(world.studies["other"], patient=patient, new_instance=new_instance)
    assert store(world, attack) == NOT_AUTHORIZED
    assert_untouched(world, "other")


def test_the_owner_itself_does_not_replace_pixels_by_sending_them_again(world: World) -> None:
    attack = forged(world.studies["other"], new_instance=False)
    assert store(world, attack, calling="NORTHCT9", called="NORTH") == 0
    assert_untouched(world, "other")


@pytest.mark.parametrize(
    ("calling", "called"),
    [("NOBODY", "SOUTH"), ("SOUTHCT9", "NORTH"), ("NORTHCT9", "SOUTH"), ("SOUTHCT9", "south"),
     ("SOUTHCT9", "ANY-SCP"), ("NORTH", "NORTH"), ("ARGONATH", "ARGONATH")],
)  # fmt: skip
def test_c_store_under_a_foreign_or_unknown_ae_title_stores_nothing(
    world: World, calling: str, called: str
) -> None:
    study = make_study("?", f"AE-{secrets.token_hex(4)}", "Nobodys^Ned")
    assert store(world, study.files[0], calling=calling, called=called) == NOT_AUTHORIZED
    assert world.owner_of(study.study) is None


def test_two_tenants_who_race_by_c_store_get_one_owner(world: World) -> None:
    titles = {"south": "SOUTHCT9", "north": "NORTHCT9"}
    with ThreadPoolExecutor(2) as pool:
        for _ in range(6):
            study = make_study("?", "RACE", "Race^Rita")
            files = dict(zip(titles, study.files, strict=True))
            sent = pool.map(
                lambda t, f=files: store(world, f[t], calling=titles[t], called=t.upper()), titles
            )
            statuses = dict(zip(titles, sent, strict=True))
            assert sorted(statuses.values()) == [0, NOT_AUTHORIZED], statuses
            winner = next(t for t, status in statuses.items() if status == 0)
            assert world.owner_of(study.study) == winner
            seen = {t: instances_seen(world, c, study.study) for t, c in
                    (("south", "member"), ("north", "north"))}  # fmt: skip
            assert {t: len(found) for t, found in seen.items()} == {
                t: int(t == winner) for t in titles
            }


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_c_find_finds_the_own_alone(world: World, level: str) -> None:
    own, victim = world.studies["own"], world.studies["other"]
    questions: list[dict[str, str]] = [
        {}, {"PatientName": "*"}, {"PatientID": own.patient}, {"PatientID": victim.patient},
        {"StudyInstanceUID": victim.study}, {"AccessionNumber": victim.accession},
        {"StudyInstanceUID": "*"}, {"StudyInstanceUID": f"{victim.study}\\{own.study}"},
        {"PatientName": "Verborgen^Nora"}, {"StudyDescription": "Description*"},
    ]  # fmt: skip
    for keys in questions:
        _, found = find(world, asking(level, **keys), calling="SOUTHCT9", called="SOUTH")
        text = "\n".join(str(match) for match in found)
        assert [s for s in world.secrets if s in text] == [], keys
    _, found = find(world, asking(level, PatientID=own.patient), calling="SOUTHCT9", called="SOUTH")
    assert {match.StudyInstanceUID for match in found} == {own.study}


@pytest.mark.parametrize(
    ("calling", "called"),
    [("SOUTHCT9", "NORTH"), ("NORTHCT9", "SOUTH"), ("NOBODY", "NORTH"), ("SOUTHCT9", "ARGONATH"),
     ("NORTH", "NORTH"), ("northct9", "NORTH")],
)  # fmt: skip
def test_c_find_with_a_foreign_ae_title_is_refused(world: World, calling: str, called: str) -> None:
    status, found = find(world, asking("STUDY"), calling=calling, called=called)
    assert found == []
    assert status not in (0x0000, 0xFF00)


def test_c_find_of_patients_is_refused(world: World) -> None:
    question = asking("PATIENT", PatientID="*")
    model = PatientRootQueryRetrieveInformationModelFind
    status, found = find(world, question, calling="SOUTHCT9", called="SOUTH", model=model)
    assert found == []
    assert status != 0


@pytest.mark.parametrize(
    ("calling", "called"), [("SOUTHCT9", "SOUTH"), ("SOUTHCT9", "NORTH"), ("NOBODY", "NORTH")]
)
def test_the_worklist_is_refused_to_everybody(world: World, calling: str, called: str) -> None:
    question = Dataset()
    question.PatientName = "*"
    model = ModalityWorklistInformationFind
    assert find(world, question, calling=calling, called=called, model=model) == (0xC000, [])


@contextmanager
def receiver(world: World, title: str, tenant: str) -> Iterator[list[str]]:
    """A modality of a tenant; the StudyInstanceUIDs and reports that are delivered to it."""
    got: list[str] = []

    def keep(event: Event) -> int:
        got.append(str(event.dataset.StudyInstanceUID))
        return 0

    def report(event: Event) -> tuple[int, None]:
        got.append(f"report {event.event_information}")
        return 0, None

    port = free_port()
    with world.as_admin() as session:
        session.execute(
            "INSERT INTO calling_ae_title (tenant_id, ae_title, may_query, host, port) "
            "VALUES (%s, %s, true, '127.0.0.1', %s)",
            [tenant, title, port],
        )
    ae = AE(ae_title=title)
    ae.add_supported_context(CTImageStorage)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_C_STORE, keep), (evt.EVT_N_EVENT_REPORT, report)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield got
    finally:
        server.shutdown()
        with world.as_admin() as session:
            session.execute("DELETE FROM calling_ae_title WHERE ae_title = %s", [title])


def move(world: World, study: str, to: str, *, calling: str, called: str) -> int:
    """The last status of a C-MOVE of a study."""
    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", study
    model = StudyRootQueryRetrieveInformationModelMove
    with association(world, model, calling=calling, called=called) as opened:
        statuses = [status for status, _ in opened.send_c_move(question, to, model)]
    return int(getattr(statuses[-1], "Status", -1))


def test_c_move_delivers_the_own_and_to_the_own_modalities_alone(world: World) -> None:
    own, victim = world.studies["own"].study, world.studies["other"].study
    with receiver(world, "SOUTHWS", "south") as south, receiver(world, "NORTHWS", "north") as north:

        def delivered() -> bool:
            return move(world, own, "SOUTHWS", calling="SOUTHWS", called="SOUTH") == 0

        world.gateway.wait_until(delivered, 10)  # the node hears of a new AE title
        assert set(south) == {own}
        south.clear()
        for study, to, calling, called in (
            (victim, "SOUTHWS", "SOUTHWS", "SOUTH"),
            (victim, "SOUTHWS", "SOUTHWS", "NORTH"),
            (victim, "SOUTHWS", "NORTHWS", "NORTH"),
            (own, "NORTHWS", "SOUTHWS", "SOUTH"),
            (victim, "NORTHWS", "SOUTHWS", "SOUTH"),
            (victim, "NORTHWS", "SOUTHWS", "NORTH"),
            (f"{victim}\\{own}", "NORTHWS", "SOUTHWS", "SOUTH"),
            ("*", "NORTHWS", "SOUTHWS", "SOUTH"),
        ):
            move(world, study, to, calling=calling, called=called)
            assert victim not in south, (to, calling, called)
            assert north == [], (to, calling, called)
        move(world, f"{victim}\\{own}", "SOUTHWS", calling="SOUTHWS", called="SOUTH")
        assert victim not in south


def get(
    world: World,
    study: str,
    *,
    calling: str,
    called: str,
    model: str = StudyRootQueryRetrieveInformationModelGet,
) -> list[Dataset]:
    """What a C-GET of a study delivers."""
    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", study
    got: list[Dataset] = []

    def keep(event: Event) -> int:
        got.append(event.dataset)
        return 0

    with association(world, model, calling=calling, called=called, scp_role=True) as opened:
        if model in {context.abstract_syntax for context in opened.accepted_contexts}:
            opened.bind(evt.EVT_C_STORE, keep)
            list(opened.send_c_get(question, model))
    return got


@pytest.mark.parametrize(
    "model",
    [StudyRootQueryRetrieveInformationModelGet, PatientRootQueryRetrieveInformationModelGet],
)
@pytest.mark.parametrize("calling", ["SOUTHCT9", "NORTHCT9", "NORTHWS", "ARGONATH"])
def test_c_get_gives_nothing_to_anybody(world: World, model: str, calling: str) -> None:
    for whose in ("own", "other"):
        for called in ("SOUTH", "NORTH"):
            study = world.studies[whose].study
            assert get(world, study, calling=calling, called=called, model=model) == []


def ask_commitment(world: World, instance: str, *, calling: str, called: str = "SOUTH") -> str:
    """Request storage commitment of one instance; the Transaction UID."""
    asked = request([(CTImageStorage, instance)])
    n_action(world.gateway, asked, calling, called)
    return str(asked.TransactionUID)


def test_storage_commitment_tells_nothing_of_another_tenants_instances(world: World) -> None:
    with receiver(world, "SOUTHSC", "south") as got:

        def answered(whose: Whose) -> str:
            """The report, with the UIDs that the question named taken out."""
            instance = world.studies[whose].instance
            transaction = ask_commitment(world, instance, calling="SOUTHSC")
            world.gateway.wait_until(lambda: transaction in "".join(got), 30)
            (report,) = [text for text in got if transaction in text]
            return report.replace(instance, "INSTANCE").replace(transaction, "TRANSACTION")

        world.gateway.wait_until(lambda: is_known(world, "SOUTHSC", "SOUTH"), 10)
        absent = answered("absent")
        for whose in ("other", "shared", "lent"):
            assert answered(whose) == absent
        assert answered("own") != absent


def is_known(world: World, calling: str, called: str) -> bool:
    """Whether an N-ACTION of this AE title is acknowledged: the node has heard of it."""
    return n_action(world.gateway, request([(CTImageStorage, "1.2")]), calling, called) == 0


def test_storage_commitment_under_a_foreign_ae_title_is_not_reported_to_who_asked(
    world: World,
) -> None:
    own, victim = world.studies["own"].instance, world.studies["other"].instance
    with receiver(world, "SOUTHSC2", "south") as south, receiver(world, "NSC", "north") as north:
        world.gateway.wait_until(lambda: is_known(world, "NSC", "NORTH"), 10)
        world.gateway.wait_until(lambda: is_known(world, "SOUTHSC2", "SOUTH"), 10)
        world.gateway.wait_until(lambda: south and north, 30)  # what was asked to find that out
        for calling, called, instance in (
            ("SOUTHSC2", "NORTH", victim), ("NSC", "SOUTH", own), ("NOBODY", "NORTH", victim),
            ("nsc", "NORTH", victim), ("SOUTHSC2", "ARGONATH", own),
        ):  # fmt: skip
            ask_commitment(world, instance, calling=calling, called=called)
        # North's own title at north, by whoever pretends to be it: north is told, nobody else.
        pretended = ask_commitment(world, victim, calling="NSC", called="NORTH")
        world.gateway.wait_until(lambda: pretended in "".join(north), 30)
        time.sleep(2)  # a report comes by an association of its own
        assert victim not in "".join(south)
        assert own not in "".join(south + north)
        assert "".join(north).count(victim) == 1


def test_a_modality_that_orthanc_has_delivered_to_may_do_no_more_than_before(world: World) -> None:
    """C-MOVE makes the target known to Orthanc itself, which then trusts it with more."""
    own, victim = world.studies["own"], world.studies["other"]
    with receiver(world, "SOUTHPACS", "south") as got:

        def delivered() -> bool:
            return move(world, own.study, "SOUTHPACS", calling="SOUTHPACS", called="SOUTH") == 0

        world.gateway.wait_until(delivered, 10)
        got.clear()
        assert get(world, victim.study, calling="SOUTHPACS", called="SOUTH") == []
        assert get(world, victim.study, calling="SOUTHPACS", called="NORTH") == []
        assert got == []


def test_dimse_and_http_at_once_never_lend_each_other_a_tenant(world: World) -> None:
    """Native threads serve many: what one request left behind must not own another's study."""
    made = [(n % 4, make_study("?", f"MIX-{n}", "Mix^Max")) for n in range(24)]

    def send(job: tuple[int, Study]) -> tuple[str, str]:
        way, study = job
        files = study.files
        if way == 0:
            assert stow(world, "member", *files).status_code == 200
        elif way == 1:
            assert stow(world, "north", *files).status_code == 200
        elif way == 2:
            assert store(world, files[0]) == 0
        else:
            assert store(world, files[0], calling="NORTHCT9", called="NORTH") == 0
        return study.study, ("south", "north", "south", "north")[way]

    with ThreadPoolExecutor(8) as pool:
        for uid, tenant in pool.map(send, made):
            assert world.owner_of(uid) == tenant

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from gateway.arriving import Sender
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.identity import Principal, Role
from gateway.studies import orthanc_id
from orthanc_plugins.access import Request
from orthanc_plugins.before_storage import BeforeStorage
from orthanc_plugins.ingest import PROCEED, REFUSED, STORED
from orthanc_plugins.question import Question
from orthanc_plugins.sdk import Origin, Received
from tests.unit.orthanc_plugins.admission_world import MEMBER, UIDS, Dicom, World
from tests.unit.orthanc_plugins.test_missing_uids import file as dicom_file

FILE = dicom_file()
KEPT = (Received.KEEP_AS_IS, None)
PLUGIN = 4
THREAD = threading.get_native_id()


class Refusing(GatewayError):
    """A transform does not want the object."""


def marked(file: bytes, sender: Sender) -> bytes:
    """The file and who has sent it."""
    return file + f" by {sender.calling_aet or sender.address}".encode()


def refusing(_file: bytes, _sender: Sender) -> bytes:
    raise Refusing


class Node:
    """One thread of Orthanc, on which north's objects are changed and south's are not."""

    def __init__(self, transform: Callable[[bytes, Sender], bytes | None] = marked) -> None:
        self.request: Request | None = None
        self.answers = [{"north": transform}]
        self.before = BeforeStorage(lambda _session: self.answers, lambda: self.request)
        self.load()

    def load(self) -> None:
        self.before.load(None)  # type: ignore[arg-type]

    def received(self, origin: int = Origin.DICOM_PROTOCOL) -> bytes | None:
        return self.before.received(FILE, origin)[1]

    def settle(self, tenant_id: str = "north", calling: str = "CT1") -> bytes | None:
        question = asked(calling)
        sender = Sender(calling, "NORTH", "10.0.0.7")
        return self.before.settle(THREAD, tenant_id, question, sender)

    def stands(self, tenant_id: str = "north", calling: str = "CT1") -> bool:
        return self.before.stands(THREAD, tenant_id, asked(calling))


def asked(calling: str, origin: str = "DicomProtocol") -> Question:
    return Question(origin, calling, "NORTH", "10.0.0.7", "1.2", "1.2.1", "1.2.1.1", "P1")


def test_the_first_of_an_association_is_changed_when_its_sender_is_known() -> None:
    node = Node()
    assert node.received() is None
    assert not node.stands()
    assert node.settle() == FILE + b" by CT1"


def test_what_follows_from_the_same_sender_is_changed_as_it_is_received() -> None:
    node = Node()
    node.received()
    node.settle()
    assert node.received() == FILE + b" by CT1"
    assert node.stands()


def test_what_another_sends_over_the_same_thread_is_not_what_was_made_for_the_one_before() -> None:
    node = Node()
    node.received()
    node.settle()
    node.received()
    assert not node.stands(calling="CT2")
    assert node.settle(calling="CT2") == FILE + b" by CT2"


def test_another_tenants_object_is_stored_as_it_was_received() -> None:
    node = Node()
    node.received()
    node.settle()
    node.received()
    assert not node.stands("south", "MR1")
    assert node.settle("south", "MR1") == FILE
    assert node.received() is None
    assert node.stands("south", "MR1")


def test_by_http_the_request_names_the_tenant_at_once() -> None:
    node = Node()
    node.request = Request("/dicom-web/studies", Principal("m", Role.MEMBER, "north"), "10.0.0.9")
    assert node.received(PLUGIN) == FILE + b" by 10.0.0.9"
    assert node.before.stands(THREAD, "north", asked("", "Plugins"))


@pytest.mark.parametrize("tenant_id", ["south", None])
def test_by_http_nothing_else_is_changed(tenant_id: str | None) -> None:
    node = Node()
    node.request = Request("/dicom-web/studies", Principal("m", Role.SERVICE, tenant_id))
    assert node.received(PLUGIN) is None
    assert node.before.stands(THREAD, "south", asked("", "Plugins"))


def test_the_output_of_a_job_is_not_changed() -> None:
    node = Node()
    assert node.received(PLUGIN) is None
    assert node.settle() is None


def test_a_transform_that_changes_nothing_leaves_orthanc_the_object_that_it_has() -> None:
    node = Node(lambda _file, _sender: None)
    node.received()
    assert node.settle() is None
    assert node.received() is None
    assert node.stands()


def test_a_refusal_is_told_to_who_has_sent_the_object_and_to_nobody_else() -> None:
    node = Node(refusing)
    node.received()
    with pytest.raises(Refusing):
        node.settle()
    node.received()
    assert not node.stands()
    with pytest.raises(Refusing):
        node.settle()
    node.received()
    assert node.settle("south", "MR1") is None


def test_a_transform_that_breaks_lets_nothing_through() -> None:
    def broken(_file: bytes, _sender: Sender) -> bytes:
        raise LookupError

    node = Node(broken)
    node.request = Request("/dicom-web/studies", Principal("m", Role.MEMBER, "north"))
    assert node.received(PLUGIN) is None
    assert not node.before.stands(THREAD, "north", asked("", "Plugins"))
    with pytest.raises(GatewayError):
        node.before.settle(THREAD, "north", asked("", "Plugins"), Sender())


def test_transforms_of_two_extensions_are_both_made() -> None:
    node = Node()
    node.answers.append({"north": lambda file, _sender: file + b"!"})
    node.load()
    node.received()
    assert node.settle() == FILE + b" by CT1!"


@pytest.mark.parametrize("origin", [Origin.DICOM_PROTOCOL, PLUGIN])
def test_an_object_that_orthanc_could_not_read_is_not_stored_in_place_of_the_next(
    origin: int,
) -> None:
    node = Node()
    node.request = Request("/dicom-web/studies", Principal("m", Role.MEMBER, "north"))
    for _ in range(2):
        node.received(origin)  # and Orthanc gives up
    node.request = Request("/dicom-web/studies", Principal("m", Role.MEMBER, "south"))
    assert node.received(origin) is None
    assert node.stands("south", "MR1")


def test_nothing_is_stored_while_it_is_not_known_what_is_changed() -> None:
    node = Node()
    node.before = BeforeStorage(lambda _session: node.answers, lambda: None)
    node.received()
    assert not node.stands("south")
    with pytest.raises(DatabaseUnavailable):
        node.settle("south")


def test_what_could_not_be_asked_anew_is_not_believed_any_more() -> None:
    node = Node()

    def broken(_session: object) -> list[dict[str, object]]:
        raise DatabaseUnavailable

    node.before._ask = broken  # type: ignore[assignment]
    with pytest.raises(DatabaseUnavailable):
        node.load()
    assert not node.stands("south")


# With admission -------------------------------------------------------------------------------


class Archive:
    """Orthanc, as far as a nested store meets it: Received, admission, then OnStored."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.files: list[bytes] = []
        self.is_full = False
        world.RestApiPost = self.store  # type: ignore[attr-defined]

    def store(self, uri: str, file: bytes) -> bytes:
        assert uri == "/instances"
        assert self._world.before.received(file, PLUGIN) == KEPT
        body = {"RequestOrigin": "Plugins", "PatientID": "P2"} | UIDS
        if self._world.ask(body) != PROCEED or self.is_full:
            raise RuntimeError
        self.files.append(file)
        self._world.ingest.stored(Dicom(), orthanc_id("P2", *UIDS.values()))
        return json.dumps({"Status": "Success"}).encode()


def c_store(world: World, called: str = "NORTH", calling: str = "CT1") -> tuple[str, int]:
    """The word for Lua, and the status that a refusal gets."""
    world.before.received(FILE, Origin.DICOM_PROTOCOL)
    body = {"RequestOrigin": "DicomProtocol", "CalledAet": called, "RemoteAet": calling}
    word = world.ask(body | {"RemoteIp": "10.0.0.7", "PatientID": "P1"} | UIDS)
    return word, world.ingest.c_store_status(Dicom()) if word == PROCEED else 0


@pytest.fixture
def archive(world: World) -> Archive:
    world.transforms["north"] = marked
    world.before.load(world)  # type: ignore[arg-type]
    return Archive(world)


def test_the_changed_object_is_the_senders_own_in_rows_and_audit(
    archive: Archive, world: World
) -> None:
    assert c_store(world) == (STORED, 0)
    assert archive.files == [FILE + b" by CT1"]
    assert world.rows["1.2"]["tenant_id"] == "north"
    assert [(r.actor, r.verdict) for r in world.records] == [("CT1", "allowed")]
    assert world.arrivals.take_progress() == [("1.2", 1)]
    assert all(orthanc_id("P1", "1.2") not in call for call in world.calls)


def test_a_changed_object_of_anothers_study_gets_the_status_of_that(
    archive: Archive, world: World
) -> None:
    world.rows["1.2"] = {"tenant_id": "south", "state": "stable"}
    assert c_store(world) == (PROCEED, 0x0124)
    assert archive.files == []
    assert [r.verdict for r in world.records] == ["denied"]


def test_what_could_not_be_stored_in_its_place_is_refused_and_not_stored_unchanged(
    archive: Archive, world: World
) -> None:
    archive.is_full = True
    assert c_store(world) == (PROCEED, 0xA700)


def test_what_cannot_be_changed_is_refused_and_audited(archive: Archive, world: World) -> None:
    world.transforms["north"] = refusing
    world.before.load(world)  # type: ignore[arg-type]
    assert c_store(world) == (PROCEED, 0x0110)
    world.request = MEMBER
    world.before.received(FILE, PLUGIN)
    assert world.stow(MEMBER) == REFUSED
    assert [(r.verdict, r.detail) for r in world.records] == [("denied", "Refusing")] * 2
    assert world.rows == {}


def test_the_present_sender_passes_shortly_with_what_was_changed_on_receipt(
    archive: Archive, world: World
) -> None:
    c_store(world)
    before = world.descriptions
    assert c_store(world) == (PROCEED, 0)
    assert world.descriptions == before
    assert len(archive.files) == 1


def test_transforms_are_asked_for_again_by_the_next_instance_when_they_are_not_known(
    world: World,
) -> None:
    world.before.known = False
    assert world.c_store() == 0
    assert world.before.known

"""DICOM over TLS: a client certificate says as whom a modality may call. The other end is DCMTK."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelMove

from extensions.routing import labels
from gateway.phantom import ct_phantom
from tests.acceptance.committing import Modality, n_action, request
from tests.acceptance.conftest import RunningGateway, make_gateway, study_uid_of
from tests.acceptance.line import Line
from tests.acceptance.routing.test_forwarding import routing
from tests.acceptance.trail import last_record, records
from tests.certificates import Authority, Pair
from tests.ports import free_port
from tests.routing_rules import add_rule, remove_rule


@dataclass
class TLSGateway:
    """A gateway with a TLS port, and the certificates of its modalities."""

    gateway: RunningGateway
    port: int
    server: Path
    ct1: Pair
    mr1: Pair
    unlisted: Pair
    stranger: Pair
    expired: Pair

    def dcmtk(
        self, tool: str, *words: str | Path, shows: Pair | None, called: str, calling: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a DCMTK tool against the TLS port; without a pair it shows no certificate."""
        tls = ["+tls", shows.key, shows.certificate] if shows else ["+tla"]
        return subprocess.run(
            [f"/usr/bin/{tool}", "-v", *tls, "+cf", self.server, "-aec", called, "-aet", calling,
             "localhost", str(self.port), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )  # fmt: skip

    def send(
        self, folder: Path, *, shows: Pair | None, called: str = "NORTH", calling: str = "CT1"
    ) -> tuple[str, subprocess.CompletedProcess[str]]:
        """Send a new study; its UID, and what storescu said."""
        file = folder / f"{uuid.uuid4().hex}.dcm"
        file.write_bytes(ct_phantom(1, seed=file.stem)[0])
        said = self.dcmtk("storescu", "-R", file, shows=shows, called=called, calling=calling)
        return study_uid_of(file), said

    def wait_until_known(
        self, folder: Path, *, shows: Pair, called: str = "NORTH", calling: str
    ) -> None:
        """Until the port and the node have heard of a certificate: it has stored a study."""

        def stores() -> bool:
            _, said = self.send(folder, shows=shows, called=called, calling=calling)
            return said.returncode == 0

        self.gateway.wait_until(stores)

    def has(self, study: str, tenant: str = "north") -> bool:
        """Whether a tenant finds a study."""
        key = self.gateway.north_key if tenant == "north" else self.gateway.south_key
        return bool(self.gateway.get(f"/dicom-web/studies?StudyInstanceUID={study}", key).json())

    def row(self, study: str) -> str:
        """From where the study came."""
        with psycopg.connect(
            f"host={self.gateway.data}/run/postgresql user=argonath dbname=argonath"
        ) as owner:
            found = owner.execute(
                "SELECT source FROM study WHERE study_instance_uid = %s", [study]
            ).fetchone()
        assert found is not None
        return str(found[0])

    def list_certificate(self, tenant: str, calling: str, value: str) -> None:
        """As an admin does, and wait until the TLS port knows."""
        self.gateway.argonath("certificate", "add", tenant, calling, value)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSGateway]:
    """CT1 and MR1 are listed for north, CT1 also for south."""
    folder = tmp_path_factory.mktemp("tls")
    hospital, others = Authority(folder, "hospital"), Authority(folder, "others")
    server = hospital.sign("gateway")
    port = free_port()
    gateway = make_gateway(
        dicom_tls_port=str(port),
        dicom_tls_ca=str(hospital.ca),
        dicom_tls_cert=str(server.certificate),
        dicom_tls_key=str(server.key),
        stable_after_s="2",
    )
    gateway.north_key = gateway.argonath("api-key", "create", "--tenant", "north")
    gateway.south_key = gateway.argonath("api-key", "create", "--tenant", "south")
    made = TLSGateway(
        gateway,
        port,
        hospital.ca,
        ct1=hospital.sign("ct1"),
        mr1=hospital.sign("mr1"),
        unlisted=hospital.sign("unlisted"),
        stranger=others.sign("ct1"),
        expired=hospital.sign("old", days=-1),
    )
    made.list_certificate("north", "CT1", made.ct1.fingerprint)
    made.list_certificate("north", "MR1", "CN=mr1")
    made.list_certificate("south", "SOUTH-CT", made.ct1.fingerprint)
    made.list_certificate("north", "OLD", made.expired.fingerprint)
    for shown, called, calling in (
        (made.ct1, "NORTH", "CT1"),
        (made.mr1, "NORTH", "MR1"),
        (made.ct1, "SOUTH", "SOUTH-CT"),
    ):
        made.wait_until_known(folder, shows=shown, called=called, calling=calling)
    yield made
    gateway.stop()


def echo(tls: TLSGateway) -> subprocess.CompletedProcess[str]:
    return tls.dcmtk("echoscu", shows=tls.ct1, called="NORTH", calling="CT1")


def test_a_listed_certificate_stores_for_the_tenant_whose_ae_title_is_called(
    tls: TLSGateway, tmp_path: Path
) -> None:
    study, said = tls.send(tmp_path, shows=tls.ct1)
    assert said.returncode == 0, said.stderr
    assert tls.has(study)
    assert not tls.has(study, "south")


def test_the_study_and_the_audit_tell_the_real_address_and_the_certificate(
    tls: TLSGateway, tmp_path: Path
) -> None:
    before = last_record(tls.gateway)
    study, _ = tls.send(tmp_path, shows=tls.ct1)
    assert tls.row(study) == "C-STORE CT1 127.0.0.1 by TLS"
    (stored,) = [r for r in records(tls.gateway, after=before) if study in r["resource"]]
    assert stored["origin"] == "127.0.0.1"
    assert tls.ct1.fingerprint in stored["detail"]


def test_a_certificate_may_be_listed_by_its_subject(tls: TLSGateway, tmp_path: Path) -> None:
    study, said = tls.send(tmp_path, shows=tls.mr1, calling="MR1")
    assert said.returncode == 0, said.stderr
    assert tls.has(study)


@pytest.mark.parametrize(
    ("shows", "called", "calling", "reason", "tenant"),
    [
        ("unlisted", "NORTH", "CT1", "Calling AE Title Not Recognized", "north"),
        ("mr1", "NORTH", "CT1", "Calling AE Title Not Recognized", "north"),
        ("ct1", "NORTH", "MR1", "Calling AE Title Not Recognized", "north"),
        ("ct1", "SOUTH", "CT1", "Calling AE Title Not Recognized", "south"),
        ("ct1", "NOBODY", "CT1", "Called AE Title Not Recognized", None),
        ("ct1", "TLS~0123456789ab", "CT1", "Called AE Title Not Recognized", None),
    ],
)
def test_who_is_not_listed_is_refused_with_the_reason_and_audited(
    tls: TLSGateway,
    tmp_path: Path,
    shows: str,
    called: str,
    calling: str,
    reason: str,
    tenant: str | None,
) -> None:
    before = last_record(tls.gateway)
    pair: Pair = getattr(tls, shows)
    study, said = tls.send(tmp_path, shows=pair, called=called, calling=calling)
    assert said.returncode != 0
    assert "Rejected Permanent, Source: Service User" in said.stderr + said.stdout
    assert reason in said.stderr + said.stdout
    assert not tls.has(study)
    assert not tls.has(study, "south")

    def rejections() -> list[dict[str, Any]]:
        return [it for it in records(tls.gateway, after=before) if it["action"] == "associate"]

    tls.gateway.wait_until(rejections)  # it is rejected first, and told of then
    (refused,) = rejections()
    assert refused["verdict"] == "denied"
    assert (refused["actor"], refused["tenant_id"]) == (calling, tenant)
    assert pair.fingerprint in refused["detail"]


@pytest.mark.parametrize(
    ("shows", "calling"), [("stranger", "CT1"), ("expired", "OLD"), (None, "CT1")]
)
def test_without_a_valid_certificate_of_our_authority_there_is_no_association(
    tls: TLSGateway, tmp_path: Path, shows: str | None, calling: str
) -> None:
    pair = getattr(tls, shows) if shows else None
    study, said = tls.send(tmp_path, shows=pair, calling=calling)
    assert said.returncode != 0
    assert "Association Accepted" not in said.stderr + said.stdout
    assert not tls.has(study)


def test_a_query_needs_its_right_and_sees_its_tenant_alone(tls: TLSGateway, tmp_path: Path) -> None:
    theirs, _ = tls.send(tmp_path, shows=tls.ct1, called="SOUTH", calling="SOUTH-CT")
    ours, _ = tls.send(tmp_path, shows=tls.ct1)
    assert tls.has(theirs, "south")

    def found() -> str:
        keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID"]
        asked = [word for key in keys for word in ("-k", key)]
        said = tls.dcmtk("findscu", "-S", *asked, shows=tls.ct1, called="NORTH", calling="CT1")
        return said.stdout + said.stderr

    assert ours not in found()
    with calls(tls, "north", "CT1", may_query=True):
        tls.gateway.wait_until(lambda: ours in found(), 10)
        assert theirs not in found()


def test_a_retrieve_delivers_what_is_the_tenants(tls: TLSGateway, tmp_path: Path) -> None:
    ours, _ = tls.send(tmp_path, shows=tls.ct1)
    theirs, _ = tls.send(tmp_path, shows=tls.ct1, called="SOUTH", calling="SOUTH-CT")
    received = tmp_path / "received"
    received.mkdir()
    port = free_port()
    store = subprocess.Popen(
        ["/usr/bin/storescp", "-od", received, str(port)], stdout=subprocess.DEVNULL
    )
    try:
        with calls(tls, "north", "CT1", may_query=True, port=port):
            tls.gateway.wait_until(lambda: moved(tls, ours), 10)
            assert [study_uid_of(file) for file in received.iterdir()] == [ours]
            moved(tls, theirs)
            assert [study_uid_of(file) for file in received.iterdir()] == [ours]
    finally:
        store.terminate()
        store.wait(10)


def moved(tls: TLSGateway, study: str) -> bool:
    """Whether a C-MOVE to CT1 succeeds; by pynetdicom, because DCMTK's movescu knows no TLS."""
    context = ssl.create_default_context(cafile=tls.server)
    context.load_cert_chain(tls.ct1.certificate, tls.ct1.key)
    modality = AE("CT1")
    modality.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = study
    association = modality.associate(
        "127.0.0.1", tls.port, ae_title="NORTH", tls_args=(context, "localhost")
    )
    assert association.is_established
    with association.dul.socket.socket:  # pynetdicom leaves one that the other side has closed
        answers = association.send_c_move(asked, "CT1", StudyRootQueryRetrieveInformationModelMove)
        statuses = [status.Status for status, _ in answers if "Status" in status]
        association.release()
        association.join()
    return bool(statuses) and statuses[-1] == 0


def asked_by_tls(tls: TLSGateway) -> str:
    """What a C-FIND for all studies is answered."""
    every = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID")
    said = tls.dcmtk("findscu", "-S", *every, shows=tls.ct1, called="NORTH", calling="CT1")
    return said.stdout + said.stderr


def test_a_tenant_may_be_reached_by_tls_alone(tls: TLSGateway, tmp_path: Path) -> None:
    tls.gateway.argonath("tenant", "tls", "north", "only")
    try:
        tls.gateway.wait_until(lambda: not plain(tls, tmp_path, "NORTH"))
        assert plain(tls, tmp_path, "SOUTH")
        study, said = tls.send(tmp_path, shows=tls.ct1)
        assert said.returncode == 0, said.stderr
        assert tls.has(study)
        with calls(tls, "north", "CT1", may_query=True):
            tls.gateway.wait_until(lambda: study in asked_by_tls(tls))
            said = subprocess.run(
                ["/usr/bin/findscu", "-v", "-S", "-aec", "NORTH", "-aet", "CT1", "-k",
                 "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "localhost",
                 str(tls.gateway.dicom_port)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert study not in said.stdout + said.stderr
    finally:
        tls.gateway.argonath("tenant", "tls", "north", "optional")
    tls.gateway.wait_until(lambda: plain(tls, tmp_path, "NORTH"))


def test_storage_commitment_is_asked_for_by_tls_and_reported(
    tls: TLSGateway, tmp_path: Path
) -> None:
    shown = ssl.create_default_context(cafile=str(tls.server))
    shown.load_cert_chain(tls.ct1.certificate, tls.ct1.key)
    ct1 = Modality(tls.gateway, "CT1", "NORTH", free_port())
    asked = request([(CTImageStorage, "1.2.3")])

    def ask() -> bool:
        return n_action(tls.gateway, asked, "CT1", "NORTH", tls=(tls.port, shown)) == 0

    with ct1.listening(), calls(tls, "north", "CT1", may_query=False, port=ct1.port):
        before = last_record(tls.gateway)
        tls.gateway.wait_until(ask, 10)
        assert ct1.answer(str(asked.TransactionUID))[2] == {"1.2.3": 0x0112}
        found = records(tls.gateway, after=before)
        (record,) = [row for row in found if row["action"] == "commit-storage"]
        assert (record["actor"], record["origin"]) == ("CT1", "127.0.0.1")


def plain(tls: TLSGateway, folder: Path, called: str) -> bool:
    """Whether a study is stored that is sent without TLS."""
    file = folder / f"{uuid.uuid4().hex}.dcm"
    file.write_bytes(ct_phantom(1, seed=file.stem)[0])
    sent = tls.gateway.storescu(file, called=called)
    stored = tls.has(study_uid_of(file), called.lower())
    assert stored == (sent.returncode == 0)
    return stored


def test_a_certificate_that_is_removed_is_refused_from_then_on(
    tls: TLSGateway, tmp_path: Path
) -> None:
    tls.list_certificate("north", "GUEST", tls.unlisted.fingerprint)

    def sent() -> bool:
        _, said = tls.send(tmp_path, shows=tls.unlisted, calling="GUEST")
        return said.returncode == 0

    tls.gateway.wait_until(sent, 10)
    tls.gateway.argonath("certificate", "remove", "north", "GUEST", tls.unlisted.fingerprint)
    tls.gateway.wait_until(lambda: not sent(), 10)


def test_killing_the_port_in_the_middle_loses_nothing_that_was_acknowledged(
    tls: TLSGateway, tmp_path: Path
) -> None:
    seed = uuid.uuid4().hex
    files = []
    for index, content in enumerate(ct_phantom(400, seed=seed)):
        files.append(tmp_path / f"{index:03}.dcm")
        files[-1].write_bytes(content)
    said = tmp_path / "said"

    def acknowledged() -> int:
        return said.read_text().count("Received Store Response (Success)")

    with contextlib.closing(Line(tls.port)) as line, said.open("w") as told:
        line.hold_after(40 * files[0].stat().st_size)
        sending = subprocess.Popen(
            ["/usr/bin/storescu", "-v", "-R", "+tls", tls.ct1.key, tls.ct1.certificate, "+cf",
             tls.server, "-aec", "NORTH", "-aet", "CT1", "localhost", str(line.port), *files],
            stdout=told, stderr=told,
        )  # fmt: skip
        tls.gateway.kill("edge:dicom-tls", when=lambda: acknowledged() >= 20)
        assert sending.wait(30) != 0
    assert 20 <= acknowledged() <= 40
    study = study_uid_of(files[0])
    key = tls.gateway.north_key
    stored = tls.gateway.get(f"/dicom-web/studies/{study}/instances", key).json()
    assert len(stored) >= acknowledged()
    tls.gateway.wait_until(lambda: echo(tls).returncode == 0, 20)
    again = tls.dcmtk("storescu", "-R", *files, shows=tls.ct1, called="NORTH", calling="CT1")
    assert again.returncode == 0, again.stderr
    assert len(tls.gateway.get(f"/dicom-web/studies/{study}/instances", key).json()) == 400


def test_garbage_and_silence_of_one_address_disturb_nobody_else(tls: TLSGateway) -> None:
    with contextlib.ExitStack() as held:
        for index in range(60):
            silent = held.enter_context(
                socket.create_connection(("127.0.0.1", tls.port), source_address=("127.0.0.9", 0))
            )
            with contextlib.suppress(OSError):
                silent.sendall((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"")[index % 3])
        for _ in range(3):
            began = time.monotonic()
            assert echo(tls).returncode == 0
            assert time.monotonic() - began < 5


def test_who_says_nothing_is_hung_up_on(tls: TLSGateway) -> None:
    with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as silent:
        assert silent.recv(1) == b""


@contextlib.contextmanager
def calls(
    tls: TLSGateway, tenant: str, title: str, *, may_query: bool, port: int | None = None
) -> Iterator[None]:
    """List a calling AE title of a tenant while the block runs."""
    with psycopg.connect(
        f"host={tls.gateway.data}/run/postgresql user=argonath dbname=argonath", autocommit=True
    ) as owner:
        owner.execute(
            "INSERT INTO calling_ae_title (tenant_id, ae_title, network, may_query, host, port) "
            "VALUES (%s, %s, '127.0.0.1/32', %s, '127.0.0.1', %s)",
            [tenant, title, may_query, port],
        )
        try:
            yield
        finally:
            owner.execute(
                "DELETE FROM calling_ae_title WHERE tenant_id = %s AND ae_title = %s",
                [tenant, title],
            )


def test_a_rule_before_storage_knows_who_sends_by_tls(tls: TLSGateway, tmp_path: Path) -> None:
    correction = {"do": "set", "tag": "InstitutionName", "value": "North Hospital"}
    with routing(tls.gateway) as session:
        add_rule(
            session,
            "CT1 by its address",
            "",
            ("calling_aet", "equals", "CT1"),
            ("sender", "equals", "127.0.0.1"),
            actions=[{"morph": {"changes": [correction]}}],
            trigger="before storage",
        )
    try:

        def name_of(calling: str, pair: Pair) -> object:
            study, said = tls.send(tmp_path, shows=pair, calling=calling)
            assert said.returncode == 0, said.stderr
            client = tls.gateway.dicomweb(tls.gateway.north_key)
            (found,) = client.retrieve_study_metadata(study)
            return found.get("00080080", {}).get("Value")

        tls.gateway.wait_until(lambda: name_of("CT1", tls.ct1) == ["North Hospital"])
        assert name_of("MR1", tls.mr1) is None
    finally:
        with routing(tls.gateway) as session:
            remove_rule(session, "CT1 by its address")


def test_a_rule_about_a_stable_study_knows_who_sent_it_by_tls(
    tls: TLSGateway, tmp_path: Path
) -> None:
    with routing(tls.gateway) as session:
        add_rule(
            session,
            "MR 1 when stable",
            "",
            ("calling_aet", "equals", "MR 1"),
            ("called_aet", "equals", "NORTH"),
            ("sender", "equals", "127.0.0.1"),
            actions=[{"label": {"add": ["known"]}}],
        )
    tls.list_certificate("north", "MR 1", "CN=mr1")
    try:
        tls.wait_until_known(tmp_path, shows=tls.mr1, calling="MR 1")
        study, _ = tls.send(tmp_path, shows=tls.mr1, calling="MR 1")

        def labelled() -> list[str]:
            with routing(tls.gateway) as session:
                return labels.of_study(session, study)

        tls.gateway.wait_until(lambda: labelled() == ["known"])
    finally:
        with routing(tls.gateway) as session:
            remove_rule(session, "MR 1 when stable")

"""Whose an association is: by called AE title, calling AE title and address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from gateway.certificates import Certificate
from gateway.errors import CertificateRequired, InvalidInput, UnknownAETitle, UnknownCertificate
from gateway.tenancy import CallingAE, Directory, ae_title

DIRECTORY = Directory(
    called={"NORTH": "north", "SOUTH": "south"},
    calling={
        "south": (
            CallingAE("CT1", ip_network("10.1.0.0/16")),
            CallingAE("PACS", may_query=True),
        )
    },
)


def test_a_tenant_that_lists_nobody_accepts_c_store_from_everybody() -> None:
    assert DIRECTORY.tenant_of_store("NORTH", "ANYONE", "192.0.2.1") == "north"


def test_a_tenant_that_lists_callers_accepts_these_from_their_address() -> None:
    assert DIRECTORY.tenant_of_store("SOUTH", "CT1", "10.1.2.3") == "south"
    assert DIRECTORY.tenant_of_store("SOUTH", "PACS", "192.0.2.1") == "south"


@pytest.mark.parametrize(
    ("called", "calling", "address"),
    [
        ("WEST", "CT1", "10.1.2.3"),
        ("SOUTH", "CT2", "10.1.2.3"),
        ("SOUTH", "CT1", "10.2.2.3"),
        ("SOUTH", "CT1", ""),
        ("north", "CT1", "10.1.2.3"),
    ],
)
def test_every_other_association_is_refused(called: str, calling: str, address: str) -> None:
    with pytest.raises(UnknownAETitle):
        DIRECTORY.tenant_of_store(called, calling, address)


def test_a_query_needs_a_caller_that_is_listed_for_it() -> None:
    assert DIRECTORY.tenant_of_query("SOUTH", "PACS") == "south"
    for called, calling in [("SOUTH", "CT1"), ("NORTH", "PACS"), ("WEST", "PACS")]:
        with pytest.raises(UnknownAETitle):
            DIRECTORY.tenant_of_query(called, calling)


ANSWERED = Directory(
    called={"NORTH": "north", "SOUTH": "south"},
    calling={
        "north": (CallingAE("CT1", ip_network("10.1.0.0/16"), host="10.1.0.7", port=104),),
        "south": (CallingAE("CT1"), CallingAE("PACS", may_query=True, host="10.2.0.7")),
    },
)


def test_commitment_needs_no_right_to_query_but_a_place_to_answer_to() -> None:
    assert ANSWERED.tenant_of_commitment("NORTH", "CT1") == "north"
    for called, calling in [("SOUTH", "CT1"), ("SOUTH", "PACS"), ("NORTH", "CT2"), ("W", "CT1")]:
        with pytest.raises(UnknownAETitle):
            ANSWERED.tenant_of_commitment(called, calling)


@pytest.mark.parametrize("title", ["", "SEVENTEEN-LETTERS", "BACK\\SLASH", "ÄRZTE"])
def test_what_is_no_ae_title(title: str) -> None:
    with pytest.raises(InvalidInput):
        ae_title(title)


CT1 = Certificate("ab" * 32, "CN=ct1,O=South")
SECURED = Directory(
    called={"NORTH": "north", "SOUTH": "south"},
    calling={"south": (CallingAE("CT1", ip_network("10.1.0.0/16"), may_query=True),)},
    certificates={
        ("south", "CT1"): frozenset({f"sha256:{CT1.fingerprint}"}),
        ("north", "CT1"): frozenset({"subject:CN=ct1,O=South"}),
    },
    tls_only=frozenset({"south"}),
)


def test_by_tls_a_certificate_must_be_listed_for_the_calling_ae_title_of_this_tenant() -> None:
    assert SECURED.tenant_of_store("SOUTH", "CT1", "10.1.2.3", CT1) == "south"
    assert SECURED.tenant_of_query("SOUTH", "CT1", "10.1.2.3", CT1) == "south"
    assert SECURED.tenant_of_store("NORTH", "CT1", "192.0.2.1", CT1) == "north"
    for called, calling, shown in [
        ("NORTH", "CT2", CT1),
        ("SOUTH", "CT1", Certificate("cd" * 32, CT1.subject)),
        ("NORTH", "CT1", Certificate(CT1.fingerprint, "CN=ct1,O=North")),
    ]:
        with pytest.raises(UnknownCertificate):
            SECURED.tenant_of_store(called, calling, "10.1.2.3", shown)


def test_a_certificate_does_not_stand_for_the_address_that_is_listed() -> None:
    with pytest.raises(UnknownAETitle):
        SECURED.tenant_of_store("SOUTH", "CT1", "10.2.2.3", CT1)
    with pytest.raises(UnknownAETitle):
        SECURED.tenant_of_query("SOUTH", "CT1", "10.2.2.3", CT1)


def test_who_is_reached_by_tls_alone_refuses_everything_else() -> None:
    with pytest.raises(CertificateRequired):
        SECURED.tenant_of_store("SOUTH", "CT1", "10.1.2.3")
    with pytest.raises(CertificateRequired):
        SECURED.tenant_of_query("SOUTH", "CT1")
    assert SECURED.tenant_of_store("NORTH", "CT9", "10.1.2.3") == "north"


def test_commitment_asks_for_certificate_and_address_as_a_query_does() -> None:
    place = CallingAE("CT1", ip_network("10.1.0.0/16"), host="10.1.0.7", port=104)
    directory = replace(SECURED, calling={"south": (place,)})
    assert directory.tenant_of_commitment("SOUTH", "CT1", "10.1.2.3", CT1) == "south"
    with pytest.raises(UnknownAETitle):
        directory.tenant_of_commitment("SOUTH", "CT1", "10.2.2.3", CT1)
    with pytest.raises(CertificateRequired):
        directory.tenant_of_commitment("SOUTH", "CT1")

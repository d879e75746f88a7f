"""Whose an association is: by called AE title, calling AE title and address."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.errors import InvalidInput, UnknownAETitle
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


@pytest.mark.parametrize("title", ["", "SEVENTEEN-LETTERS", "BACK\\SLASH", "ÄRZTE"])
def test_what_is_no_ae_title(title: str) -> None:
    with pytest.raises(InvalidInput):
        ae_title(title)

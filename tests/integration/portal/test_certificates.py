"""Certificates for DICOM over TLS on a tenant's page."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.certificates import self_signed
from gateway.db import Database
from gateway.tenancy import Directory
from tests.integration.portal.conftest import HTML, signed_in

FINGERPRINT = "AB:" * 31 + "AB"
IDENTITY = "sha256:" + "ab" * 32


@pytest.fixture
def root(app: Flask) -> FlaskClient:
    return signed_in(app, "root")


def directory(database: Database) -> Directory:
    with database.system_session("test") as session:
        return Directory.load(session)


def test_a_certificate_is_listed_shown_and_removed(root: FlaskClient, database: Database) -> None:
    form = {"ae_title": "CT1", "certificate": FINGERPRINT}
    assert root.post("/tenants/north/certificates", data=form).status_code == 303
    assert root.post("/tenants/north/certificates", data=form).status_code == 303
    assert IDENTITY in root.get("/tenants/north", headers=HTML).text
    assert IDENTITY not in root.get("/tenants/south", headers=HTML).text
    assert directory(database).certificates == {("north", "CT1"): frozenset({IDENTITY})}
    form["certificate"] = IDENTITY
    assert root.post("/tenants/north/certificates/delete", data=form).status_code == 303
    assert directory(database).certificates == {}


def test_pem_is_read_and_what_names_no_certificate_is_shown_again_with_the_reason(
    root: FlaskClient, database: Database
) -> None:
    pem = self_signed(["ct1"])[1].decode()
    form = {"ae_title": "CT1", "certificate": pem}
    assert root.post("/tenants/north/certificates", data=form).status_code == 303
    assert len(directory(database).certificates[("north", "CT1")]) == 1
    wrong = root.post(
        "/tenants/north/certificates", data=form | {"certificate": "my cert"}, headers=HTML
    )
    assert wrong.status_code == 400
    assert "SHA-256 fingerprint" in wrong.text
    assert "my cert" in wrong.text


def test_a_tenant_is_reached_by_tls_alone_when_the_page_says_so(
    root: FlaskClient, database: Database
) -> None:
    for wanted, expected in (("yes", {"north"}), ("no", set())):
        assert root.post("/tenants/north/tls", data={"tls_only": wanted}).status_code == 303
        assert directory(database).tls_only == expected
    with database.system_session("test") as session:
        assert Directory.load(session, plain=False).tls_only == {"north", "south"}


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("certificates", {"ae_title": "CT1", "certificate": FINGERPRINT}),
        ("certificates/delete", {"ae_title": "CT1", "certificate": FINGERPRINT}),
        ("tls", {"tls_only": "yes"}),
    ],
)
def test_a_tenants_admin_may_not(
    app: Flask, database: Database, path: str, form: dict[str, str]
) -> None:
    assert signed_in(app, "admin").post(f"/tenants/north/{path}", data=form).status_code == 403
    assert directory(database) == Directory(called={"NORTH": "north", "SOUTH": "south"})


def test_every_change_is_audited(root: FlaskClient, database: Database) -> None:
    root.post("/tenants/north/certificates", data={"ae_title": "CT1", "certificate": FINGERPRINT})
    root.post("/tenants/north/tls", data={"tls_only": "yes"})
    with database.system_session("test") as session:
        rows = session.execute(
            "SELECT action, resource FROM audit WHERE tenant_id = 'north' ORDER BY audit_id"
        ).fetchall()
    assert [(row["action"], row["resource"]) for row in rows][-2:] == [
        ("add-certificate", f"CT1 {IDENTITY}"),
        ("set-tls-only", "only True"),
    ]

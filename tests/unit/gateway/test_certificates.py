"""How a certificate is named: by an admin who lists it, and by the TLS port that sees it."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.certificates import Certificate, identity, self_signed
from gateway.errors import InvalidInput

PEM = self_signed(["ct1.example.org", "127.0.0.1"])[1]
SEEN = Certificate.from_der(x509.load_pem_x509_certificate(PEM).public_bytes(Encoding.DER))
COLONS = ":".join(SEEN.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()


@pytest.mark.parametrize(
    "value",
    [
        PEM.decode(),
        SEEN.fingerprint,
        COLONS,
        f"sha256 Fingerprint={COLONS}",
        f" sha256:{SEEN.fingerprint}\n",
        "CN=ct1.example.org",
        "subject: CN=ct1.example.org",
    ],
)
def test_what_an_admin_lists_is_found_in_the_certificate_that_is_shown(value: str) -> None:
    assert identity(value) in SEEN.identities


def test_another_certificate_of_the_same_name_has_the_subject_but_not_the_fingerprint() -> None:
    other = x509.load_pem_x509_certificate(self_signed(["ct1.example.org"])[1])
    shown = Certificate.from_der(other.public_bytes(Encoding.DER))
    assert identity("CN=ct1.example.org") in shown.identities
    assert identity(PEM.decode()) not in shown.identities


@pytest.mark.parametrize(
    "subject", ["CN=ct1,O=North", "CN=ct1.example.org\\,O=x", "CN=CT1.example.org"]
)
def test_a_subject_is_the_whole_name(subject: str) -> None:
    assert identity(subject) not in SEEN.identities


@pytest.mark.parametrize(
    "value", ["", "abc", "CT1", SEEN.fingerprint[1:], "-----BEGIN CERTIFICATE-----"]
)
def test_what_names_no_certificate(value: str) -> None:
    with pytest.raises(InvalidInput):
        identity(value)


def test_a_certificate_of_our_own_holds_every_name() -> None:
    names = x509.load_pem_x509_certificate(PEM).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [str(name.value) for name in names.value] == ["ct1.example.org", "127.0.0.1"]

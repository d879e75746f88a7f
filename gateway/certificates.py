"""Who a client certificate is, by its fingerprint or the name in it; and one of our own making."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.errors import InvalidInput

_FINGERPRINT = re.compile(r"(?:sha-?256(?:[ =:]|fingerprint)*)?([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True)
class Certificate:
    """The fingerprint (SHA-256, 64 hexadecimal digits) and subject (RFC 4514) of a certificate."""

    fingerprint: str
    subject: str

    @classmethod
    def from_der(cls, der: bytes) -> Self:
        """Read a certificate as TLS gives it; raises ValueError."""
        subject = x509.load_der_x509_certificate(der).subject
        return cls(hashlib.sha256(der).hexdigest(), subject.rfc4514_string())

    @property
    def evidence(self) -> str:
        """What the audit says of it."""
        return f"certificate sha256:{self.fingerprint}"

    @property
    def identities(self) -> frozenset[str]:
        """As what it can be listed in `calling_certificate`."""
        return frozenset({f"sha256:{self.fingerprint}", f"subject:{self.subject}"})


def identity(value: str) -> str:
    """What is listed for a certificate in PEM, a SHA-256 fingerprint, or a subject.

    A fingerprint may have colons; a subject begins with ``subject:`` or holds a ``=``, in the
    order of RFC 4514 (``CN=CT1,O=North``). Raises `InvalidInput`.
    """
    value = value.strip()
    if value.startswith("-----BEGIN"):
        return f"sha256:{_of_pem(value)}"
    if found := _FINGERPRINT.fullmatch(value.replace(":", "").replace(" ", "")):
        return f"sha256:{found[1].lower()}"
    try:
        name = x509.Name.from_rfc4514_string(value.removeprefix("subject:").strip())
    except ValueError:
        name = x509.Name([])
    if not list(name):
        raise InvalidInput(
            "Certificate: give it in PEM, its SHA-256 fingerprint (64 hexadecimal digits, "
            "`openssl x509 -noout -fingerprint -sha256`), or its subject like CN=CT1,O=North."
        )
    return f"subject:{name.rfc4514_string()}"


def _of_pem(text: str) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        raise InvalidInput("Certificate: this PEM cannot be read.") from None
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def self_signed(names: Iterable[str]) -> tuple[bytes, bytes]:
    """A private key and a certificate for these host names and addresses, in PEM; ten years."""
    names = list(names)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage(), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
    )


def _usage() -> x509.KeyUsage:
    """Its own authority and a server: strict clients ask for both."""
    wanted = {"digital_signature", "key_cert_sign"}
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in wanted for name in names.split()})


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""Keyed pseudonyms of one research project; no I/O.

The same value gives the same pseudonym: HMAC-SHA-256 of (purpose, value) under the project's
secret. Without it nobody finds a pseudonym by trying out all patient IDs, or links two projects.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from dataclasses import dataclass

# Crockford's base 32: without I, L, O and U, which people misread.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_secret() -> str:
    """A project's secret: 256 random bits, as hexadecimal digits."""
    return secrets.token_hex(32)


@dataclass(frozen=True)
class Keys:
    """What makes the pseudonyms of one project: its name and its secret (hexadecimal digits)."""

    project: str
    secret: str

    def uid(self, original: str) -> str:
        """A UID below 2.25 (PS3.5 B.2), of at most 44 characters."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', original)[:16], version=4).int}"

    def patient(self, identity: str) -> str:
        """A name and patient ID to read aloud, such as ``LUNG-7K3QF-9XW2M`` (50 bits)."""
        number = int.from_bytes(self._digest("patient", identity)[:8])
        letters = "".join(_LETTERS[number >> 5 * place & 31] for place in range(10))
        return f"{self.project}-{letters[:5]}-{letters[5:]}"

    def shift(self, identity: str, days: int) -> int:
        """By how many days the dates of a patient move: -`days` to `days`, never 0."""
        number = int.from_bytes(self._digest("shift", identity)[:8]) % (2 * days)
        return number - days if number < days else number - days + 1

    def _digest(self, purpose: str, value: str) -> bytes:
        message = f"{purpose}\0{value}".encode("utf-8", "surrogateescape")
        return hmac.digest(bytes.fromhex(self.secret), message, "sha256")


def identity(patient_id: str, study_uid: str) -> str:
    """Who somebody is within a tenant: the patient ID, as in the archive.

    Where it is empty the study stands for the patient: nobody knows that two such are one.
    """
    return f"patient {patient_id.strip()}" if patient_id.strip() else f"study {study_uid.strip()}"

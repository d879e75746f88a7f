"""What is asked of admission for one instance, and what it decides; pure."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from gateway.arriving import NOBODY, Sender
from gateway.dicom_tls.associations import Association
from gateway.errors import UnusableObject
from gateway.studies import Arrival

_UID_CHARACTERS = "0123456789."


def is_uid(value: str) -> bool:
    """Whether it may be a UID (PS3.5 section 9.1)."""
    return 0 < len(value) <= 64 and not value.strip(_UID_CHARACTERS)


class Source(NamedTuple):
    """Who sends: in words for people, and what rules look at."""

    text: str
    sender: Sender = NOBODY

    @classmethod
    def by_c_store(cls, who: Association) -> Source:
        """A modality, or another archive."""
        by_tls = " by TLS" if who.certificate else ""
        sender = Sender(who.calling, who.called, who.address)
        return cls(f"C-STORE {who.calling} {who.address}{by_tls}", sender)

    @classmethod
    def by_stow_rs(cls, name: str, address: str) -> Source:
        """Whoever has a key of this name, from this address."""
        return cls(f"STOW-RS {name} {address}", Sender(address=address))


class Question(NamedTuple):
    """What Lua tells of an instance that wants to be stored: the first fields, or all."""

    origin: str
    calling: str
    called: str
    address: str
    study_uid: str
    series_uid: str
    instance_uid: str
    patient_id: str
    patient_name: str = ""
    study_date: str = ""
    study_description: str = ""
    accession_number: str = ""
    modality: str = ""

    @classmethod
    def from_fields(cls, body: bytes) -> Question | None:
        """Read the first fields; None if a value holds what separates them."""
        fields = body.decode().split("\0")
        if len(fields) != _FIELDS:
            return None
        fields[-1] = fields[-1].strip(" ")  # the PatientID, as Orthanc makes its ids of it
        return cls._make(fields + _NOT_TOLD)

    @classmethod
    def from_json(cls, body: bytes) -> Question:
        """Read Lua's question; a tag that is missing or no text is empty."""
        asked = json.loads(body)

        def text(name: str) -> str:
            value = asked.get(name)
            return value.strip(" \0") if isinstance(value, str) else ""

        return cls(
            origin=text("RequestOrigin"),
            patient_id=text("PatientID"),
            study_uid=text("StudyInstanceUID"),
            series_uid=text("SeriesInstanceUID"),
            instance_uid=text("SOPInstanceUID"),
            calling=text("RemoteAet"),
            called=text("CalledAet"),
            address=text("RemoteIp"),
            patient_name=text("PatientName"),
            study_date=text("StudyDate"),
            study_description=text("StudyDescription"),
            accession_number=text("AccessionNumber"),
            modality=text("Modality"),
        )

    @property
    def is_dimse(self) -> bool:
        """Whether it came by C-STORE."""
        return self.origin == "DicomProtocol"

    def check_uids(self) -> None:
        """Raise `UnusableObject` if a UID is missing or is none."""
        if not all(is_uid(uid) for uid in (self.study_uid, self.series_uid, self.instance_uid)):
            raise UnusableObject("A UID is missing or is none.")

    def sent_as(self, other: Question) -> Question:
        """The same object, from the sender of another one."""
        return self._replace(
            origin=other.origin, calling=other.calling, called=other.called, address=other.address
        )

    def arrival(self, source: Source) -> Arrival:
        """What the row of a new study tells. PostgreSQL's text holds no NUL."""
        return Arrival(
            self.study_uid,
            *(
                value.replace("\0", "")
                for value in (
                    self.patient_id,
                    self.patient_name,
                    self.study_date,
                    self.study_description,
                    self.accession_number,
                    self.modality,
                    source.text,
                )
            ),
            sender=source.sender,
        )


class Verdict(NamedTuple):
    """What was decided on a thread's present instance; `status` 0 lets it be stored."""

    status: int
    question: Question | None = None
    tenant_id: str | None = None  # None although admitted: the output of a job, see `_adopt`
    source: Source = Source("an arriving study")
    claimed_at: float = -math.inf  # the clock at the claim that this instance has made

    def known(self) -> tuple[Question, str]:
        """The question and the tenant, which an instance that is let in has."""
        assert self.question is not None
        assert self.tenant_id is not None
        return self.question, self.tenant_id


_FIELDS = 8
_NOT_TOLD = [""] * (len(Question._fields) - _FIELDS)

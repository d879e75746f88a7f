"""Asking a destination for storage commitment (PS3.4 section J.3), and what it says at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from extensions.routing.destination_settings import DimseSettings
from extensions.routing.sending import asking, commitment
from extensions.routing.sending.commitment import Reference, Report
from gateway.errors import DestinationUnavailable
from gateway.reaching import Check, why_not

TIMEOUT_S = 30.0
PAUSES_S = (0.2, 0.3, 0.5, 2.0)  # between looks for a report, before we hang up
_REQUEST = 1  # Action Type ID (PS3.4 table J.3-1)
# No such class, instance or action; class not supported; unrecognized operation (PS3.7 annex C)
_NOT_OFFERED = {0x0112, 0x0118, 0x0122, 0x0123, 0x0211}


class NotOffered(DestinationUnavailable):
    """The destination does no storage commitment.

    Have its delivered instances verified by a query, or not at all.
    """

    permanent = True


class _Reports:
    """What arrives on our association about one transaction."""

    def __init__(self, transaction: str) -> None:
        self._transaction = transaction
        self.report: Report | None = None
        self.arrived = threading.Event()

    def take(self, event: evt.Event) -> tuple[int, None]:
        """Keep it, if it is ours; an exception is answered 0x0110."""
        information = event.event_information
        if information.get("TransactionUID") == self._transaction:
            self.report = commitment.report_of(information)
            self.arrived.set()
        return 0x0000, None


def ask(
    settings: DimseSettings,
    transaction: str,
    references: Sequence[Reference],
    is_told: Callable[[], bool],
) -> Report | None:
    """Ask; the report, if it comes on this association before `is_told` elsewhere, else None.

    Raises `DestinationUnavailable` when it did not take the request, `NotOffered` when it never
    will.
    """
    reports = _Reports(transaction)
    association = _associate(settings, reports)
    try:
        _request(association, settings, transaction, references)
        for pause_s in PAUSES_S:
            if reports.arrived.wait(pause_s) or not association.is_established or is_told():
                break
    finally:
        if association.is_established:
            association.release()
    return reports.report


def check(settings: DimseSettings) -> Check:
    """Whether it takes a request, about an instance that does not exist."""
    reference = Reference("1.2.840.10008.5.1.4.1.1.7", commitment.new_transaction())
    name = "N-ACTION for storage commitment"
    try:
        ask(settings, commitment.new_transaction(), [reference], lambda: True)
    except DestinationUnavailable as error:
        told = str(error) if isinstance(error, NotOffered) else error.detail
        return Check(name, False, told)
    cure = "have its AE title listed among the tenant's callers, with host and port."
    return Check(name, True, f"Taken. Unless it reports on the same association, {cure}")


def _associate(settings: DimseSettings, reports: _Reports) -> Association:
    association, line = asking.associate(
        settings, StorageCommitmentPushModel, TIMEOUT_S, (evt.EVT_N_EVENT_REPORT, reports.take)
    )
    if not association.is_established:
        if association.rejected_contexts:
            raise NotOffered(f"{settings.address} accepts no presentation context for it.")
        raise DestinationUnavailable(why_not(association, settings.address, line))
    return association


def _request(
    association: Association,
    settings: DimseSettings,
    transaction: str,
    references: Sequence[Reference],
) -> None:
    try:
        answer, _ = association.send_n_action(
            commitment.request(transaction, references),
            _REQUEST,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
    except (RuntimeError, ValueError) as error:
        raise DestinationUnavailable(f"{settings.address} ended the association.") from error
    status = answer.get("Status")
    if status is None:
        told = f"did not answer an N-ACTION; it may not know {settings.calling_aet}"
        raise DestinationUnavailable(f"{settings.address} {told}.")
    told = f"{settings.address} answered 0x{status:04X} to an N-ACTION."
    if status in _NOT_OFFERED:
        raise NotOffered(told)
    if status != 0:
        raise DestinationUnavailable(told)

"""Who asks by DIMSE for more than to store, and what the policy says to that."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway import access, audit
from gateway.access import Action
from gateway.db import Database
from gateway.dicom_tls.associations import Association, Associations
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.identity import Principal, Role
from gateway.tenancy import Directory

log = logging.getLogger(__name__)


def modality(who: Association, tenant_id: str) -> Principal:
    """The AE as the policy sees it: it may what a member of its tenant may."""
    return Principal(who.calling, Role.MEMBER, tenant_id)


class Callers:
    """Admits callers to an action, each to its tenant; whom it refuses is audited."""

    def __init__(
        self,
        database: Database,
        directory: Callable[[], Directory],
        associations: Associations,
    ) -> None:
        self._database = database
        self._directory = directory
        self._associations = associations

    def admitted(self, called: str, calling: str, action: Action) -> tuple[Association, str]:
        """Who asks, and its tenant; raises `UnknownAETitle`, `NotAllowed` and what TLS demands."""
        who = Association(called, calling)
        try:
            # Commitment is asked for in a job of Orthanc's: the association may be over by then.
            is_job = action is Action.COMMIT_STORAGE
            who = self._associations.of(called, calling, ended=is_job)
            tenant_of = Directory.tenant_of_commitment if is_job else Directory.tenant_of_query
            sender = (who.called, who.calling, who.address, who.certificate)
            tenant_id = tenant_of(self._directory(), *sender)
            access.require(modality(who, tenant_id), action)
            return who, tenant_id
        except GatewayError as error:
            self.refused(who, action, error)
            raise

    def refused(self, who: Association, action: Action, error: GatewayError) -> None:
        """Log and audit a refusal, for the tenant that was called."""
        log.warning("refused %s: %s", action, error.code)
        try:
            with self._database.system_session("audit refusal") as session:
                audit.append(
                    session,
                    audit.Record(
                        actor=who.calling,
                        action=action,
                        resource=f"called {who.called}",
                        verdict="denied",
                        tenant_id=self._directory().called.get(who.called),
                        origin=who.address,
                        detail=error.code,
                    ),
                )
        except DatabaseUnavailable:
            log.error("the audit record of a refusal could not be written")

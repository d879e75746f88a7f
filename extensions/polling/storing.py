"""What the tenant's archive has of a study, and storing more: through its front door (STOW-RS)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gateway import studies
from gateway.archive import Archive, NotStored, Reference
from gateway.db import Database
from gateway.errors import ForeignStudy, NotFound


@dataclass(frozen=True)
class Holdings:
    """One tenant's archive."""

    tenant_id: str
    archive: Archive
    database: Database

    def instances(self, study: str) -> set[str]:
        """The SOP Instance UIDs that are here."""
        return {each.sop_instance_uid for each in self._references(study)}

    def count_by_series(self, study: str) -> Counter[str]:
        """How many instances are here, by SeriesInstanceUID."""
        return Counter(each.series_instance_uid for each in self._references(study))

    def store(self, file: bytes, study: str) -> None:
        """Store a file; raises `ForeignStudy` or, where nobody knows why, `NotStored`."""
        try:
            self.archive.store(file)
        except NotStored:
            if self._is_foreign(study):
                raise ForeignStudy from None
            raise

    def _references(self, study: str) -> list[Reference]:
        try:
            return self.archive.references_of(study)
        except NotFound:
            return []

    def _is_foreign(self, study: str) -> bool:
        with self.database.system_session("owner of study") as session:
            row = studies.find(session, study)
        return row is not None and row["tenant_id"] != self.tenant_id

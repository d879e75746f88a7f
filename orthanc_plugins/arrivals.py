"""What the node knows in memory of the studies that are arriving; pure, under one lock.

A study is *open* when its row in PostgreSQL says `receiving`, or `claimed` since just now: an
instance of it may then be acknowledged without asking the database. Only `close_if_idle` ends that,
and only when nothing is counted that the database was not told; whoever finds the study closed must
claim it again.
"""

from __future__ import annotations

import threading


class Arrivals:
    """Open studies, the instances not yet told to the database, and the owners known so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, int] = {}
        self._owners: dict[str, str] = {}

    def owner_of(self, study_uid: str) -> str | None:
        """The owner as far as it is known here."""
        with self._lock:
            return self._owners.get(study_uid)

    def learn(self, study_uid: str, tenant_id: str) -> None:
        """Remember an owner that the database told."""
        with self._lock:
            self._owners[study_uid] = tenant_id

    def is_open(self, study_uid: str) -> bool:
        """Whether the study is in `receiving`."""
        with self._lock:
            return study_uid in self._pending

    def is_arriving(self, study_uid: str, tenant_id: str) -> bool:
        """Whether the study is in `receiving`, and the tenant's."""
        with self._lock:
            return study_uid in self._pending and self._owners.get(study_uid) == tenant_id

    def count(self, study_uid: str) -> bool:
        """Count a stored instance, unless the study is not open (False: claim it, then `open`)."""
        with self._lock:
            if study_uid not in self._pending:
                return False
            self._pending[study_uid] += 1
            return True

    def open(self, study_uid: str, tenant_id: str, *, instances: int = 1) -> None:
        """The database says `receiving`: from now on instances are counted here."""
        with self._lock:
            self._owners[study_uid] = tenant_id
            self._pending[study_uid] = self._pending.get(study_uid, 0) + instances

    def take_progress(self) -> list[tuple[str, int]]:
        """The counts to tell the database; give them back by `restore` when that fails."""
        with self._lock:
            progress = [(uid, number) for uid, number in self._pending.items() if number]
            for uid, _ in progress:
                self._pending[uid] = 0
            return progress

    def restore(self, progress: list[tuple[str, int]]) -> None:
        """The database was not told after all."""
        with self._lock:
            for uid, number in progress:
                self._pending[uid] = self._pending.get(uid, 0) + number

    def close_if_idle(self, study_uid: str) -> bool:
        """Close a quiet study before it is made stable; False when it received more meanwhile."""
        with self._lock:
            if self._pending.get(study_uid):
                return False
            self._pending.pop(study_uid, None)
            return True

    def evict(self, study_uid: str) -> None:
        """The study's row is gone: its UID is free."""
        with self._lock:
            self._owners.pop(study_uid, None)
            self._pending.pop(study_uid, None)

    def reset(self, owners: dict[str, str]) -> None:
        """Start from what the database says; every study that arrives is claimed once more."""
        with self._lock:
            self._owners = owners
            # Counts are kept: they close only after the database was told.
            self._pending = {uid: number for uid, number in self._pending.items() if number}

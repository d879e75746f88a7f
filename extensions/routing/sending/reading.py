"""The next file, made ready while the destination stores the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from extensions.routing.ledger import Instance


class Ahead:
    """The files of a delivery, in its order; at most one is ready before its turn."""

    def __init__(self, todo: Sequence[Instance], make: Callable[[Instance], bytes]) -> None:
        """`make` reads a file and changes it as its rule says."""
        self._make = make
        self._after = {one.sop_instance_uid: other for one, other in pairwise(todo)}
        self._ready: dict[str, bytes] = {}

    def file_of(self, instance: Instance) -> bytes:
        """What leaves; raises as `make` does."""
        found = self._ready.pop(instance.sop_instance_uid, None)
        return self._make(instance) if found is None else found

    def ready_after(self, instance: Instance) -> None:
        """Make the next one ready; raises as `make` does, and again when its turn has come."""
        following = self._after.get(instance.sop_instance_uid)
        if following is None or following.sop_instance_uid in self._ready:
            return
        self._ready = {following.sop_instance_uid: self._make(following)}

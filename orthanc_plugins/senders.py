"""Who stores into a study's present arrival, as far as the database was told; pure.

An audit record for each instance would be too many, one for each study too few: others of the
tenant may send into it too, also long after. So it is one for each sender and arrival. Who did not
send the study's first instance is told of for each series, which may have begun with them.
"""

from __future__ import annotations

from collections.abc import Iterable

type Sender = tuple[str, str, str]  # called and calling AE title and address; by HTTP "" and a name
type Known = Sender | tuple[str, str, str, str]  # with every series, or with this one
JOB: Sender = ("", "", "")
_STUDIES_AT_MOST = 10_000
_SENDERS_AT_MOST = 1_000


class Senders:
    """The senders of each arriving study. What is forgotten is told once more."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, set[Known]]] = {}

    def has(self, study_uid: str, sender: Sender, series_uid: str = "") -> bool:
        """Whether the database knows of this sender. On the path of each instance."""
        known = self._of.get(study_uid)
        return known is not None and (sender in known[1] or (*sender, series_uid) in known[1])

    def begin(self, study_uid: str, arrival: str) -> None:
        """The database names the arrival (`studies.claim`); of another one nobody is known yet."""
        known = self._of.get(study_uid)
        if known is not None and known[0] == arrival:
            return
        while len(self._of) >= _STUDIES_AT_MOST:
            self._of.pop(next(iter(self._of)), None)
        self._of.pop(study_uid, None)
        self._of[study_uid] = (arrival, set())

    def add(self, study_uid: str, senders: Iterable[Known]) -> None:
        """The database was told of them."""
        _arrival, known = self._of.setdefault(study_uid, ("", set()))
        if len(known) >= _SENDERS_AT_MOST:
            known.clear()  # by TLS each association is another sender
        known.update(senders)

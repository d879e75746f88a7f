"""Slows down guessing of passwords: by address and e-mail, counted in the audit.

The audit is shared by every portal process and survives a restart.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway import audit
from gateway.audit import Record
from gateway.db import Database
from gateway.errors import GatewayError

FREE_FAILURES = 5
FIRST_WAIT_S = 15
LONGEST_WAIT_S = 900


class TooManyAttempts(GatewayError):
    """Too many sign-ins failed from here.

    Wait, then try again; who has lost the password is invited anew by an admin of the tenant.
    """

    http_status = 429
    permanent = False


def seconds_to_wait(failures: int, since_last_s: float) -> int:
    """How long the next attempt must still wait; doubles with each failure after the fifth."""
    if failures < FREE_FAILURES:
        return 0
    pause = min(FIRST_WAIT_S << min(failures - FREE_FAILURES, 16), LONGEST_WAIT_S)
    return max(0, round(pause - since_last_s))


@dataclass(frozen=True)
class Attempts:
    """Sign-in attempts of one e-mail address from one network address."""

    database: Database
    email: str
    origin: str

    def check(self) -> None:
        """Raise `TooManyAttempts` while the pause is not over."""
        with self.database.system_session("sign-in attempts") as session:
            row = session.execute(
                """
                SELECT count(*) AS failures,
                       extract(epoch FROM now() - max(at))::float AS since_last
                FROM audit
                WHERE resource = %(who)s AND action = 'sign-in' AND verdict = 'denied'
                  AND origin = %(origin)s AND at > now() - interval '15 minutes'
                  AND audit_id > coalesce((SELECT max(audit_id) FROM audit
                                           WHERE resource = %(who)s AND action = 'sign-in'
                                             AND verdict = 'allowed'
                                             AND origin = %(origin)s), 0)
                """,
                {"who": self._resource, "origin": self.origin},
            ).fetchone()
        assert row is not None
        if wait := seconds_to_wait(row["failures"], row["since_last"] or 0.0):
            raise TooManyAttempts(f"Wait {wait} s.")

    def note(self, *, succeeded: bool) -> None:
        """Remember how an attempt ended."""
        verdict: audit.Verdict = "allowed" if succeeded else "denied"
        record = Record(self.email, "sign-in", self._resource, verdict, None, self.origin)
        with self.database.system_session("note a sign-in") as session:
            audit.append(session, record)

    @property
    def _resource(self) -> str:
        return f"person {self.email}"

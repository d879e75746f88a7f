"""What can go wrong with a source, as people read it."""

from __future__ import annotations

from gateway.errors import GatewayError


class SourceUnavailable(GatewayError):
    """The source does not answer as it should.

    It is tried again by itself; test the connection, and check its address and credentials.
    """

    http_status = 502
    permanent = False


class StudyNotRetrieved(GatewayError):
    """A study could not be retrieved whole.

    It is tried again by itself; look for its UID in the source's own log.
    """

    http_status = 502
    permanent = False


class Interrupted(GatewayError):
    """The run was told to stop.

    It goes on where it was at the next run.
    """

    http_status = 503
    permanent = False

"""One family of errors.

The first line of a class's docstring says what happened, the rest is the cure. Each carries the
HTTP status, the DIMSE status (DICOM PS3.7 annex C, PS3.4 annexes B and C) and whether trying
again can help.
"""

from __future__ import annotations

from typing import ClassVar

from gateway import correlation


class GatewayError(Exception):
    """Something unexpected happened in the gateway.

    Look for the correlation id in `argonath logs`.
    """

    http_status: ClassVar[int] = 500
    dimse_status: ClassVar[int] = 0x0110
    permanent: ClassVar[bool] = True

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def code(self) -> str:
        """Stable name of this kind of error, for programs."""
        return type(self).__name__

    @property
    def message(self) -> str:
        """What happened, in one sentence."""
        first = (type(self).__doc__ or "").strip().split("\n", 1)[0]
        return f"{first} {self.detail}".strip()

    @property
    def cure(self) -> str:
        """What the reader can do about it."""
        lines = (type(self).__doc__ or "").strip().split("\n")[1:]
        return " ".join(line.strip() for line in lines if line.strip())

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()

    def as_json(self) -> dict[str, object]:
        """The one JSON shape of an error answer; with the correlation id where there is one."""
        identifier = correlation.current()
        return {
            "error": self.code,
            "message": self.message,
            "cure": self.cure,
            "retry": not self.permanent,
        } | ({"correlation": identifier} if identifier else {})


class InvalidSettings(GatewayError):
    """The settings are wrong.

    Correct them in the environment or the file named by ARGONATH_CONFIG and start again.
    """


class InvalidInput(GatewayError):
    """The request cannot be understood.

    Correct the value that is named and send it again.
    """

    http_status = 400
    dimse_status = 0xA900


class NotAuthenticated(GatewayError):
    """No valid credentials were given.

    Send the header `Authorization: Bearer <API key>`, or sign in to the portal. An admin makes
    keys with `argonath api-key create`; a revoked or expired key must be replaced.
    """

    http_status = 401
    dimse_status = 0x0124


class NotAllowed(GatewayError):
    """These credentials do not permit this.

    Ask an admin of your tenant for a key or role that does.
    """

    http_status = 403
    dimse_status = 0x0124


class NotFound(GatewayError):
    """There is no such thing here.

    Check the identifier; what belongs to somebody else does not exist for you.
    """

    http_status = 404
    dimse_status = 0xA900


class Conflict(GatewayError):
    """This exists already.

    Choose another name, or change the existing one.
    """

    http_status = 409


class UnknownAETitle(GatewayError):
    """No tenant accepts this called AE title, calling AE title and address.

    Give the modality the AE title of a tenant (`argonath tenant list`), or have an admin add its
    calling AE title and address.
    """

    http_status = 403
    dimse_status = 0x0124


class UnknownCertificate(GatewayError):
    """This certificate is not listed for this calling AE title.

    A system admin lists it on the tenant's page or by `argonath certificate add`; the audit names
    the fingerprint of what was shown.
    """

    http_status = 403
    dimse_status = 0x0124


class CertificateRequired(GatewayError):
    """This tenant is reached by DICOM over TLS alone.

    Send to the TLS port, with a client certificate that is listed for the calling AE title.
    """

    http_status = 403
    dimse_status = 0x0124


class ForeignStudy(GatewayError):
    """The object cannot join its study.

    Its StudyInstanceUID is not available to this sender; send it with a new one.
    """

    http_status = 409
    dimse_status = 0x0124


class UnusableObject(GatewayError):
    """The object cannot be stored.

    It must be DICOM with StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID, and with
    sequences that a parser survives.
    """

    http_status = 400
    dimse_status = 0xA900


class ArchiveUnavailable(GatewayError):
    """The archive does not answer.

    It is restarted by itself; try again in some seconds.
    """

    http_status = 503
    dimse_status = 0xA700
    permanent = False


class DatabaseUnavailable(GatewayError):
    """The database does not answer.

    It is restarted by itself; try again in some seconds.
    """

    http_status = 503
    dimse_status = 0xA700
    permanent = False


class DestinationUnavailable(GatewayError):
    """The destination did not accept the delivery now.

    It is tried again by itself; check the destination's address and that it runs.
    """

    http_status = 502
    permanent = False


class SecretUnreadable(GatewayError):
    """A stored password or token cannot be opened.

    Put back the file `secrets/encryption_key` with which it was sealed, or enter the secret again.
    """

    http_status = 409


class GatewayNotRunning(GatewayError):
    """Argonath is not running.

    Start it with `make run`; if it runs on another data directory, name that in ARGONATH_HOME.
    """

    http_status = 503
    permanent = False


class BrokenMigration(GatewayError):
    """The database cannot be brought to the present schema.

    A migration that ran stays as it was: put its file back, and the change into a new file with
    the next number. An extension can be left out by ARGONATH_BLOCKED_EXTENSIONS.
    """


class BrokenExtension(GatewayError):
    """An extension cannot be loaded.

    Correct it as the message says, or name it in ARGONATH_BLOCKED_EXTENSIONS.
    """

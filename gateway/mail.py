"""E-mail, by the hospital's own server (RFC 5321)."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from gateway.errors import GatewayError, InvalidSettings
from gateway.settings import Settings

TIMEOUT_S = 10.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class MailNotSent(GatewayError):
    """The e-mail could not be sent.

    Pass its contents on yourself; a system admin finds the mail server in the setting `smtp_url`.
    """

    http_status = 502
    permanent = False


class MailRefused(MailNotSent):
    """The mail server refused the e-mail for good.

    Check the address; a system admin finds what the server takes in its own log.
    """

    permanent = True


def is_set_up(settings: Settings) -> bool:
    """Whether there is a server to send by."""
    return bool(settings.smtp_url and settings.mail_from)


def send(settings: Settings, to: str, subject: str, text: str) -> None:
    """Hand one message to the server; raises `MailNotSent`, `MailRefused` or `InvalidSettings`."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.mail_from, to, subject
    message.set_content(text)
    try:
        with _server(settings.smtp_url) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise _not_sent(error, *codes) from error
    except smtplib.SMTPDataError as error:
        raise _not_sent(error, error.smtp_code) from error
    except (OSError, smtplib.SMTPException) as error:
        raise MailNotSent(type(error).__name__) from error


def _not_sent(error: Exception, *codes: int) -> MailNotSent:
    """5yz is for good, 4yz for now (RFC 5321 section 4.2.1)."""
    told = f"{type(error).__name__}: {', '.join(map(str, codes))}"
    return MailRefused(told) if min(codes, default=0) >= 500 else MailNotSent(told)


def _server(address: str) -> smtplib.SMTP:
    url = urlsplit(address)
    host, trusted = url.hostname or "", ssl.create_default_context()
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, url.port or 465, timeout=TIMEOUT_S, context=trusted
        )
    elif url.scheme == "smtp":
        server = smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT_S)
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=trusted)
        elif url.username and host not in _LOOPBACK:
            server.close()
            raise InvalidSettings("ARGONATH_SMTP_URL: a password must not go in the clear.")
    else:
        raise InvalidSettings("ARGONATH_SMTP_URL: it begins with smtp:// or smtps://")
    if url.username:
        server.login(unquote(url.username), unquote(url.password or ""))
    return server

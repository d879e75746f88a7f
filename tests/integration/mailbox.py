"""A real mail server that keeps what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.ports import free_port


class Mailbox(MessageHandler):
    """What came; nobody is named nobody, and such a recipient is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.url = ""

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """One that listens while the block runs."""
    port = free_port()
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=port, ready_timeout=30)
    server.start()
    box.url = f"smtp://127.0.0.1:{port}"
    yield box
    server.stop()


def text_of(message: Message) -> str:
    """The body."""
    return str(message.get_payload(decode=True), "utf-8")

"""Bytes both ways between two sockets, one of them with TLS, by one thread.

Not asyncio: its TLS goes through memory and wakes for every record of 16 KB, and DCMTK sends such.
Here OpenSSL reads the socket itself, all that has come goes out by one call, and other associations
run meanwhile.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable

_CHUNK_BYTES = 1 << 17
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
type Peer = socket.socket | ssl.SSLSocket


def both_ways(
    client: Peer,
    node: Peer,
    first_answer: Callable[[bytes], bytes],
    *,
    silence_s: float,
    last_word_s: float,
) -> None:
    """Pass bytes on until one side has ended, and `node` has heard of it.

    What `node` says first, its answer to the association, becomes what `first_answer` makes of it.
    Both sockets must not block. A side that is slow makes the other one wait. Raises TimeoutError
    after `silence_s` in which neither side said anything, or one took nothing.
    """
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    is_first = True
    poll = select.poll()
    peers = {client.fileno(): (client, node), node.fileno(): (node, client)}
    for descriptor in peers:
        poll.register(descriptor, select.POLLIN)
    while True:
        # What OpenSSL has read from the socket already, no poll tells of.
        more = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [(client.fileno(), 0)] if more else poll.poll(silence_s * 1000)
        if not ready:
            raise TimeoutError
        for descriptor, _event in ready:
            source, target = peers[descriptor]
            count, ended = _received(source, buffer)
            said: bytes | memoryview = buffer[:count]
            if source is node and is_first:
                said, is_first = first_answer(bytes(said)), False
            send(target, said, within_s=silence_s)
            if ended:
                if source is client:
                    _hear_out(node, last_word_s)
                return


def receive(source: Peer, count: int, *, within_s: float) -> bytes:
    """Exactly `count` bytes; raises EOFError when it ends before, TimeoutError when it is late."""
    end = time.monotonic() + within_s
    taken = b""
    while len(taken) < count:
        try:
            chunk = source.recv(count - len(taken))
        except _NOT_NOW:
            _wait(source, select.POLLIN, end - time.monotonic())
            continue
        if not chunk:
            raise EOFError
        taken += chunk
    return taken


def send(target: Peer, data: bytes | memoryview, *, within_s: float) -> None:
    """All of `data`; raises TimeoutError when for so long nothing was taken."""
    data = memoryview(data)
    while data:
        try:
            data = data[target.send(data) :]
        except _NOT_NOW:
            _wait(target, select.POLLOUT, within_s)


def _received(source: Peer, buffer: memoryview) -> tuple[int, bool]:
    """How much of what has come was put into `buffer`, and whether the source has ended."""
    count = 0
    while count < len(buffer):
        try:
            got = source.recv_into(buffer[count:])
        except _NOT_NOW:
            break
        except OSError:  # reset, or TLS that was cut off: what came before still counts
            return count, True
        if not got:
            return count, True
        count += got
    return count, False


def hang_up(client: ssl.SSLSocket, *, within_s: float) -> None:
    """Close in order: what was sent arrives although something may be left that nobody read."""
    with client:
        with contextlib.suppress(OSError):
            client.unwrap()
        _hear_out(client, within_s)


def _hear_out(peer: Peer, seconds: float) -> None:
    """Say that it is over, and wait until the other side has hung up too."""
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_WR)  # ends TLS too
        while True:
            try:
                if not peer.recv(_CHUNK_BYTES):
                    return
            except _NOT_NOW:
                _wait(peer, select.POLLIN, end - time.monotonic())


def _wait(peer: Peer, event: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(peer.fileno(), event)
    if seconds <= 0 or not poll.poll(seconds * 1000):
        raise TimeoutError

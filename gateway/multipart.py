"""The parts of a multipart/related answer (RFC 2387), one by one as they come. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MOST_BYTES_OF_HEAD = 4096


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names."""
    return content_type.partition("boundary=")[2].split(";")[0].strip('" ').encode()


def parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[bytes]:
    """The bodies of the parts, each with its Content-Length; raises ValueError for what is not."""
    stream = _Stream(chunks)
    opening = b"--" + boundary
    stream.until(opening)  # what comes before it means nothing
    while True:
        mark = stream.take(2)
        if mark == b"--":
            return
        head = stream.until(b"\r\n\r\n") if mark == b"\r\n" else b""
        yield stream.take(_length(head))
        if stream.take(2 + len(opening)) != b"\r\n" + opening:
            raise ValueError("a part is not as long as it says")


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise ValueError("a part does not say how long it is")


class _Stream:
    """Bytes by count, or up to a mark near by."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def take(self, count: int) -> bytes:
        gathered, size = [self._held], len(self._held)
        while size < count:
            gathered.append(self._next())
            size += len(gathered[-1])
        whole = b"".join(gathered)
        self._held = whole[count:]
        return whole[:count]

    def until(self, mark: bytes) -> bytes:
        while (place := self._held.find(mark)) < 0:
            if len(self._held) > MOST_BYTES_OF_HEAD:
                raise ValueError("a head does not end")
            self._held += self._next()
        found, self._held = self._held[:place], self._held[place + len(mark) :]
        return found

    def _next(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise ValueError("it ends too early")

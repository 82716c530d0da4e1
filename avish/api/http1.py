"""HTTP/1.1 over a connected socket, as much of it as the controller speaks.

The standard library's client costs a start-up 30 ms (it brings the mail parser and TLS along); a shell that is started
for one command pays that every time, so these few lines stand in its place.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

HEADER_LIMIT = 65_536


class ProtocolError(Exception):
    """An answer that is no HTTP."""


class ClosedError(ProtocolError):
    """The other side closed the connection before it answered anything."""


class Response:
    """``status``, lower-case ``headers``, ``cookies`` that are set.

    The body is read with ``read`` or, while it comes, with ``lines``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.status = _status(file.readline(HEADER_LIMIT))
        pairs = list(_headers(file))
        self.headers = dict(pairs)
        set_cookies = (value.partition(";")[0].partition("=") for name, value in pairs if name == "set-cookie")
        self.cookies = {name: value for name, _, value in set_cookies}
        self._length = int(self.headers.get("content-length", "0"))
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"

    def read(self) -> bytes:
        """The whole body."""
        if self._chunked:
            return b"".join(self._chunks())
        data = self._file.read(self._length)
        if len(data) < self._length:
            raise ProtocolError("the answer ends in the middle")
        return data

    def lines(self) -> Iterator[bytes]:
        """The lines of a body that comes in chunks, each as soon as it is there."""
        rest = b""
        for chunk in self._chunks() if self._chunked else [self.read()]:
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _chunks(self) -> Iterator[bytes]:
        while True:
            head = self._file.readline(HEADER_LIMIT).partition(b";")[0].strip()
            try:
                size = int(head, 16)
            except ValueError:
                raise ProtocolError("the answer ends in the middle") from None
            data = self._file.read(size)
            self._file.readline(HEADER_LIMIT)
            if size == 0:
                return
            yield data


class Connection:
    """One connection; opened when first needed, kept open until ``close``. OSError when it cannot be had."""

    def __init__(self, dial: Callable[[float], socket.socket], timeout: float) -> None:
        self._dial, self._timeout = dial, timeout
        self._socket: socket.socket | None = None
        self._file: BinaryIO | None = None

    @property
    def open(self) -> bool:
        """Whether it is connected already."""
        return self._socket is not None

    def connect(self) -> BinaryIO:
        """Connect, unless it is."""
        if self._file is None:
            self._socket = self._dial(self._timeout)
            self._file = self._socket.makefile("rb")
        return self._file

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Send a request; the answer, its body not yet read."""
        file = self.connect()
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in headers.items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        if self._socket is not None:
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return Response(file)

    def close(self) -> None:
        """Close it; a later request opens it anew."""
        for part in (self._file, self._socket):
            if part is not None:
                part.close()
        self._file = self._socket = None


def _status(line: bytes) -> int:
    if not line:
        raise ClosedError("the connection was closed")
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ProtocolError("this is no HTTP answer")
    return int(words[1])


def _headers(file: BinaryIO) -> Iterator[tuple[str, str]]:
    while line := file.readline(HEADER_LIMIT).strip():
        name, _, value = line.decode("latin-1").partition(":")
        yield name.lower(), value.strip()

"""A small raw netlink helper: sockets, messages, attributes. pyroute2 is too slow for large dumps.

A socket belongs to the network namespace that its thread was in when it was opened.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

NETFILTER = 12
REQUEST, ACK, DUMP, DUMP_INTR = 0x1, 0x4, 0x300, 0x10
MESSAGE_NOOP, MESSAGE_ERROR, MESSAGE_DONE = 1, 2, 3
NESTED = 0x8000
TYPE_MASK = 0x3FFF
"""Takes the flags (nested, byte order) off an attribute type."""

RECEIVE_SIZE = 1 << 18
SOL_NETLINK = 270
NETLINK_NO_ENOBUFS, _GET_STRICT_CHECK = 5, 12

_SO_ATTACH_FILTER, _SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 26, 32, 33
_INSTRUCTION_SIZE = 8
_ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 1, 2
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message; ``body`` is what follows the 16-byte header (family header included).

    ``port``: whose socket it is about; in notifications the one whose request is announced.
    """

    type: int
    flags: int
    sequence: int
    port: int
    body: bytes


class NetlinkError(OSError):
    """The kernel's answer to a request: ``errno`` and its text."""


class NetlinkTimeoutError(OSError):
    """The kernel did not answer within the socket's timeout."""


class Netlink:
    """A netlink socket in the current namespace; ``timeout`` in seconds bounds every wait (None: for ever, 0: none).

    ``receive_buffer`` in bytes is forced past the system's limit (needs root). ``drop_silently``: an overrun is not
    reported as ENOBUFS; readers that count sequence numbers see it anyway.
    """

    def __init__(
        self,
        protocol: int = NETFILTER,
        *,
        timeout: float | None = 10.0,
        receive_buffer: int = 1 << 22,
        drop_silently: bool = False,
    ) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
            if drop_silently:
                self._socket.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
            self._socket.bind((0, 0))
            self._socket.settimeout(timeout)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; whatever the kernel bound to it (an NFLOG group) ends with it."""
        self._socket.close()

    def fileno(self) -> int:
        """The file descriptor, for select and poll."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """By which the kernel knows this socket."""
        return int(self._socket.getsockname()[0])

    def attach(self, program: bytes) -> None:
        """Receive only what a packed BPF program lets through. Raises OSError."""
        code = ctypes.create_string_buffer(program, len(program))
        size = len(program) // _INSTRUCTION_SIZE
        filter_of = struct.pack("HL", size, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_of)

    def set_timeout(self, seconds: float | None) -> None:
        """How long ``receive`` waits; None: for ever."""
        self._socket.settimeout(seconds)

    def subscribe(self, group: int) -> None:
        """Receive the notifications of a multicast group too."""
        self._socket.setsockopt(SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def be_strict(self) -> None:
        """Dumps give only what their header asks for (Linux 4.20): a table of routes out of thousands."""
        self._socket.setsockopt(SOL_NETLINK, _GET_STRICT_CHECK, 1)

    def unsubscribe(self, group: int) -> None:
        """Receive them no more; those that wait still come."""
        self._socket.setsockopt(SOL_NETLINK, _DROP_MEMBERSHIP, group)

    def send(self, kind: int, flags: int, body: bytes) -> int:
        """Send one message; the answer carries the sequence number that is returned."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        return self._sequence

    def transact(self, batch: bytes) -> None:
        """Send a finished batch of messages of which one asks for an answer; wait for it, or for the first refusal.

        Raises NetlinkError, and NetlinkTimeoutError when the kernel stays silent.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, max(1 << 20, 2 * len(batch)))
        self._socket.send(batch)
        for message in self.receive():
            if message.type == MESSAGE_ERROR:
                raise_error(message)
                return

    def receive(self) -> list[Message]:
        """The messages of the next datagram. Raises NetlinkTimeoutError, BlockingIOError (timeout 0), ENOBUFS."""
        try:
            data = self._socket.recv(RECEIVE_SIZE)
        except TimeoutError as error:
            raise NetlinkTimeoutError(errno.ETIMEDOUT, "netlink: no answer from the kernel") from error
        return list(messages(data))

    def receive_bytes(self) -> bytes:
        """The next datagram as it is; raises as ``receive`` does."""
        return self._socket.recv(RECEIVE_SIZE)

    def answers(self, sequence: int) -> Iterator[Message]:
        """The answers to one request up to its end: done, acknowledgement or error.

        Raises NetlinkError when the kernel refuses and NetlinkTimeoutError when it stays silent. A request that is
        answered by one message without end (a get without ACK) must be sent with ACK, else this waits in vain.
        """
        while True:
            for message in self.receive():
                if message.sequence != sequence:
                    continue
                if message.type in (MESSAGE_DONE, MESSAGE_ERROR):
                    raise_error(message)
                    return
                if message.type != MESSAGE_NOOP:
                    yield message

    def dump(self, kind: int, body: bytes) -> Iterator[Message]:
        """Every object the kernel has of a kind."""
        return self.answers(self.send(kind, DUMP, body))

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[Message]:
        """Send, wait for the acknowledgement and return what came before it. Raises NetlinkError."""
        return list(self.answers(self.send(kind, flags | ACK, body)))


def whole(message: Message) -> bytes:
    """The message with its header, for a decoder of another library."""
    length = _HEADER.size + len(message.body)
    return _HEADER.pack(length, message.type, message.flags, message.sequence, message.port) + message.body


def raise_error(message: Message) -> None:
    """Raise NetlinkError if ``message`` (an error or the end of a dump) carries an error code."""
    code = int.from_bytes(message.body[:4], sys.byteorder, signed=True) if message.body else 0
    if code < 0:
        raise NetlinkError(-code, os.strerror(-code))


def messages(data: bytes) -> Iterator[Message]:
    """Split a datagram; a truncated last message is left out."""
    offset, end = 0, len(data)
    while offset + _HEADER.size <= end:
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > end:
            return
        yield Message(kind, flags, sequence, port, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def parse(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes in ``data`` from ``offset`` on: type (without flags) -> payload; a later one of a type wins."""
    return dict(each(data, offset))


def each(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes in order, for lists in which a type repeats."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > end:
            return
        yield kind & TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def big32(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits in network order, as netfilter wants them."""
    return attribute(kind, value.to_bytes(4, "big"))


def netfilter_header(family: int, resource: int = 0) -> bytes:
    """The nfgenmsg that starts the body of every netfilter message; its size is 4."""
    return struct.pack("!BBH", family, 0, resource)


def netfilter_type(subsystem: int, message: int) -> int:
    """The message type of a netfilter subsystem."""
    return subsystem << 8 | message

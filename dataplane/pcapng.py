"""pcapng files of bare IP packets, written block by block, so that a reader finds whole blocks at any moment."""

from __future__ import annotations

import functools
import os
import struct
from pathlib import Path

LINKTYPE_RAW = 101
"""Packets start at the IP header."""

_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE = 1
_ENHANCED_PACKET = 6
_BYTE_ORDER = 0x1A2B3C4D
_UNKNOWN_LENGTH = -1
_OPT_END = 0
_OPT_COMMENT = 1
_OPT_USER_APPLICATION = 4
_OPT_INTERFACE_NAME = 2
_OPT_TIME_RESOLUTION = 9
_OPT_PACKET_FLAGS = 2
_OPTION_MAX = 0xFFFF
_NANOSECONDS = 9
_INBOUND = 1
_OUTBOUND = 2


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _text_option(code: int, text: str) -> bytes:
    """Text as UTF-8; what does not fit into an option is cut off."""
    return _option(code, text.encode(errors="replace")[:_OPTION_MAX].decode(errors="ignore").encode())


def _options(options: list[bytes]) -> bytes:
    return b"".join(options) + _option(_OPT_END, b"")


@functools.lru_cache(maxsize=1024)
def _packet_options(comment: str, outbound: bool) -> bytes:  # noqa: FBT001
    """The options of a packet; few differ, so they are remembered."""
    options = [_text_option(_OPT_COMMENT, comment)] if comment else []
    return _options([*options, _option(_OPT_PACKET_FLAGS, struct.pack("<I", _OUTBOUND if outbound else _INBOUND))])


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    total = struct.pack("<I", len(body) + len(options) + 12)
    return b"".join((struct.pack("<I", kind), total, body, options, total))


class PcapngWriter:
    """A new pcapng file (mode 0600) at ``path``; ``snaplen`` 0: packets are kept whole.

    Raises FileExistsError when there is one already and OSError when the disk refuses; the file then still ends
    with the last whole block. ``size`` is the length in bytes, ``packets`` the number of packets written.
    """

    def __init__(self, path: Path, *, snaplen: int = 0, application: str = "avish", comment: str = "") -> None:
        self.path = path
        self.size = 0
        self.packets = 0
        self._snaplen = snaplen
        self._interfaces: dict[str, int] = {}
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        options = [_text_option(_OPT_COMMENT, comment)] if comment else []
        options.append(_text_option(_OPT_USER_APPLICATION, application))
        body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH)
        try:
            self._put(_block(_SECTION_HEADER, body, _options(options)))
        except OSError:
            self.close()
            raise

    def write(
        self, *, interface: str, time: float, data: bytes, length: int, comment: str = "", outbound: bool = False
    ) -> None:
        """Append a packet: ``time`` in seconds since the epoch, ``length`` its true length, ``data`` what was kept."""
        number = self._interface(interface)
        nanoseconds = round(time * 1_000_000) * 1000  # a float holds no more than microseconds here
        body = struct.pack(
            "<IIIII", number, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF, len(data), max(length, len(data))
        )
        self._put(_block(_ENHANCED_PACKET, body + _padded(data), _packet_options(comment, outbound)))
        self.packets += 1

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _interface(self, name: str) -> int:
        """The number of an interface; its block is written when the first packet of it comes."""
        number = self._interfaces.get(name)
        if number is None:
            options = [
                _text_option(_OPT_INTERFACE_NAME, name),
                _option(_OPT_TIME_RESOLUTION, bytes([_NANOSECONDS])),
            ]
            body = struct.pack("<HHI", LINKTYPE_RAW, 0, self._snaplen)
            self._put(_block(_INTERFACE, body, _options(options)))
            number = self._interfaces[name] = len(self._interfaces)
        return number

    def _put(self, block: bytes) -> None:
        """Write a block whole; a disk that takes only a part of it loses that part again."""
        try:
            written = os.write(self._file, block)
            while written < len(block):
                written += os.write(self._file, block[written:])
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size += len(block)

"""Whole interfaces, through the ring that the kernel shares with its reader (packet(7), TPACKET_V3).

The kernel writes blocks of packets with their times; a block is taken over as one piece and turned into pcapng packet
blocks, without an object per packet: 100,000 packets a second are some 0.3 s of one processor.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct

from dataplane import bpf
from dataplane.errors import RefusedError
from dataplane.pcapng import ENHANCED_PACKET, packet_options
from dataplane.taps import LINK_ETHERNET, Batch, Blocks, Packet, Port

BLOCK_SIZE = 1 << 20
BLOCKS = 32
RETIRE_MS = 50
"""A block that is not full is handed over after so long."""

_SOL_PACKET = 263
_ADD_RING, _STATISTICS, _VERSION, _V3 = 5, 6, 10, 2
_ATTACH_FILTER = 26
_ALL_PROTOCOLS = 3
_FRAME_SIZE = 2048
_TO_USER = 1
_OUTGOING = 4
_VLAN_VALID = 0x10
_BLOCK = struct.Struct("=IIIIII")
"""version, offset of private data, status, number of packets, offset of the first one, length."""
_HEADER = struct.Struct("=IIIIIIHH")
"""offset of the next one, seconds, nanoseconds, bytes kept, true length, status, offsets of frame and network."""
_VLAN = struct.Struct("=IH")
_ADDRESS = struct.Struct("=4xi2xB")
"""Of the sockaddr_ll behind the header: interface, packet type."""
_ADDRESS_AT = 48
_VLAN_AT = 32
_PACKET = struct.Struct("<IIIIIII")
_U32 = struct.Struct("<I")


class Ring:
    """A tap on one interface, or on all but the loopback, in the namespace of the calling thread.

    ``whole``: the blocks go to a file as they are; else ``read`` gives packets. ``lost``: what the kernel dropped.
    Raises RefusedError.
    """

    def __init__(self, text: str, *, snaplen: int, directions: tuple[str, ...], interface: str, whole: bool) -> None:
        self.lost = 0
        self.received = 0
        self._whole = whole
        self._place = 0
        self._ports: list[Port] = []
        self._numbers: dict[int, int] = {}
        _index(interface)
        loopback = _index("lo")
        instructions = bpf.program(text, snaplen, directions=directions, loopback=loopback)
        try:
            self._socket = _opened(interface)
        except OSError as error:
            raise RefusedError(f"the kernel refused a tap on interfaces: {error.strerror}") from error
        try:
            _attach(self._socket, bpf.packed(instructions))
            self._memory = self._ring()  # what came before the filter is not in it
            if interface:
                self._socket.bind((interface, _ALL_PROTOCOLS))
        except OSError as error:
            self._socket.close()
            raise RefusedError(f"the kernel refused a tap on interfaces: {error.strerror}") from error

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def read(self) -> Batch | None:
        """What the next block of the ring holds; None when the kernel has not handed it over."""
        start = self._place * BLOCK_SIZE
        _, _, status, count, first, length = _BLOCK.unpack_from(self._memory, start)
        if not status & _TO_USER:
            return None
        data = self._memory[start : start + length]
        struct.pack_into("=I", self._memory, start + 8, 0)  # the kernel's again
        self._place = (self._place + 1) % BLOCKS
        self.received += count
        return self._blocks(data, first, count) if self._whole else self._packets(data, first, count)

    def count_lost(self) -> None:
        """Ask the kernel what it dropped since the last time."""
        _, dropped, _ = struct.unpack("=III", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        self.lost += dropped

    def stop(self) -> None:
        """No more packets; those in the ring can still be read, also those of the block that is not full."""
        _attach(self._socket, bpf.packed([(0x06, 0, 0, 0)]))

    def close(self) -> None:
        """Free the ring."""
        if self._socket.fileno() >= 0:
            self._memory.close()
            self._socket.close()

    def _ring(self) -> mmap.mmap:
        self._socket.setsockopt(_SOL_PACKET, _VERSION, _V3)
        size = BLOCK_SIZE * BLOCKS
        request = struct.pack("=7I", BLOCK_SIZE, BLOCKS, _FRAME_SIZE, size // _FRAME_SIZE, RETIRE_MS, 0, 0)
        self._socket.setsockopt(_SOL_PACKET, _ADD_RING, request)
        return mmap.mmap(self._socket.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def _blocks(self, data: bytes, offset: int, count: int) -> Batch:
        parts: list[bytes] = []
        add, header, address = parts.append, _HEADER.unpack_from, _ADDRESS.unpack_from
        pack, number_of, numbers = _PACKET.pack, self._number, self._numbers
        ends = {out: packet_options(outbound=out) for out in (True, False)}
        fixed = _PACKET.size + len(ends[True]) + _U32.size
        padding = (b"", b"\0\0\0", b"\0\0", b"\0")
        for _ in range(count):
            following, seconds, nanoseconds, kept, length, status, at, _ = header(data, offset)
            index, kind = address(data, offset + _ADDRESS_AT)
            frame = data[offset + at : offset + at + kept]
            if status & _VLAN_VALID:
                frame = _tagged(data, offset, frame)
                kept, length = kept + 4, length + 4
            number = numbers.get(index)
            if number is None:
                number = number_of(index)
            ns = seconds * 1_000_000_000 + nanoseconds
            fill = padding[kept & 3]
            total = fixed + kept + len(fill)
            add(pack(ENHANCED_PACKET, total, number, ns >> 32, ns & 0xFFFFFFFF, kept, length))
            add(frame)
            add(fill + ends[kind == _OUTGOING] + _U32.pack(total))
            offset += following
        return Batch([], Blocks(b"".join(parts), count, tuple(self._ports)))

    def _packets(self, data: bytes, offset: int, count: int) -> Batch:
        packets = []
        for _ in range(count):
            following, seconds, nanoseconds, kept, length, status, at, _ = _HEADER.unpack_from(data, offset)
            index, kind = _ADDRESS.unpack_from(data, offset + _ADDRESS_AT)
            frame = data[offset + at : offset + at + kept]
            if status & _VLAN_VALID:
                frame, length = _tagged(data, offset, frame), length + 4
            port = self._ports[self._number(index)]
            ns = seconds * 1_000_000_000 + nanoseconds
            out = kind == _OUTGOING
            packets.append(
                Packet(ns, "sent" if out else "received", "original", 0, port.name, length, frame, link=LINK_ETHERNET)
            )
            offset += following
        return Batch(packets)

    def _number(self, index: int) -> int:
        number = self._numbers.get(index)
        if number is None:
            self._ports.append(Port(_name(index), LINK_ETHERNET))
            number = self._numbers[index] = len(self._ports) - 1
        return number


def _tagged(data: bytes, offset: int, frame: bytes) -> bytes:
    """The frame with the VLAN tag that the kernel took off."""
    tag, protocol = _VLAN.unpack_from(data, offset + _VLAN_AT)
    return frame[:12] + struct.pack(">HH", protocol, tag & 0xFFFF) + frame[12:]


def _index(name: str) -> int:
    """0 for no name. Raises RefusedError for one that is not there, with those that are."""
    if not name:
        return 0
    try:
        return socket.if_nametoindex(name)
    except OSError:
        others = ", ".join(other for _, other in socket.if_nameindex() if other != "lo") or "none"
        raise RefusedError(f"there is no interface {name}; there are: {others}") from None


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # gone already
        return f"interface {index}"


def _opened(interface: str) -> socket.socket:
    """One that is not bound hears all interfaces at once."""
    protocol = 0 if interface else socket.htons(_ALL_PROTOCOLS)
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def _attach(tap: socket.socket, code: bytes) -> None:
    buffer = ctypes.create_string_buffer(code, len(code))
    tap.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(code) // 8, ctypes.addressof(buffer)))

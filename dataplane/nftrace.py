"""Which rule drops a packet: the kernel's trace of those that a tap's rules have marked for it."""

from __future__ import annotations

import errno
import socket
import time

from dataplane.netlink import Message, Netlink, netfilter_type, parse
from dataplane.nft import TABLE
from dataplane.taps import Packet

_GROUP = 9  # NFNLGRP_NFTRACE
_TRACE = netfilter_type(10, 17)
_TABLE, _CHAIN, _TYPE, _VERDICT, _ID, _NETWORK, _TRANSPORT, _IN, _POLICY = 1, 2, 4, 5, 6, 8, 9, 10, 16
_TYPE_POLICY = 1
_CODE = 1
_DROP = 0
_FAMILY_HEADER = 4
_KNOWN = 4096
"""Packets on their way that are remembered."""
_BUFFER = 8 * 2**20
_SERVICE = "service_"
_WORDS = {
    "forward": "no virtual service took it, and routing is off",
    "refuse": "refused: the server is gone, or a limit is reached",
}
"""What it means that a chain of ours drops."""


class TraceReader:
    """Traced packets of the namespace of the calling thread that are dropped; ``fileno`` is for poll."""

    def __init__(self) -> None:
        self._socket = Netlink(timeout=0, receive_buffer=_BUFFER)
        self._socket.subscribe(_GROUP)
        self._ways: dict[bytes, tuple[bytes, bytes, int]] = {}
        self.lost = 0

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """No more traces."""
        self._socket.close()

    def read(self) -> list[Packet]:
        """The packets that were dropped since the last call."""
        found: list[Packet] = []
        while True:
            try:
                messages = self._socket.receive()
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            for message in messages:
                packet = self._step(message)
                if packet is not None:
                    found.append(packet)

    def _step(self, message: Message) -> Packet | None:
        """One rule of a packet's way; the packet when it ends there."""
        if message.type != _TRACE:
            return None
        parts = parse(message.body, _FAMILY_HEADER)
        chain = parts.get(_CHAIN, b"").rstrip(b"\0").decode(errors="replace")
        table = parts.get(_TABLE, b"").rstrip(b"\0").decode(errors="replace")
        number = parts.get(_ID, b"")
        header, device, mark = self._ways.pop(number, (b"", b"", 0))
        if parts.get(_NETWORK):
            header = parts[_NETWORK] + parts.get(_TRANSPORT, b"")
        device = parts.get(_IN) or device
        if table == TABLE and chain.startswith(_SERVICE) and chain[len(_SERVICE) :].isdigit():
            mark = int(chain[len(_SERVICE) :])
        if _dropped(parts):
            return _packet(header, device, mark, _reason(table, chain, policy=_kind(parts) == _TYPE_POLICY))
        if len(self._ways) >= _KNOWN:
            del self._ways[next(iter(self._ways))]
        self._ways[number] = header, device, mark
        return None


def _kind(parts: dict[int, bytes]) -> int:
    return int.from_bytes(parts.get(_TYPE, b""), "big")


def _dropped(parts: dict[int, bytes]) -> bool:
    if _kind(parts) == _TYPE_POLICY:
        return int.from_bytes(parts.get(_POLICY, b"\1"), "big") == _DROP
    verdict = parse(parts.get(_VERDICT, b""))
    return int.from_bytes(verdict.get(_CODE, b"\xff"), "big", signed=True) == _DROP


def _reason(table: str, chain: str, *, policy: bool) -> str:
    if table == TABLE and chain in _WORDS:
        return _WORDS[chain]
    if table == TABLE and chain.startswith(_SERVICE):
        return "a limit of the virtual service, or no server"
    what = "the policy" if policy else "a rule"
    return f"{what} of chain {chain} in nftables table {table}"


def _packet(header: bytes, device: bytes, mark: int, reason: str) -> Packet:
    """The trace holds headers only."""
    index = int.from_bytes(device, "big")
    try:
        name = socket.if_indextoname(index)
    except (OSError, OverflowError):
        name = ""
    length = int.from_bytes(header[2:4], "big") or len(header)
    if header[:1] and header[0] >> 4 == 6:
        length = 40 + int.from_bytes(header[4:6], "big")
    return Packet(time.time_ns(), "drop", "original", mark, name, length, header, b"", reason)

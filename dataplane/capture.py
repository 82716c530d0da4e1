"""A running tap in a namespace: NFLOG rules in a table of their own, the ring of the interfaces, the trace of drops.

A capture has one number: of its table ``avish_cap_<n>`` and, counted from GROUP_BASE, of its NFLOG group. The kernel
gives a group to one living socket at a time, so a table whose group is free belongs to nobody.
"""

from __future__ import annotations

import errno
import logging
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

from dataplane import bpf, nftread, nftrun
from dataplane.caprules import ruleset
from dataplane.errors import RefusedError
from dataplane.netlink import Netlink, NetlinkError, attribute, netfilter_header, netfilter_type
from dataplane.nflog import SUBSYSTEM, LogReader
from dataplane.nftrace import TraceReader
from dataplane.ring import RETIRE_MS, Ring
from dataplane.taps import Batch, CaptureSpec, Packet

_LOG = logging.getLogger(__name__)
GROUP_BASE = 20_000
GROUP_COUNT = 1000
TABLE_PREFIX = "avish_cap_"
RECEIVE_BUFFER = 64 * 2**20
IDLE_SECONDS = 1.0
_BATCH = 4096
"""Packets of a log that are handed on at once."""

_KERNEL_BUFFER = 131_072
_KERNEL_DELAY = 10  # hundredths of a second
_KERNEL_BATCH = 64

_CONFIG = netfilter_type(SUBSYSTEM, 1)
_COMMAND, _MODE, _BUFFER, _TIMEOUT, _THRESHOLD, _FLAGS = 1, 2, 3, 4, 5, 6
_BIND, _UNBIND = b"\x01", b"\x02"
_COPY_PACKET = 2
_FLAG_SEQUENCE = 1
_INET, _GET_RULES, _RULE_TABLE = 1, 7, 1


def clean_stale() -> list[str]:
    """Remove the tables of captures whose process has died; gives their names. Raises RefusedError, NetlinkError."""
    found = [(family, re.fullmatch(rf"{TABLE_PREFIX}(\d+)", name)) for family, name in nftread.tables()]
    removed = []
    for family, number in [(family, int(match[1])) for family, match in found if match]:
        owner = _bound(GROUP_BASE + number)
        if owner is None:
            continue
        with owner:
            nftrun.load(f"delete table {family} {TABLE_PREFIX}{number}")
        removed.append(f"{TABLE_PREFIX}{number}")
    return removed


class KernelCapture:
    """A running tap in the network namespace of the calling thread; see ``dataplane.driver.Capture``.

    One thread iterates; ``close`` may be called from any other and lets the iteration end with what was tapped.
    ``lost`` counts what the kernel dropped. Raises RefusedError when the kernel refuses the tap, and, while it is
    iterated, when others have removed or changed its rules.
    """

    def __init__(self, spec: CaptureSpec) -> None:
        self.lost = 0
        self._rings: list[Ring] = []
        self._log: Log | None = None
        self._trace: TraceReader | None = None
        self._lock = threading.RLock()
        self._waker, self._woken = socket.socketpair()
        self._closed = self._ended = False
        try:
            self._open(spec)
        except BaseException:
            self._release()
            raise

    @property
    def table(self) -> str:
        """The name of the tap's nftables table; "" when it needs none."""
        return self._log.table if self._log else ""

    def __iter__(self) -> Iterator[Batch | None]:
        poll = select.poll()
        sources = [*self._rings, self._log, self._trace, self._woken]
        for source in sources:
            if source is not None:
                poll.register(source.fileno(), select.POLLIN)
        try:
            last, looked = False, time.monotonic()
            while not last:
                poll.poll(IDLE_SECONDS * 1000)
                last = self._ended  # asked before what is waiting is fetched, so nothing that was tapped is missed
                if last and self._rings:
                    select.poll().poll(3 * RETIRE_MS)  # until the kernel has handed over the block that is not full
                found = False
                for batch in self._fetch(last=last):
                    found = True
                    yield batch
                if time.monotonic() >= looked + IDLE_SECONDS:
                    looked = time.monotonic()
                    self._look()
                if not found:
                    yield None
        finally:
            self._release()

    def close(self) -> None:
        """Remove the rules, then let the iteration end; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self._log is not None:
                    self._log.end()
            finally:
                for ring in self._rings:
                    ring.stop()
                self._ended = True
                self._waker.send(b"x")

    def _open(self, spec: CaptureSpec) -> None:
        """Sources first, rules last: what they log is read from the first packet on."""
        directions = tuple(kind for kind in spec.kinds if kind in ("rx", "tx"))
        if directions:
            text, whole = bpf.expression(spec.matches), spec.snaplen
            self._rings.append(Ring(text, snaplen=whole, directions=directions, interface=spec.interface, whole=True))
        if "ipc" in spec.kinds:
            self._rings.append(Ring(bpf.IPC, snaplen=spec.snaplen, directions=(), interface="", whole=False))
        if "drop" in spec.kinds:
            self._trace = TraceReader()
        if ruleset(spec, "", 0):
            self._log = Log(spec)

    def _look(self) -> None:
        """Rules that others took away log nothing: a tap that only waits would look like one without traffic."""
        with self._lock:
            if self._log is not None and not self._closed and not self._log.intact():
                self.close()
                raise RefusedError(f"its rules (nftables table inet {self.table}) were removed or changed by others")

    def _fetch(self, *, last: bool) -> Iterator[Batch]:
        for ring in self._rings:
            yield from _ring_batches(ring)
        if self._log is not None:
            yield from self._log.batches(last=last)
        if self._trace is not None and (dropped := self._trace.read()):
            yield Batch(dropped)
        self.lost = self._lost()

    def _lost(self) -> int:
        for ring in self._rings:
            ring.count_lost()
        log = self._log.lost if self._log else 0
        return log + sum(ring.lost for ring in self._rings) + (self._trace.lost if self._trace else 0)

    def _release(self) -> None:
        with self._lock:
            for source in (*self._rings, self._log, self._trace, self._waker, self._woken):
                if source is not None:
                    source.close()


def _ring_batches(ring: Ring) -> Iterator[Batch]:
    """What the kernel has handed over, but no more than goes round once: others wait too."""
    for _ in range(32):
        batch = ring.read()
        if batch is None:
            return
        yield batch


class Log:
    """The rules of a tap and the socket that they log to. ``lost``: records that the kernel dropped."""

    def __init__(self, spec: CaptureSpec) -> None:
        self.lost = 0
        self._reader = LogReader()
        self._logged = 0
        self._removed = False
        self._socket, self._number = _free_group()
        try:
            self._configure(spec.snaplen)
            self._socket.set_timeout(0)
            nftrun.load(ruleset(spec, self.table, self._group))
            self._rules = _rule_count(self.table)
            self._generation = -1
        except BaseException:
            self._socket.close()
            raise

    @property
    def table(self) -> str:
        """Name of the nftables table."""
        return f"{TABLE_PREFIX}{self._number}"

    @property
    def _group(self) -> int:
        return GROUP_BASE + self._number

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Free the group."""
        self._socket.close()

    def batches(self, *, last: bool) -> Iterator[Batch]:
        """What is waiting in the socket."""
        packets: list[Packet] = []
        while True:
            try:
                data = self._socket.receive_bytes()
            except BlockingIOError:
                break
            packets += self._reader.packets(data, time.time_ns())
            if len(packets) >= _BATCH:
                yield Batch(packets)
                packets = []
        packets += self._reader.late(time.time_ns() * (2 if last else 1))
        self.lost += self._reader.take_gap()
        if last and self._removed:
            self.lost = max(self.lost, self._logged - self._reader.received)  # the last ones leave no gap
        if packets:
            yield Batch(packets)

    def intact(self) -> bool:
        """Whether the rules are in place; what cannot be read for the moment counts as being there."""
        try:
            generation = nftread.generation()
            if generation == self._generation:
                return True
            there = _rule_count(self.table) == self._rules
        except OSError as error:
            _LOG.warning("the rules of capture %s cannot be read: %s", self.table, error)
            return True
        self._generation = generation
        return there

    def end(self) -> None:
        """Take the rules away, and make the kernel send what it has gathered."""
        try:
            self._remove_table()
        finally:
            self._socket.send(_CONFIG, 0, _setting(self._group, _COMMAND, _UNBIND))

    def _remove_table(self) -> None:
        """Also when its counters cannot be read, or others flushed it."""
        try:
            self._logged = _counted(self.table)
            self._removed = True
        finally:
            nftrun.load(f"add table inet {self.table}\ndelete table inet {self.table}")

    def _configure(self, snaplen: int) -> None:
        settings = {
            _MODE: struct.pack("!IBx", snaplen, _COPY_PACKET),  # snaplen 0: whole packets
            _BUFFER: struct.pack("!I", _KERNEL_BUFFER),
            _TIMEOUT: struct.pack("!I", _KERNEL_DELAY),
            _THRESHOLD: struct.pack("!I", _KERNEL_BATCH),
            _FLAGS: struct.pack("!H", _FLAG_SEQUENCE),
        }
        for kind, value in settings.items():
            try:
                self._socket.request(_CONFIG, _setting(self._group, kind, value))
            except NetlinkError as error:
                raise RefusedError(f"the kernel refused to set up a packet log: {error.strerror}") from error


def _setting(group: int, kind: int, value: bytes) -> bytes:
    return netfilter_header(socket.AF_UNSPEC, group) + attribute(kind, value)


def _rule_count(table: str) -> int:
    """How many rules a table of ours has; 0 when it is gone. Raises NetlinkError."""
    return len(nftread.dump(_GET_RULES, netfilter_header(_INET) + attribute(_RULE_TABLE, table.encode() + b"\0")))


def _bound(group: int) -> Netlink | None:
    """A socket that owns an NFLOG group; None when another one does. An overrun shows in the sequence numbers only."""
    log = Netlink(receive_buffer=RECEIVE_BUFFER, drop_silently=True)
    try:
        log.request(_CONFIG, _setting(group, _COMMAND, _BIND))
    except NetlinkError as error:
        log.close()
        if error.errno in (errno.EPERM, errno.EBUSY):  # the first is what the kernel says of another's group
            return None
        raise RefusedError(f"the kernel refused a packet log: {error.strerror}") from error
    return log


def _free_group() -> tuple[Netlink, int]:
    for number in range(1, GROUP_COUNT + 1):
        log = _bound(GROUP_BASE + number)
        if log is not None:
            return log, number
    raise RefusedError(f"all {GROUP_COUNT} packet logs of the network namespace are taken")


def _counted(table: str) -> int:
    """How many records the rules of a table have logged; 0 when it is gone. Raises RefusedError."""
    return sum(map(int, re.findall(r"counter packets (\d+)", nftrun.counted_listing(table) or "")))

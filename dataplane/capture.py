"""Taps on translated flows: NFLOG rules in a table of their own, read from a raw netlink socket.

A packet is logged twice: "before", between connection tracking and destination NAT, and "after", behind source NAT. The
first packet of a flow is not yet known to be translated when it is seen before; such packets are held back until
their "after" comes. The conntrack mark travels in the packet mark, the place and the direction in the log prefix.
A capture has one number: of its table ``avish_cap_<n>`` and, counted from GROUP_BASE, of its NFLOG group. The kernel
gives a group to one living socket at a time, so a table whose group is free belongs to nobody.
"""

from __future__ import annotations

import errno
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

from dataplane import nftrun
from dataplane.errors import RefusedError
from dataplane.model import CaptureSpec, Packet
from dataplane.netlink import Netlink, NetlinkError, attribute, netfilter_header, netfilter_type
from dataplane.nflog import SUBSYSTEM, LogReader

GROUP_BASE = 20_000
GROUP_COUNT = 1000
TABLE_PREFIX = "avish_cap_"
RECEIVE_BUFFER = 32 * 2**20
IDLE_SECONDS = 1.0

_BEFORE_PRIORITY = -150  # conntrack is at -200, destination NAT at -100
_AFTER_PRIORITY = 150  # source NAT is at 100
_KERNEL_BUFFER = 65_536
_KERNEL_DELAY = 10  # hundredths of a second
_KERNEL_BATCH = 64

_CONFIG = netfilter_type(SUBSYSTEM, 1)
_COMMAND, _MODE, _BUFFER, _TIMEOUT, _BATCH, _FLAGS = 1, 2, 3, 4, 5, 6
_BIND, _UNBIND = b"\x01", b"\x02"
_COPY_PACKET = 2
_FLAG_SEQUENCE = 1


def ruleset(table: str, group: int) -> str:
    """The nft text that puts the tap in place, instead of what a dead process may have left there.

    The packet mark is lent to the log statement and is 0 again behind it.
    """

    def log(prefix: str) -> str:
        return f'counter log prefix "{prefix}" group {group} queue-threshold {_KERNEL_BATCH}'

    def logged(conditions: str, prefix: str) -> str:
        return f"ct mark != 0 ct status snat,dnat {conditions} meta mark set ct mark {log(prefix)} meta mark set 0"

    return f"""
add table ip {table}
delete table ip {table}
table ip {table} {{
  chain before {{
    type filter hook prerouting priority {_BEFORE_PRIORITY}; policy accept;
    {logged("ct direction original", "before-original")}
    {logged("ct direction reply", "before-reply")}
    ct status & (confirmed | snat | dnat) == 0 {log("before-first")}
  }}
  chain after {{
    type filter hook postrouting priority {_AFTER_PRIORITY}; policy accept;
    {logged("ct status & confirmed == 0", "after-first")}
    {logged("ct status & confirmed != 0 ct direction original", "after-original")}
    {logged("ct direction reply", "after-reply")}
  }}
}}
"""


def clean_stale() -> list[str]:
    """Remove the tables of captures whose process has died; gives their names. Raises RefusedError."""
    found = [re.fullmatch(rf"{TABLE_PREFIX}(\d+)", name) for name in nftrun.tables()]
    removed = []
    for number in [int(match[1]) for match in found if match]:
        owner = _bound(GROUP_BASE + number)
        if owner is None:
            continue
        with owner:
            nftrun.load(f"delete table ip {TABLE_PREFIX}{number}")
        removed.append(f"{TABLE_PREFIX}{number}")
    return removed


class KernelCapture:
    """A running tap in the network namespace of the calling thread; see ``dataplane.driver.Capture``.

    One thread iterates; ``close`` may be called from any other and lets the iteration end with what was tapped.
    ``lost`` counts log records the kernel dropped. Raises RefusedError when the kernel refuses the tap.
    """

    def __init__(self, spec: CaptureSpec) -> None:
        self.lost = 0
        self._reader = LogReader()
        self._lock = threading.RLock()
        self._waker, self._woken = socket.socketpair()
        self._log, self._number = _free_group()
        self._closed = False
        self._flushed = False
        self._logged = 0
        try:
            self._configure(spec.snaplen)
            self._log.set_timeout(0)
            nftrun.load(ruleset(self.table, self._group))
        except BaseException:
            self._release()
            raise

    @property
    def table(self) -> str:
        """The name of the tap's nftables table."""
        return f"{TABLE_PREFIX}{self._number}"

    @property
    def _group(self) -> int:
        return GROUP_BASE + self._number

    def __iter__(self) -> Iterator[Packet | None]:
        poll = select.poll()
        poll.register(self._log, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        try:
            last = False
            while not last:
                idle = not poll.poll(IDLE_SECONDS * 1000)
                last = self._flushed  # asked before what is waiting is fetched, so nothing that was tapped is missed
                yield from self._fetch()
                if idle:
                    yield None
            self.lost = max(self.lost, self._logged - self._reader.received)  # the last ones leave no gap
        finally:
            self._release()

    def close(self) -> None:
        """Remove the rules, then let the iteration end; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._remove_table()
            finally:
                self._end_iteration()

    def _remove_table(self) -> None:
        """Also when its counters cannot be read, or others flushed it."""
        try:
            self._logged = _counted(self.table)
        finally:
            nftrun.load(f"add table ip {self.table}\ndelete table ip {self.table}")

    def _end_iteration(self) -> None:
        if self._log.fileno() >= 0:
            unbind = _setting(self._group, _COMMAND, _UNBIND)
            self._log.send(_CONFIG, 0, unbind)  # makes the kernel send what it has gathered
            self._flushed = True
            self._waker.send(b"x")

    def _fetch(self) -> Iterator[Packet | None]:
        """What is waiting in the socket; None for a batch in which no packet became certain."""
        while True:
            try:
                messages = self._log.receive()
            except BlockingIOError:
                return
            packets = self._reader.packets(messages, time.time())
            self.lost += self._reader.take_gap()
            if packets:
                yield from packets
            else:
                yield None

    def _configure(self, snaplen: int) -> None:
        settings = {
            _MODE: struct.pack("!IBx", snaplen, _COPY_PACKET),  # snaplen 0: whole packets
            _BUFFER: struct.pack("!I", _KERNEL_BUFFER),
            _TIMEOUT: struct.pack("!I", _KERNEL_DELAY),
            _BATCH: struct.pack("!I", _KERNEL_BATCH),
            _FLAGS: struct.pack("!H", _FLAG_SEQUENCE),
        }
        for kind, value in settings.items():
            try:
                self._log.request(_CONFIG, _setting(self._group, kind, value))
            except NetlinkError as error:
                raise RefusedError(f"the kernel refused to set up a packet log: {error.strerror}") from error

    def _release(self) -> None:
        with self._lock:
            for end in (self._log, self._waker, self._woken):
                end.close()


def _setting(group: int, kind: int, value: bytes) -> bytes:
    return netfilter_header(socket.AF_UNSPEC, group) + attribute(kind, value)


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

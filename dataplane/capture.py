"""Taps on translated flows: NFLOG rules in a table of their own, read from a raw netlink socket.

A packet is logged twice: "before", after connection tracking and before destination NAT, and "after", behind source NAT.
The first packet of a flow is not yet known to be translated when it is seen before; such packets are held back until
their "after" comes. The conntrack mark travels in the packet mark, the place and the direction in the log prefix.
A capture has one number: of its table ``avish_cap_<n>`` and, counted from GROUP_BASE, of its NFLOG group. The kernel
gives a group to one living socket at a time, so a table whose group is free belongs to nobody.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator

from dataplane.errors import RefusedError
from dataplane.model import CaptureSpec, Packet
from dataplane.nflog import LogReader

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
_DATAGRAM_MAX = 262_144
_NFT_SECONDS = 30

_SO_RCVBUFFORCE = 33
_NETLINK_NETFILTER = 12
_NLMSG_ERROR = 2
_REQUEST_ACK = 0x5
_LOG_CONFIG = 4 << 8 | 1
_CFG_COMMAND, _CFG_MODE, _CFG_BUFFER, _CFG_TIMEOUT, _CFG_BATCH, _CFG_FLAGS = 1, 2, 3, 4, 5, 6
_BIND, _UNBIND = 1, 2
_COPY_PACKET = 2
_FLAG_SEQUENCE = 1

_NLMSG = struct.Struct("=IHHII")
_NFGEN = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")
_U32 = struct.Struct(">I")


def ruleset(table: str, group: int) -> str:
    """The nft text that puts the tap in place, instead of what a dead process may have left there.

    The packet mark is lent to the log statement and is 0 again behind it.
    """

    def log(prefix: str) -> str:
        return f'log prefix "{prefix}" group {group} queue-threshold {_KERNEL_BATCH}'

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
    numbers = re.findall(rf"^table ip {TABLE_PREFIX}(\d+)$", _nft("list tables ip"), re.MULTILINE)
    removed = []
    for number in map(int, numbers):
        owner = _group_socket(GROUP_BASE + number)
        if owner is None:
            continue
        with owner:
            _nft(f"delete table ip {TABLE_PREFIX}{number}")
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
        self._socket, self._number = _free_group()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.RLock()
        self._closed = False
        self._flushed = False
        self._iterated = False
        try:
            self._configure(spec.snaplen)
            self._socket.setblocking(False)
            _nft(ruleset(self.table, self._group))
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
        self._iterated = True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            last = False
            while not last:
                idle = not poll.poll(IDLE_SECONDS * 1000)
                last = self._flushed  # asked before what is waiting is fetched, so nothing that was tapped is missed
                yield from self._fetch()
                if idle:
                    self.lost += self._reader.overrun_unseen()
                    yield None
            self.lost += self._reader.overrun_unseen()
        finally:
            self._release()

    def close(self) -> None:
        """Remove the rules, then let the iteration end; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                _nft(f"add table ip {self.table}\ndelete table ip {self.table}")  # also when others flushed it
            finally:
                self._end_iteration()

    def _end_iteration(self) -> None:
        if self._socket.fileno() >= 0:
            _send(self._socket, self._group, _command(_UNBIND))  # makes the kernel send what it has gathered
            self._flushed = True
            os.eventfd_write(self._wake, 1)
        if not self._iterated:
            self._release()

    def _fetch(self) -> Iterator[Packet | None]:
        """What is waiting in the socket; None for a batch in which no packet became certain."""
        while True:
            try:
                datagram = self._socket.recv(_DATAGRAM_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._reader.overrun = True
                continue
            packets = self._reader.packets(datagram, time.time())
            self.lost += self._reader.take_gap()
            if packets:
                yield from packets
            else:
                yield None

    def _configure(self, snaplen: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        settings = [
            _attribute(_CFG_MODE, struct.pack(">IBx", snaplen, _COPY_PACKET)),  # 0: whole packets
            _attribute(_CFG_BUFFER, _U32.pack(_KERNEL_BUFFER)),
            _attribute(_CFG_TIMEOUT, _U32.pack(_KERNEL_DELAY)),
            _attribute(_CFG_BATCH, _U32.pack(_KERNEL_BATCH)),
            _attribute(_CFG_FLAGS, struct.pack(">H", _FLAG_SEQUENCE)),
        ]
        for setting in settings:
            refused = _request(self._socket, self._group, setting)
            if refused:
                raise RefusedError(f"the kernel refused to set up a packet log: {os.strerror(refused)}")

    def _release(self) -> None:
        with self._lock:
            if self._socket.fileno() >= 0:
                self._socket.close()
                os.close(self._wake)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _command(command: int) -> bytes:
    return _attribute(_CFG_COMMAND, bytes([command]))


def _send(log: socket.socket, group: int, setting: bytes) -> None:
    body = _NFGEN.pack(socket.AF_UNSPEC, 0, group) + setting
    log.send(_NLMSG.pack(_NLMSG.size + len(body), _LOG_CONFIG, _REQUEST_ACK, 0, 0) + body)


def _request(log: socket.socket, group: int, setting: bytes) -> int:
    """Send a setting of ``group`` and wait for the answer: 0 or an errno. Packets that come first are passed over."""
    _send(log, group, setting)
    while True:
        answer = log.recv(_DATAGRAM_MAX)
        if _NLMSG.unpack_from(answer)[1] == _NLMSG_ERROR:
            return -int(struct.unpack_from("=i", answer, _NLMSG.size)[0])


def _group_socket(group: int) -> socket.socket | None:
    """A socket that owns an NFLOG group; None when another one does."""
    log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    log.settimeout(_NFT_SECONDS)
    refused = _request(log, group, _command(_BIND))
    if not refused:
        return log
    log.close()
    if refused in (errno.EPERM, errno.EBUSY):
        return None
    raise RefusedError(f"the kernel refused a packet log: {os.strerror(refused)}")


def _free_group() -> tuple[socket.socket, int]:
    for number in range(1, GROUP_COUNT + 1):
        log = _group_socket(GROUP_BASE + number)
        if log is not None:
            return log, number
    raise RefusedError("no packet log can be had: all are taken, or this process lacks CAP_NET_ADMIN")


def _nft(text: str) -> str:
    """Run nft commands as one transaction in this namespace; gives what they print."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=_NFT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"nft: {error}") from error
    if done.returncode:
        raise RefusedError(f"nft: {done.stderr.strip()}")
    return done.stdout

"""Drift: what others change in the kernel is noticed when it happens, confirmed by reading, named, and put right.

Notifications only say where to look. Changes of our own are told apart: tables by the process that committed, addresses
and routes by the socket, and by comparing with what should be there and what is coming.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dataplane import facts, ftpwatch, netlink, nftrun, ratecount, rtnetlink
from dataplane.back import TABLE as BACK
from dataplane.bpf import packed as bpf_packed
from dataplane.errors import DataplaneError
from dataplane.failover_rules import TABLE as GATE
from dataplane.model import Row, SeState
from dataplane.netlink import Message, Netlink
from dataplane.nft import TABLE

_LOG = logging.getLogger(__name__)
SETTLE_SECONDS = 0.2
"""After a notification more of them follow; what is read before all have come would be half the story."""
RETRY_SECONDS = 1.0
"""Between two attempts to put right what the kernel refuses (a route whose link is down)."""
KEPT = 100
_TABLES_GROUP = 7
_NEW_GENERATION = netlink.netfilter_type(10, 15)
_GENERATION_PID = 2
_DESTINATION = 1
_SAME_ORDER = int.from_bytes(_NEW_GENERATION.to_bytes(2, sys.byteorder), "big")
_GENERATIONS = [(0x28, 0, 0, 4), (0x15, 0, 1, _SAME_ORDER), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]
"""A BPF program: of netlink messages, what announces a commit of tables, which is a datagram of its own."""
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_TABLES = tuple(map(str.encode, (TABLE, GATE, BACK, ratecount.TABLE, ftpwatch.TABLE, facts.ARP_TABLE)))


class Repairer(Protocol):
    """What puts right."""

    @property
    def held(self) -> SeState:
        """What configuration asks for."""

    def keeps(self, ip: str) -> bool:
        """Whether an address is to be there, once what is under way is done."""

    def may_have(self, ip: str) -> bool:
        """Whether an address is to be there, or comes or goes by what is under way."""

    def repair(self, *, tables: bool) -> list[str]:
        """Put right what differs, in ``tables`` too; what differed, in words. Raises RefusedError, UnreachableError."""


class Watch:
    """Watches the namespace that its threads are in."""

    def __init__(self, driver: Repairer, gate: Callable[[], list[str]], clock: Callable[[], float] = time.time) -> None:
        """``gate`` puts the table in front of a pair right, and says what was wrong."""
        self._driver = driver
        self._gate = gate
        self._clock = clock
        self._found: deque[Row] = deque(maxlen=KEPT)
        self._number = 0
        self._wake = threading.Condition()
        self._links = self._tables = False
        self._last: list[str] = []

    def start(self) -> None:
        """Begin to watch. Raises OSError."""
        routes = rtnetlink.listener(timeout=None)
        commits = Netlink(timeout=0)
        commits.attach(bpf_packed(_GENERATIONS))
        tables = Netlink(timeout=None)
        for kernel in (commits, tables):  # in this order: what is told of by the second the first has heard
            kernel.subscribe(_TABLES_GROUP)
        for name, target in (
            ("links", lambda: self._hear_links(routes)),
            ("tables", lambda: self._hear_tables(tables, commits)),
            ("repair", self._repair),
        ):
            threading.Thread(target=target, name=f"watch-{name}", daemon=True).start()

    def repairs(self) -> list[Row]:
        """See ``dataplane.driver.Driver.repairs``."""
        return list(self._found)

    # --- hearing

    def _hear_links(self, kernel: Netlink) -> None:
        while True:
            messages = _received(kernel)
            if messages is None or any(self._matters(message) for message in messages):
                self._call(links=True)

    def _matters(self, message: Message) -> bool:
        """Whether what is told differs from what should be there; a link that changed may have taken routes along."""
        if message.port in rtnetlink.ports:
            return False
        held = self._driver.held
        if message.type == rtnetlink.NEW_LINK:
            return bool(held.routes or held.addresses)
        if message.type == rtnetlink.NEW_ADDRESS:
            return not self._driver.may_have(rtnetlink.address_of(message.body))
        if message.type == rtnetlink.DELETE_ADDRESS:
            return self._driver.keeps(rtnetlink.address_of(message.body))
        return message.type in (rtnetlink.NEW_ROUTE, rtnetlink.DELETE_ROUTE) and _matters_route(message, held)

    def _hear_tables(self, kernel: Netlink, commits: Netlink) -> None:
        """The messages of a change end with one that names the process it came from.

        A large change has more of them than there is room for: then ``commits``, which hears of nothing else, tells
        whether others have changed anything.
        """
        ours = others = False
        while True:
            messages = _received(kernel)
            if messages is None:
                if _others_committed(commits) or others:
                    self._call(tables=True)
                ours = others = False
            for message in messages or ():
                if message.type == _NEW_GENERATION:
                    if ours and not _is_own(netlink.parse(message.body, 4).get(_GENERATION_PID, b"")):
                        self._call(tables=True)
                    ours, others = False, _others_committed(commits) or others
                elif not ours and message.type >> 8 == 10:
                    ours = netlink.parse(message.body, 4).get(1, b"").rstrip(b"\0") in _TABLES

    def _call(self, *, links: bool = False, tables: bool = False) -> None:
        with self._wake:
            self._links, self._tables = self._links or links, self._tables or tables
            self._wake.notify_all()

    # --- putting right

    def _repair(self) -> None:
        again: float | None = None
        owed = False
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._links or self._tables, again)
            time.sleep(SETTLE_SECONDS)
            with self._wake:
                tables, self._links, self._tables = owed or self._tables, False, False
            done = self._look(tables=tables)
            again, owed = (None, False) if done else (RETRY_SECONDS, tables)

    def _look(self, *, tables: bool) -> bool:
        """Whether nothing is left to be put right."""
        try:
            if tables:
                self._note(self._gate())
            self._note(self._driver.repair(tables=tables))
        except Exception as error:  # noqa: BLE001  (the thread has to live on: nobody else puts anything right)
            if str(error) not in self._last:
                known = isinstance(error, DataplaneError)
                _LOG.warning("what others changed cannot be put right yet: %s", error, exc_info=not known)
            self._last = [str(error)]
            return False
        self._last = []
        return True

    def _note(self, found: list[str]) -> None:
        for text in found:
            self._number += 1
            self._found.append({"number": self._number, "time": self._clock(), "text": text})
            _LOG.warning("put right: %s", text)


def _received(kernel: Netlink) -> list[Message] | None:
    """None when some were lost: there were too many at once."""
    try:
        return list(kernel.receive())
    except (OSError, struct.error):
        return None


def _matters_route(message: Message, held: SeState) -> bool:
    """What the kernel keeps by itself for addresses is in another table."""
    if message.body[4] == rtnetlink.LOCAL_TABLE:
        return False
    destination = netlink.parse(message.body, 12).get(_DESTINATION)
    prefix = f"{_text(message.body[0], destination)}/{message.body[1]}"
    return prefix in held.routes or (message.type == rtnetlink.NEW_ROUTE and message.body[5] == rtnetlink.OWN)


def _others_committed(commits: Netlink) -> bool:
    """Whether others have, since the last question; also when that cannot be told."""
    others = False
    while True:
        try:
            messages = commits.receive()
        except BlockingIOError:
            return others
        except (OSError, struct.error):
            return True
        others = others or any(not _is_own(netlink.parse(one.body, 4).get(_GENERATION_PID, b"")) for one in messages)


def _is_own(number: bytes) -> bool:
    """Whether a process is this one (any of its threads), or an nft that it has started."""
    pid = int.from_bytes(number, "big")
    return pid in nftrun.started or pid == os.getpid() or Path(f"/proc/self/task/{pid}").exists()


def _text(family: int, address: bytes | None) -> str:
    """An address as text; the network of everything for none."""
    if family not in _FAMILIES:
        return ""
    if address is None:
        return "0.0.0.0" if family == socket.AF_INET else "::"  # noqa: S104  (a route's destination)
    return socket.inet_ntop(family, address)

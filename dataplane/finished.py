"""Connections that have ended: their sums by mark and protocol, and the last of them one by one.

The kernel forgets a connection with its counters when it ends; what it says at that moment is added up here, from the
agent's start on. When more end at once than can be read, the kernel drops the news: ``lost`` counts how often.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from dataplane import conntrack, netlink
from dataplane.errors import DataplaneError
from dataplane.flowlayout import Layouts
from dataplane.model import NAT_MARK, Row

_LOG = logging.getLogger(__name__)
_DESTROYED = 3  # NFNLGRP_CONNTRACK_DESTROY
_KEPT = 5000
MOST_PORTS = 4096
_SUMS = ("packets", "bytes", "reply_packets", "reply_bytes")
_BUFFER = 1 << 25
Key = tuple[int, int, int, str, int, bool]
_ADDRESSES_SECONDS = 5.0
"""So long the addresses of the engine are taken to be those that were read."""


class Ledger:
    """Listens in a thread of its own from ``start`` until ``stop``. ``addresses`` reads those that the engine has."""

    def __init__(self, addresses: Callable[[], Iterable[str]] = tuple) -> None:
        self.since = time.time()
        self.lost = 0
        self._totals: dict[Key, Row] = {}
        self._ports: Counter[int] = Counter()
        self._last: deque[Row] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._addresses = addresses
        self._own: frozenset[str] = frozenset()
        self._looked = float("-inf")
        self.refused: Callable[[Row], None] = lambda _row: None
        """Called, from its thread, for every TCP connection that a server has refused."""

    def start(self) -> None:
        """Begin to listen. Raises OSError."""
        kernel = netlink.Netlink(timeout=0.5, receive_buffer=_BUFFER)
        try:
            kernel.subscribe(_DESTROYED)
        except OSError:
            kernel.close()
            raise
        self._thread = threading.Thread(target=self._listen, args=(kernel,), daemon=True, name="finished")
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def sums(self) -> Row:
        """Keys: since (seconds since the epoch), lost, totals.

        Of each total: mark, protocol, dport, reply_src, reply_sport (0 and "" where there is no service), flows,
        packets, bytes, reply_packets, reply_bytes, states {state: flows that ended in it}, own (connections without
        a mark that the engine itself opened or took).
        """
        with self._lock:
            totals = [{**total, "states": dict(total["states"])} for total in self._totals.values()]
        return {"since": self.since, "lost": self.lost, "totals": totals}

    def last(self) -> list[Row]:
        """The connections that ended last, the newest at the end, with "ended" in seconds since the epoch."""
        with self._lock:
            return list(self._last)

    def _listen(self, kernel: netlink.Netlink) -> None:
        layouts, timeouts = Layouts(), conntrack.Timeouts()
        with kernel:
            while not self._ended.is_set():
                try:
                    found = kernel.receive()
                except netlink.NetlinkTimeoutError:
                    continue
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        _LOG.warning("ended connections are no longer counted: %s", error)
                        return
                    self.lost += 1
                    continue
                now = time.time()
                self._add([conntrack.row(layouts.read(one.body), now, timeouts) for one in found], now)

    def _add(self, rows: list[Row], now: float) -> None:
        with self._lock:
            for row in rows:
                key = self._known(self._key(row, now))
                total = self._totals.get(key)
                if total is None:
                    total = self._totals[key] = _nothing(key)
                total["flows"] += 1
                for name in _SUMS:
                    total[name] += row[name]
                state = conntrack.ending(row)
                total["states"][state] = total["states"].get(state, 0) + 1
                row["ended"] = now
                if state == "CLOSE" and row["reply_packets"] == 1 and not row["status"] & conntrack.SEEN_REPLY:
                    self.refused(row)
                self._last.append(row)

    def _known(self, key: Key) -> Key:
        """Beyond MOST_PORTS of a mark (a service on all ports) further ports are summed up as port 0."""
        if key in self._totals:
            return key
        mark, protocol, _, server, _, _ = key
        if self._ports[mark] >= MOST_PORTS:
            return mark, protocol, 0, server, 0, False
        self._ports[mark] += 1
        return key

    def _key(self, row: Row, now: float) -> Key:
        """What is told apart: of services the port that clients ask for, and the server; without a mark the own."""
        if row["mark"] == 0:
            return 0, row["protocol"], 0, "", 0, self._is_own(row, now)
        if row["mark"] & NAT_MARK:
            return row["mark"], row["protocol"], 0, "", 0, False
        return row["mark"], row["protocol"], row["dport"], row["reply_src"], row["reply_sport"], False

    def _is_own(self, row: Row, now: float) -> bool:
        if not self._looked <= now < self._looked + _ADDRESSES_SECONDS:
            self._looked = now
            try:
                self._own = frozenset(self._addresses())
            except (DataplaneError, OSError) as error:
                _LOG.warning("ended connections are told apart by the addresses of before: %s", error)
        return any(end in self._own or end.startswith("127.") for end in (row["src"], row["dst"]))


def _nothing(key: Key) -> Row:
    counted: dict[str, Any] = dict.fromkeys(("flows", *_SUMS), 0)
    names = ("mark", "protocol", "dport", "reply_src", "reply_sport", "own")
    return {**dict(zip(names, key, strict=True)), **counted, "states": {}}

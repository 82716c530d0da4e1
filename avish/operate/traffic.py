"""What services and servers have carried: open connections as the kernel has them, ended ones as the agent saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from avish.config.config import Body
from avish.operate.counts import Count
from avish.operate.flows import ALL_BITS, ENDINGS, TCP_STATES, phase
from avish.operate.view import View
from dataplane.model import FlowMatch, Row

OPEN, OVER = ("setup", "established", "half_closed"), ("closed", "reset")


@dataclass
class Traffic:
    """Sums over connections. From the client: ``packets``, ``bytes``; to it: ``reply_packets``, ``reply_bytes``."""

    open: int = 0
    ended: int = 0
    packets: int = 0
    bytes: int = 0
    reply_packets: int = 0
    reply_bytes: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    """Of the open ones."""
    endings: dict[str, int] = field(default_factory=dict)
    """In which phase the others ended."""

    @property
    def total(self) -> int:
        """All connections."""
        return self.open + self.ended

    def add_open(self, row: Row) -> None:
        """One connection of the kernel's table; one that both sides have closed only waits there to be forgotten."""
        name = phase(row)
        over = name in OVER
        self.open += not over
        self.ended += over
        counted = self.endings if over else self.phases
        counted[name] = counted.get(name, 0) + 1
        self._add(row)

    def add_ended(self, total: Row) -> None:
        """A sum of the agent's."""
        self.ended += total["flows"]
        for state, number in total["states"].items():
            name = ENDINGS.get(state) or TCP_STATES.get(state, "closed")
            self.endings[name] = self.endings.get(name, 0) + number
        self._add(total)

    def _add(self, row: Row) -> None:
        self.packets += row["packets"]
        self.bytes += row["bytes"]
        self.reply_packets += row["reply_packets"]
        self.reply_bytes += row["reply_bytes"]

    def __add__(self, other: Traffic) -> Traffic:
        result = Traffic()
        for one in (self, other):
            for name in ("open", "ended", "packets", "bytes", "reply_packets", "reply_bytes"):
                setattr(result, name, getattr(result, name) + getattr(one, name))
            for mine, theirs in ((result.phases, one.phases), (result.endings, one.endings)):
                for name, number in theirs.items():
                    mine[name] = mine.get(name, 0) + number
        return result


def of_service(view: View, member: Body, mark: int, match: FlowMatch) -> Traffic:
    """The traffic of a service on one engine; ``match``: protocol and port of the clients, and server."""
    driver = view.engine(member).driver
    result = Traffic()
    for row in driver.flows(mark, ALL_BITS, match):
        result.add_open(row)
    for total in driver.facts("finished")["totals"]:
        if total["mark"] == mark and _fits(total, match):
            result.add_ended(total)
    return result


def _fits(total: Row, match: FlowMatch) -> bool:
    return (
        match.protocol in (0, total["protocol"])
        and match.dport[0] <= total["dport"] <= match.dport[1]
        and match.server[0] in ("", total["reply_src"])
        and match.server[1] in (0, total["reply_sport"])
    )


def by_server(view: View, member: Body, marks: Iterable[int]) -> dict[tuple[str, int], Traffic]:
    """The traffic of services on one engine by server address and port."""
    driver, result = view.engine(member).driver, dict[tuple[str, int], Traffic]()
    wanted = set(marks)
    for mark in wanted:
        for row in driver.flows(mark, ALL_BITS):
            result.setdefault((row["reply_src"], row["reply_sport"]), Traffic()).add_open(row)
    for total in driver.facts("finished")["totals"]:
        if total["mark"] in wanted:
            result.setdefault((total["reply_src"], total["reply_sport"]), Traffic()).add_ended(total)
    return result


def l4_stats(found: Traffic, taken: int | None = None) -> dict[str, Any]:
    """As the front end of a virtual service counts; ``taken``: connections by the kernel's own counter."""
    setup = found.phases.get("setup", 0) + found.endings.get("setup", 0)
    return {
        "new_established_conns": Count(found.total - setup),
        "complete_conns": Count(found.total if taken is None else taken),
        "finished_conns": Count(found.ended),
        "open_conns": found.open,
        "rx_pkts": Count(found.packets),
        "rx_bytes": Count(found.bytes),
        "tx_pkts": Count(found.reply_packets),
        "tx_bytes": Count(found.reply_bytes),
        "conn_dropped_before_est": Count(found.endings.get("setup", 0)),
    }


def server_stats(found: Traffic) -> dict[str, Any]:
    """As a server counts: what it gets is what clients send."""
    setup = found.phases.get("setup", 0) + found.endings.get("setup", 0)
    return {
        "syns_sent": Count(found.total),
        "new_established_conns": Count(found.total - setup),
        "complete_conns": Count(found.total),
        "finished_conns": Count(found.ended),
        "open_conns": found.open,
        "rx_pkts": Count(found.reply_packets),
        "rx_bytes": Count(found.reply_bytes),
        "tx_pkts": Count(found.packets),
        "tx_bytes": Count(found.bytes),
        "conn_dropped_before_est": Count(found.endings.get("setup", 0)),
    }


def summed(parts: Iterator[Traffic]) -> Traffic:
    """All of them together."""
    return sum(parts, Traffic())

"""The one way to an engine's kernel. Implementations: local (this namespace), remote (an agent), fake (memory)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from dataplane.diff import Plan
from dataplane.model import EVERY_FLOW, FlowMatch, Interface, Row, SeState
from dataplane.taps import Batch, CaptureSpec


class Capture(Protocol):
    """A running tap. Iterating blocks until packets come and ends when the tap does; None now and then: no packet.

    ``lost`` counts packets the kernel dropped. ``close`` ends the tap and removes its rules.
    """

    lost: int

    def __iter__(self) -> Iterator[Batch | None]: ...
    def close(self) -> None: ...


class Driver(Protocol):
    """Raises UnreachableError when the engine does not answer, RefusedError when its kernel says no."""

    def interfaces(self) -> list[Interface]:
        """The namespace's own interfaces, loopback left out."""

    def sync(self, state: SeState, revision: int) -> list[str]:
        """Make the kernel hold ``state``, touching only what differs; says in words what was changed."""

    def check(self, plan: Plan) -> None:
        """The kernel's own dry run: raises RefusedError, changes nothing."""

    def apply(self, plan: Plan, base: int, revision: int) -> None:
        """Carry out ``plan`` from the state of revision ``base``; whole or not at all.

        Raises UnreachableError("out of sync ...") when the agent holds another revision than ``base``.
        """

    def drift(self) -> list[str]:
        """How the kernel differs from what was last applied, in words; empty when it does not."""

    def flows(self, mark: int, mask: int, match: FlowMatch = EVERY_FLOW) -> Iterator[Row]:
        """Connections whose mark & mask == mark (filtered in the kernel, as are the exact values of ``match``).

        Keys: protocol (IP number), src, sport, dst, dport (as opened), reply_src, reply_sport, reply_dst,
        reply_dport (as answered; ICMP ports are 0), status (IPS_* bits), mark, state (TCP state name or ""), timeout
        and age in seconds (age None when the kernel keeps no timestamps), last_used in seconds or None, packets,
        bytes, reply_packets, reply_bytes.
        """

    def counters(self, names: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
        """Named counters: packets, bytes; of those ``names`` that there are, without any of all.

        Named as ``model.service_counter`` (connections) and ``model.nat_counters`` (flows) say.
        """

    def listeners(self) -> list[Row]:
        """What the kernel's service tables hold. Keys: ip, protocol, first, last, service (id)."""

    def routes(self) -> list[Row]:
        """Keys: prefix, gateway or None, interface, source or None, protocol (kernel, static, boot, avish), metric."""

    def neighbours(self) -> list[Row]:
        """Keys: ip, mac or None, interface, state (REACHABLE, STALE ...)."""

    def addresses(self) -> list[Row]:
        """Keys: ip, prefixlen, interface, own (True: put there by us)."""

    def forwarding(self) -> bool:
        """Whether the kernel routes packets that belong to no service."""

    def facts(self, kind: str) -> Any:
        """What else the kernel says at this moment; ``dataplane.facts.READERS`` lists the kinds and their shapes.

        Besides: "finished", "finished_last" (``dataplane.finished.Ledger.sums`` and ``last``), "ftp"
        (``dataplane.ftpwatch.Book.rows``).
        """

    def probe(self, kind: str, address: str, port: int = 0) -> Iterator[str]:
        """Reach for an address from the engine ("ping", "traceroute", "tcp"); lines as they come."""

    def forget_flows(self, mark: int, mask: int) -> int:
        """Forget the connections whose mark & mask == mark; how many there were.

        The next packet of each is taken for the first of a new one; a server that does not know it resets it.
        """

    def forget_neighbours(self) -> int:
        """Forget the entries of ``neighbours`` that the kernel learned; how many there were."""

    def forget_bound(self, mark: int, servers: tuple[str, ...]) -> int:
        """Forget which clients of a service (its mark) are bound to servers (ip); how many there were."""

    def health(self, pool: str) -> list[Row]:
        """The servers of a watched pool, by its key.

        Keys: pool, ip, port, up (None: not tested yet), reason ("" when up), code (of the failure, or ""), since
        (seconds since the epoch), transitions (the last times it changed, oldest first), monitors: a list of monitor
        (key), name, kind, port, up, reason, code, since, transitions, rise and fall (good answers or failures in a
        row, at most 255), checks, failed, failures (by code), recent, average, fastest and slowest (milliseconds of
        good answers).
        """

    def pool_health(self) -> list[Row]:
        """The watched pools.

        Keys: pool, servers (how many), up (how many), since (when the first came or the last went), down: those not
        up, with ip, port, up (None: not tested yet), reason, code, since.
        """

    def eased(self) -> list[Row]:
        """The servers that get fewer connections, or none, because those of clients fail.

        Keys: service (number), ip, port, out (none), reason, since (seconds since the epoch).
        """

    def repairs(self) -> list[Row]:
        """What others changed in the kernel and was put right, the latest last. Keys: number, time, text."""

    def roles(self) -> list[Row]:
        """The pairs this engine is in.

        Keys: pair (number), role ("active", "standby", "fault", "electing"), since, reason, preferred, peer_alive,
        gateways (ip, up), lacks (one of them that only the peer reaches, or ""), mirror (whether connections are
        copied), vmac ("" without one).
        """

    def step_down(self, pair: int) -> None:
        """Hand the addresses of a pair over to the peer. Raises RefusedError when it cannot take them."""

    def drill(self, pair: int) -> Row:
        """On the standby engine: how long nobody answers until it takes over.

        Keys: outage_ms, answers (of the other engine before). Raises RefusedError when it never takes over.
        """

    def crash(self, pair: int) -> None:
        """On the active engine: fall silent without a word, and come back as the standby engine."""

    def capture(self, spec: CaptureSpec) -> Capture:
        """Start a tap."""

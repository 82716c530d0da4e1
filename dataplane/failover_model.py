"""What of legacy HA an SeState says: how an engine and its peer decide which of them answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """A network that both engines are in: our interface and address there, the peer's address."""

    interface: str
    own: str
    peer: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """A router that is pinged every ``interval`` seconds; lost after ``fall`` failures, back after ``rise`` answers."""

    ip: str
    interval: float
    fall: int
    rise: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One set of addresses that exactly one of two engines answers for.

    ``links``: where the two hear each other; all of them go over together. ``router``: the number of the set on the
    wire, 1 to 255. ``preferred``: this engine wins a fresh election. ``heartbeat`` seconds lie between two signs of
    life; three that are missing mean that the peer is gone. ``preempt``: the preferred engine takes over again when
    it comes back. ``addresses`` follow the active engine; ``routing``: so does the forwarding of what no service took.
    ``virtual_mac``: the addresses answer with a hardware address that moves with them. ``mirror``: connections are
    copied to the peer.
    """

    router: int
    links: tuple[Link, ...]
    preferred: bool
    heartbeat: float
    preempt: bool = False
    addresses: tuple[str, ...] = ()
    routing: bool = False
    virtual_mac: bool = False
    mirror: bool = False
    gateways: tuple[Gateway, ...] = ()

    @property
    def detection(self) -> float:
        """Seconds in which the loss of the peer is noticed."""
        return 3 * self.heartbeat

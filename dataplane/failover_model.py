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
    """A set of addresses (those that name its number) that exactly one of two engines answers for.

    ``links``: where the two hear each other; all of them go over together. ``preferred``: this engine wins a fresh
    election. ``heartbeat`` seconds lie between two signs of life; three that are missing mean that the peer is gone.
    ``preempt``: the preferred engine takes over again when it comes back. ``mirror``: connections are copied to the
    peer. ``gateways``: who loses one of them while the peer has all hands over. ``vmac``: the hardware address that
    goes with the IPv4 addresses; "": they have that of the engine's interface.
    """

    links: tuple[Link, ...]
    preferred: bool
    heartbeat: float
    preempt: bool = False
    mirror: bool = False
    gateways: tuple[Gateway, ...] = ()
    vmac: str = ""

    @property
    def silence(self) -> float:
        """Seconds without a sign of life of its own after which an engine no longer answers."""
        return 3 * self.heartbeat

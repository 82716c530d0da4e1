"""Servers and their ratios as slots: the table that round robin walks over and a hash points into."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import shake_128
from math import gcd

Slot = tuple[str, int]
POINTS = 64
"""Points on the ring per unit of ratio: more spread the load more evenly, and cost more."""
RING = 1 << 64
MIN_TABLE = 64
SLOTS_PER_SERVER = 16


@dataclass(frozen=True, slots=True)
class Weighted:
    """A server that gets connections."""

    ip: str
    port: int
    ratio: int


def turns(servers: Sequence[Weighted]) -> tuple[Slot, ...]:
    """Every server as often as its ratio says, its turns spread evenly: ratios 3 and 1 give a a b a, never a a a b."""
    common = gcd(*(server.ratio for server in servers)) or 1
    spread = sorted(
        ((2 * turn + 1) / (server.ratio // common), place)
        for place, server in enumerate(servers)
        for turn in range(server.ratio // common)
    )
    return tuple((servers[place].ip, servers[place].port) for _, place in spread)


def hashed(servers: Sequence[Weighted], table: int) -> tuple[Slot, ...]:
    """``table`` slots on a ring of points: a server that comes or goes moves its own share of them and no other."""
    if not servers:
        return ()
    ring = sorted((point, place) for place, server in enumerate(servers) for point in _points(server))
    owners = (ring[bisect_left(ring, (slot * RING // table,)) % len(ring)][1] for slot in range(table))
    return tuple((servers[place].ip, servers[place].port) for place in owners)


def table_size(servers: int) -> int:
    """The table for a pool of that many servers, those that are switched off included: it keeps its size with them."""
    return max(MIN_TABLE, 1 << (SLOTS_PER_SERVER * servers - 1).bit_length())


def _points(server: Weighted) -> tuple[int, ...]:
    number = POINTS * server.ratio
    return struct.unpack(f">{number}Q", shake_128(f"{server.ip}:{server.port}".encode()).digest(8 * number))

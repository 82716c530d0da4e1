"""Sets of addresses of one IP version as merged intervals, written the way nft lists them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range

Interval = tuple[int, int]
"""First and last address, inclusive."""

EVERYTHING: Interval = (0, 2**32 - 1)
EVERYTHING_6: Interval = (0, 2**128 - 1)


def interval(element: str) -> Interval:
    """The addresses of "a", "p/len" or "a-b". Raises ValueError."""
    if "-" in element:
        first, last = (int(ip_address(end.strip())) for end in element.split("-", 1))
        if first > last:
            raise ValueError(f"{element}: the range ends before it begins")
        return first, last
    network = ip_network(element, strict=False)
    return int(network.network_address), int(network.broadcast_address)


def merged(elements: Iterable[str]) -> list[Interval]:
    """The addresses of all ``elements``: sorted, neither overlapping nor adjacent. Raises ValueError."""
    return joined([interval(element) for element in elements])


def joined(parts: Iterable[Interval]) -> list[Interval]:
    """The same intervals sorted, neither overlapping nor adjacent."""
    result: list[Interval] = []
    for first, last in sorted(parts):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def text(addresses: Interval, *, version: int = 4) -> str:
    """An interval as an address, a prefix where it is one, else a range."""
    kind: type[IPv4Address | IPv6Address] = IPv4Address if version == 4 else IPv6Address
    first, last = kind(addresses[0]), kind(addresses[1])
    if first == last:
        return str(first)
    networks = list(summarize_address_range(first, last))
    return str(networks[0]) if len(networks) == 1 else f"{first}-{last}"

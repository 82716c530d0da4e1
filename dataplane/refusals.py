"""Why a kernel would refuse a plan's addresses and routes, told before anything is tried. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface, ip_network

from dataplane.diff import Plan
from dataplane.model import Address, Interface, Route, SeState


@dataclass(frozen=True)
class Surroundings:
    """What an engine's namespace holds that is not ours.

    ``ours``: the addresses among those of ``interfaces`` that are ours; ``foreign_routes``: prefixes of others' routes.
    """

    interfaces: list[Interface]
    ours: frozenset[str]
    foreign_routes: frozenset[str]

    @cached_property
    def _own(self) -> dict[str, list[IPv4Interface | IPv6Interface]]:
        """By interface; worked out once: there may be thousands of ours beside them."""
        return {
            link.name: [ip_interface(text) for text in link.addresses if text.partition("/")[0] not in self.ours]
            for link in self.interfaces
        }

    @cached_property
    def own_addresses(self) -> frozenset[str]:
        """The engine's own addresses."""
        return frozenset(str(address.ip) for address in self.networks())

    def networks(self, interface: str = "") -> list[IPv4Interface | IPv6Interface]:
        """The engine's own addresses with their networks, of one interface or ("") of all."""
        return [address for name, found in self._own.items() if interface in ("", name) for address in found]


def refusals(plan: Plan, target: SeState, around: Surroundings) -> list[str]:
    """Every reason against ``plan``, which leads to ``target``; empty when there is none."""
    found: list[str] = []
    for step in plan:
        if step.op == "put" and step.table == "addresses":
            found += _address(step.new, around)
        elif step.op == "put" and step.table == "routes":
            found += _route(step.new, step.old, target, around)
    return found


def _address(address: Address, around: Surroundings) -> Iterator[str]:
    if not _valid(address.ip):
        yield f"{address.ip} is not an IP address"
        return
    if address.interface and address.interface not in {link.name for link in around.interfaces}:
        yield f"address {address.ip}: the engine has no interface {address.interface}"
    if address.ip in around.own_addresses:
        yield f"address {address.ip} is the engine's own interface address"


def _valid(ip: str) -> bool:
    try:
        ip_address(ip)
    except ValueError:
        return False
    return True


def _route(route: Route, old: Route | None, target: SeState, around: Surroundings) -> Iterator[str]:
    name = f"route {route.prefix} via {route.gateway}"
    try:
        ip_network(route.prefix)
        gateway = ip_address(route.gateway)
    except ValueError as error:
        yield f"{name}: {error}"
        return
    if route.interface and route.interface not in {link.name for link in around.interfaces}:
        yield f"{name}: the engine has no interface {route.interface}"
        return
    if old is None and route.prefix in around.foreign_routes:
        yield f"{name}: the engine has a route to {route.prefix} that is not ours"
    if route.gateway in target.addresses or gateway in [own.ip for own in around.networks()]:
        yield f"{name}: the gateway is an address of the engine itself"
    elif not any(gateway in own.network for own in around.networks(route.interface)):
        yield f"{name}: the gateway {route.gateway} is in no network the engine is connected to"
    else:
        yield from _down(name, gateway, route, around)


def _down(name: str, gateway: IPv4Address | IPv6Address, route: Route, around: Surroundings) -> Iterator[str]:
    """The networks of a gateway whose interfaces are all down lead nowhere."""
    ways = [
        link
        for link in around.interfaces
        if any(gateway in own.network for own in around.networks(link.name)) and route.interface in ("", link.name)
    ]
    if not any(link.up for link in ways):
        yield f"{name}: interface {ways[0].name} is down"

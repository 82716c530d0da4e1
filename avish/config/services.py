"""What a virtual service takes: addresses, protocols, ports. Read by the checks and by the compiler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from avish.config.config import Body, Config

Protocol = Literal["tcp", "udp"]
PROTOCOLS: dict[str, Protocol] = {
    "PROTOCOL_TYPE_TCP_PROXY": "tcp",
    "PROTOCOL_TYPE_TCP_FAST_PATH": "tcp",
    "PROTOCOL_TYPE_UDP_FAST_PATH": "udp",
    "PROTOCOL_TYPE_UDP_PROXY": "udp",
}
"""Types of network profile that are carried, and as what."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports ``first`` to ``last`` of a virtual service."""

    protocol: Protocol
    first: int
    last: int

    def __str__(self) -> str:
        ports = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol} port {ports}"

    def overlaps(self, other: PortRange) -> bool:
        """Whether a packet could be meant for both."""
        return self.protocol == other.protocol and self.first <= other.last and other.first <= self.last


def profile_type(config: Config, ref: str | None) -> str:
    """The type of a network profile; "" when there is none."""
    profile = config.target(ref)
    return str(profile["profile"]["type"]) if profile else ""


def port_ranges(config: Config, service: Body) -> Iterator[PortRange]:
    """The ports of a virtual service; those whose protocol is not carried are left out."""
    usual = profile_type(config, service.get("network_profile_ref"))
    for item in service.get("services", []):
        override = item.get("override_network_profile_ref")
        protocol = PROTOCOLS.get(profile_type(config, override) if override else usual)
        if protocol is not None:
            yield PortRange(protocol, item["port"], item.get("port_range_end") or item["port"])


def vip_addresses(vsvip: Body | None) -> list[str]:
    """The IPv4 addresses of a vsvip that are switched on."""
    return [
        vip["ip_address"]["addr"]
        for vip in (vsvip or {}).get("vip", [])
        if vip.get("enabled", True) and vip.get("ip_address", {}).get("type") == "V4"
    ]


def users_of(config: Config, address: str) -> Iterator[Body]:
    """The virtual services on an address."""
    for vsvip in config.vsvips_with(address):
        yield from (config.table("virtualservice")[uuid] for uuid in config.referring(vsvip, "virtualservice"))


def rivals_of(config: Config, address: str, ranges: Iterable[PortRange]) -> Iterator[tuple[Body, PortRange]]:
    """The virtual services on an address that have some of these ports, each with the ports in question."""
    ranges = list(ranges)
    near = {
        uuid: None
        for vsvip in config.vsvips_with(address)
        for item in ranges
        for uuid in sorted(config.services_near(vsvip, item.first, item.last))
    }
    for uuid in near:
        body = config.table("virtualservice")[uuid]
        for theirs in port_ranges(config, body):
            if any(item.overlaps(theirs) for item in ranges):
                yield body, theirs
                break

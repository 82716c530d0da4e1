"""What a virtual service takes: addresses, protocols, ports. Read by the checks and by the compiler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
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
_IDLE_SECONDS = {
    "PROTOCOL_TYPE_TCP_FAST_PATH": 300, "PROTOCOL_TYPE_UDP_FAST_PATH": 10, "PROTOCOL_TYPE_UDP_PROXY": 10,
}  # fmt: skip
"""Where a profile has no settings of its type."""
FTP_TYPE = "APP_SERVICE_TYPE_L4_FTP"


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


def idle_times(config: Config, service: Body) -> tuple[tuple[Protocol, int], ...]:
    """By protocol, the seconds without packets that the network profiles of a virtual service give a connection.

    Of several profiles of a protocol the longest time counts; one that gives none, or never ends one, is left out.
    """
    refs = [service.get("network_profile_ref")]
    refs += [item.get("override_network_profile_ref") for item in service.get("services", [])]
    found: dict[Protocol, int] = {}
    for ref in dict.fromkeys(ref for ref in refs if ref):
        kind = profile_type(config, ref)
        protocol, seconds = PROTOCOLS.get(kind), _idle_seconds(kind, config.target(ref) or {})
        if protocol is not None and seconds:
            found[protocol] = max(seconds, found.get(protocol, 0))
    return tuple(sorted(found.items()))


def _idle_seconds(kind: str, body: Body) -> int:
    """Of a proxy only where idle connections are closed: it would keep others alive by packets of its own."""
    settings = body.get("profile", {}).get(f"{kind.removeprefix('PROTOCOL_TYPE_').lower()}_profile", {})
    if kind == "PROTOCOL_TYPE_TCP_PROXY":
        closes = settings.get("idle_connection_type") == "CLOSE_IDLE"
        return int(settings.get("idle_connection_timeout", 600)) if closes else 0
    return int(settings.get("session_idle_timeout", _IDLE_SECONDS.get(kind, 0)))


def port_ranges(config: Config, service: Body) -> Iterator[PortRange]:
    """The ports of a virtual service; those whose protocol is not carried are left out.

    So are those that servers of active FTP call from: no client connects to them.
    """
    usual = profile_type(config, service.get("network_profile_ref"))
    for item in service.get("services", []):
        override = item.get("override_network_profile_ref")
        protocol = PROTOCOLS.get(profile_type(config, override) if override else usual)
        if protocol is not None and not item.get("is_active_ftp_data_port"):
            yield PortRange(protocol, item["port"], item.get("port_range_end") or item["port"])


def ftp_settings(config: Config, service: Body) -> tuple[Body, tuple[int, ...]] | None:
    """The ftp_profile that a virtual service asks for, and the single ports it is for; None: FTP is not followed."""
    usual = config.target(service.get("application_profile_ref")) or {}
    ports: list[int] = []
    found: Body | None = None
    for item in service.get("services", []):
        override = config.target(item.get("override_application_profile_ref"))
        settings = ftp_profile(override or usual)
        single = item.get("port_range_end", 0) in (0, item["port"])
        if settings is not None and single and not item.get("is_active_ftp_data_port"):
            found = settings if found is None else found
            ports.append(item["port"])
    return None if found is None else (found, tuple(ports))


def ftp_profile(application: Body) -> Body | None:
    """The FTP settings of an application profile; None when it does not ask to follow FTP."""
    settings: Body | None = application.get("tcp_app_profile", {}).get("ftp_profile")
    if settings is None and application.get("app_service_type") == FTP_TYPE:
        return {}
    return settings


def vip_addresses(vsvip: Body | None) -> list[str]:
    """The single addresses of a vsvip that are switched on; an engine answers for them."""
    return [target for target in vip_targets(vsvip) if "/" not in target]


def vip_targets(vsvip: Body | None) -> list[str]:
    """The addresses of a vsvip that are switched on, those of whole networks as prefixes."""
    return [
        _target(vip[field], vip.get("prefix_length", 32))
        for vip in (vsvip or {}).get("vip", [])
        for field in ("ip_address", "ip6_address")
        if vip.get("enabled", True) and field in vip
    ]


def _target(address: Body, length: int) -> str:
    if address["type"] == "V6" or length == 32:
        return str(address["addr"])
    return str(IPv4Network((address["addr"], length), strict=False))


def snat_addresses(service: Body) -> list[str]:
    """The addresses a virtual service is to call its servers from."""
    return [item["addr"] for field in ("snat_ip", "snat_ip6_addresses") for item in service.get(field, [])]


def vsvips_in(config: Config, address: str, vrf_ref: str | None) -> list[Body]:
    """The vsvips of a VRF that hold an address."""
    found = [config.table("vsvip")[uuid] for uuid in config.vsvips_with(address)]
    return [body for body in found if body.get("vrf_context_ref") == vrf_ref]


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

"""The service engines and their interfaces, as the configuration knows them: each VRF of an engine is a place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from avish.config.config import Body, Config, uuid_in
from avish.config.wellknown import ENGINE, FOUND, GLOBAL_VRF, VRF

BETWEEN = "/"
"""In the name of a place, between engine and VRF; no name in a topology has it."""


def place_of(engine: str, vrf: str) -> str:
    """The name of an engine in a VRF: "se1" in its main one, "se1/blue" in another."""
    return engine if vrf == GLOBAL_VRF else f"{engine}{BETWEEN}{vrf}"


def engine_of(place: str) -> str:
    """The engine of a place."""
    return place.partition(BETWEEN)[0]


def vrf_of(place: str) -> str:
    """The VRF of a place."""
    return place.partition(BETWEEN)[2] or GLOBAL_VRF


@dataclass(frozen=True, slots=True)
class Port:
    """An address of an engine's interface, and the network it is in."""

    interface: str
    address: str
    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine in one of its VRFs. ``group``: uuid of its service engine group, "" when it has none; ``vrf``: name,
    ``vrf_uuid``: "" where no such object is.
    """

    name: str
    uuid: str
    group: str
    ports: tuple[Port, ...]
    vrf: str = GLOBAL_VRF
    vrf_uuid: str = ""

    @property
    def place(self) -> str:
        """Its name, and that of its VRF unless it is the main one."""
        return place_of(self.name, self.vrf)

    @property
    def segment(self) -> tuple[str, str]:
        """Group and VRF: engines that have both in common stand in for one another."""
        return self.group, self.vrf_uuid

    def carries(self, service: Body) -> bool:
        """Whether it is of the group and in the VRF of a virtual service."""
        group, vrf = uuid_in(service.get("se_group_ref")), uuid_in(service.get("vrf_context_ref"))
        return group == self.group and bool(self.vrf_uuid) and vrf == self.vrf_uuid

    def interface_towards(self, address: str) -> str:
        """The interface whose network holds the address, or ""."""
        number = ip_address(address)
        return next((port.interface for port in self.ports if number in port.network), "")


def engines(config: Config) -> list[Engine]:
    """All engines, in order of creation, each in its main VRF first."""
    return [engine for body in config.all(ENGINE) for engine in _places(config, body)]


def vrf_of_port(config: Config, vnic: Body) -> tuple[str, str]:
    """Name and uuid of the VRF that an interface of an engine is in."""
    found = config.target(vnic.get("vrf_ref"))
    if found is None:
        return GLOBAL_VRF, config.uuid_of(VRF, GLOBAL_VRF) or ""
    return found["name"], found["uuid"]


def kernel_name(vnic: Body) -> str:
    """The name of an interface in its namespace."""
    return str(vnic.get("linux_name") or vnic.get("if_name", ""))


def _places(config: Config, body: Body) -> Iterator[Engine]:
    ports: dict[tuple[str, str], list[Port]] = {vrf_of_port(config, {}): []}
    for vnic in body.get(FOUND, []):
        ports.setdefault(vrf_of_port(config, vnic), []).extend(_ports(vnic))
    group = uuid_in(body.get("se_group_ref"))
    for (vrf, uuid), found in ports.items():
        yield Engine(body["name"], body["uuid"], group, tuple(found), vrf, uuid)


def _ports(vnic: Body) -> Iterator[Port]:
    for item in vnic.get("vnic_networks", []):
        address = item["ip"]["ip_addr"]["addr"]
        network = ip_network((address, item["ip"]["mask"]), strict=False)
        yield Port(kernel_name(vnic), address, network)

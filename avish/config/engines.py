"""The service engines and their interfaces, as the configuration knows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from avish.config.config import Body, Config, uuid_in


@dataclass(frozen=True, slots=True)
class Port:
    """An address of an engine's interface, and the network it is in."""

    interface: str
    address: str
    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Engine:
    """``group``: uuid of its service engine group, "" when it has none."""

    name: str
    uuid: str
    group: str
    ports: tuple[Port, ...]

    def interface_towards(self, address: str) -> str:
        """The interface whose network holds the address, or ""."""
        number = ip_address(address)
        return next((port.interface for port in self.ports if number in port.network), "")


def engines(config: Config) -> list[Engine]:
    """All engines, in order of creation."""
    return [_engine(body) for body in config.all("serviceengine")]


def engines_of(config: Config, group: str) -> list[Engine]:
    """The engines of a service engine group."""
    return [engine for engine in engines(config) if engine.group == group]


def _engine(body: Body) -> Engine:
    return Engine(body["name"], body["uuid"], uuid_in(body.get("se_group_ref")), tuple(_ports(body)))


def _ports(body: Body) -> Iterator[Port]:
    for vnic in body.get("data_vnics", []):
        for item in vnic.get("vnic_networks", []):
            address = item["ip"]["ip_addr"]["addr"]
            network = ip_network((address, item["ip"]["mask"]), strict=False)
            yield Port(vnic.get("if_name", ""), address, network)

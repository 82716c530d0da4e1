"""How the engines of the topology become serviceengine objects, and follow what their kernels say.

An engine is found once for each of its VRFs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avish.config.config import Body, Config
from avish.config.engines import kernel_name, vrf_of_port
from avish.config.normalise import new_uuid
from avish.config.transaction import Put
from avish.config.wellknown import ENGINE, ENGINE_GROUP, FOUND, GLOBAL_VRF, VRF
from avish.schema.types import parse_address
from dataplane.driver import Driver
from dataplane.model import Interface


@dataclass(frozen=True, slots=True)
class Member:
    """An engine in one VRF as found. ``interfaces`` None: it did not answer, or was not asked; ``ours``: addresses
    that we have put there.
    """

    name: str
    group: str
    interfaces: tuple[Interface, ...] | None = None
    ours: frozenset[str] = frozenset()
    vrf: str = GLOBAL_VRF

    @classmethod
    def observed(cls, name: str, group: str, driver: Driver, vrf: str = GLOBAL_VRF) -> Member:
        """What an engine says of itself; raises what the driver raises.

        A commit may put or remove addresses meanwhile: those that are ours before or after are ours.
        """
        before = _own(driver)
        found = tuple(driver.interfaces())
        return cls(name, group, found, before | _own(driver), vrf)


def _own(driver: Driver) -> frozenset[str]:
    return frozenset(row["ip"] for row in driver.addresses() if row["own"])


def registration(config: Config, members: Iterable[Member]) -> list[Put]:
    """The writes that make the configuration agree with ``members``, in their order; groups and VRFs that are missing
    first. Of each engine all its VRFs have to be among them.
    """
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.name, []).append(member)
    needed: dict[tuple[str, str], Put] = {}
    engines = []
    for name, places in found.items():
        existing = config.named(ENGINE, name)
        wanted = [(VRF, place.vrf) for place in places]
        for kind, other in wanted if existing else [(ENGINE_GROUP, places[0].group), *wanted]:
            if config.named(kind, other) is None:
                needed[kind, other] = Put(kind, new_uuid(kind), {"name": other}, new=True)
        engines.append(_put(config, places, existing))
    return [*needed.values(), *engines]


def _put(config: Config, places: list[Member], existing: Body | None) -> Put:
    """The group is the topology's at first, the operator's from then on."""
    body = existing or {"name": places[0].name, "se_group_ref": places[0].group}
    known: dict[str, dict[str, Body]] = {}
    for vnic in body.get(FOUND, []):
        known.setdefault(vrf_of_port(config, vnic)[0], {})[kernel_name(vnic)] = vnic
    vnics: dict[str, Body] = {}
    for place in places:
        for vnic in _vnics(place, known.get(place.vrf, {})):
            name = kernel_name(vnic)
            shown = f"{name}@{place.vrf}" if name in vnics else name  # namespaces may use a name twice
            vnics[shown] = {**vnic, "if_name": shown}
    if FOUND in body or any(place.interfaces is not None for place in places):
        body = {**body, FOUND: list(vnics.values())}
    return Put(ENGINE, existing["uuid"] if existing else new_uuid(ENGINE), body, new=existing is None)


def _vnics(place: Member, known: Mapping[str, Body]) -> Iterator[Body]:
    """The interfaces in one VRF; as they were known where nobody has looked."""
    if place.interfaces is None:
        yield from known.values()
        return
    for found in place.interfaces:
        vrf = {} if place.vrf == GLOBAL_VRF else {"vrf_ref": known.get(found.name, {}).get("vrf_ref", place.vrf)}
        yield {**known.get(found.name, {}), **_vnic(found, place.ours), **vrf}


def _vnic(interface: Interface, ours: frozenset[str]) -> Mapping[str, Any]:
    addresses = [text.split("/") for text in interface.addresses]
    return {
        "if_name": interface.name,
        "linux_name": interface.name,
        "mac_address": interface.mac,
        "mtu": interface.mtu,
        "dhcp_enabled": False,
        "connected": interface.up,
        "vnic_networks": [
            {"ip": {"ip_addr": parse_address(ip), "mask": int(length)}, "mode": "STATIC"}
            for ip, length in addresses
            if ip not in ours and not ip.startswith("fe80:")
        ],
    }

"""How the engines of the topology become serviceengine objects, and follow what their kernels say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from avish.config.config import Body, Config
from avish.config.normalise import new_uuid
from avish.config.transaction import Put
from avish.config.wellknown import ENGINE, ENGINE_GROUP, FOUND
from avish.schema.types import parse_address
from dataplane.driver import Driver
from dataplane.model import Interface


@dataclass(frozen=True, slots=True)
class Member:
    """An engine as found. ``interfaces`` None: it did not answer; ``ours``: addresses that we have put there."""

    name: str
    group: str
    interfaces: tuple[Interface, ...] | None = None
    ours: frozenset[str] = frozenset()

    @classmethod
    def observed(cls, name: str, group: str, driver: Driver) -> Member:
        """What an engine says of itself; raises what the driver raises.

        A commit may put or remove addresses meanwhile: those that are ours before or after are ours.
        """
        before = _own(driver)
        found = tuple(driver.interfaces())
        return cls(name, group, found, before | _own(driver))


def _own(driver: Driver) -> frozenset[str]:
    return frozenset(row["ip"] for row in driver.addresses() if row["own"])


def registration(config: Config, members: Iterable[Member]) -> list[Put]:
    """The writes that make the configuration agree with ``members``, in their order; groups that are missing first."""
    groups: dict[str, Put] = {}
    engines = []
    for member in members:
        existing = config.named(ENGINE, member.name)
        if existing is None and config.named(ENGINE_GROUP, member.group) is None:
            groups[member.group] = Put(ENGINE_GROUP, new_uuid(ENGINE_GROUP), {"name": member.group}, new=True)
        engines.append(_put(member, existing))
    return [*groups.values(), *engines]


def _put(member: Member, existing: Body | None) -> Put:
    """The group is the topology's at first, the operator's from then on."""
    body = existing or {"name": member.name, "se_group_ref": member.group}
    if member.interfaces is not None:
        known = {vnic.get("if_name"): vnic for vnic in body.get(FOUND, [])}
        vnics = [{**known.get(found.name, {}), **_vnic(found, member.ours)} for found in member.interfaces]
        body = {**body, FOUND: vnics}
    return Put(ENGINE, existing["uuid"] if existing else new_uuid(ENGINE), body, new=existing is None)


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

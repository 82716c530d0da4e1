"""VRFs: what is said where no engine is in one, and that two of them do not touch each other."""

from __future__ import annotations

import pytest

from avish.config.transaction import Put


@pytest.fixture
def coloured(ftp):
    """The founding configuration; se1 is in VRF blue too, with the same addresses, and has its routing there."""
    ftp.put("vrfcontext", name="blue")
    body = ftp.config.named("serviceengine", "se1")
    own = [{**vnic, "if_name": f"{vnic['if_name']}@blue", "linux_name": vnic["if_name"], "vrf_ref": "blue"}
           for vnic in body["data_vnics"]]  # fmt: skip
    ftp.put("serviceengine", name="se1", data_vnics=[*body["data_vnics"], *own])
    return ftp


def blue(world, address="10.10.10.50", server="10.10.40.101"):
    """A virtual service in blue."""
    world.put("vsvip", name="b", vrf_context_ref="blue", vip=[{"vip_id": "1", "ip_address": address}])
    world.put("pool", name="b", vrf_ref="blue", servers=[{"ip": server}])
    fields = {name: world.config.named("virtualservice", "ftp-vs")[name] for name in ("services", "se_group_ref")}
    profiles = {
        "application_profile_ref": "System-L4-Application",
        "network_profile_ref": "System-TCP-Fast-Path",
    }
    return world.put(
        "virtualservice", name="b", vrf_context_ref="blue", vsvip_ref="b", pool_ref="b", **profiles, **fields
    )


def test_the_same_vip_in_two_vrfs_is_two_services(coloured):
    service = blue(coloured)
    number = coloured.ids.get("service", service["uuid"])
    states = coloured.states()
    assert {place: sorted(state.services) for place, state in states.items()} == {
        "se1": [1], "se1/blue": [number], "se2": [1],
    }  # fmt: skip
    assert states["se1/blue"].addresses["10.10.10.50"].interface == "eth1"
    assert not states["se1/blue"].nat


def test_routes_and_routing_are_those_of_the_vrf(coloured):
    route = {"prefix": "10.7.0.0/16", "next_hop": "10.10.10.254"}
    coloured.put("vrfcontext", name="blue", static_routes=[route])
    coloured.put(
        "networkservice", name="b", vrf_ref="blue", se_group_ref="Default-Group", service_type="ROUTING_SERVICE",
        routing_service={"enable_routing": True, "floating_intf_ip": ["10.10.40.1"]},
    )  # fmt: skip
    states = coloured.states()
    assert list(states["se1/blue"].routes) == ["10.7.0.0/16"]
    assert "10.7.0.0/16" not in states["se1"].routes
    assert states["se1/blue"].switches["routing"]
    assert list(states["se1/blue"].addresses) == ["10.10.40.1"]


def test_taken_out_of_a_vrf_nothing_of_it_is_left(coloured):
    blue(coloured)
    assert coloured.states()["se1/blue"].addresses
    coloured.delete("virtualservice", "b")
    state = coloured.states()["se1/blue"]
    assert (state.services, state.addresses, state.pools) == ({}, {}, {})


def test_what_takes_no_effect_is_said(coloured):
    (text,) = coloured.warnings("vrfcontext", name="red")
    coloured.put("vrfcontext", name="red")
    assert "no interface of a service engine is in VRF red: nothing is forwarded there" in text
    assert coloured.warnings("vrfcontext", name="blue", description="mine") == []
    fields = {"se_group_ref": "Default-Group", "service_type": "ROUTING_SERVICE"}
    (text,) = coloured.warnings("networkservice", name="r", vrf_ref="red", **fields)
    assert "no service engine of serviceenginegroup Default-Group has an interface in VRF red" in text
    (text,) = coloured.warnings("networkservice", name="b", vrf_ref="blue", **fields)
    assert "se2 has no interface in VRF blue: it cannot take over there" in text


def test_engines_without_a_network_in_common_are_no_pair(world):
    world.engine("se1", eth1="10.10.10.11/24")
    world.engine("se2", eth1="10.10.20.12/24")
    (text,) = world.warnings("serviceenginegroup", name="Default-Group", ha_mode="HA_MODE_LEGACY_ACTIVE_STANDBY")
    assert "se1 and se2 have no network in common in VRF global" in text


def test_a_vrf_of_the_topology_keeps_its_name(coloured):
    body = coloured.config.named("vrfcontext", "blue")
    renamed = coloured.prepare(Put("vrfcontext", body["uuid"], {**body, "name": "green"}))
    assert "se1 has interfaces in it by their topology" in str(renamed.errors[0])


def test_an_address_of_an_interface_counts_in_its_vrf_only(coloured):
    vip = [{"vip_id": "1", "ip_address": "10.10.10.12"}]
    assert not coloured.errors("vsvip", name="v", vrf_context_ref="blue", vip=vip)
    assert "is the address of interface se2 eth1" in coloured.errors("vsvip", name="v", vip=vip)[0]


@pytest.mark.parametrize("field", ["enable_vmac", "enable_auto_gateway"])
def test_what_is_for_ipv4_only_is_said(world, field):
    for name, last in (("se1", 1), ("se2", 2)):
        world.engine(name, eth1=f"10.10.10.{last}/24", eth2=f"fd00::{last}/64")
    world.put("serviceenginegroup", name="Default-Group", ha_mode="HA_MODE_LEGACY_ACTIVE_STANDBY")
    fields = {"name": "n", "se_group_ref": "Default-Group", "service_type": "ROUTING_SERVICE"}
    four = {field: True, "floating_intf_ip": ["10.10.10.9"]}
    assert world.warnings("networkservice", **fields, routing_service=four) == []
    (text,) = world.warnings("networkservice", **fields, routing_service={**four, "floating_intf_ip": ["fd00::9"]})
    assert f"routing_service.{field}: is for IPv4" in text


def test_a_virtual_mac_without_a_pair_is_said(world):
    world.two_engines()
    fields = {"name": "n", "se_group_ref": "Default-Group", "service_type": "ROUTING_SERVICE"}
    (text,) = world.warnings("networkservice", **fields, routing_service={"enable_vmac": True})
    assert "takes no effect: serviceenginegroup Default-Group has" in text

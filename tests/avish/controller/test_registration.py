from __future__ import annotations

from avish.controller.registration import Member, registration
from dataplane.model import Interface

PORT = Interface("eth1", 2, "02:00:00:00:00:09", 9000, True, ("10.10.10.11/24", "10.10.10.50/32", "fe80::1/64"))


def test_own_and_link_local_addresses_are_left_out(world):
    put = registration(world.config, [Member("se1", "Default-Group", (PORT,), frozenset({"10.10.10.50"}))])[0]
    networks = put.body["data_vnics"][0]["vnic_networks"]
    assert [entry["ip"]["ip_addr"]["addr"] for entry in networks] == ["10.10.10.11"]
    assert put.new


def test_a_group_that_is_missing_is_made_once(world):
    puts = registration(world.config, [Member("se1", "blue", (PORT,)), Member("se2", "blue", (PORT,))])
    assert [(put.type, put.body["name"]) for put in puts] == [
        ("serviceenginegroup", "blue"),
        ("serviceengine", "se1"),
        ("serviceengine", "se2"),
    ]
    assert not world.prepare(*puts).errors


def test_an_engine_that_does_not_answer_keeps_what_is_known(world):
    world.engine("se1", eth1="10.10.10.11/24")
    put = registration(world.config, [Member("se1", "Default-Group")])[0]
    assert put.body["data_vnics"] == world.config.named("serviceengine", "se1")["data_vnics"]


def test_what_the_operator_set_on_an_interface_stays(world):
    world.engine("se1", eth1="10.10.10.11/24")
    body = world.config.named("serviceengine", "se1")
    world.put("serviceengine", name="se1", data_vnics=[{**body["data_vnics"][0], "adapter": "mine"}])
    put = registration(world.config, [Member("se1", "Default-Group", (PORT,))])[0]
    assert (put.body["data_vnics"][0]["adapter"], put.body["data_vnics"][0]["mtu"]) == ("mine", 9000)


def test_the_vrfs_of_an_engine_are_written_down_with_their_interfaces(world):
    places = [Member("se1", "Default-Group", (PORT,)), Member("se1", "Default-Group", (PORT,), vrf="blue")]
    puts = registration(world.config, places)
    assert [(put.type, put.body["name"]) for put in puts] == [("vrfcontext", "blue"), ("serviceengine", "se1")]
    world.keep(world.prepare(*puts))
    vnics = world.config.named("serviceengine", "se1")["data_vnics"]
    assert [(vnic["if_name"], vnic["linux_name"]) for vnic in vnics] == [("eth1", "eth1"), ("eth1@blue", "eth1")]
    assert world.config.target(vnics[1]["vrf_ref"])["name"] == "blue"
    (again,) = registration(world.config, [places[0], Member("se1", "Default-Group", vrf="blue")])
    assert again.body["data_vnics"][1] == vnics[1]


def test_a_vrf_that_the_topology_has_no_more_is_forgotten(world):
    places = [Member("se1", "Default-Group", (PORT,)), Member("se1", "Default-Group", (PORT,), vrf="blue")]
    world.keep(world.prepare(*registration(world.config, places)))
    (put,) = registration(world.config, places[:1])
    assert [vnic["if_name"] for vnic in put.body["data_vnics"]] == ["eth1"]


class _Committing:
    """An engine on which a commit puts an address between two questions."""

    def __init__(self):
        self.asked = 0

    def addresses(self):
        self.asked += 1
        return [{"ip": "10.0.0.50", "own": True}] if self.asked > 1 else []

    def interfaces(self):
        return [Interface("eth1", 2, "02:00:00:00:00:01", 1500, True, ("10.0.0.11/24", "10.0.0.50/32"))]


def test_an_address_that_a_commit_puts_meanwhile_is_not_the_engines_own():
    assert Member.observed("se1", "Default-Group", _Committing()).ours == {"10.0.0.50"}

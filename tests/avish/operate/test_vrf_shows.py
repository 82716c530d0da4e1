"""Answers of an engine that is in two VRFs."""

from __future__ import annotations

import pytest
from rig import Rig, ports

from dataplane.fake import FakeDriver

PLACES = ("se1", "se1/blue", "se2", "se2/blue")


@pytest.fixture
def two(tmp_path):
    """Two engines in VRFs global and blue, with the founding configuration in the one, a service in the other."""
    drivers = {place: FakeDriver(ports(1 if place.startswith("se1") else 2)) for place in PLACES}
    rig = Rig(tmp_path, PLACES, drivers)
    rig.load("active-ftp.yaml")
    rig.post("vsvip", name="b", vrf_context_ref="blue", vip=[{"vip_id": "1", "ip_address": "10.10.10.50"}])
    rig.post("pool", name="b", vrf_ref="blue", servers=[{"ip": "10.10.40.101"}])
    rig.post(
        "virtualservice", name="b", vrf_context_ref="blue", vsvip_ref="b", pool_ref="b", services=[{"port": 80}],
        se_group_ref="Default-Group", application_profile_ref="System-L4-Application",
        network_profile_ref="System-TCP-Fast-Path",
    )  # fmt: skip
    yield rig
    rig.close()


def test_each_service_is_looked_for_in_its_vrf(two):
    for name in ("ftp-vs", "b"):
        assert two.show("virtualservice", name, "runtime")["oper_status"]["state"] == "OPER_UP"


def test_tables_of_an_engine_have_the_rows_of_all_its_vrfs(two):
    rows = two.show("serviceengine", "se1", "vrf-ip-info")["vrf_ip_info"]
    assert [row["vrf_name"] for row in rows if row["ip_address"] == "10.10.10.50"] == ["global", "blue"]
    services = {row["vsuuid"] for row in two.show("serviceengine", "se1", "vshash")["vshashone"]}
    assert services == {two.one("virtualservice", name)["uuid"] for name in ("ftp-vs", "b")}


def test_an_engine_is_up_when_it_is_in_all_its_vrfs(two):
    two.drivers["se1/blue"].reachable = False
    found = two.show("serviceengine", "se1", "runtime")
    assert found["oper_status"]["state"] == "OPER_DOWN"
    assert found["oper_status"]["reason"][0].startswith("VRF blue: ")
    assert two.show("virtualservice", "ftp-vs", "runtime")["oper_status"]["state"] == "OPER_UP"
    assert two.show("virtualservice", "b", "runtime")["oper_status"]["state"] == "OPER_DOWN"


def test_a_pair_has_a_role_in_each_vrf(two):
    rows = two.show("serviceengine", "se1", "runtime")["pair"]
    assert [(row["vrf_name"], row["role"]) for row in rows] == [("global", "ACTIVE"), ("blue", "ACTIVE")]
    uuid = two.one("serviceengine", "se1")["uuid"]
    answer = two.call("POST", f"/api/serviceengine/{uuid}/switchover", {})
    assert answer.body == {"from": "se1", "to": "se2", "active_tags": ["ACTIVE_STANDBY_SE_1"]}
    assert [two.drivers[place].exchanged for place in ("se1", "se1/blue")] == [{1}, {1}]


def test_a_nat_policy_of_two_vrfs_is_counted_once(two):
    two.post(
        "networkservice", name="b", vrf_ref="blue", se_group_ref="Default-Group", service_type="ROUTING_SERVICE",
        routing_service={"enable_routing": True, "nat_policy_ref": "ftp-nat"},
    )  # fmt: skip
    number = two.head.ids.get("nat_rule", f"{two.one('natpolicy', 'ftp-nat')['uuid']}/1")
    for place, count in (("se1", 3), ("se1/blue", 4)):
        two.drivers[place].counter_values[f"nat_{number}_hits"] = (count, 0)
    (policy,) = two.show("serviceengine", "se1", "natpolicystat")["nat_policy"]
    assert [rule["hits"] for rule in policy["rule_stats"]] == [7]


def test_a_vrf_in_which_engines_are_stays_through_a_rollback(two):
    assert two.call("POST", "/api/rollback", {"to": 1}).status == 200
    assert two.one("vrfcontext", "blue")
    assert two.get("/api/virtualservice")["count"] == 0
    assert two.head.state("se1/blue").services == {}

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.errors import RefusedError, UnreachableError


def state(rig):
    body = rig.get("/api/virtualservice", join_subresources="runtime")["results"][0]
    return body["runtime"]["oper_status"]


def test_up_only_when_the_kernel_holds_port_and_address(ftp_rig):
    assert state(ftp_rig)["state"] == "OPER_UP"
    held = ftp_rig.drivers["se1"].kernel
    ftp_rig.drivers["se1"].kernel = replace(held, addresses={})
    assert state(ftp_rig) == {"state": "OPER_DOWN", "reason": ["address 10.10.10.50 is not on se1"]}
    ftp_rig.drivers["se1"].kernel = replace(held, services={})
    assert state(ftp_rig) == {"state": "OPER_DOWN", "reason": ["port 21 of 10.10.10.50 is not in the kernel of se1"]}


def test_up_only_with_a_server_that_passes_its_tests(ftp_rig):
    down = ftp_rig.drivers["se1"].down_servers
    down.add(("10.10.40.101", 21))
    assert state(ftp_rig)["state"] == "OPER_UP"
    down.add(("10.10.40.102", 21))
    said = "0 of 2 servers up, 10.10.40.101:21 connection refused, 10.10.40.102:21 connection refused"
    assert state(ftp_rig) == {"state": "OPER_DOWN", "reason": [f"pool ftp-pool: {said}"]}


def test_disabled(ftp_rig):
    ftp_rig.change("virtualservice", "ftp-vs", enabled=False)
    found = state(ftp_rig)
    changed = int(ftp_rig.one("virtualservice", "ftp-vs")["_last_modified"]) // 1_000_000
    assert (found["state"], found["last_changed_time"]["secs"]) == ("OPER_DISABLED", changed)


def test_down_with_its_engine(ftp_rig):
    ftp_rig.drivers["se1"].reachable = False
    assert state(ftp_rig) == {"state": "OPER_DOWN", "reason": ["service engine se1: no agent answers"]}


def vips(rig, service="ftp-vs"):
    found = rig.show("virtualservice", service, "runtime")["vip_summary"]
    return {one["vip_id"]: (one["oper_status"]["state"], one["oper_status"].get("reason")) for one in found}


def test_a_vip_is_up_while_the_active_engine_answers_for_it(ftp_rig):
    """Its servers are none of its business."""
    vip = ftp_rig.one("vsvip", "ftp-vip")["vip"][0]
    second = {"vip_id": "2", "ip_address": {"addr": "10.10.10.51", "type": "V4"}}
    third = {"vip_id": "3", "ip_address": {"addr": "10.10.10.52", "type": "V4"}, "enabled": False}
    ftp_rig.change("vsvip", "ftp-vip", vip=[vip, second, third])
    ftp_rig.drivers["se1"].down_servers.update({("10.10.40.101", 21), ("10.10.40.102", 21)})
    assert state(ftp_rig)["state"] == "OPER_DOWN"
    assert vips(ftp_rig) == {"1": ("OPER_UP", None), "2": ("OPER_UP", None), "3": ("OPER_DISABLED", None)}
    held = ftp_rig.drivers["se1"].kernel
    left = {ip: one for ip, one in held.addresses.items() if ip != "10.10.10.51"}
    ftp_rig.drivers["se1"].kernel = replace(held, addresses=left)
    assert vips(ftp_rig)["1"] == ("OPER_UP", None)
    assert vips(ftp_rig)["2"] == ("OPER_DOWN", ["address 10.10.10.51 is not on se1"])
    ftp_rig.drivers["se1"].reachable = False
    assert vips(ftp_rig)["1"] == ("OPER_DOWN", ["service engine se1: no agent answers"])


def test_down_without_servers(ftp_rig):
    servers = ftp_rig.one("pool", "ftp-pool")["servers"]
    ftp_rig.change("pool", "ftp-pool", servers=[{**server, "enabled": False} for server in servers])
    assert state(ftp_rig) == {"state": "OPER_DOWN", "reason": ["no enabled server in the pool"]}


def test_down_in_a_group_without_engines(ftp_rig):
    ftp_rig.post("serviceenginegroup", name="empty")
    answer = ftp_rig.call("POST", "/api/vsvip", {"name": "v2", "vip": [{"vip_id": "1", "ip_address": "10.10.10.60"}]})
    assert answer.status == 201, answer.body
    made = ftp_rig.call(
        "POST",
        "/api/virtualservice",
        {
            "name": "other",
            "services": [{"port": 80}],
            "pool_ref": "ftp-pool",
            "vsvip_ref": "v2",
            "se_group_ref": "empty",
            "application_profile_ref": "System-L4-Application",
        },
    )
    assert made.status == 201, made.body
    other = ftp_rig.get("/api/virtualservice", join_subresources="runtime", name="other")["results"][0]
    assert other["runtime"]["oper_status"] == {"state": "OPER_DOWN", "reason": ["no service engine in the group empty"]}


def test_summary_names_the_engines(ftp_rig):
    answer = ftp_rig.show("virtualservice", "ftp-vs", "runtime")
    engines = answer["vip_summary"][0]["service_engine"]
    assert [(one["name"], one["primary"], one["standby"], one["connected"]) for one in engines] == [
        ("se1", True, False, True),
        ("se2", False, True, True),
    ]
    assert answer["vip_summary"][0]["percent_ses_up"] == 100


def test_a_list_asks_each_kernel_once(ftp_rig):
    more_services(ftp_rig, 5)
    ftp_rig.drivers["se1"].calls.clear()
    ftp_rig.get("/api/virtualservice", join_subresources="runtime")
    assert ftp_rig.drivers["se1"].calls.count("listeners") == 1
    assert ftp_rig.drivers["se1"].calls.count("addresses") == 1


def more_services(rig, number):
    for port in range(100, 100 + number):
        body = {
            "name": f"vs{port}",
            "services": [{"port": port}],
            "pool_ref": "ftp-pool",
            "vsvip_ref": "ftp-vip",
            "application_profile_ref": "L4-preserve-client-ip",
        }
        assert rig.call("POST", "/api/virtualservice", body).status == 201


@pytest.mark.parametrize("error", [UnreachableError("frozen"), RefusedError("netlink says no")])
@pytest.mark.parametrize("operation", ["listeners", "addresses"])
def test_a_list_asks_an_engine_that_does_not_answer_once(ftp_rig, operation, error):
    more_services(ftp_rig, 5)
    driver = ftp_rig.drivers["se1"]
    driver.failures[operation] = error
    driver.calls.clear()
    results = ftp_rig.get("/api/virtualservice", join_subresources="runtime")["results"]
    assert [body["runtime"]["oper_status"]["state"] for body in results] == ["OPER_DOWN"] * 6
    assert str(error) in results[0]["runtime"]["oper_status"]["reason"][0]
    assert driver.calls.count(operation) == 1


def test_a_list_goes_through_what_a_kernel_holds_once(ftp_rig, monkeypatch):
    class Rows(list):
        walks = 0

        def __iter__(self):
            Rows.walks += 1
            return super().__iter__()

    more_services(ftp_rig, 5)
    driver = ftp_rig.drivers["se1"]
    listeners, addresses = Rows(driver.listeners()), Rows(driver.addresses())
    monkeypatch.setattr(driver, "listeners", lambda: listeners)
    monkeypatch.setattr(driver, "addresses", lambda: addresses)
    Rows.walks = 0
    results = ftp_rig.get("/api/virtualservice", join_subresources="runtime")["results"]
    assert [body["runtime"]["oper_status"]["state"] for body in results] == ["OPER_UP"] * 6
    assert Rows.walks == 2

from __future__ import annotations

from dataplane.model import SeState


def state(rig):
    body = rig.get("/api/virtualservice", join_subresources="runtime")["results"][0]
    return body["runtime"]["oper_status"]


def test_up_only_when_the_kernel_holds_port_and_address(ftp):
    assert state(ftp) == {"state": "OPER_UP"}
    held = ftp.drivers["se1"].kernel
    ftp.drivers["se1"].kernel = SeState(services=held.services)
    assert state(ftp) == {"state": "OPER_DOWN", "reason": ["address 10.10.10.50 is not on se1"]}
    ftp.drivers["se1"].kernel = SeState(addresses=held.addresses)
    assert state(ftp) == {"state": "OPER_DOWN", "reason": ["port 21 of 10.10.10.50 is not in the kernel of se1"]}


def test_disabled(ftp):
    ftp.change("virtualservice", "ftp-vs", enabled=False)
    assert state(ftp) == {"state": "OPER_DISABLED"}


def test_down_with_its_engine(ftp):
    ftp.drivers["se1"].reachable = False
    assert state(ftp) == {"state": "OPER_DOWN", "reason": ["service engine se1: no agent answers"]}


def test_down_without_servers(ftp):
    servers = ftp.one("pool", "ftp-pool")["servers"]
    ftp.change("pool", "ftp-pool", servers=[{**server, "enabled": False} for server in servers])
    assert state(ftp) == {"state": "OPER_DOWN", "reason": ["no enabled server in the pool"]}


def test_down_in_a_group_without_engines(ftp):
    ftp.post("serviceenginegroup", name="empty")
    answer = ftp.call("POST", "/api/vsvip", {"name": "v2", "vip": [{"vip_id": "1", "ip_address": "10.10.10.60"}]})
    assert answer.status == 201, answer.body
    made = ftp.call(
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
    other = ftp.get("/api/virtualservice", join_subresources="runtime", name="other")["results"][0]
    assert other["runtime"]["oper_status"] == {"state": "OPER_DOWN", "reason": ["no service engine in the group empty"]}


def test_summary_names_the_engines(ftp):
    answer = ftp.show("virtualservice", "ftp-vs", "runtime")
    engines = answer["vip_summary"][0]["service_engine"]
    assert [(one["name"], one["primary"], one["standby"], one["connected"]) for one in engines] == [
        ("se1", True, False, True),
        ("se2", False, True, True),
    ]
    assert answer["vip_summary"][0]["percent_ses_up"] == 100


def test_a_list_asks_each_kernel_once(ftp):
    for number in range(5):
        body = {
            "name": f"vs{number}",
            "services": [{"port": 100 + number}],
            "pool_ref": "ftp-pool",
            "vsvip_ref": "ftp-vip",
            "application_profile_ref": "L4-preserve-client-ip",
        }
        assert ftp.call("POST", "/api/virtualservice", body).status == 201
    ftp.drivers["se1"].calls.clear()
    ftp.get("/api/virtualservice", join_subresources="runtime")
    assert ftp.drivers["se1"].calls.count("listeners") == 1
    assert ftp.drivers["se1"].calls.count("addresses") == 1

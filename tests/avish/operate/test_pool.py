from __future__ import annotations


def test_servers_are_up_when_their_tests_pass(ftp_rig):
    summary = ftp_rig.show("pool", "ftp-pool", "runtime")
    assert summary["oper_status"]["state"] == "OPER_UP"
    assert (summary["num_servers"], summary["num_servers_enabled"], summary["num_servers_up"]) == (2, 2, 2)
    servers = ftp_rig.show("pool", "ftp-pool", "runtime/server")
    assert [server["oper_status"]["state"] for server in servers] == ["OPER_UP", "OPER_UP"]
    assert servers[0]["ip_addr"]["addr"] == "10.10.40.101"
    monitors = servers[0]["health_monitor_list"]["health_monitor"]
    assert [(one["name"], one["state"]) for one in monitors] == [("System-TCP", "OPER_UP")]


def test_a_server_that_fails_says_why(ftp_rig):
    ftp_rig.drivers["se1"].down_servers.add(("10.10.40.102", 21))
    summary = ftp_rig.show("pool", "ftp-pool", "runtime")
    assert summary["oper_status"]["state"] == "OPER_UP"
    assert (summary["num_servers_up"], summary["percent_servers_up_total"]) == (1, 50)
    status = ftp_rig.show("pool", "ftp-pool", "runtime/server")[1]["oper_status"]
    assert status == {"state": "OPER_DOWN", "reason": ["connection refused"]}
    found = ftp_rig.show("pool", "ftp-pool", "runtime/server/hmonstat")["server_hm_stat"][1]["shm_runtime"][0]
    assert found["total_count"] == [{"type": "CONNECTION_REFUSED", "count": 1}]
    assert (found["health_monitor_name"], found["health_monitor_type"]) == ("System-TCP", "HEALTH_MONITOR_TCP")


def test_as_many_servers_as_the_pool_needs(ftp_rig):
    ftp_rig.change("pool", "ftp-pool", min_servers_up=2)
    ftp_rig.drivers["se1"].down_servers.add(("10.10.40.102", 21))
    status = ftp_rig.show("pool", "ftp-pool", "runtime")["oper_status"]
    assert status["state"] == "OPER_DOWN"
    assert status["reason"][0] == "1 of 2 servers up, 2 are needed"


def test_without_a_monitor_enabled_servers_are_used(ftp_rig):
    ftp_rig.change("pool", "ftp-pool", health_monitor_refs=[])
    summary = ftp_rig.show("pool", "ftp-pool", "runtime")
    assert summary["oper_status"]["state"] == "OPER_UP"
    assert summary["oper_status"]["reason"] == ["no health monitor tests it: enabled servers are used"]
    assert summary["num_servers_up"] == 2


def test_a_disabled_server_says_so(ftp_rig):
    servers = ftp_rig.one("pool", "ftp-pool")["servers"]
    ftp_rig.change("pool", "ftp-pool", servers=[{**servers[0], "enabled": False}, servers[1]])
    states = [server["oper_status"]["state"] for server in ftp_rig.show("pool", "ftp-pool", "runtime/server")]
    assert states == ["OPER_DISABLED", "OPER_UP"]
    assert ftp_rig.show("pool", "ftp-pool", "runtime")["num_servers_enabled"] == 1


def test_a_pool_that_nothing_uses(rig):
    rig.post("pool", name="p")
    assert (
        rig.get("/api/pool", join_subresources="runtime")["results"][0]["runtime"]["oper_status"]["state"]
        == "OPER_UNUSED"
    )

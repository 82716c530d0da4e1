from __future__ import annotations


def test_an_enabled_server_is_not_checked_and_never_up(ftp_rig):
    summary = ftp_rig.show("pool", "ftp-pool", "runtime")
    assert summary["oper_status"]["state"] == "not checked"
    assert (summary["num_servers"], summary["num_servers_enabled"], summary["num_servers_up"]) == (2, 2, 0)
    servers = ftp_rig.show("pool", "ftp-pool", "runtime/server")
    assert [server["oper_status"]["state"] for server in servers] == ["not checked", "not checked"]
    assert servers[0]["ip_addr"]["addr"] == "10.10.40.101"
    assert servers[0]["health_monitor_list"]["health_monitor"] == [{"name": "System-TCP", "state": "not checked"}]


def test_a_disabled_server_says_so(ftp_rig):
    servers = ftp_rig.one("pool", "ftp-pool")["servers"]
    ftp_rig.change("pool", "ftp-pool", servers=[{**servers[0], "enabled": False}, servers[1]])
    states = [server["oper_status"]["state"] for server in ftp_rig.show("pool", "ftp-pool", "runtime/server")]
    assert states == ["OPER_DISABLED", "not checked"]
    assert ftp_rig.show("pool", "ftp-pool", "runtime")["num_servers_enabled"] == 1


def test_a_pool_that_nothing_uses(rig):
    rig.post("pool", name="p")
    assert (
        rig.get("/api/pool", join_subresources="runtime")["results"][0]["runtime"]["oper_status"]["state"]
        == "OPER_UNUSED"
    )

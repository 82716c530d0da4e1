"""The requests that the modules of the collection vmware.alb make, one after the other, over real HTTPS.

What it sends and how it compares was recorded; test_ansible.py runs the collection itself where there is one.
"""

from __future__ import annotations

import re

import pytest
from httpsrig import Web

V4 = lambda addr: {"addr": addr, "type": "V4"}
PLAYBOOK = [
    ("serviceenginegroup", {
        "name": "Default-Group", "cloud_ref": "/api/cloud?name=Default-Cloud", "max_se": 2,
        "ha_mode": "HA_MODE_LEGACY_ACTIVE_STANDBY",
    }),
    ("healthmonitor", {
        "name": "ftp-monitor", "type": "HEALTH_MONITOR_TCP", "send_interval": 7, "receive_timeout": 4,
        "tcp_monitor": {"tcp_half_open": False},
    }),
    ("pool", {
        "name": "ftp-pool", "default_server_port": 21, "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN",
        "health_monitor_refs": ["/api/healthmonitor?name=ftp-monitor"],
        "servers": [{"ip": V4("10.10.40.101"), "port": 21}, {"ip": V4("10.10.40.102"), "port": 21}],
    }),
    ("applicationprofile", {"name": "ftp-app", "type": "APPLICATION_PROFILE_TYPE_L4", "preserve_client_ip": True}),
    ("vsvip", {"name": "ftp-vip", "vip": [{"vip_id": "1", "ip_address": V4("10.10.10.50")}]}),
    ("virtualservice", {
        "name": "ftp-vs", "vsvip_ref": "/api/vsvip?name=ftp-vip", "pool_ref": "/api/pool?name=ftp-pool",
        "application_profile_ref": "/api/applicationprofile?name=ftp-app",
        "network_profile_ref": "/api/networkprofile?name=System-TCP-Fast-Path", "services": [{"port": 21}],
    }),
    ("natpolicy", {
        "name": "ftp-nat",
        "rules": [{
            "index": 1, "name": "active-data", "enable": True,
            "match": {"source_ip": {"match_criteria": "IS_IN", "prefixes": [{"ip_addr": V4("10.10.40.0"), "mask": 24}]}},
            "action": {"type": "NAT_POLICY_ACTION_TYPE_DYNAMIC_IP_PORT", "nat_info": [{"nat_ip": V4("10.10.10.50")}]},
        }],
    }),
    ("networkservice", {
        "name": "ftp-routing", "se_group_ref": "/api/serviceenginegroup?name=Default-Group",
        "vrf_ref": "/api/vrfcontext?name=global", "service_type": "ROUTING_SERVICE",
        "routing_service": {
            "enable_routing": True, "floating_intf_ip": [V4("10.10.10.1"), V4("10.10.40.1")],
            "nat_policy_ref": "/api/natpolicy?name=ftp-nat",
        },
    }),
]  # fmt: skip
ORDER = [
    "networkservice", "natpolicy", "virtualservice", "vsvip", "applicationprofile", "pool", "healthmonitor",
    "serviceenginegroup",
]  # fmt: skip
"""In which they can be deleted."""
REF = re.compile(r"https://[^/]+/api/[a-z]+/[A-Za-z0-9_.-]+#.+")


def same(wanted, found):
    """The collection's comparison: every given key comes back, lists by position, references by name."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and same(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(same, wanted, found))
    if isinstance(wanted, str) and isinstance(found, str) and REF.fullmatch(found):
        return wanted == found or found.rpartition("#")[2] == (wanted.rpartition("name=")[2] or wanted)
    return str(wanted) == str(found)


class Module:
    """One task: logs in anew, as each module does."""

    def __init__(self, rig):
        self.web = Web(rig.port)
        assert self.web.log_in()[0] == 200
        self.web.headers |= {"Content-Type": "application/json", "X-Avi-Version": "18.2.6", "X-Avi-Tenant": "admin"}

    def found(self, kind, name):
        status, _, body = self.web.ask(
            "GET", f"/api/{kind}?include_refs=&include_name=&name={name.replace(' ', '%20')}"
        )
        assert status == 200, body
        return body["results"][0] if body["results"] else None

    def present(self, kind, body):
        """True when something had to be changed."""
        there = self.found(kind, body["name"])
        if there is None:
            status, _, made = self.web.ask("POST", f"/api/{kind}", body)
            assert status == 201, made
            assert made["tenant_ref"].split("#")[1] == "admin"
            return True
        if same(body, there):
            return False
        status, _, answer = self.web.ask("PUT", f"/api/{kind}/{there['uuid']}", {**there, **body})
        assert status == 200, answer
        return True

    def absent(self, kind, name):
        there = self.found(kind, name)
        if there is None:
            return False, ""
        status, _, answer = self.web.ask("DELETE", f"/api/{kind}/{there['uuid']}?name={name}")
        return status == 204, answer


def play(rig):
    return [Module(rig).present(kind, body) for kind, body in PLAYBOOK]


def test_a_second_run_changes_nothing_and_deletion_goes_in_order(web_rig):
    assert all(play(web_rig))
    revision = web_rig.head.config.revision
    assert not any(play(web_rig))
    assert web_rig.head.config.revision == revision
    done, answer = Module(web_rig).absent("pool", "ftp-pool")
    assert not done
    assert "Cannot delete, object is referred by: ['VirtualService" in answer["error"]
    names = {kind: body["name"] for kind, body in PLAYBOOK}
    for kind in ORDER[:-1]:
        assert Module(web_rig).absent(kind, names[kind])[0], kind
        assert Module(web_rig).absent(kind, names[kind]) == (False, "")
    done, answer = Module(web_rig).absent(ORDER[-1], names[ORDER[-1]])
    assert not done
    assert "Cannot delete system default object" in answer["error"]


def test_a_group_of_ones_own_comes_and_goes(web_rig):
    group = {"name": "own", "cloud_ref": "/api/cloud?name=Default-Cloud", "ha_mode": "HA_MODE_LEGACY_ACTIVE_STANDBY"}
    assert [Module(web_rig).present("serviceenginegroup", group) for _ in range(2)] == [True, False]
    assert Module(web_rig).absent("serviceenginegroup", "own") == (True, None)


def test_references_have_their_names_behind_them(web_rig):
    for kind, body in PLAYBOOK[:6]:
        Module(web_rig).present(kind, body)
    service = Module(web_rig).found("virtualservice", "ftp-vs")
    refs = [value for key, value in service.items() if key.endswith("_ref")]
    assert refs
    assert all(REF.fullmatch(ref) or "/" not in ref for ref in refs), refs


def test_system_objects_are_not_deleted(web_rig):
    done, answer = Module(web_rig).absent("healthmonitor", "System-TCP")
    assert not done
    assert "system default" in answer["error"]


def test_a_json_patch(web_rig):
    module = Module(web_rig)
    module.present("pool", {"name": "p", "servers": [{"ip": {"addr": "10.10.40.7", "type": "V4"}}]})
    uuid = module.found("pool", "p")["uuid"]
    steps = [
        {"op": "replace", "path": "/servers/0/ratio", "value": 5},
        {"op": "add", "path": "/description", "value": "x"},
    ]
    status, _, body = module.web.ask("PATCH", f"/api/pool/{uuid}", {"json_patch": steps})
    assert (status, body["servers"][0]["ratio"], body["description"]) == (200, 5, "x")
    status, _, body = module.web.ask(
        "PATCH", f"/api/pool/{uuid}", {"json_patch": [{"op": "add", "path": "/servers/9/ip"}]}
    )
    assert status == 400
    assert "json_patch[0]" in body["error"]


def test_names_that_come_along_are_let_pass(web_rig):
    assert Module(web_rig).present(
        "pool", {"name": "p", "tenant_ref": "/api/tenant?name=admin", "cloud_ref": "/api/cloud/?name=Default-Cloud"}
    )
    status, _, body = Module(web_rig).web.ask("POST", "/api/pool", {"name": "q", "application_profile_name": "x"})
    assert status == 201, body


@pytest.mark.parametrize("uuid", ["", "pool-no-such"])
def test_what_is_not_there(web_rig, uuid):
    status, _, body = Module(web_rig).web.ask("GET", f"/api/pool/{uuid or 'x'}")
    assert status == 404
    assert "Pool object" in body["error"]
    assert "not found!" in body["error"]

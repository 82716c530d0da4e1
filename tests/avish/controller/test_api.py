from __future__ import annotations

import json

import pytest

from avish.config.checks import CHECKS
from avish.errors import SchemaError
from dataplane.errors import RefusedError


def test_a_fresh_controller_shows_its_engines_in_the_order_of_the_topology(rig):
    engines = rig.get("/api/serviceengine")["results"]
    assert [engine["name"] for engine in engines] == ["se1", "se2"]
    assert engines[0]["se_group_ref"].endswith("#Default-Group")
    vnic = engines[0]["data_vnics"][0]
    assert (vnic["if_name"], vnic["mac_address"], vnic["mtu"]) == ("eth1", "02:00:00:00:01:01", 1500)
    assert vnic["vnic_networks"][0]["ip"] == {"ip_addr": {"addr": "10.10.10.11", "type": "V4"}, "mask": 24}


def test_post_get_put_delete(rig):
    made = rig.call("POST", "/api/pool", {"name": "web", "servers": [{"ip": {"addr": "10.10.40.9", "type": "V4"}}]})
    assert made.status == 201
    body = made.body
    assert made.headers["Location"] == body["url"] == f"https://c/api/pool/{body['uuid']}#web"
    assert body["tenant_ref"] == "https://c/api/tenant/admin#admin"
    assert body["servers"][0]["ratio"] == 1
    assert rig.get(f"/api/pool/{body['uuid']}") == body
    changed = rig.call("PUT", f"/api/pool/{body['uuid']}", {**body, "default_server_port": 81})
    assert (changed.status, changed.body["default_server_port"]) == (200, 81)
    assert rig.call("DELETE", f"/api/pool/{body['uuid']}").status == 204
    assert rig.call("GET", f"/api/pool/{body['uuid']}").status == 404


def test_the_same_again_makes_no_revision(ftp_rig):
    revision = ftp_rig.head.config.revision
    answer = ftp_rig.change("pool", "ftp-pool")
    assert answer.status == 200
    assert ftp_rig.head.config.revision == revision
    assert answer.headers["X-Avish-Revision"] == str(revision)


@pytest.mark.parametrize(
    ("form"),
    [
        "https://c/api/pool/{uuid}#p",
        "https://other:8443/api/pool/{uuid}",
        "/api/pool/{uuid}",
        "/api/pool?name=p",
        "/api/pool/?name=p",
        "{uuid}",
        "p",
    ],
)
def test_references_in_every_form(ftp_rig, form):
    uuid = ftp_rig.post("pool", name="p")["uuid"]
    answer = ftp_rig.change("virtualservice", "ftp-vs", pool_ref=form.format(uuid=uuid))
    assert answer.status == 200, answer.body
    assert answer.body["pool_ref"] == f"https://c/api/pool/{uuid}#p"


def test_paths_as_clients_write_them(rig):
    assert rig.get("/api//pool/")["count"] == 0
    assert rig.get("/api/serviceengine/", name="se2")["count"] == 1
    assert rig.get("/api/serviceengine", name="nobody") == {"count": 0, "results": []}


def test_fields_and_pages(rig):
    for number in range(5):
        rig.post("pool", name=f"p{number}")
    assert set(rig.get("/api/pool", fields="name")["results"][0]) == {"url", "uuid", "name"}
    page = rig.get("/api/pool", page="2", page_size="2")
    assert [body["name"] for body in page["results"]] == ["p2", "p3"]
    assert (page["count"], page["next"]) == (5, "https://c/api/pool?page=3&page_size=2")
    assert "next" not in rig.get("/api/pool", page="3", page_size="2")
    assert len(rig.get("/api/pool", page_size="-1")["results"]) == 5
    assert rig.call("GET", "/api/pool", page="x").status == 400


def test_filter_by_the_name_of_a_reference(rig):
    assert rig.get("/api/serviceengine", **{"cloud_ref.name": "Default-Cloud"})["count"] == 2
    assert rig.get("/api/serviceengine", **{"cloud_ref.name": "other"})["count"] == 0


def test_joins(ftp_rig):
    body = ftp_rig.get("/api/virtualservice", joins="vsvip_ref")["results"][0]
    assert body["vsvip_ref_data"]["vip"][0]["ip_address"]["addr"] == "10.10.10.50"
    assert (
        ftp_rig.get("/api/pool", joins="health_monitor_refs")["results"][0]["health_monitor_refs_data"][0]["name"]
        == "System-TCP"
    )
    assert ftp_rig.get("/api/pool", joins="tenant_ref")["results"][0]["tenant_ref_data"]["name"] == "admin"
    assert "nonsense_data" not in ftp_rig.get("/api/pool", joins="nonsense")["results"][0]


def test_a_list_that_did_not_change_is_not_sent_again(rig):
    first = rig.call("GET", "/api/pool", fields="name")
    tag = first.headers["ETag"]
    assert rig.call("GET", "/api/pool", headers={"if-none-match": tag}).status == 304
    rig.post("pool", name="p")
    assert rig.call("GET", "/api/pool", headers={"if-none-match": tag}).status == 200
    assert "ETag" not in rig.call("GET", "/api/virtualservice", join_subresources="runtime").headers


def test_an_unknown_type_names_the_nearest(rig):
    answer = rig.call("GET", "/api/virtualservic")
    assert answer.status == 404
    assert "did you mean 'virtualservice'" in answer.body["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("PUT", "/api/pool", 400),
        ("POST", "/api/pool/x", 405),
        ("PUT", "/api/pool/x", 400),
        ("DELETE", "/api/pool/x", 404),
        ("GET", "/api/serviceengine/x/vshash", 404),
        ("GET", "/api/transaction", 405),
        ("TRACE", "/api/pool", 405),
        ("DELETE", "/api/pool/x/y", 405),
    ],
)
def test_what_cannot_be_meant_is_refused(rig, method, path, status):
    answer = rig.call(method, path)
    assert answer.status == status
    assert answer.body["error"]


def test_an_unknown_command_names_those_there_are(rig):
    uuid = rig.one("serviceengine", "se1")["uuid"]
    answer = rig.call("GET", f"/api/serviceengine/{uuid}/vshas")
    assert answer.status == 404
    assert "vshash" in answer.body["error"]


def test_every_issue_is_told_with_its_path(rig):
    answer = rig.call("POST", "/api/pool", {"name": "p", "colour": 1, "default_server_port": 99999})
    assert answer.status == 400
    assert len(answer.body["issues"]) == 2
    assert all(issue["path"].startswith("pool p") for issue in answer.body["issues"])
    assert rig.get("/api/pool")["count"] == 0


def test_a_taken_name_is_a_conflict(rig):
    rig.post("pool", name="p")
    assert rig.call("POST", "/api/pool", {"name": "p"}).status == 409


def test_a_stale_write_says_who_was_faster(rig):
    body = rig.post("pool", name="p")
    assert rig.call("PUT", f"/api/pool/{body['uuid']}", {**body, "default_server_port": 81}).status == 200
    answer = rig.call("PUT", f"/api/pool/{body['uuid']}", {**body, "default_server_port": 82})
    assert answer.status == 412
    assert "admin" in answer.body["error"]
    assert "20" in answer.body["error"]  # a date of this century
    unconditional = {name: value for name, value in body.items() if name != "_last_modified"}
    assert rig.call("PUT", f"/api/pool/{body['uuid']}", unconditional).status == 200


def test_warnings_stand_in_a_header(rig):
    answer = rig.call("POST", "/api/pool", {"name": "p", "max_conn_rate_per_server": {"action": {}}})
    warnings = json.loads(answer.headers["X-Avish-Warnings"])
    assert any("RL_ACTION_NONE" in text for text in warnings)
    answer.headers["X-Avish-Warnings"].encode("ascii")


def test_who_is_unknown_does_not_get_in(rig):
    assert rig.call("GET", "/api/pool", user="").status == 403
    assert rig.call("GET", "/api/pool", user="bob").status == 200


def test_a_slug_fixes_the_uuid(rig):
    assert rig.call("POST", "/api/pool", {"name": "a"}, headers={"slug": "pool-mine"}).body["uuid"] == "pool-mine"
    assert rig.call("POST", "/api/pool", {"name": "b"}, headers={"slug": "pool-mine"}).status == 409
    assert rig.call("POST", "/api/pool", {"name": "c"}, headers={"slug": "../etc"}).status == 400


def test_small_reports(rig):
    assert rig.get("/api/cluster/version")["Version"]
    assert rig.get("/api/initial-data")["version"]["Version"]
    assert rig.get("/api/cluster/runtime")["cluster_state"]["state"]
    report = rig.get("/api/avish/status")
    assert [engine["status"] for engine in report["engines"]] == ["connected", "connected"]
    assert rig.get("/api/avish/check")["consistent"] is True


def test_an_engine_that_is_away_is_503(rig):
    uuid = rig.one("serviceengine", "se1")["uuid"]
    rig.drivers["se1"].reachable = False
    answer = rig.call("GET", f"/api/serviceengine/{uuid}/vshash")
    assert answer.status == 503
    assert "does not answer" in answer.body["error"]


def test_an_engine_that_refuses_is_not_one_that_is_away(rig):
    uuid = rig.one("serviceengine", "se1")["uuid"]
    rig.drivers["se1"].failures["listeners"] = RefusedError("netlink: too many open files")
    answer = rig.call("GET", f"/api/serviceengine/{uuid}/vshash")
    assert (answer.status, answer.body["error"]) == (422, "netlink: too many open files")


def test_a_grammar_with_a_check_that_is_not_there_does_not_start(rig, monkeypatch):
    monkeypatch.delitem(CHECKS, "pool_servers_once")
    with pytest.raises(SchemaError, match="unknown check 'pool_servers_once'"):
        rig.restart()


def test_an_incomplete_body_is_told_what_is_missing(rig):
    vsvip = {"name": "v", "vip": [{"vip_id": "1", "ip_address": "10.10.10.60"}]}
    assert rig.call("POST", "/api/vsvip", vsvip).status == 201
    answer = rig.call("POST", "/api/virtualservice", {"name": "vs", "vsvip_ref": "v", "services": [{}]})
    assert answer.status == 400
    assert "virtualservice vs services[1].port: port is missing" in answer.body["error"]

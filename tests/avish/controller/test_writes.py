from __future__ import annotations

import pytest

from avish.controller.bodies import patched
from avish.errors import ValidationError
from dataplane.errors import RefusedError


def send(rig, *requests, **query):
    entries = [{"method": method, "path": path, "body": body} for method, path, body in requests]
    return rig.call("POST", "/api/transaction", {"requests": entries}, **query)


def test_many_objects_are_one_revision(rig):
    before = rig.head.config.revision
    answer = send(
        rig,
        ("POST", "/api/pool", {"name": "p"}),
        (
            "POST",
            "/api/vsvip",
            {"name": "v", "vip": [{"vip_id": "1", "ip_address": {"addr": "10.10.10.60", "type": "V4"}}]},
        ),
        (
            "POST",
            "/api/virtualservice",
            {
                "name": "vs",
                "services": [{"port": 80}],
                "pool_ref": "p",
                "vsvip_ref": "v",
                "application_profile_ref": "System-L4-Application",
            },
        ),
    )
    assert answer.status == 200, answer.body
    assert [result["status"] for result in answer.body["results"]] == [201, 201, 201]
    assert answer.body["results"][2]["body"]["pool_ref"].endswith("#p")
    assert rig.head.config.revision == before + 1


def test_later_requests_see_earlier_ones(rig):
    answer = send(
        rig,
        ("POST", "/api/pool", {"name": "p", "servers": [{"ip": "10.10.40.1"}]}),
        ("PATCH", "/api/pool?name=p", {"add": {"servers": [{"ip": "10.10.40.2"}]}}),
        ("PUT", "/api/pool?name=q", {"name": "q"}),
    )
    assert answer.status == 404
    assert rig.get("/api/pool")["count"] == 0
    answer = send(
        rig,
        ("POST", "/api/pool", {"name": "p", "servers": [{"ip": "10.10.40.1"}]}),
        ("PATCH", "/api/pool?name=p", {"add": {"servers": [{"ip": "10.10.40.2"}]}}),
    )
    assert answer.status == 200, answer.body
    assert len(rig.one("pool", "p")["servers"]) == 2


def test_all_or_nothing(rig):
    answer = send(rig, ("POST", "/api/pool", {"name": "p"}), ("POST", "/api/pool", {"name": "q", "colour": 1}))
    assert answer.status == 400
    assert rig.get("/api/pool")["count"] == 0


def test_a_dry_run_tells_and_changes_nothing(ftp_rig):
    before, ids = ftp_rig.head.config, ftp_rig.head.ids
    ftp_rig.drivers["se1"].calls.clear()
    server = {"ip": "10.10.40.103", "port": 21}
    answer = send(
        ftp_rig,
        ("PATCH", "/api/pool?name=ftp-pool", {"add": {"servers": [server]}}),
        ("DELETE", "/api/ipaddrgroup?name=nobody", None),
        dryrun="1",
    )
    assert answer.status == 404
    answer = send(ftp_rig, ("PATCH", "/api/pool?name=ftp-pool", {"add": {"servers": [server]}}), dryrun="1")
    assert answer.status == 200
    change = answer.body["objects"][0]
    assert (change["action"], change["type"], change["name"]) == ("update", "pool", "ftp-pool")
    assert change["changes"][0]["field"] == "servers[3]"
    assert "change service 1" in answer.body["kernel"]["se1"][0]
    assert ftp_rig.head.config is before
    assert ftp_rig.head.ids is ids
    assert ftp_rig.drivers["se1"].calls == ["check"]


def test_a_dry_run_asks_the_kernel(ftp_rig):
    ftp_rig.drivers["se1"].failures["check"] = RefusedError("the kernel says no")
    answer = ftp_rig.call("PATCH", "/api/pool", {"replace": {"enabled": False}}, name="ftp-pool", dryrun="1")
    assert answer.status == 422


def test_a_dry_run_of_a_single_write(rig):
    answer = rig.call("POST", "/api/pool", {"name": "p"}, dryrun="1")
    assert (answer.status, answer.body["objects"][0]["action"], answer.body["kernel"]) == (200, "create", {})
    assert rig.get("/api/pool")["count"] == 0


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"requests": [1]},
        {"requests": [{}]},
        {"requests": [{"method": "GET", "path": "/api/pool"}]},
        {"requests": [{"method": "PUT", "path": "/api/pool"}]},
        {"requests": [{"method": "POST", "path": "/api/nothing"}]},
        {"requests": [{"method": "PUT", "path": "//["}]},
    ],
)
def test_a_transaction_that_is_none(rig, body):
    assert rig.call("POST", "/api/transaction", body).status in (400, 404)


def test_patch_deletes_list_entries_by_some_of_their_fields(ftp_rig):
    answer = ftp_rig.call(
        "PATCH", "/api/pool", {"delete": {"servers": [{"ip": {"addr": "10.10.40.101", "type": "V4"}}]}}, name="ftp-pool"
    )
    assert answer.status == 200, answer.body
    assert [server["ip"]["addr"] for server in answer.body["servers"]] == ["10.10.40.102"]


def test_patch_values():
    body = {"a": 1, "list": [1, 2]}
    assert patched(body, {"add": {"list": [2, 3]}}) == {"a": 1, "list": [1, 2, 3]}
    assert patched(body, {"replace": {"list": [9]}, "delete": {"a": None}}) == {"list": [9]}
    assert patched(body, {"delete": {"list": 1}})["list"] == [2]
    for wrong in (None, {}, {"merge": {}}, {"add": 1}):
        with pytest.raises(ValidationError):
            patched(body, wrong)


def test_an_engine_that_runs_is_not_deleted(rig):
    uuid = rig.one("serviceengine", "se2")["uuid"]
    answer = rig.call("DELETE", f"/api/serviceengine/{uuid}")
    assert (answer.status, answer.body["error"]) == (
        403,
        "serviceengine se2 runs here: it goes when the topology no longer has it",
    )


def test_an_engine_is_not_made_up(rig):
    answer = rig.call("POST", "/api/serviceengine", {"name": "ghost", "se_group_ref": "Default-Group"})
    assert answer.status == 400
    assert "engines come from the topology (here: se1, se2)" in answer.body["error"]

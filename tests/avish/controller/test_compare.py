"""What differs between two states: running, a revision, a candidate, the kernel."""

import pytest

from avish.controller.compare import Names, differences, in_words
from avish.schema.load import schema

NAMES = Names(lambda ref: ref.rpartition("/")[2], lambda ref: ref.rpartition("/")[2])


def compared(kind, old, new):
    return [(one["field"], one["old"], one["new"]) for one in differences(schema().object(kind), old, new, NAMES)]


def server(ip, **more):
    return {"ip": {"addr": ip, "type": "V4"}, "port": 80, "ratio": 1, **more}


def test_fields_with_their_paths():
    old = {"uuid": "pool-1", "name": "p", "_last_modified": "1", "servers": [server("10.0.0.1"), server("10.0.0.2")]}
    new = {**old, "_last_modified": "2", "description": "d"}
    new["servers"] = [server("10.0.0.1"), server("10.0.0.2", ratio=5)]
    assert compared("pool", old, new) == [("servers[2].ratio", 1, 5), ("description", None, "d")]
    assert compared("pool", new, {**new, "_last_modified": "9"}) == []


def test_an_element_is_told_by_its_key_not_by_its_place():
    old = {"servers": [server("10.0.0.1"), server("10.0.0.2"), server("10.0.0.3")]}
    gone = {"servers": old["servers"][1:]}
    assert compared("pool", old, gone) == [("servers[1]", {"ip": "10.0.0.1", "port": 80}, None)]
    assert compared("pool", gone, old) == [("servers[1]", None, {"ip": "10.0.0.1", "port": 80})]
    assert compared("pool", old, {"servers": old["servers"][::-1]}) == [("servers (order)", [1, 2, 3], [3, 2, 1])]


def test_references_are_names_and_addresses_text():
    refs = ["/api/healthmonitor/a"], ["/api/healthmonitor/a", "/api/healthmonitor/b"]
    assert compared("pool", {"health_monitor_refs": refs[0]}, {"health_monitor_refs": refs[1]}) == [
        ("health_monitor_refs", ["a"], ["a", "b"])
    ]
    old, new = ({"vip": [{"vip_id": "0", "ip_address": {"addr": ip, "type": "V4"}}]} for ip in ("10.0.0.1", "10.0.0.2"))
    assert compared("vsvip", old, new) == [("vip[1].ip_address", "10.0.0.1", "10.0.0.2")]


def test_a_secret_shows_that_it_changed_and_nothing_else(monkeypatch):
    from avish.schema.types import Secret

    monkeypatch.setattr(schema().object("pool").fields["description"], "type", Secret())
    assert compared("pool", {"description": "old"}, {"description": "new"}) == [
        ("description", "<sensitive>", "<sensitive>")
    ]


def test_what_comes_or_goes_is_told_without_defaults():
    body = {
        "uuid": "pool-1",
        "name": "p",
        "_last_modified": "1",
        "default_server_port": 80,
        "servers": [server("1.1.1.1")],
    }
    assert compared("pool", None, body) == [
        ("name", None, "p"),
        ("servers[1]", None, {"ip": "1.1.1.1", "port": 80}),
    ]
    assert compared("pool", body, None)[0] == ("name", "p", None)


def test_words():
    found = [
        {"field": "servers[2].ratio", "old": 1, "new": 5},
        {"field": "enabled", "old": True, "new": False},
        {"field": "description", "old": None, "new": "d"},
        {"field": "servers[3]", "old": {"ip": "10.0.0.1"}, "new": None},
    ]
    assert in_words(found) == (
        "servers[2].ratio 1 -> 5, enabled true -> false, description set to d, servers[3] removed (ip 10.0.0.1)"
    )
    assert in_words(found * 3).endswith("and 4 more fields")


# --- over REST


def test_two_revisions(ftp_rig):
    before = ftp_rig.head.config.revision
    ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    ftp_rig.post("pool", name="fresh")
    found = ftp_rig.get("/api/compare", **{"from": str(before), "to": "running"})
    assert (found["from"], found["to"]) == (str(before), "running")
    assert sorted((one["action"], one["type"], one["name"]) for one in found["objects"]) == [
        ("create", "pool", "fresh"),
        ("update", "virtualservice", "ftp-vs"),
    ]
    changes = next(one["changes"] for one in found["objects"] if one["name"] == "ftp-vs")
    assert {change["field"].partition("[")[0] for change in changes} == {"services"}
    assert sorted(found["kernel"]) == ["se1", "se2"]
    assert ":2121" in found["kernel"]["se1"][0]
    back = ftp_rig.get("/api/compare", **{"from": "running", "to": str(before)})
    assert sorted(one["action"] for one in back["objects"]) == ["delete", "update"]
    assert ftp_rig.get("/api/compare") == {"from": "running", "to": "running", "objects": [], "kernel": {}}


def test_names_are_those_of_their_time(ftp_rig):
    monitor = ftp_rig.post("healthmonitor", name="first", type="HEALTH_MONITOR_TCP")
    ftp_rig.change("pool", "ftp-pool", health_monitor_refs=["first"])
    number = ftp_rig.head.config.revision
    ftp_rig.call("PUT", f"/api/healthmonitor/{monitor['uuid']}", {**monitor, "name": "second"})
    ftp_rig.change("pool", "ftp-pool", health_monitor_refs=[])
    (one,) = ftp_rig.get(f"/api/commits/{number}")["changes"]
    assert (one["changes"][0]["field"], one["changes"][0]["new"]) == ("health_monitor_refs", ["first"])
    objects = ftp_rig.get("/api/compare", **{"from": str(number), "to": "running"})["objects"]
    assert next(one for one in objects if one["type"] == "pool")["changes"][0]["old"] == ["first"]


def test_the_kernel_as_found(ftp_rig):
    same = {"objects": [], "kernel": {}}
    assert ftp_rig.get("/api/compare", **{"from": "running", "to": "kernel"}) == {
        "from": "running",
        "to": "kernel",
        **same,
    }
    ftp_rig.drivers["se1"].kernel = type(ftp_rig.drivers["se1"].kernel)()
    found = ftp_rig.get("/api/compare", **{"from": "kernel", "to": "running"})
    assert (found["objects"], list(found["kernel"])) == ([], ["se1"])
    assert found["kernel"]["se1"] == ftp_rig.get("/api/avish/check")["engines"]["se1"]


@pytest.mark.parametrize(
    ("start", "end", "status"),
    [
        ("999", "running", 404),
        ("0", "running", 404),
        ("-1", "1", 404),
        ("x", "1", 400),
        ("3", "kernel", 400),
        ("dry-x", "1", 410),
    ],
)
def test_places_that_are_none(rig, start, end, status):
    answer = rig.call("GET", "/api/compare", **{"from": start, "to": end})
    assert (answer.status, bool(answer.body["error"])) == (status, True)


def test_a_conflict_says_who_changed_what(rig):
    body = rig.post("pool", name="web", servers=[{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}])
    theirs = [{**one, "ratio": 5} if one["ip"]["addr"] == "10.0.0.2" else one for one in body["servers"]]
    assert rig.call("PUT", f"/api/pool/{body['uuid']}", {**body, "servers": theirs}, user="bob").status == 200
    answer = rig.call("PUT", f"/api/pool/{body['uuid']}", {**body, "description": "mine"})
    assert answer.status == 412
    assert answer.body["error"].startswith("pool web was changed by bob at 20")
    assert "servers[2].ratio 1 -> 5" in answer.body["error"]
    conflict = answer.body["conflict"]
    assert (conflict["user"], conflict["name"]) == ("bob", "web")
    assert conflict["changes"] == [{"field": "servers[2].ratio", "old": 1, "new": 5}]
    rig.call("DELETE", f"/api/pool/{body['uuid']}", user="carl")
    answer = rig.call("PUT", "/api/pool", body, name="web")
    assert answer.status == 404
    gone = rig.call("PUT", f"/api/pool/{body['uuid']}", body)
    assert (gone.status, gone.body["conflict"]["user"], gone.body["conflict"]["changes"]) == (412, "carl", [])

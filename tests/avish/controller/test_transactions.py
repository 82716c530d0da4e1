"""Transactions as a whole, chains of dry runs, commits and the way back to them."""

import json
import random

import pytest

from avish.controller.rehearsals import KEPT
from avish.schema.load import schema


def send(rig, *requests, **query):
    entries = [{"method": method, "path": path, "body": body} for method, path, body in requests]
    return rig.call("POST", "/api/transaction", {"requests": entries}, **query)


def numbered(answer):
    return [(issue.get("request"), issue["text"]) for issue in answer.body["issues"]]


# --- one revision, or none


def test_brief_leaves_the_results_out(rig):
    before = rig.head.config.revision
    answer = send(rig, ("POST", "/api/pool", {"name": "p"}), brief="1")
    assert answer.body == {"revision": before + 1}
    assert send(rig, ("PUT", "/api/pool?name=p", {"name": "p"})).body["revision"] == before + 1


def test_every_error_at_once_with_the_number_of_its_request(rig):
    before = rig.head
    answer = send(
        rig,
        ("POST", "/api/pool", {"name": "p", "colour": 1, "default_server_port": 99999}),
        ("GET", "/api/pool", None),
        ("POST", "/api/nonsense", {}),
        ("DELETE", "/api/pool?name=nobody", None),
        ("POST", "/api/pool", {"name": "sound"}),
        ("PUT", "/api/pool", {"name": "p"}),
        ("PATCH", "/api/pool?name=sound", {"merge": {}}),
    )
    assert answer.status == 400
    assert [number for number, _ in numbered(answer)] == [0, 0, 1, 2, 3, 5, 6]
    assert rig.head is before


def test_a_single_write_has_no_numbers(rig):
    answer = rig.call("POST", "/api/pool", {"name": "p", "colour": 1})
    assert [number for number, _ in numbered(answer)] == [None]


def test_a_thousand_objects_are_one_revision_and_one_change_per_kernel(ftp_rig):
    before, calls = ftp_rig.head.config.revision, ftp_rig.drivers["se1"].calls
    calls.clear()
    requests = [("POST", "/api/pool", {"name": f"p{n}", "servers": [{"ip": "10.10.40.9"}]}) for n in range(999)]
    requests.append(("PATCH", "/api/virtualservice?name=ftp-vs", {"replace": {"services": [{"port": 2121}]}}))
    answer = send(ftp_rig, *requests, brief="1")
    assert answer.body == {"revision": before + 1}
    assert calls == ["check", "apply"]
    assert ftp_rig.get(f"/api/commits/{before + 1}")["objects"] == 1000


def test_a_comment_is_kept(rig):
    rig.call("POST", "/api/pool", {"name": "p"}, headers={"x-avish-comment": "f%C3%BCr%20anna"})
    assert rig.get("/api/commits")["results"][0]["comment"] == "für anna"


# --- singletons


@pytest.fixture
def cluster(rig, monkeypatch):
    """A type of which there is exactly one, whatever the grammar has."""
    kind = schema().object("ipaddrgroup")
    monkeypatch.setattr(kind, "singleton", True)
    monkeypatch.setattr(kind.fields["name"], "required", False)
    return rig


def test_a_singleton_answers_itself(cluster):
    assert cluster.get("/api/ipaddrgroup")["uuid"] == "ipaddrgroup"
    changed = cluster.call("PUT", "/api/ipaddrgroup", {"description": "d"})
    assert (changed.status, changed.body["description"]) == (200, "d")
    assert cluster.call("PATCH", "/api/ipaddrgroup", {"replace": {"description": "e"}}).status == 200
    assert send(cluster, ("PATCH", "/api/ipaddrgroup", {"delete": {"ranges": None}})).status == 200
    assert cluster.get("/api/ipaddrgroup/ipaddrgroup")["description"] == "e"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_singleton_is_neither_made_nor_deleted(cluster, method):
    answer = cluster.call(method, "/api/ipaddrgroup", {})
    assert (answer.status, "exactly one" in answer.body["error"]) == (405, True)
    assert send(cluster, (method, "/api/ipaddrgroup", {})).status == 405


# --- dry runs, one after the other


def test_a_dry_run_goes_on_from_another(ftp_rig):
    before = ftp_rig.head
    first = send(ftp_rig, ("POST", "/api/pool", {"name": "p", "servers": [{"ip": "10.10.40.1"}]}), dryrun="1")
    token = first.body["token"]
    (seen,) = ftp_rig.get("/api/pool", name="p", after=token)["results"]
    assert seen["servers"][0]["hostname"] == "10.10.40.1"  # filled in by the controller
    second = send(
        ftp_rig, ("PATCH", "/api/virtualservice?name=ftp-vs", {"replace": {"pool_ref": "p"}}), dryrun="1", after=token
    )
    assert second.status == 200, second.body
    assert [one["name"] for one in second.body["objects"]] == ["ftp-vs"]
    assert second.body["objects"][0]["changes"] == [{"field": "pool_ref", "old": "ftp-pool", "new": "p"}]
    assert list(second.body["kernel"]) == ["se1", "se2"]
    third = ftp_rig.call(
        "PUT", "/api/pool", {**seen, "description": "d"}, name="p", dryrun="1", after=second.body["token"]
    )
    assert (third.status, third.body["kernel"]) == (200, {})
    whole = ftp_rig.get("/api/compare", **{"from": "running", "to": third.body["token"]})
    assert sorted(one["name"] for one in whole["objects"]) == ["ftp-vs", "p"]
    assert whole["kernel"] == second.body["kernel"]
    assert ftp_rig.head is before
    assert ftp_rig.get("/api/pool", name="p")["count"] == 0


def test_the_kernel_is_asked_about_the_whole_chain(ftp_rig):
    first = send(
        ftp_rig, ("PATCH", "/api/virtualservice?name=ftp-vs", {"replace": {"services": [{"port": 2121}]}}), dryrun="1"
    )
    second = send(ftp_rig, ("POST", "/api/pool", {"name": "p"}), dryrun="1", after=first.body["token"])
    assert second.body["kernel"] == {}
    assert ftp_rig.drivers["se1"].calls[-2:] == ["check", "check"]


def test_a_conflict_in_a_chain_is_with_the_chain(rig):
    body = rig.post("pool", name="p")
    first = rig.call("PUT", "/api/pool", {**body, "description": "a"}, name="p", dryrun="1")
    token = first.body["token"]
    stale = rig.call("PUT", "/api/pool", {**body, "description": "b"}, name="p", dryrun="1", after=token)
    assert stale.status == 412
    (seen,) = rig.get("/api/pool", name="p", after=token)["results"]
    assert rig.call("PUT", "/api/pool", {**seen, "description": "b"}, name="p", dryrun="1", after=token).status == 200


def test_tokens_that_are_not_known(rig):
    assert rig.call("GET", "/api/pool", after="dry-gone").status == 410
    assert send(rig, ("POST", "/api/pool", {"name": "p"}), dryrun="1", after="dry-gone").status == 410
    oldest = rig.call("POST", "/api/pool", {"name": "p"}, dryrun="1").body["token"]
    assert rig.call("POST", "/api/pool", {"name": "p"}, after=oldest).status == 400
    for _ in range(KEPT):
        rig.call("POST", "/api/pool", {"name": "p"}, dryrun="1")
    answer = rig.call("GET", "/api/pool", after=oldest)
    assert (answer.status, "repeat it from its start" in answer.body["error"]) == (410, True)


def test_a_candidate_is_not_mistaken_for_what_runs(rig):
    tag = rig.call("GET", "/api/pool").headers["ETag"]
    token = rig.call("POST", "/api/pool", {"name": "p"}, dryrun="1").body["token"]
    answer = rig.call("GET", "/api/pool", headers={"if-none-match": tag}, after=token)
    assert (answer.status, answer.body["count"], "ETag" in answer.headers) == (200, 1, False)


# --- commits, and back


def test_commits(rig):
    rig.call("POST", "/api/pool", {"name": "p"}, user="anna", headers={"x-avish-comment": "why"})
    rig.call("DELETE", "/api/pool", name="p")
    newest = rig.head.config.revision
    answer = rig.get("/api/commits", page_size="2")
    assert answer["count"] == newest
    last, made = answer["results"]
    assert (last["id"], last["back"], last["objects"], last["state"]) == (newest, 0, 1, "confirmed")
    assert {key: made[key] for key in ("id", "user", "source", "comment", "back")} == {
        "id": newest - 1,
        "user": "anna",
        "source": "test",
        "comment": "why",
        "back": 1,
    }
    assert made["time"].endswith("+00:00")
    assert rig.get("/api/commits", page_size="2", page="2")["results"][0]["id"] == newest - 2
    (gone,) = rig.get(f"/api/commits/{newest}")["changes"]
    assert (gone["action"], gone["name"]) == ("delete", "p")
    first = rig.get("/api/commits/1")
    assert (first["user"], {one["action"] for one in first["changes"]}) == ("system", {"create"})
    for wrong in ("0", "99", "x"):
        assert rig.call("GET", f"/api/commits/{wrong}").status in (400, 404)


def test_rolled_back_is_as_it_was(ftp_rig):
    before, calls = ftp_rig.head, ftp_rig.drivers["se1"].calls
    ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}], description="x")
    ftp_rig.post("pool", name="fresh")
    ftp_rig.call("DELETE", "/api/virtualservice", name="ftp-vs")
    ftp_rig.call("DELETE", "/api/pool", name="ftp-pool")
    plan = ftp_rig.call("POST", "/api/rollback", {"to": before.config.revision}, dryrun="1")
    assert sorted((one["action"], one["name"]) for one in plan.body["objects"]) == [
        ("create", "ftp-pool"),
        ("create", "ftp-vs"),
        ("delete", "fresh"),
    ]
    assert ftp_rig.one("pool", "fresh")
    calls.clear()
    answer = ftp_rig.call("POST", "/api/rollback", {"to": before.config.revision})
    assert answer.body == {"revision": before.config.revision + 5}
    assert calls == ["check", "apply"]
    assert ftp_rig.head.ids == before.ids
    assert ftp_rig.head.desired == before.desired
    same = ftp_rig.get("/api/compare", **{"from": str(before.config.revision), "to": "running"})
    assert (same["objects"], same["kernel"]) == ([], {})
    for kind in before.config.types():
        assert ftp_rig.head.config.table(kind) == before.config.table(kind), kind
    assert ftp_rig.get("/api/avish/check")["consistent"] is True
    ftp_rig.restart()
    assert ftp_rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 21


def test_back_by_number(rig):
    rig.post("pool", name="p")
    rig.post("pool", name="q")
    revision = rig.head.config.revision
    assert rig.call("POST", "/api/rollback", {"back": 0}).body == {"revision": revision}
    assert rig.call("POST", "/api/rollback", {"back": 1}).body == {"revision": revision + 1}
    assert [body["name"] for body in rig.get("/api/pool")["results"]] == ["p"]
    assert rig.call("POST", "/api/rollback", {"back": 1}).status == 200
    assert rig.get("/api/pool")["count"] == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"to": 99}, 404),
        ({"to": 0}, 404),
        ({"back": 99}, 404),
        ({"back": -1}, 404),
        ({"to": "1"}, 400),
        ({"to": True}, 400),
        ({"to": 1, "back": 1}, 400),
        ({}, 400),
        (None, 400),
    ],
)
def test_no_way_back(rig, body, status):
    assert rig.call("POST", "/api/rollback", body).status == status


def test_engines_that_run_stay_through_a_rollback(rig):
    rig.post("serviceenginegroup", name="other")
    before = rig.head.config.revision
    rig.change("serviceengine", "se2", se_group_ref="other")
    found = rig.one("serviceengine", "se2")["data_vnics"]
    assert rig.call("POST", "/api/rollback", {"to": before}).status == 200
    assert rig.one("serviceengine", "se2")["se_group_ref"].endswith("#Default-Group")
    answer = rig.call("POST", "/api/rollback", {"to": 1})
    assert answer.status == 200, answer.body
    assert rig.get("/api/serviceengine")["count"] == 2
    assert rig.one("serviceengine", "se2")["data_vnics"] == found


def test_a_rollback_that_the_rest_forbids_says_why(rig):
    before = rig.head.config.revision
    rig.post("serviceenginegroup", name="other")
    rig.change("serviceengine", "se2", se_group_ref="other")
    rig.call("POST", "/api/rollback", {"to": before})
    assert rig.get("/api/serviceenginegroup", name="other")["count"] == 0


def test_a_lost_update_does_not_come_by_a_rollback(rig):
    body = rig.post("pool", name="p")
    changed = rig.change("pool", "p", description="theirs").body
    rig.call("POST", "/api/rollback", {"back": 1})
    assert rig.call("PUT", f"/api/pool/{body['uuid']}", {**changed, "description": "mine"}).status == 412
    assert rig.call("PUT", f"/api/pool/{body['uuid']}", {**body, "description": "mine"}).status == 200


def test_answers_are_json(ftp_rig):
    for answer in (ftp_rig.get("/api/commits/1"), ftp_rig.get("/api/compare", **{"from": "1", "to": "running"})):
        assert json.loads(json.dumps(answer)) == answer


def step(rig, dice):
    """One change of anything, as an operator may make it."""
    number = dice.randrange(4)
    found = {
        kind: {body["name"]: body for body in rig.get(f"/api/{kind}")["results"]} for kind in ("pool", "virtualservice")
    }
    pool, service = f"p{number}", f"vs{number}"
    match dice.randrange(4):
        case 0 if pool not in found["pool"]:
            rig.post("pool", name=pool, servers=[{"ip": "10.10.40.1"}])
        case 1 if service not in found["virtualservice"] and pool in found["pool"]:
            vip = [{"vip_id": "0", "ip_address": f"10.10.10.{60 + number}"}]
            if not rig.get("/api/vsvip", name=service)["count"]:
                rig.post("vsvip", name=service, vip=vip)
            profile = "System-L4-Application"
            body = {"services": [{"port": 80}], "application_profile_ref": profile}
            rig.post("virtualservice", name=service, vsvip_ref=service, pool_ref=pool, **body)
        case 2 if pool in found["pool"]:
            rig.change("pool", pool, default_server_port=dice.randrange(1, 99))
        case 3 if service in found["virtualservice"]:
            rig.call("DELETE", "/api/virtualservice", name=service)
        case 3 if pool in found["pool"]:
            rig.call("DELETE", "/api/pool", name=pool)


def content(head):
    return {kind: table for kind in head.config.types() if (table := head.config.table(kind))}


@pytest.mark.parametrize("seed", range(4))
def test_every_revision_is_found_again(rig, seed):
    dice, heads = random.Random(seed), {rig.head.config.revision: rig.head}
    for _ in range(40):
        step(rig, dice)
        heads[rig.head.config.revision] = rig.head
    assert len(heads) > 10
    for number in dice.sample(list(heads), 8):
        assert rig.call("POST", "/api/rollback", {"to": number}).status == 200
        assert content(rig.head) == content(heads[number])
        assert rig.head.desired == heads[number].desired
        assert [driver.kernel for driver in rig.drivers.values()] == [rig.head.state(name) for name in rig.drivers]
    assert rig.get("/api/avish/check")["consistent"] is True


def test_a_rollback_of_what_was_seen(rig):
    rig.post("pool", name="p")
    seen = rig.call("POST", "/api/rollback", {"back": 1}, dryrun="1").body
    newest = rig.head.config.revision
    assert (seen["to"], seen["from"]) == (newest - 1, newest)
    rig.post("pool", name="q")
    answer = rig.call("POST", "/api/rollback", {"to": seen["to"], "from": seen["from"]})
    assert answer.status == 412
    assert rig.call("POST", "/api/rollback", {"to": seen["to"], "from": newest + 1}).status == 200
    assert rig.get("/api/pool")["count"] == 0


def test_commits_are_listed_with_one_look_at_those_taken_back(rig, monkeypatch):
    for name in "abc":
        rig.post("pool", name=name)
    asked, note = [], rig.controller.store.note
    monkeypatch.setattr(rig.controller.store, "note", lambda key: (asked.append(key), note(key))[1])
    assert len(rig.get("/api/commits", page_size="10")["results"]) >= 4
    assert asked == ["rolled_back"]


def test_a_page_of_commits_has_a_ceiling(rig, monkeypatch):
    sizes, revisions = [], rig.controller.store.revisions
    monkeypatch.setattr(rig.controller.store, "revisions", lambda n, size: (sizes.append(size), revisions(n, size))[1])
    rig.get("/api/commits", page_size="1000000000")
    assert sizes == [10_000]


def test_a_draft_tells_what_would_change_and_what_is_wrong(rig):
    body = {"name": "h", "type": "HEALTH_MONITOR_TCP", "send_interval": 10_000}
    requests = {"requests": [{"method": "POST", "path": "/api/healthmonitor", "body": body}]}
    answer = rig.call("POST", "/api/transaction", requests, dryrun="1", draft="1")
    assert answer.status == 200
    assert [(one["action"], one["name"]) for one in answer.body["objects"]] == [("create", "h")]
    assert [issue["severity"] for issue in answer.body["issues"]] == ["error"]
    assert rig.get("/api/healthmonitor", name="h")["count"] == 0

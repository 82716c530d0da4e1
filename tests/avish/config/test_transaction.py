"""Requests, one or many, become changes; stale ones and those for nothing are refused."""

from avish.config.transaction import Conflict, Delete, Put, Refused, Restore
from avish.errors import Issue


def test_a_new_object(world):
    prepared = world.prepare(Put("pool", None, {"name": "p"}))
    (change,) = prepared.changes
    assert (change.type, change.uuid) == prepared.written[0]
    assert change.body["_last_modified"] == str(world.now)
    assert prepared.config.revision == world.config.revision + 1
    assert prepared.config.get("pool", change.uuid) is change.body


def test_the_same_again_changes_nothing(world):
    pool = world.put("pool", name="p")
    prepared = world.prepare(Put("pool", pool["uuid"], {"name": "p"}))
    assert (prepared.changes, prepared.config, prepared.written) == ((), world.config, (("pool", pool["uuid"]),))


def test_later_requests_see_earlier_ones(world):
    prepared = world.prepare(
        Put("pool", None, {"name": "p"}),
        Put("vsvip", None, {"name": "v", "vip": [{"ip_address": "10.0.0.5"}]}),
        Put(
            "virtualservice",
            None,
            {
                "name": "vs",
                "pool_ref": "p",
                "vsvip_ref": "v",
                "services": [{"port": 80}],
                "application_profile_ref": "System-L4-Application",
            },
        ),
    )
    assert prepared.errors == []
    assert [change.type for change in prepared.changes] == ["pool", "vsvip", "virtualservice"]


def test_made_and_deleted_in_one_transaction(world):
    prepared = world.prepare(Put("pool", "pool-1", {"name": "p"}, new=True), Delete("pool", "pool-1"))
    assert prepared.changes == ()


def test_made_referred_to_and_deleted_in_one_transaction(world):
    virtualservice = {
        "name": "vs",
        "pool_ref": "p",
        "vsvip_ref": "v",
        "services": [{"port": 80}],
        "application_profile_ref": "System-L4-Application",
    }
    prepared = world.prepare(
        Put("pool", "pool-1", {"name": "p"}, new=True),
        Put("vsvip", None, {"name": "v", "vip": [{"ip_address": "10.0.0.5"}]}),
        Put("virtualservice", None, virtualservice),
        Delete("pool", "pool-1"),
    )
    assert "Cannot delete, object is referred by: ['VirtualService vs']" in [issue.text for issue in prepared.errors]


def test_changed_twice_in_one_transaction(world):
    pool = world.put("pool", name="p")
    prepared = world.prepare(
        *(Put("pool", pool["uuid"], {"name": "p", "description": text}, pool["_last_modified"]) for text in ("a", "b"))
    )
    assert [change.body["description"] for change in prepared.changes] == ["b"]


def test_a_stale_write_is_told_as_a_conflict(world):
    seen = world.put("pool", name="p")
    present = world.put("pool", name="p", description="theirs")
    mine = Put("pool", seen["uuid"], {**seen, "description": "mine"}, seen["_last_modified"])
    prepared = world.prepare(mine)
    assert prepared.changes == ()
    assert prepared.status == 412
    assert prepared.conflicts == (Conflict(0, "pool", seen["uuid"], seen["_last_modified"], present),)
    assert [issue.request for issue in prepared.errors] == [0]
    assert prepared.errors[0].text.startswith("pool p was changed since you read it")
    world.delete("pool", "p")
    assert "was deleted since you read it" in world.prepare(mine).errors[0].text
    assert world.prepare(mine).conflicts[0].present is None


def test_nothing_there(world):
    for request in (Put("pool", "pool-1", {"name": "p"}), Delete("pool", "pool-1")):
        prepared = world.prepare(request)
        assert (prepared.status, prepared.errors[0].text) == (404, "there is no pool with uuid pool-1")


def service(name, **more):
    return Put("virtualservice", f"virtualservice-{name}", {"name": name, "services": [{"port": 80}], **more}, new=True)


def test_all_errors_are_told_at_once_each_with_its_request(world):
    world.put("vsvip", name="v", vip=[{"ip_address": "10.0.0.5"}])
    world.put("pool", name="used")
    seen = world.put("pool", name="stale")
    world.put("pool", name="stale", description="theirs")
    prepared = world.prepare(
        Put("pool", "pool-1", {"name": "p", "servers": [{}]}, new=True),
        Refused((Issue("requests[2]", "no method"),), 400),
        service("a", vsvip_ref="v", pool_ref="p", application_profile_ref="System-L4-Application"),
        Put("pool", "pool-2", {"name": "used"}, new=True),
        Put("pool", seen["uuid"], {"name": "stale"}, seen["_last_modified"]),
        Delete("pool", "pool-nobody"),
        Put(
            "ipaddrgroup",
            "ipaddrgroup-1",
            {"name": "g", "ranges": [{"begin": "10.0.0.9", "end": "10.0.0.1"}]},
            new=True,
        ),
    )
    told = {issue.request: issue.text for issue in prepared.errors}
    assert list(told) == [0, 1, 3, 4, 5, 6]  # what is wrong with 2 shows when 0 is sound
    assert "is missing" in told[0]
    assert "of this name already" in told[3]
    assert "10.0.0.9" in told[6]  # found by a check across objects, although others are not even well-formed
    assert prepared.status == 412


def test_errors_of_one_kind_give_their_status(world):
    assert world.prepare(Delete("pool", "x"), Delete("pool", "y")).status == 404
    assert world.prepare(Delete("pool", "x"), Put("pool", None, {"name": "p", "colour": 1})).status == 400


def test_a_refused_deletion_names_its_request(ftp):
    pool = ftp.config.uuid_of("pool", "ftp-pool")
    prepared = ftp.prepare(Put("pool", None, {"name": "p"}), Delete("pool", pool))
    assert [issue.request for issue in prepared.errors] == [1]


def test_restored_to_the_letter(world):
    old = world.put("pool", name="p", servers=[{"ip": "10.0.0.1"}])
    world.put("pool", name="p", servers=[])
    prepared = world.keep(world.prepare(Restore("pool", old["uuid"], old), Restore("pool", "pool-x", None)))
    assert world.config.get("pool", old["uuid"]) == old
    assert len(prepared.changes) == 1
    world.delete("pool", "p")
    world.keep(world.prepare(Restore("pool", old["uuid"], old)))
    assert world.config.named("pool", "p") == old


def test_two_names_change_places_by_a_restoration(world):
    one, two = world.put("pool", name="a"), world.put("pool", name="b")
    requests = [Restore("pool", one["uuid"], {**one, "name": "b"}), Restore("pool", two["uuid"], {**two, "name": "a"})]
    world.keep(world.prepare(*requests))
    assert world.config.uuid_of("pool", "a") == two["uuid"]
    assert world.config.uuid_of("pool", "b") == one["uuid"]


def test_a_name_in_use(world):
    world.put("pool", name="p")
    prepared = world.prepare(Put("pool", None, {"name": "p"}))
    assert (prepared.status, [str(issue) for issue in prepared.errors]) == (
        409,
        ["pool p: there is a pool of this name already"],
    )
    other = world.put("pool", name="q")
    assert world.prepare(Put("pool", other["uuid"], {"name": "p"})).status == 409


def test_a_rename_frees_the_name(world):
    pool = world.put("pool", name="p")
    prepared = world.prepare(Put("pool", pool["uuid"], {"name": "q"}), Put("pool", None, {"name": "p"}))
    assert prepared.errors == []


def test_debug_objects_go_with_their_namesake(ftp):
    made = ftp.prepare(Put("debugvirtualservice", "debugvirtualservice-1", {"name": "ftp-vs"}))
    ftp.keep(made)
    gone = ftp.try_delete("virtualservice", "ftp-vs")
    assert [(change.type, change.body) for change in gone.changes] == [
        ("virtualservice", None),
        ("debugvirtualservice", None),
    ]


def test_errors_keep_the_head_usable(world):
    before = world.config
    assert world.prepare(Put("pool", None, {"name": "p", "servers": [{}]})).errors
    assert world.config is before
    assert before.uuid_of("pool", "p") is None


def test_a_new_object_does_not_overwrite_one(world):
    pool = world.put("pool", name="p")
    prepared = world.prepare(Put("pool", pool["uuid"], {"name": "q"}, new=True))
    assert prepared.status == 409
    assert prepared.errors[0].text == f"there is a pool with uuid {pool['uuid']} already"


def test_an_incomplete_body_is_refused_and_found_by_later_requests(world):
    world.put("vsvip", name="v", vip=[{"ip_address": "10.0.0.5"}])
    body = {"name": "vs", "services": [{}], "vsvip_ref": "v"}
    first = Put("virtualservice", "virtualservice-1", body, new=True)
    texts = [str(issue) for issue in world.prepare(first).errors]
    assert "virtualservice vs services[1].port" in texts[0]
    again = world.prepare(first, Put("virtualservice", "virtualservice-1", body))
    assert [str(issue) for issue in again.errors] == texts * 2

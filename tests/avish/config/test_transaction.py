"""Requests, one or many, become changes; stale ones and those for nothing are refused."""

import pytest

from avish.config.transaction import Delete, Put
from avish.errors import ConflictError, ValidationError


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


def test_a_stale_write_is_refused_with_who_and_when(world):
    seen = world.put("pool", name="p")
    world.put("pool", name="p", description="theirs")
    with pytest.raises(ConflictError) as refused:
        world.prepare(
            Put("pool", seen["uuid"], {**seen, "description": "mine"}, seen["_last_modified"]),
            last_change=lambda uuid: ("anna", 1_700_000_002.0),
        )
    assert str(refused.value) == (
        "pool p was changed by anna at 2023-11-14 22:13:22 UTC, after you read it; read it again and repeat your change"
    )
    world.delete("pool", "p")
    with pytest.raises(ConflictError, match="was deleted since you read it"):
        world.prepare(Put("pool", seen["uuid"], seen, seen["_last_modified"]))


def test_nothing_there(world):
    for request in (Put("pool", "pool-1", {"name": "p"}), Delete("pool", "pool-1")):
        with pytest.raises(ValidationError) as refused:
            world.prepare(request)
        assert refused.value.http_status == 404


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
    with pytest.raises(ValidationError, match=r"there is a pool with uuid pool-\S+ already") as refused:
        world.prepare(Put("pool", pool["uuid"], {"name": "q"}, new=True))
    assert refused.value.http_status == 409


def test_an_incomplete_body_is_refused_and_found_by_later_requests(world):
    world.put("vsvip", name="v", vip=[{"ip_address": "10.0.0.5"}])
    body = {"name": "vs", "services": [{}], "vsvip_ref": "v"}
    first = Put("virtualservice", "virtualservice-1", body, new=True)
    texts = [str(issue) for issue in world.prepare(first).errors]
    assert "virtualservice vs services[1].port" in texts[0]
    again = world.prepare(first, Put("virtualservice", "virtualservice-1", body))
    assert [str(issue) for issue in again.errors] == texts * 2

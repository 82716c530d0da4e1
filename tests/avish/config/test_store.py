"""Every revision on disk: journal, head, recovery, history."""

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from avish.config.config import Change
from avish.config.store import Ids, SqliteStore, Who
from avish.errors import ApplyError, UnavailableError

ANNA = Who("anna", "unix", "why")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "avish.db"


@pytest.fixture
def store(path):
    opened = SqliteStore(path)
    yield opened
    opened.close()


def pool(uuid="pool-1", **more):
    return Change("pool", uuid, {"uuid": uuid, "name": uuid, **more})


def save(store, revision, *changes, ids=None, now=100.0):
    store.journal(revision, changes, ids or store.ids(), ANNA, now)
    store.commit(revision)


def test_a_fresh_store_holds_the_system_defaults(store, path):
    config = store.load()
    assert config.revision == 1
    assert config.get("tenant", "admin")["name"] == "admin"
    assert config.named("serviceenginegroup", "Default-Group")["ha_mode"] == "HA_MODE_SHARED"
    assert config.target(config.named("vrfcontext", "global")["cloud_ref"])["name"] == "Default-Cloud"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.check() == []


def test_reopened(store, path):
    save(store, 2, pool(description="d"), ids=store.ids().with_keys([("service", "a"), ("nat_rule", "b/1")]))
    store.close()
    again = SqliteStore(path)
    assert again.load().get("pool", "pool-1")["description"] == "d"
    assert again.ids().get("service", "a") == 1
    assert again.load().get("tenant", "admin") is not None
    again.close()


def test_a_journal_without_a_head_never_was(store, path):
    save(store, 2, pool(description="old"), pool("pool-2"))
    store.journal(
        3,
        [pool(description="new"), Change("pool", "pool-2", None), pool("pool-3")],
        store.ids().with_keys([("service", "a")]),
        ANNA,
        5.0,
    )
    store.close()
    again = SqliteStore(path)
    config = again.load()
    assert (config.revision, config.get("pool", "pool-1")["description"]) == (2, "old")
    assert [body["name"] for body in config.all("pool")] == ["pool-1", "pool-2"]
    assert again.ids() == Ids()
    save(again, 3, pool("pool-3"))
    assert again.load().get("pool", "pool-3")
    assert again.check() == []
    again.close()


def test_dropped(store):
    save(store, 2, pool())
    store.journal(3, [Change("pool", "pool-1", None)], store.ids().with_keys([("service", "a")]), ANNA, 5.0)
    store.drop(3)
    assert store.load().get("pool", "pool-1")
    assert store.ids() == Ids()
    save(store, 3, pool("pool-2"), ids=store.ids().with_keys([("service", "b")]))
    assert store.ids().get("service", "b") == 1


def test_any_revision_reads_back(store):
    save(store, 2, pool(description="a"))
    save(store, 3, pool(description="b"), pool("pool-2"))
    save(store, 4, Change("pool", "pool-1", None))
    assert [[body.get("description") for body in store.revision_at(number).all("pool")] for number in (1, 2, 3, 4)] == [
        [],
        ["a"],
        ["b", None],
        [None],
    ]
    for number in (0, 5):
        with pytest.raises(KeyError):
            store.revision_at(number)


def test_order_of_creation(store):
    save(store, 2, pool("pool-b"), pool("pool-a"))
    save(store, 3, pool("pool-b", description="changed"))
    assert [body["name"] for body in store.load().all("pool")] == ["pool-b", "pool-a"]


def test_history_and_last_change(store):
    save(store, 2, pool(description="a"), now=10.0)
    save(store, 3, pool(description="b"), now=20.0)
    save(store, 4, Change("pool", "pool-1", None), now=30.0)
    save(store, 5, pool(description="c"), now=40.0)
    versions = store.history("pool-1")
    assert [(v.revision, v.time, v.user, v.comment, v.body and v.body["description"]) for v in versions] == [
        (2, 10.0, "anna", "why", "a"),
        (3, 20.0, "anna", "why", "b"),
        (4, 30.0, "anna", "why", None),
        (5, 40.0, "anna", "why", "c"),
    ]
    assert store.last_change("pool-1") == ("anna", 40.0)
    assert store.last_change("pool-9") is None


def test_last_change_of_the_deleted(store):
    save(store, 2, pool(), now=10.0)
    save(store, 3, Change("pool", "pool-1", None), now=20.0)
    assert store.last_change("pool-1") == ("anna", 20.0)


def test_a_full_disk_leaves_everything_as_it_was(store):
    store._db.execute("PRAGMA max_page_count = 1")
    many = [pool(f"pool-{number}", description="x" * 4000) for number in range(500)]
    with pytest.raises(ApplyError, match="cannot be written: database or disk is full"):
        store.journal(2, many, store.ids(), ANNA, 1.0)
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert store.load().all("pool") == []
    save(store, 2, pool())
    assert store.check() == []


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as none" * 50)
    for path in (tmp_path / "text.db", tmp_path / "none" / "a.db", tmp_path):
        with pytest.raises(UnavailableError, match="cannot be opened"):
            SqliteStore(path)


def test_a_store_of_another_release(store, path):
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    with pytest.raises(UnavailableError, match="made by another release"):
        SqliteStore(path)


def test_check_says_what_is_wrong(store):
    save(store, 2, pool(vrf_ref="/api/vrfcontext/vrfcontext-0"))
    assert store.check() == ["pool-1: /api/vrfcontext/vrfcontext-0 leads to nothing"]


def test_killed_between_journal_and_head(path):
    SqliteStore(path).close()
    child = os.fork()
    if child == 0:
        dying = SqliteStore(path)
        dying.journal(2, [pool()], dying.ids(), ANNA, 1.0)
        os._exit(9)
    os.waitpid(child, 0)
    again = SqliteStore(path)
    assert (again.load().revision, again.load().all("pool"), again.check()) == (1, [], [])
    again.close()


def test_a_journal_that_nobody_dropped_is_overwritten(store, path):
    save(store, 2, pool(description="old"))
    ids = store.ids().with_keys([("service", "a")])
    store.journal(3, [Change("pool", "pool-1", None), pool("pool-2")], ids, ANNA, 5.0)
    save(store, 3, pool(description="new"), ids=ids)
    store.close()
    again = SqliteStore(path)
    assert [(body["name"], body["description"]) for body in again.load().all("pool")] == [("pool-1", "new")]
    assert again.ids().get("service", "a") == 1
    assert again.check() == []
    again.close()


# --- what became of it


def body(change):
    return change.body and change.body.get("description")


def test_changes_between_revisions(store):
    save(store, 2, pool("a", description="1"), pool("b", description="1"))
    save(store, 3, pool("a", description="2"), Change("pool", "b", None))
    save(store, 4, pool("b", description="3"), pool("c"))
    save(store, 5, pool("a", description="1"), Change("pool", "c", None))
    told = {(one.uuid): body(one) for one in store.changes(2, 3)}
    assert told == {"a": "2", "b": None}
    assert {one.uuid: body(one) for one in store.changes(3, 2)} == {"a": "1", "b": "1"}
    assert {one.uuid: body(one) for one in store.changes(2, 5)} == {"a": "1", "b": "3", "c": None}
    assert store.changes(3, 3) == []
    assert {one.uuid for one in store.changes(4, 5)} == {"a", "c"}
    with pytest.raises(KeyError):
        store.changes(2, 6)
    with pytest.raises(KeyError):
        store.changes(-1, 2)
    for start in range(1, 6):
        for end in range(1, 6):
            there = store.revision_at(start).with_changes(store.changes(start, end), end)
            assert there.table("pool") == store.revision_at(end).table("pool"), (start, end)
    assert len(store.changes(0, 1)) == store.revisions(1, 1)[0].objects


def test_a_journal_is_no_change_yet(store):
    save(store, 2, pool("a", description="1"))
    before = store.changes(1, 2)
    store.journal(3, [Change("pool", "a", None)], store.ids(), ANNA, 5.0)
    assert store.changes(1, 2) == before
    assert store.body_at("a", 2) == before[0].body
    assert [one.number for one in store.revisions(9, 9)] == [2, 1]
    with pytest.raises(KeyError):
        store.changes(2, 3)


def test_revisions_newest_first(store):
    save(store, 2, pool("a"), pool("b"), now=50.5)
    save(store, 3, pool("a", description="2"), Change("pool", "b", None), pool("c"))
    assert [(one.number, one.objects, one.user, one.comment) for one in store.revisions(3, 2)] == [
        (3, 3, "anna", "why"),
        (2, 2, "anna", "why"),
    ]
    assert store.revisions(2, 1)[0].time == 50.5
    assert store.revisions(0, 5) == []


def test_an_object_at_a_revision(store):
    save(store, 2, pool("a", description="1"))
    save(store, 3, Change("pool", "a", None))
    save(store, 4, pool("a", description="2"))
    assert [store.body_at("a", number) and store.body_at("a", number)["description"] for number in (1, 2, 3, 4)] == [
        None,
        "1",
        None,
        "2",
    ]


def test_notes(store, path):
    assert store.note("n") is None
    store.keep({"n": {"a": [1]}, "m": 2})
    store.journal(2, [pool()], store.ids(), ANNA, 5.0)
    store.commit(2, {"n": None, "o": "x"})
    store.close()
    again = SqliteStore(path)
    assert (again.note("n"), again.note("m"), again.note("o")) == (None, 2, "x")
    again.close()


def test_notes_and_head_move_together(store, path, monkeypatch):
    store.journal(2, [pool()], store.ids(), ANNA, 5.0)
    with pytest.raises(TypeError):
        store.commit(2, {"n": object()})
    store.close()
    again = SqliteStore(path)
    assert (again.load().revision, again.note("n")) == (1, None)
    again.close()


def test_a_commit_is_one_fsync(store):
    """The journal goes onto the medium together with the head."""
    said = []
    store._db.set_trace_callback(said.append)
    save(store, 2, *(pool(f"pool-{number}") for number in range(1000)))
    store._db.set_trace_callback(None)
    wanted = [line.rpartition("=")[2] for line in said if line.startswith("PRAGMA synchronous")]
    assert (said.count("COMMIT"), wanted) == (2, ["NORMAL", "FULL"])


def test_reads_do_not_wait_for_writes(store):
    readers = ThreadPoolExecutor(1)
    with store._writing() as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('note/x', '1')")
        assert readers.submit(store.note, "x").result(timeout=10) is None
        assert readers.submit(store.load).result(timeout=10).revision == 1
    readers.shutdown()
    store.keep({"x": 2})
    assert store.note("x") == 2


def test_an_object_as_it_was_under_a_stamp(store):
    for revision, stamp in ((2, "20"), (3, "30")):
        save(store, revision, pool(_last_modified=stamp, description=f"at {stamp}"))
    save(store, 4, Change("pool", "pool-1", None))
    assert store.latest("pool-1")["description"] == "at 30"
    assert store.latest("pool-1", "20")["description"] == "at 20"
    assert store.latest("pool-1", "25") is None
    assert store.latest("pool-9") is None


def test_a_history_takes_one_query(store):
    for revision in range(2, 30):
        save(store, revision, pool(description=str(revision)))
    said = []
    store._reader.set_trace_callback(said.append)
    assert len(store.history("pool-1")) == 28
    store.last_change("pool-1")
    store._reader.set_trace_callback(None)
    assert len(said) == 2

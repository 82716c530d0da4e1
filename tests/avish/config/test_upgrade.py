"""A store of an earlier release: opened, brought to what this one writes, and still itself."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from rig import Rig

from avish.config.normalise import normalise
from avish.config.upgrade import fingerprint
from avish.schema.load import schema

STORES = sorted((Path(__file__).parent / "stores").glob("*.sql"))
"""One of each release: the founding configuration, whose last revision gives ftp-pool a description (keep_store.py)."""


@pytest.fixture(params=STORES, ids=lambda path: path.stem)
def old(tmp_path, request):
    """A controller of now on a store of then."""
    with closing(sqlite3.connect(tmp_path / "avish.db")) as db:
        db.executescript(request.param.read_text())
    key = request.param.with_suffix(".key")
    if key.exists():
        (tmp_path / "keys").mkdir()
        shutil.copy(key, tmp_path / "keys" / "secrets.key")
    with closing(sqlite3.connect(tmp_path / "avish.db")) as db:
        kept = int(db.execute("SELECT value FROM meta WHERE key = 'head'").fetchone()[0])
    rig = Rig(tmp_path)
    rig.kept = kept
    yield rig
    rig.close()


def test_there_is_one_of_each_release():
    assert [path.stem for path in STORES] == ["1-spine", "2-many-operators"]


def test_it_opens_and_forwards(old):
    assert old.get("/api/avish/check")["consistent"] is True
    assert [row["ip"] for row in old.drivers["se1"].listeners()] == ["10.10.10.50"]
    assert old.one("pool", "ftp-pool")["description"] == "old"
    assert old.change("pool", "ftp-pool", description="new").status == 200


def test_every_object_is_as_this_release_writes_it(old):
    config = old.head.config
    for kind in schema().objects():
        if kind.singleton:
            assert config.get(kind.name, kind.name) is not None
        for stored in config.all(kind.name):
            body, issues = normalise(config, kind, stored, stored, stored["uuid"])
            assert not [issue for issue in issues if issue.severity == "error"]
            assert {**body, "_last_modified": stored["_last_modified"]} == stored
    for kind, defaults in schema().defaults.items():
        assert all(config.uuid_of(kind, body["name"]) for body in defaults if "name" in body), kind


def test_it_happens_once(old):
    newest = old.head.config.revision
    assert newest <= old.kept + 3  # new system objects, new fields, the engines as found
    assert old.controller.store.note("grammar") == fingerprint(schema())
    old.restart()
    assert old.head.config.revision == newest


def test_the_old_revisions_can_be_gone_back_to(old):
    answer = old.call("POST", "/api/rollback", {"to": old.kept - 1})
    assert answer.status == 200, answer.body
    assert "description" not in old.one("pool", "ftp-pool")
    assert old.get("/api/avish/check")["consistent"] is True


def test_secrets_and_users_are_what_they_were(old):
    monitor = old.head.config.named("healthmonitor", "secret")
    if monitor is None:
        pytest.skip("there were none in this release's fixture")
    assert monitor["authentication"]["password"] == "Canary-kept-1"
    assert old.controller.accounts.log_in("anna", "Anna-horse-1", "test")["name"] == "anna"
    assert b"Canary-kept-1" not in old.home.store.read_bytes()

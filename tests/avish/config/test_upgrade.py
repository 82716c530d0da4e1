"""A store of an earlier release: opened, brought to what this one writes, and still itself."""

import sqlite3
from pathlib import Path

import pytest
from rig import Rig

from avish.config.normalise import normalise
from avish.config.upgrade import fingerprint
from avish.schema.load import schema

SPINE = Path(__file__).with_name("spine.sql")
"""The store of the first release with the founding configuration, dumped; revision 13."""


@pytest.fixture
def old(tmp_path):
    with sqlite3.connect(tmp_path / "avish.db") as db:
        db.executescript(SPINE.read_text())
    rig = Rig(tmp_path)
    yield rig
    rig.close()


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
    assert newest <= 16  # new system objects, new fields, the engines as found
    assert old.controller.store.note("grammar") == fingerprint(schema())
    old.restart()
    assert old.head.config.revision == newest


def test_the_old_revisions_can_be_gone_back_to(old):
    answer = old.call("POST", "/api/rollback", {"to": 12})
    assert answer.status == 200, answer.body
    assert "description" not in old.one("pool", "ftp-pool")
    assert old.get("/api/avish/check")["consistent"] is True

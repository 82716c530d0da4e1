"""A store that an earlier release made: it opens, gets what came since once, and stays what it was otherwise."""

from dataclasses import replace

import pytest

from avish.config.config import Change
from avish.config.store import SqliteStore, Who
from avish.config.transaction import Put, Restore, prepare
from avish.schema.load import schema

LATER = (
    "alertconfig",
    "applicationpersistenceprofile",
    "stringgroup",
    "role",
    "user",
    "useraccountprofile",
    "systemconfiguration",
)


def earlier():
    """This release without some types and without one of its system objects."""
    full = schema()
    defaults = {kind: bodies for kind, bodies in full.defaults.items() if kind not in LATER}
    known = {"System-L4-Application"}
    defaults["applicationprofile"] = [one for one in defaults["applicationprofile"] if one["name"] in known]
    return replace(full, index={k: v for k, v in full.index.items() if k not in LATER}, defaults=defaults)


@pytest.fixture
def path(tmp_path):
    """A store of the earlier release, with a pool."""
    path = tmp_path / "avish.db"
    store = SqliteStore(path, earlier())
    made = prepare(schema(), store.load(), [Put("pool", "pool-1", {"name": "web"}, new=True)], 5).changes
    store.journal(2, made, store.ids(), Who("anna", "unix", ""), 1.0)
    store.commit(2)
    store.close()
    return path


def test_what_came_since_is_brought_in_as_one_revision(path):
    store = SqliteStore(path)
    config = store.load()
    assert config.revision == 3
    assert (store.revisions(3, 1)[0].user, store.check()) == ("system", [])
    assert config.named("user", "admin")["is_superuser"]
    assert config.get("systemconfiguration", "systemconfiguration")["portal_configuration"]["password_strength_check"]
    assert config.named("applicationprofile", "System-FTP")["tcp_app_profile"]["ftp_profile"]
    assert len(config.all("tenant")) == 1
    assert store.revision_at(2).types() == [kind for kind in store.revision_at(2).types() if kind not in LATER]
    store.close()


def test_the_next_start_changes_nothing(path):
    SqliteStore(path).close()
    store = SqliteStore(path)
    assert store.load().revision == 3
    store.close()


def test_a_fresh_store_lacks_nothing(tmp_path):
    SqliteStore(tmp_path / "avish.db").close()
    store = SqliteStore(tmp_path / "avish.db")
    assert store.load().revision == 1
    store.close()


def test_an_object_of_the_same_name_is_left_alone(tmp_path):
    store = SqliteStore(tmp_path / "avish.db", earlier())
    mine = {"uuid": "applicationprofile-1", "name": "System-FTP", "description": "mine"}
    store.journal(2, [Change("applicationprofile", mine["uuid"], mine)], store.ids(), Who("anna", "unix", ""), 1.0)
    store.commit(2)
    store.close()
    again = SqliteStore(tmp_path / "avish.db")
    assert again.load().named("applicationprofile", "System-FTP")["description"] == "mine"
    again.close()


def test_a_way_back_to_the_earlier_release_keeps_the_system_objects(path):
    store = SqliteStore(path)
    config = store.load()
    back = [Restore(one.type, one.uuid, one.body) for one in store.changes(3, 2)]
    prepared = prepare(schema(), config, back, 5)
    assert (prepared.errors, prepared.changes) == ([], ())
    assert prepared.config.named("user", "admin")
    store.close()

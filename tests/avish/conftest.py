"""A controller's configuration without the controller: objects go in, configurations, issues and states come out."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from rig import Rig

from avish.compile.compiler import Compiler, needed_ids
from avish.config.config import Config
from avish.config.defaults import system_defaults
from avish.config.ids import Ids
from avish.config.transaction import Delete, Put, prepare
from avish.schema.load import schema

CONFIGS = Path(__file__).parents[2] / "fixtures" / "configs"
NOW = 1_700_000_000_000_000


class World:
    """The head of a store that is not there."""

    def __init__(self):
        self.schema = schema()
        self.config = Config().with_changes(system_defaults(self.schema, NOW), 1)
        self.ids = Ids()
        self.compiler = Compiler()
        self.now = NOW

    def try_put(self, kind, **fields):
        """Prepare one object: changed over the one of the same name, or new."""
        named = self.config.get(kind, kind) if self.schema.object(kind).singleton else None
        existing = named or self.config.named(kind, fields.get("name", "")) or {}
        return self.prepare(Put(kind, existing.get("uuid"), {**existing, **fields}))

    def prepare(self, *requests, **more):
        self.now += 1_000_000
        return prepare(self.schema, self.config, requests, self.now, **more)

    def keep(self, prepared):
        assert not prepared.errors, prepared.errors
        self.config = prepared.config
        self.ids = self.ids.with_keys(needed_ids(prepared.changes))
        return prepared

    def put(self, kind, **fields):
        """Store one object; its body."""
        written = self.keep(self.try_put(kind, **fields)).written[0]
        return self.config.get(*written)

    def errors(self, kind, **fields):
        return [str(issue) for issue in self.try_put(kind, **fields).errors]

    def warnings(self, kind, **fields):
        prepared = self.try_put(kind, **fields)
        assert not prepared.errors, prepared.errors
        return [str(issue) for issue in prepared.warnings]

    def try_delete(self, kind, name):
        return self.prepare(Delete(kind, self.config.uuid_of(kind, name)))

    def delete(self, kind, name):
        self.keep(self.try_delete(kind, name))

    def engine(self, name, group="Default-Group", **interfaces):
        """An engine, as the controller makes it of a topology; interface="address/length"."""
        vnics = [
            {"if_name": port, "mac_address": "02:00:00:00:00:01", "vnic_networks": [{"ip": address, "mode": "STATIC"}]}
            for port, address in interfaces.items()
        ]
        return self.put("serviceengine", name=name, se_group_ref=group, data_vnics=vnics)

    def two_engines(self):
        self.engine("se1", eth1="10.10.10.11/24", eth2="10.10.40.11/24")
        self.engine("se2", eth1="10.10.10.12/24", eth2="10.10.40.12/24")

    def load(self, name):
        for entry in yaml.safe_load((CONFIGS / name).read_text()):
            for kind, body in entry.items():
                self.put(kind, **body)

    def states(self):
        return self.compiler.compile(self.config, self.ids)


@pytest.fixture
def world():
    """System defaults only."""
    return World()


@pytest.fixture
def ftp(world):
    """The founding configuration on two engines."""
    world.two_engines()
    world.load("active-ftp.yaml")
    return world


@pytest.fixture
def rig(tmp_path):
    """A controller with two engines in memory, nothing configured."""
    rig = Rig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def ftp_rig(rig):
    """The founding configuration on that controller."""
    rig.load("active-ftp.yaml")
    return rig

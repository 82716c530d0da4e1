"""A whole controller on engines in memory: requests go in at Api.handle, answers and kernel states come out."""

from __future__ import annotations

from pathlib import Path

import yaml

from avish.api.request import Request
from avish.config.engines import engine_of, vrf_of
from avish.controller.engines import Engine
from avish.server.daemon import build
from avish.server.home import EngineSpec, Home
from dataplane.errors import UnreachableError
from dataplane.fake import FakeDriver
from dataplane.model import Interface

CONFIGS = Path(__file__).parents[2] / "fixtures" / "configs"


def ports(number):
    """The interfaces of the founding lab's engine."""
    return [
        Interface("eth1", 2, f"02:00:00:00:01:0{number}", 1500, True, (f"10.10.10.1{number}/24",)),
        Interface("eth2", 3, f"02:00:00:00:02:0{number}", 1500, True, (f"10.10.40.1{number}/24",)),
    ]


class Keeper:
    """Of an agent that needs nobody to keep it."""

    def __init__(self, driver):
        self.driver = driver

    def ensure(self):
        return False

    def stop(self):
        self.driver.restart()

    def revision(self):
        if not self.driver.reachable:
            raise UnreachableError("no agent answers")
        return self.driver.revision


class Rig:
    """``drivers`` by engine name ("se1", or "se1/blue" in a VRF of its own), new ones unless given; ``call`` sends a request as admin."""

    def __init__(self, path, names=("se1", "se2"), drivers=None):
        self.home = Home(path)
        self.home.prepare()
        self.names = names
        self.drivers = drivers or {name: FakeDriver(ports(n)) for n, name in enumerate(names, 1)}
        self.clock = 1_700_000_000.0
        self.controller = None
        self.start()

    def start(self):
        """A controller as after a start, with every engine in step; no thread runs."""
        specs = [EngineSpec(engine_of(name), "Default-Group", name, vrf=vrf_of(name)) for name in self.names]
        self.controller = build(self.home, specs, self._engine)
        self.bring_up()

    def restart(self):
        """What a kill -9 and a new controller are: the drivers stay, everything else is read again."""
        self.close()
        self.start()

    def close(self):
        self.controller.captures.shutdown()
        self.controller.store.close()

    def bring_up(self):
        for engine in self.controller.engines.values():
            if engine.applied is None and self.drivers[engine.name].reachable:
                self.controller.committer.bring_up(engine)

    def _engine(self, home, spec):
        return Engine(spec.place, self.drivers[spec.place], Keeper(self.drivers[spec.place]), self._now)

    def _now(self):
        self.clock += 0.001
        return self.clock

    @property
    def head(self):
        return self.controller.committer.head

    def call(self, method, path, body=None, user="admin", headers=None, **query):
        request = Request(method, path, query, body, user, "test", "c", headers or {})
        return self.controller.api.handle(request)

    def get(self, path, **query):
        answer = self.call("GET", path, **query)
        assert answer.status == 200, answer.body
        return answer.body

    def one(self, kind, name):
        """The object of that name as the API shows it."""
        results = self.get(f"/api/{kind}", name=name)["results"]
        assert len(results) == 1, results
        return results[0]

    def post(self, kind, /, **body):
        answer = self.call("POST", f"/api/{kind}", body)
        assert answer.status == 201, answer.body
        return answer.body

    def change(self, kind, name, /, **fields):
        """PUT the object with other fields; the whole answer."""
        body = self.one(kind, name)
        return self.call("PUT", f"/api/{kind}/{body['uuid']}", {**body, **fields})

    def show(self, kind, name, api):
        """The answer of a show command."""
        return self.get(f"/api/{kind}/{self.one(kind, name)['uuid']}/{api}")

    def load(self, name):
        for entry in yaml.safe_load((CONFIGS / name).read_text()):
            for kind, body in entry.items():
                found = self.get(f"/api/{kind}", name=body["name"])["results"]
                answer = self.change(kind, body["name"], **body) if found else self.call("POST", f"/api/{kind}", body)
                assert answer.status in (200, 201), answer.body

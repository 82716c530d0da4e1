"""A whole controller in this process, on engines in memory, and a client that asks it without a socket."""

from __future__ import annotations

import json
from types import SimpleNamespace
from urllib.parse import quote

from avish.api.request import Request
from avish.controller.engines import Engine
from avish.server.daemon import build
from avish.server.home import EngineSpec, Home
from dataplane.fake import FakeDriver
from dataplane.model import Interface

NOW = 1_700_000_000.0


def engine_driver(number):
    """The n-th engine of the founding lab."""
    front = Interface("eth1", 2, f"02:00:00:00:01:{number:02x}", 1500, True, (f"10.10.10.{10 + number}/24",))
    back = Interface("eth2", 3, f"02:00:00:00:02:{number:02x}", 1500, True, (f"10.10.40.{10 + number}/24",))
    return FakeDriver([front, back])


class _Keeper:
    """An agent that nobody has to start."""

    def __init__(self, driver):
        self._driver = driver

    def ensure(self):
        return False

    def stop(self):
        """Nothing runs."""

    def revision(self):
        return self._driver.revision


class Lab:
    """A controller with ``drivers`` by engine name; no thread of it runs."""

    def __init__(self, path, names=("se1", "se2")):
        self.home = Home(path)
        self.home.prepare()
        self.drivers = {name: engine_driver(number) for number, name in enumerate(names, 1)}
        specs = [EngineSpec(name, "Default-Group", name) for name in names]
        self.controller = build(self.home, specs, self._engine)
        for engine in self.controller.engines.values():
            self.controller.committer.bring_up(engine)

    def _engine(self, home, spec):
        return Engine(spec.name, self.drivers[spec.name], _Keeper(self.drivers[spec.name]), lambda: NOW)

    def close(self):
        """End what the controller holds."""
        self.controller.captures.shutdown()
        self.controller.store.close()


class Direct:
    """The shell's client, as far as a session needs it; bodies pass through JSON as on the wire."""

    def __init__(self, lab):
        self._lab = lab
        self.tenant, self.user = "admin", "admin"
        self.home = lab.home.path
        self.tenant, self.user = "admin", "admin"

    def twin(self):
        return self

    def work_in(self, tenant):
        self.tenant = tenant

    def call(self, method, path, query=None, body=None, etag="", comment=""):
        headers = {"x-avi-tenant": self.tenant, **({"if-none-match": etag} if etag else {})}
        if comment:
            headers["x-avish-comment"] = quote(comment)
        sent = None if body is None else json.loads(json.dumps(body))
        request = Request(method, path, dict(query or {}), sent, self.user, "unix", "ctlr1", headers)
        response = self._lab.controller.api.handle(request)
        received = None if response.body is None else json.loads(json.dumps(response.body))
        warnings = tuple(json.loads(response.headers.get("X-Avish-Warnings", "[]")))
        return SimpleNamespace(
            status=response.status, body=received, warnings=warnings, etag=response.headers.get("ETag", "")
        )

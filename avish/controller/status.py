"""What the controller says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import avish
from avish.config.store import Store
from avish.controller.audit import Audit
from avish.controller.captures import Captures
from avish.controller.commit import Committer
from avish.controller.engines import Engine
from dataplane.errors import DataplaneError

MODEL_VERSION = "30.2.1"
"""The release whose object model the grammar follows; clients of the vendor compare with it."""


class Status:
    """Reports. ``about``: what the server adds (home, pid, ...); ``namespaces``: where each engine runs."""

    def __init__(
        self,
        about: Mapping[str, Any],
        *,
        committer: Committer,
        engines: Mapping[str, Engine],
        store: Store,
        captures: Captures,
        namespaces: Mapping[str, str],
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._about = about
        self._namespaces = namespaces
        self._committer = committer
        self._engines = engines
        self._store = store
        self._captures = captures

    def version(self) -> dict[str, Any]:
        """As clients of the vendor expect it."""
        return {"Version": MODEL_VERSION, "build": 1, "Product": "avish", "Tag": f"avish-{avish.__version__}"}

    def cluster(self) -> dict[str, Any]:
        """A cluster of one."""
        node = {"name": "node1", "state": "CLUSTER_ACTIVE", "role": "CLUSTER_LEADER"}
        info = {"version": f"{MODEL_VERSION}(1)", "cluster_uuid": "cluster-avish"}
        return {
            "node_info": info,
            "node_states": [node],
            "cluster_state": {"state": "CLUSTER_UP_NO_HA", "progress": 100},
        }

    def report(self) -> dict[str, Any]:
        """home, pid, version, revision, and of each engine name, namespace, status, reason, since, revision."""
        engines = [
            {
                "name": e.name,
                "namespace": self._namespaces.get(e.name, ""),
                "status": e.status,
                "reason": e.reason,
                "since": e.since,
                "revision": e.revision,
            }
            for e in self._engines.values()
        ]
        captures = [job.record() for job in self._captures.jobs()]
        revision = self._committer.head.config.revision
        return {
            **self._about,
            "version": avish.__version__,
            "revision": revision,
            "engines": engines,
            "captures": captures,
        }

    def check(self) -> dict[str, Any]:
        """{"consistent", "store": [what is wrong], "engines": {name: [how its kernel differs]}}."""
        store = [*self._store.check(), *self._audit.check()]
        engines = self.drift()
        return {"consistent": not store and not any(engines.values()), "store": store, "engines": engines}

    def drift(self) -> dict[str, list[str]]:
        """By engine, how its kernel differs from what it should hold."""
        return {name: self._drift(engine) for name, engine in self._engines.items()}

    def _drift(self, engine: Engine) -> list[str]:
        """The agent compares the kernel with what it holds itself: that this is ours has to be asked first."""
        if engine.applied is None:
            return [f"out of sync: {engine.reason}"]
        try:
            self._committer.confirm(engine)
            return engine.driver.drift()
        except DataplaneError as error:
            return [f"out of sync: {error}"]

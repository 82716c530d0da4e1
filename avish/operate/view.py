"""What the runtime reads look at: one configuration, and the engines' kernels at this moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avish.config.config import Body, Config
from avish.config.ids import Ids
from avish.errors import UnavailableError
from dataplane.driver import Driver
from dataplane.errors import UnreachableError
from dataplane.model import Row, SeState

EMPTY = SeState()


@dataclass
class Seen:
    """A service engine during one request: its kernel is asked once for each thing.

    ``connected``: it holds what it should; otherwise ``reason`` says why not. ``since``: seconds since the epoch.
    ``desired``: what the configuration asks of it.
    """

    name: str
    driver: Driver
    connected: bool
    reason: str
    since: float
    desired: SeState = EMPTY
    _listeners: list[Row] | None = None
    _addresses: list[Row] | None = None

    def listeners(self) -> list[Row]:
        """The driver's listeners."""
        if self._listeners is None:
            self._listeners = self.driver.listeners()
        return self._listeners

    def addresses(self) -> list[Row]:
        """The driver's addresses."""
        if self._addresses is None:
            self._addresses = self.driver.addresses()
        return self._addresses

    def own_addresses(self) -> set[str]:
        """Those put there by us."""
        return {row["ip"] for row in self.addresses() if row["own"]}

    def fault(self) -> str:
        """Why nothing can be read from the engine; "" when it answers."""
        try:
            self.addresses()
        except UnreachableError as error:
            return self.reason or str(error)
        return ""


@dataclass(frozen=True)
class View:
    """``engines`` by name. Runtime functions get one of these and the object they were asked about."""

    config: Config
    ids: Ids
    engines: Mapping[str, Seen] = field(default_factory=dict)

    def engine(self, body: Body) -> Seen:
        """The engine of a serviceengine object; UnavailableError when there is none behind it."""
        found = self.engines.get(body["name"])
        if found is None:
            raise UnavailableError(
                f"no service engine of the topology is called {body['name']}: there is nothing to read"
            )
        return found

    def group(self, ref: str | None) -> list[Body]:
        """The serviceengine objects of a group, the one that is active first."""
        members = [body for body in self.config.all("serviceengine") if body.get("se_group_ref") == ref]
        return sorted(members, key=lambda body: self.ids.get("engine", body["uuid"]) or 0)

    def name_of(self, ref: str | None) -> str:
        """The name behind a reference; "" when it leads nowhere."""
        target = self.config.target(ref)
        return target["name"] if target else ""


def envelope(body: Body) -> dict[str, Any]:
    """How a table of a service engine begins; the kernel has one table for all cores."""
    return {"se_ref": f"{body['name']}:{body['uuid']}", "proc_id": "C0_L4"}

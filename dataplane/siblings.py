"""The agents of the same engine in its other VRFs: an engine fails over as a whole, and the main VRF leads."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from dataplane.errors import DataplaneError
from dataplane.model import Row
from dataplane.remote import RemoteDriver

BETWEEN = "+"
"""In the names of sockets, between engine and VRF: se1.sock is the main VRF's, se1+blue.sock another one's."""
ANSWER_SECONDS = 0.5
PATIENCE = 2
"""Looks in a row that an agent may miss: one that is started again is not lost."""
SETTLED_SECONDS = 1.0
"""So long the main VRF has been on standby before the others follow it."""
WELL = ("active", "standby", "electing")


class Siblings:
    """Those beside the agent whose socket is ``own``, as the last ``look`` found them."""

    def __init__(self, own: Path) -> None:
        self._own = own
        self._drivers: dict[str, RemoteDriver] = {}
        self._rows: Mapping[str, Mapping[int, Row]] = {}
        self._missed: dict[str, int] = {}
        self._lock = threading.Lock()

    def look(self) -> None:
        """Ask each of them for its roles; waits for those that are slow."""
        with self._lock:
            found = self._found()
            self._drivers = {
                name: self._drivers.get(name) or RemoteDriver(path, ANSWER_SECONDS) for name, path in found
            }
            self._rows = {name: self._asked(name, driver) for name, driver in self._drivers.items()}

    def _found(self) -> list[tuple[str, Path]]:
        """VRF ("" for the main one) and socket."""
        engine = self._own.stem.partition(BETWEEN)[0]
        paths = [self._own.with_name(f"{engine}.sock"), *sorted(self._own.parent.glob(f"{engine}{BETWEEN}*.sock"))]
        return [(path.stem.partition(BETWEEN)[2], path) for path in paths if path != self._own and path.exists()]

    def _asked(self, name: str, driver: RemoteDriver) -> Mapping[int, Row]:
        try:
            rows = {row["pair"]: row for row in driver.roles()}
        except DataplaneError:
            self._missed[name] = self._missed.get(name, 0) + 1
            return self._rows.get(name, {})
        self._missed[name] = 0
        return rows

    def fault(self, pair: int) -> str:
        """Why another VRF of the engine cannot be active for a pair; "" when all can, or none is in it."""
        for name, rows in self._rows.items():
            if pair not in rows:
                continue
            why = _fault(rows[pair], self._missed.get(name, 0))
            if why:
                return f"VRF {name or 'global'}: {why}"
        return ""

    def waits(self, pair: int) -> bool:
        """Whether the main VRF of the engine, which is another one than ours, has been on standby for a while."""
        row = self._rows.get("", {}).get(pair)
        settled = row is not None and abs(time.time() - row["since"]) > SETTLED_SECONDS  # a clock may be set back
        return row is not None and row["role"] == "standby" and settled


def _fault(row: Row, missed: int) -> str:
    if missed >= PATIENCE:
        return "its agent does not answer"
    if row["role"] not in WELL:
        return str(row["reason"] or row["role"])
    return f"gateway {row['lacks']} does not answer" if row["lacks"] else ""

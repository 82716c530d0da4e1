"""The service engines as the controller sees them, and the worker that keeps each in step with the head."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal, Protocol

from avish.config.engines import engine_of, vrf_of
from avish.operate.view import Seen
from dataplane.driver import Driver
from dataplane.errors import DataplaneError, UnreachableError
from dataplane.model import SeState

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.4
"""Between two looks at an engine that is well."""
RESTART_SECONDS = 20.0
"""So long an agent that is restarted may take to be in step again before that is reported anyway."""
RETRY_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Between two attempts to reach one that is not; the last goes on."""


class Keeper(Protocol):
    """Keeps the agent of an engine alive."""

    def ensure(self) -> bool:
        """Start the agent unless it runs; True if it was started. UnreachableError when that fails."""

    def revision(self) -> int | None:
        """The revision the agent holds, None since its start. UnreachableError when it does not answer."""

    def stop(self) -> None:
        """End the agent. UnreachableError when it stays."""


class Engine:
    """One service engine in one VRF; ``name``: that of its place.

    ``applied``: what its kernel holds for us, None while that is not known (out of sync). Any thread may say that it
    was lost; only one that holds the commit lock may say that it is in step or moved.
    """

    def __init__(self, name: str, driver: Driver, keeper: Keeper, clock: Callable[[], float]) -> None:
        self.name = name
        self.driver = driver
        self.keeper = keeper
        self.applied: SeState | None = None
        self.revision = 0
        self.reason = "its agent has not answered yet"
        self.since = clock()
        self.wake = threading.Event()
        self.synced = threading.Event()
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def status(self) -> Literal["connected", "out_of_sync"]:
        """Whether the engine holds what was last applied."""
        return "out_of_sync" if self.applied is None else "connected"

    def seen(self, desired: SeState) -> Seen:
        """As a request sees it that finds ``desired`` asked of it."""
        name, vrf = engine_of(self.name), vrf_of(self.name)
        return Seen(
            name, self.driver, self.status == "connected", self.reason, self.since, desired, self.restart, vrf=vrf
        )

    def in_step(self, state: SeState, revision: int) -> None:
        """The engine was brought to ``state``."""
        with self._lock:
            if self.applied is None:
                self.since, self.reason = self._clock(), ""
            self.applied, self.revision = state, revision
            self.synced.set()

    def moved(self, before: SeState, state: SeState, revision: int) -> None:
        """The engine went on from ``before`` to ``state`` by a plan of ``revision``, unless it was lost meanwhile."""
        with self._lock:
            if self.applied is before:
                self.applied, self.revision = state, revision

    def lost(self, reason: str) -> None:
        """The engine does not answer, or holds something else than we thought."""
        with self._lock:
            if self.applied is not None:
                self.since = self._clock()
            if reason != self.reason:
                log.warning("service engine %s is out of sync: %s", self.name, reason)
            self.applied, self.reason = None, reason
            self.synced.clear()
            self.wake.set()

    def restart(self) -> str:
        """End the agent; the worker starts it again. Gives the status when it is in step, or has taken too long."""
        self.keeper.stop()
        self.lost("its agent is restarted by command")
        self.synced.wait(RESTART_SECONDS)
        return self.status

    def confirm(self) -> None:
        """Ask the agent what it holds; UnreachableError when it does not answer, or holds another revision than ours.

        A frozen agent is found out by this question, answered at once, not by waiting for a change it never makes.
        """
        held = self.keeper.revision()
        if held is None:
            raise UnreachableError("its agent was started again")
        if held != self.revision:
            raise UnreachableError(f"its agent holds revision {held}, not {self.revision}")


class Syncer(Protocol):
    """What the worker asks of the committer."""

    def confirm(self, engine: Engine) -> None:
        """UnreachableError unless the agent of an engine in step holds what we think."""

    def bring_up(self, engine: Engine) -> list[str]:
        """Make the engine hold what the head asks of it."""


class Worker:
    """A thread per engine: watches it, starts its agent again, brings it in step."""

    def __init__(self, engine: Engine, syncer: Syncer, met: Callable[[Engine], None]) -> None:
        """``met`` is called whenever the engine has come back, before it is brought in step."""
        self._engine = engine
        self._syncer = syncer
        self._met = met
        self._ended = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"engine-{engine.name}", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the engine goes on by itself."""
        self._ended.set()
        self._engine.wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._engine.wake.clear()
            self._engine.wake.wait(self._round())

    def _round(self) -> float:
        """Look once; gives the seconds until the next look."""
        try:
            self._look()
        except DataplaneError as error:
            self._engine.lost(str(error))
            return self._after_failure()
        except Exception:  # the thread must outlive a bug, and say so
            log.exception("watching service engine %s failed", self._engine.name)
            self._engine.lost("an internal error, see the log of the controller")
            return self._after_failure()
        self._failures = 0
        return WATCH_SECONDS

    def _after_failure(self) -> float:
        wait = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._failures += 1
        self._engine.wake.clear()
        return wait

    def _look(self) -> None:
        engine = self._engine
        if engine.applied is not None:
            self._syncer.confirm(engine)
            return
        engine.keeper.ensure()
        self._met(engine)
        for text in self._syncer.bring_up(engine):
            log.info("service engine %s: %s", engine.name, text)
        log.info("service engine %s is in step with revision %d", engine.name, engine.revision)

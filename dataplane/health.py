"""The health of servers: tests them all the time, in a thread of its own, and says which may be used.

It needs nobody: while the controller is away, servers go and come back as before.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataplane import probes, sysctl
from dataplane.diff import moved
from dataplane.errors import DataplaneError
from dataplane.health_model import Probe, Watch
from dataplane.health_state import Health, Test
from dataplane.model import Row, SeState
from dataplane.overlay import Server, Up

_LOG = logging.getLogger(__name__)
Key = tuple[str, str, int]
"""Of a test: monitor, address and port of the server."""

Use = Callable[[Up, Iterable[str]], None]
_RETRY_SECONDS = 1.0
MEMORY_REST = 20
"""Times as long as it took to write the verdicts down they are left alone."""


class Monitor:
    """Tests what ``follow`` was told last. ``use`` is called, from any thread, whenever other servers may be used.

    ``memory``: a file that remembers verdicts, so that one who is started again does not begin with nothing.
    """

    def __init__(self, use: Use, memory: Path, clock: Callable[[], float] = time.time) -> None:
        self._use = use
        self._memory = memory
        self._clock = clock
        self._pools: Mapping[str, Watch] = {}
        self._probes: Mapping[str, Probe] = {}
        self._health: dict[tuple[str, Server], Health] = {}
        self._tests: dict[Key, Test] = {}
        self._users: dict[Key, set[tuple[str, Server]]] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._up: dict[str, frozenset[Server]] = {}
        self._changed: set[str] = set()
        self._since: dict[str, tuple[bool, float]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._active = True
        self._telling = False
        self._decided = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._known = _remembered(memory)
        self._publishing, self._news = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        tasks = [self._loop.create_task(self._publish()), self._loop.create_task(self._keep())]
        self._loop.run_forever()
        for task in (*tasks, *self._running):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, *self._running, return_exceptions=True))
        self._loop.close()

    def close(self) -> None:
        """Test no more; for tests, an agent just ends."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # --- from other threads

    def follow(self, state: SeState) -> None:
        """From now on test what ``state`` says; returns when the servers that are known already are in use."""
        if (state.pools, state.probes) == (self._pools, self._probes):
            return
        done = asyncio.run_coroutine_threadsafe(self._follow(state.probes, state.pools), self._loop)
        done.result()

    def settle(self, seconds: float) -> None:
        """Wait until every server was tested once and those that passed are in use, ``seconds`` at most."""
        with self._decided:
            self._decided.wait_for(lambda: not (self._changed or self._telling or self._pending()), seconds)

    def trusted(self, server: Server) -> bool:
        """Whether a server is tested, and the last test of each kind passed."""
        found = [test for key, test in list(self._tests.items()) if key[1:] == server]
        return bool(found) and all(test.up and not test.bad for test in found)

    def hurry(self, server: Server) -> None:
        """Test a server at once, if it is tested at all."""
        self._loop.call_soon_threadsafe(self._hurry, server)

    def _hurry(self, server: Server) -> None:
        for key in [key for key in self._tests if key[1:] == server]:
            self._plan(key, 0.0)

    def active(self, *, here: bool) -> None:
        """Whether this engine is the active one; what is not tested on standby depends on it."""
        asyncio.run_coroutine_threadsafe(self._set_active(here=here), self._loop)

    def health(self, pool: str) -> list[Row]:
        """See ``dataplane.driver.Driver.health``."""
        watch = self._pools.get(pool)
        return [self._row(pool, watch, server) for server in watch.servers] if watch else []

    def pool_health(self) -> list[Row]:
        """See ``dataplane.driver.Driver.pool_health``."""
        return [self._pool(pool, watch) for pool, watch in self._pools.items()]

    def _pool(self, pool: str, watch: Watch) -> Row:
        every = [(server, self._health.get((pool, server), Health())) for server in watch.servers]
        down = [_brief(pool, server, health) for server, health in every if not health.up]
        since = self._since.get(pool, (False, 0.0))[1]
        return {"pool": pool, "servers": len(every), "up": len(every) - len(down), "since": since, "down": down}

    def _pending(self) -> bool:
        return any(health.up is None for health in list(self._health.values()))

    def _row(self, pool: str, watch: Watch, server: Server) -> Row:
        health = self._health.get((pool, server), Health())
        tests = {key: self._tests.get((key, *server)) for key in watch.probes}
        return {
            **_brief(pool, server, health),
            "transitions": list(health.transitions),
            "monitors": [test.row(key) for key, test in tests.items() if test is not None],
        }

    # --- in the loop

    async def _follow(self, wanted: Mapping[str, Probe], pools: Mapping[str, Watch], *, anew: bool = False) -> None:
        """What differs costs, not what there is; ``anew``: all of it."""
        old = self._pools
        other, gone = moved(old, pools)
        if anew or wanted != self._probes:
            other = list(pools)
        self._pools, self._probes = pools, wanted
        touched = {key for pool in (*other, *gone) if pool in old for key in self._let_go(pool, old[pool])}
        touched |= {key for pool in other for key in self._take_on(pool, pools[pool])}
        for key in touched:
            if key in self._users:
                self._adopt(key, wanted[key[0]])
            elif self._tests.pop(key, None) is not None:
                self._timers.pop(key).cancel()
        for pool in gone:
            self._forget(pool, old[pool].servers)
        for pool in other:
            self._begin_with(pool, old[pool].servers if pool in old else ())
        if self._changed:
            self._publishing.set()

    def _keys(self, watch: Watch) -> Iterator[tuple[Server, Key]]:
        return ((server, (monitor, *server)) for server in watch.servers for monitor in watch.probes)

    def _let_go(self, pool: str, watch: Watch) -> Iterator[Key]:
        for server, key in self._keys(watch):
            users = self._users.get(key, set())
            users.discard((pool, server))
            if not users:
                self._users.pop(key, None)
            yield key

    def _take_on(self, pool: str, watch: Watch) -> Iterator[Key]:
        for server, key in self._keys(watch) if self._watches(watch) else ():
            self._users.setdefault(key, set()).add((pool, server))
            yield key

    def _forget(self, pool: str, servers: Iterable[Server]) -> None:
        for server in servers:
            self._health.pop((pool, server), None)
        self._up.pop(pool, None)
        self._since.pop(pool, None)

    def _begin_with(self, pool: str, before: Iterable[Server]) -> None:
        """Judge a pool that is new or has changed; ``before``: its servers till now."""
        now, watch = self._clock(), self._pools[pool]
        for server in set(before) - set(watch.servers):
            self._health.pop((pool, server), None)
        for server in watch.servers:
            one = self._health.setdefault((pool, server), Health(since=now))
            if self._watches(watch):
                one.judge(watch, (self._tests[monitor, *server] for monitor in watch.probes), now)
            else:
                one.trust("not tested while this engine is not the active one" if watch.probes else "")
        usable = frozenset(server for server in watch.servers if self._health[pool, server].up)
        if self._up.get(pool) != usable:
            self._changed.add(pool)
        self._up[pool] = usable
        self._note(pool)

    def _watches(self, watch: Watch) -> bool:
        return bool(watch.probes) and (self._active or watch.on_standby)

    def _adopt(self, key: Key, probe: Probe) -> None:
        """Begin a test, or go on with it the way it is done from now on."""
        test = self._tests.get(key)
        if test is None or test.probe.kind != probe.kind:
            known = self._known.pop(_text(key), None)  # of the time before this agent, and only then
            test = Test(probe, key[2], up=known, since=self._clock(), reason="as before the agent was started")
            if known is None:
                test.reason = "not tested yet"
            self._tests[key] = test
            if key in self._timers:
                self._timers.pop(key).cancel()
        elif test.probe == probe:
            return
        test.probe = probe
        self._plan(key, random.uniform(0, probe.interval) if test.up is not None else 0.0)

    def _plan(self, key: Key, seconds: float) -> None:
        if key in self._timers:
            self._timers[key].cancel()
        self._timers[key] = self._loop.call_later(seconds, self._begin, key)

    def _begin(self, key: Key) -> None:
        task = self._loop.create_task(self._test(key))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _test(self, key: Key) -> None:
        test = self._tests.get(key)
        if test is None:
            return
        began = self._loop.time()
        try:
            verdict = await probes.run(test.probe, key[1], key[2])
        except Exception:  # noqa: BLE001  (a bug in one test must not end them all)
            _LOG.exception("the test %s of %s port %d failed", test.probe.name, *key[1:])
            verdict = probes.Verdict(
                up=False, milliseconds=0, code="OTHER_ERROR", reason="an internal error, see the log"
            )
        if self._tests.get(key) is not test:
            return
        first = test.up is None
        if test.take(verdict, self._clock()) or first:
            self._judge(self._users.get(key, ()))
        self._plan(key, max(test.wait - (self._loop.time() - began), 0.0))

    def _judge(self, servers: Iterable[tuple[str, Server]]) -> None:
        now = self._clock()
        for pool, server in servers:
            watch, health = self._pools[pool], self._health[pool, server]
            if health.judge(watch, (self._tests[monitor, *server] for monitor in watch.probes), now):
                _LOG.info("server %s port %d: %s", *server, "up" if health.up else f"down: {health.reason}")
                self._mark(pool, server, up=bool(health.up))
        with self._decided:
            self._decided.notify_all()

    def _mark(self, pool: str, server: Server, *, up: bool) -> None:
        before = self._up.get(pool, frozenset())
        self._up[pool] = before | {server} if up else before - {server}
        if self._up[pool] != before:
            self._note(pool)
            self._changed.add(pool)
            self._publishing.set()

    def _note(self, pool: str) -> None:
        """When the first server came, or the last one went."""
        usable = bool(self._up[pool])
        if self._since.get(pool, (None, 0.0))[0] != usable:
            self._since[pool] = (usable, self._clock())

    async def _set_active(self, *, here: bool) -> None:
        if here != self._active:
            self._active = here
            await self._follow(self._probes, self._pools, anew=True)

    async def _publish(self) -> None:
        """Tell of the usable servers; what is refused is tried again."""
        while True:
            await self._publishing.wait()
            self._publishing.clear()
            self._telling = True
            changed, self._changed = self._changed, set()
            up = dict(self._up)
            try:
                await asyncio.to_thread(self._use, up, changed)
                self._news.set()
            except Exception as error:  # noqa: BLE001  (whatever it is, servers that go down later must be told of)
                known = isinstance(error, (DataplaneError, OSError))
                _LOG.warning("the usable servers cannot be set: %s", error, exc_info=not known)
                self._changed |= changed
                await asyncio.sleep(_RETRY_SECONDS)
                self._publishing.set()
            finally:
                self._telling = False
            with self._decided:
                self._decided.notify_all()

    async def _keep(self) -> None:
        """Write the verdicts down, and rest the longer the more there are: of thousands not with each flip."""
        while True:
            await self._news.wait()
            self._news.clear()
            began = self._loop.time()
            try:
                await asyncio.to_thread(self._remember)
            except OSError as error:
                _LOG.warning("the verdicts of tests cannot be remembered: %s", error)
            await asyncio.sleep(MEMORY_REST * (self._loop.time() - began))

    def _remember(self) -> None:
        verdicts = {_text(key): test.up for key, test in list(self._tests.items()) if test.up is not None}
        part = self._memory.with_suffix(".part")
        part.write_text(json.dumps({"boot": sysctl.boot(), "up": verdicts}))
        part.replace(self._memory)


def _text(key: Key) -> str:
    return " ".join(map(str, key))


def _brief(pool: str, server: Server, health: Health) -> Row:
    return {
        "pool": pool,
        "ip": server[0],
        "port": server[1],
        "up": health.up,
        "reason": health.reason,
        "code": health.code,
        "since": health.since,
    }


def _remembered(memory: Path) -> dict[str, bool]:
    """The verdicts of an agent that ran before, since the machine was started."""
    with suppress(OSError, ValueError):
        document: Any = json.loads(memory.read_text())
        if isinstance(document, dict) and document.get("boot") == sysctl.boot():
            return dict(document["up"])
    return {}

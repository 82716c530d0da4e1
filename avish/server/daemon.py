"""``avishd serve``: store, engines, workers and HTTP put together, and taken apart again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avish.config.config import Config
from avish.config.engines import engine_of
from avish.config.ids import Ids
from avish.config.sealing import KeySealer, read_keys
from avish.config.store import SqliteStore, Who
from avish.config.upgrade import NOTE as GRAMMAR
from avish.config.upgrade import fingerprint, upgraded
from avish.controller.access import SYSTEM
from avish.controller.accounts import Accounts
from avish.controller.api import Api, Parties
from avish.controller.audit import Audit
from avish.controller.capture_files import Folder
from avish.controller.captures import Captures, Look
from avish.controller.commit import Committer, Outcome
from avish.controller.confirm import Confirmations
from avish.controller.deadline import Deadline
from avish.controller.debug import CaptureSwitch
from avish.controller.engines import Engine, Worker
from avish.controller.guard import Effects
from avish.controller.metrics import Collector
from avish.controller.monitor import Monitor
from avish.controller.notices import Notices
from avish.controller.records import Records
from avish.controller.registration import Member, registration
from avish.controller.rollback import Rollbacks
from avish.controller.sessions import Sessions
from avish.controller.status import Status
from avish.errors import AvishError, UnavailableError
from avish.schema.load import schema
from avish.schema.model import Schema
from avish.server.agents import agent_of
from avish.server.books import collector, open_records, scraped
from avish.server.chores import Chores
from avish.server.home import EngineSpec, Home, socket_group
from avish.server.http import Door, Front
from avish.server.logs import LOOK_SECONDS, rotate
from avish.server.notify import live, tell
from avish.server.schedules import Schedules
from avish.server.sockets import listen, listen_at
from avish.server.tls import certificate_hash, context, own_names
from dataplane.driver import Driver
from dataplane.errors import DataplaneError
from dataplane.remote import RemoteDriver

if TYPE_CHECKING:
    from avish.server.ssh import SshFront

log = logging.getLogger(__name__)
SOCKET_LOOK_SECONDS = 1.0

READY_SECONDS = 20.0
"""So long the engines may take to come in step before the start is reported anyway."""
SYSTEM_WHO = Who(SYSTEM, "system", "service engines as found")
SEALED = "sealed"
MakeEngine = Callable[[Home, EngineSpec], Engine]


def real_engine(home: Home, spec: EngineSpec) -> Engine:
    """An engine behind an agent process."""
    return Engine(spec.place, RemoteDriver(home.agent_socket(spec.place)), agent_of(home, spec), time.time)


@dataclass
class Controller:
    """Everything but the sockets."""

    api: Api
    committer: Committer
    engines: Mapping[str, Engine]
    workers: list[Worker]
    captures: Captures
    notices: Notices
    deadline: Deadline
    store: SqliteStore
    audit: Audit
    listens: dict[str, str]
    """Where the network reaches it, by kind of door; shown by ``avishd status``."""
    accounts: Accounts
    sessions: Sessions
    records: Records
    monitor: Monitor
    schedules: Schedules
    chores: Chores

    def start(self) -> None:
        """Take back the commit that was not confirmed in time, if any; begin to watch the engines."""
        self.records.start()
        self.deadline.start()
        self.monitor.start()
        self.chores.start()
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        """End captures, workers and store; the engines forward on."""
        self.notices.close()
        self.chores.stop()
        self.audit.anchor()
        self.captures.shutdown()
        self.deadline.stop()
        self.monitor.stop()
        for worker in self.workers:
            worker.stop()
        self.records.close()
        self.store.close()


def build(home: Home, specs: list[EngineSpec], make_engine: MakeEngine = real_engine) -> Controller:
    """The controller of a home: engines found or started, and registered in the order of ``specs``."""
    grammar = schema()
    store = SqliteStore(home.store, grammar, KeySealer(read_keys(home.keys), grammar))
    if store.note(SEALED) is None:  # of a release that kept secrets in clear
        store.seal_again()
        store.keep({SEALED: True})
    engines = {spec.place: make_engine(home, spec) for spec in specs}
    notices = Notices(store, time.time)
    confirmations = Confirmations(store, time.time, notices)
    committer = Committer(grammar, store, engines, time.time, confirmations)
    captures = Captures(Folder(home.captures, time.time), _drivers(engines), _looker(committer), time.time)
    accounts = Accounts(store, lambda: committer.head.config, time.time)
    rollbacks = Rollbacks(
        committer=committer,
        store=store,
        engines=engines,
        confirmations=confirmations,
        notices=notices,
        effects=Effects(CaptureSwitch(captures), accounts),
    )
    listens: dict[str, str] = {}
    about = {"home": str(home.path), "pid": os.getpid(), "listens": listens}
    namespaces = {spec.place: spec.namespace for spec in specs}
    audit = Audit(home.audit, time.time, store)
    status = Status(
        about, committer=committer, engines=engines, store=store, captures=captures, namespaces=namespaces, audit=audit
    )
    sessions = Sessions(time.time)
    records = open_records(home, committer, audit)
    parties = Parties(
        grammar,
        store,
        committer,
        engines,
        captures,
        status,
        confirmations,
        notices,
        rollbacks,
        accounts,
        sessions,
        audit,
        records,
        home.path / "exports",
    )
    api = Api(parties)
    upgrade(committer, store, grammar)
    register(committer, _observe_all(engines, specs))

    def met(engine: Engine) -> None:
        register(committer, _observe_one(engine, specs))

    workers = [Worker(engine, committer, met) for engine in engines.values()]
    deadline = Deadline(confirmations, rollbacks, notices)
    monitor = Monitor(committer, engines, records.rates, records.events, captures, notices)
    schedules = Schedules(home, committer, store, records.events, time.time)
    return Controller(
        api,
        committer,
        engines,
        workers,
        captures,
        notices,
        deadline,
        store,
        audit,
        listens,
        accounts,
        sessions,
        records,
        monitor,
        schedules,
        _chores(home, schedules, committer),
    )


def _chores(home: Home, schedules: Schedules, committer: Committer) -> Chores:
    """What is done from time to time; a commit may have changed what that is."""

    def put_aside() -> float:
        rotate(home.log)
        return LOOK_SECONDS

    chores = Chores([schedules.look, put_aside])
    committer.told.append(lambda _, __: chores.wake())
    return chores


def _drivers(engines: Mapping[str, Engine]) -> Callable[[str], Driver]:
    def driver(name: str) -> Driver:
        if name not in engines:
            raise UnavailableError(f"no service engine of the topology is called {name}: there is nothing to capture")
        return engines[name].driver

    return driver


def _looker(committer: Committer) -> Look:
    def look() -> tuple[Config, Ids]:
        head = committer.head
        return head.config, head.ids

    return look


def register(committer: Committer, members: list[Member]) -> None:
    """Write the engines down as found. What contradicts that is the operator's to resolve: it is logged."""
    try:
        committer.commit(lambda head: registration(head, members), SYSTEM_WHO)
    except AvishError as error:
        log.warning("the service engines cannot be written down as found: %s", error)


def upgrade(committer: Committer, store: SqliteStore, grammar: Schema) -> None:
    """Rewrite the objects of an earlier release as one commit, once. What contradicts the checks of now stays."""
    written = fingerprint(grammar)
    if store.note(GRAMMAR) == written:
        return
    try:
        committer.commit(
            lambda head: upgraded(grammar, head), Who(SYSTEM, "system", "objects as this release has them")
        )
    except AvishError as error:
        log.warning("the objects of the release before stay as they are: %s", error)
    store.keep({GRAMMAR: written})


def _observe_all(engines: Mapping[str, Engine], specs: list[EngineSpec]) -> list[Member]:
    def observe(spec: EngineSpec) -> Member:
        engine = engines[spec.place]
        try:
            engine.keeper.ensure()
            return Member.observed(spec.name, spec.group, engine.driver, spec.vrf)
        except DataplaneError as error:
            log.warning("service engine %s: %s", engine.name, error)
            return Member(spec.name, spec.group, vrf=spec.vrf)

    with ThreadPoolExecutor(max(len(engines), 1)) as pool:
        return list(pool.map(observe, specs))


def _observe_one(engine: Engine, specs: list[EngineSpec]) -> list[Member]:
    """The engine in the VRF of its place; its other VRFs stay as they are known."""
    return [
        Member.observed(spec.name, spec.group, engine.driver, spec.vrf)
        if spec.place == engine.name
        else Member(spec.name, spec.group, vrf=spec.vrf)
        for spec in specs
        if spec.name == engine_of(engine.name)
    ]


@dataclass(frozen=True, slots=True)
class Network:
    """Where to listen besides the Unix socket, each (address, port) or None."""

    https: tuple[str, int] | None = None
    ssh: tuple[str, int] | None = None
    metrics: tuple[str, int] | None = None


NOWHERE = Network()


def serve(home: Home, specs: list[EngineSpec], ready_fd: int | None = None, network: Network = NOWHERE) -> None:
    """Serve until SIGTERM or SIGINT. ``ready_fd`` gets one line of JSON when the engines are in step, and is closed."""
    home.prepare()
    with home.lock():
        home.keep_engines(specs)
        controller = build(home, specs)
        controller.start()
        try:
            with scraped(network.metrics, collector_of(controller), controller.listens):
                _serve(home, controller, ready_fd, network)
        finally:
            controller.stop()
            home.socket.unlink(missing_ok=True)


def collector_of(controller: Controller) -> Collector:
    """What Prometheus scrapes."""
    return collector(controller.committer, controller.engines, controller.captures, controller.records)


def _serve(home: Home, controller: Controller, ready_fd: int | None, network: Network) -> None:
    doors = [Door(listen(home.socket, socket_group())), *_https(home, network.https, controller.listens)]
    front = _ssh(home, network.ssh, controller.listens)
    if front is not None:
        doors.append(front.door)
    log.info("serving %s, revision %d", home.path, controller.committer.head.config.revision)
    if ready_fd is not None:
        threading.Thread(target=_report_ready, args=(ready_fd, controller), daemon=True).start()
    asyncio.run(_until_signal(Front(controller.api.handle), doors, controller, home.socket, front))
    log.info("stopped; the service engines forward on")


def _https(home: Home, where: tuple[str, int] | None, listens: dict[str, str]) -> list[Door]:
    if where is None:
        return []
    tls = context(home.keys, own_names(where[0]))
    listener = listen_at(*where)
    address, port = listener.getsockname()[:2]
    listens["https"] = f"{address} port {port}"
    log.info("HTTPS at %s, certificate SHA-256 %s", listens["https"], certificate_hash(home.keys))
    return [Door(listener, "https", tls)]


def _ssh(home: Home, where: tuple[str, int] | None, listens: dict[str, str]) -> SshFront | None:
    if where is None:
        return None
    from avish.server.ssh import SshFront

    listener = listen_at(*where)
    address, port = listener.getsockname()[:2]
    listens["ssh"] = f"{address} port {port}"
    log.info("SSH at %s", listens["ssh"])
    return SshFront(home, listener)


async def _end(signalled: asyncio.Event, path: Path) -> None:
    """Wait for a signal, or until the socket is gone: with its home deleted, nobody could reach or end this process."""
    while path.exists():  # noqa: ASYNC240  (one stat of a local directory)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(signalled.wait(), SOCKET_LOOK_SECONDS)
            return
    log.warning("%s is gone: the controller ends", path)


async def _until_signal(
    front: Front, doors: Sequence[Door], controller: Controller, path: Path, ssh: SshFront | None
) -> None:
    """Notices and captures end first, so that who follows one is told why."""
    loop, signalled, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    async with asyncio.TaskGroup() as group:
        group.create_task(front.run(doors, ended))
        group.create_task(live(ended))
        if ssh is not None:
            controller.committer.told.append(_in_loop(loop, ssh.changed))
            group.create_task(ssh.run(lambda: controller.committer.head.config, ended))
        tell("READY=1")
        await _end(signalled, path)
        tell("STOPPING=1")
        controller.notices.close()
        await loop.run_in_executor(None, controller.captures.shutdown)
        ended.set()


def _in_loop(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> Callable[[Outcome, Who], None]:
    """What is told of a commit, in whatever thread, done in the loop; one that has ended needs it no more."""

    def told(_: Outcome, __: Who) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(act)

    return told


def _report_ready(handle: int, controller: Controller) -> None:
    deadline = time.monotonic() + READY_SECONDS
    for engine in controller.engines.values():
        engine.synced.wait(max(deadline - time.monotonic(), 0))
    behind = {e.name: e.reason for e in controller.engines.values() if e.applied is None}
    with contextlib.suppress(BrokenPipeError), os.fdopen(handle, "w") as out:
        out.write(json.dumps({"out_of_sync": behind}) + "\n")

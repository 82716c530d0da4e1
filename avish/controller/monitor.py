"""The thread that looks: counters once a second into the rates, states of things into events and health."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from avish.compile.pairs import TAGS
from avish.config.config import Body
from avish.config.engines import engine_of
from avish.config.ids import Ids
from avish.controller.captures import Captures
from avish.controller.commit import Committer
from avish.controller.engines import Engine
from avish.controller.events import Events
from avish.controller.notices import Notices
from avish.controller.rings import Key, Rates
from avish.operate.registry import RUNTIME
from avish.operate.view import View
from dataplane.errors import DataplaneError
from dataplane.model import NAT_MARK, Row, nat_counters, service_counter

log = logging.getLogger(__name__)
TICK = 1.0
SHARE = 20.0
"""Looking takes at most one part in so many of the time: when there is much to look at, it is looked at less often."""
LATEST = 10.0
"""Seconds between two looks at most: of many services too somebody waits for the event."""
UP, DOWN, UNKNOWN = 100.0, 0.0, -1.0
Place = tuple[str, int]
"""Address and port of a server."""
Counted = dict[tuple[str, Key], dict[str, int]]


def pause(used: float) -> float:
    """Seconds from one look to the next, by the processor time that it used: waiting for an engine is no work."""
    return min(max(TICK, used * SHARE), LATEST)


class Monitor:
    """Looks from ``start`` until ``stop``; ``counters`` and ``states`` are the two looks it takes."""

    def __init__(
        self,
        committer: Committer,
        engines: Mapping[str, Engine],
        rates: Rates,
        events: Events,
        captures: Captures,
        notices: Notices,
    ) -> None:
        self._notices = notices
        self._committer = committer
        self._engines = engines
        self._rates = rates
        self._events = events
        self._captures = captures
        self._capturing: dict[str, str] = {}
        """State by capture."""
        self._down: dict[str, dict[Place, str]] = {}
        """The servers that are down and why, by pool."""
        self._known: dict[tuple[str, str], str] = {}
        self._active: dict[tuple[str, str], str] = {}
        self._repairs: dict[str, tuple[int, float]] = {}
        """Number and time of the last that was told, by place."""
        self._began = time.time()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        looks: list[tuple[Callable[[], None], float]] = [(self.counters, 0.0), (self.states, 0.0)]
        while not self._ended.is_set():
            now = time.monotonic()
            looks = [(look, self._due(look, due, now)) for look, due in looks]
            self._ended.wait(max(min(due for _, due in looks) - time.monotonic(), 0.01))

    def _due(self, look: Callable[[], None], due: float, now: float) -> float:
        """Look if it is time; when to look next."""
        if now < due:
            return due
        began, used = time.monotonic(), time.thread_time()
        try:
            look()
        except Exception:  # the thread must outlive a bug, and say so
            log.exception("looking at the engines failed")
        return began + pause(time.thread_time() - used)

    # --- counters

    def counters(self) -> None:
        """Read what the engines have counted."""
        counted: Counted = {}
        ids = self._committer.head.ids
        for engine in list(self._engines.values()):
            if engine.applied is None:
                continue
            try:
                for key, values in _counted(engine, ids):
                    counted[engine.name, key] = values
            except DataplaneError as error:
                log.debug("service engine %s: %s", engine.name, error)
        self._rates.look(counted, time.monotonic())

    # --- states

    def states(self) -> None:
        """Judge what there is, and tell what has become different."""
        head = self._committer.head
        seen = {name: engine.seen(head.state(name)) for name, engine in list(self._engines.items())}
        view = View(head.config, head.ids, seen)
        healths: list[tuple[Key, float]] = []
        for kind, track in (("serviceengine", "engine"), ("virtualservice", "service"), ("pool", "pool")):
            for body in head.config.all(kind):
                status = RUNTIME[kind](view, body)["oper_status"]
                healths.append(((track, _known_by(track, body)), _health(status)))
                self._tell(kind, body, status)
        self._rates.judge(healths)
        self._servers(view)
        self._switched(view)
        self._repaired(view)
        self._captured()

    def _tell(self, kind: str, body: Body, status: Mapping[str, Any]) -> None:
        state = str(status["state"])
        before = self._known.get((kind, body["uuid"]))
        self._known[kind, body["uuid"]] = state
        if before is None or before == state:
            return
        short = {"serviceengine": "SE", "virtualservice": "VS", "pool": "POOL"}[kind]
        if "OPER_UP" not in (state, before) and "OPER_DOWN" not in (state, before):
            return
        up = state == "OPER_UP"
        reason = "; ".join(status.get("reason", [])) if isinstance(status.get("reason"), list) else ""
        word = "is up" if up else f"is {state.removeprefix('OPER_').lower()}"
        text = f"{body['name']} {word}" + (f": {reason}" if reason and not up else "")
        event = f"{short}_{'UP' if up else 'DOWN'}"
        if (kind, state) == ("virtualservice", "OPER_DISABLED"):
            event = "VS_FSM_DISABLED"
        self._events.add(event, text, obj=(kind, body["uuid"], body["name"]))

    def _servers(self, view: View) -> None:
        """Servers that went down or came back, as the engine sees them that answers for the addresses."""
        for seen in view.engines.values():
            try:
                pools = seen.pools if not seen.desired.pairs or any(map(seen.leads, seen.desired.pairs)) else {}
            except DataplaneError as error:
                log.debug("service engine %s: %s", seen.place, error)
                continue
            for uuid, row in pools.items():
                down = {(one["ip"], one["port"]): one["reason"] for one in row["down"] if one["up"] is False}
                before = self._down.get(uuid)
                self._down[uuid] = down
                body = view.config.get("pool", uuid) if before is not None and before.keys() != down.keys() else None
                if body is not None:
                    self._came_and_went(body, before or {}, down)

    def _came_and_went(self, pool: Body, before: Mapping[Place, str], down: Mapping[Place, str]) -> None:
        known = {server["ip"]["addr"] for server in pool.get("servers", [])}
        obj = ("pool", pool["uuid"], pool["name"])
        for ip, port in down.keys() - before.keys():
            text = f"server {ip}:{port} of pool {pool['name']} is down: {down[ip, port]}"
            self._events.add("SERVER_DOWN", text, obj=obj, details={"server": ip, "port": port})
        for ip, port in before.keys() - down.keys():
            if ip in known:  # else it was taken out of the pool
                text = f"server {ip}:{port} of pool {pool['name']} is up"
                self._events.add("SERVER_UP", text, obj=obj, details={"server": ip, "port": port})

    def _captured(self) -> None:
        """Captures that began or ended since the last look."""
        capturing = {}
        for job in list(self._captures.begun):
            record, state = job.record(), job.state
            before = self._capturing.get(job.files.stem)
            capturing[job.files.stem] = state
            kind, uuid = job.wanted.key
            about: dict[str, Any] = {
                "obj": (kind, uuid, job.wanted.name),
                "user": job.user,
                "details": {"file": record["file"], "packets": record["packets"], "lost": record["lost"]},
            }
            on = record["subject"] or record["engine"]
            if before is None:
                self._events.add("DEBUG_MODE_ON", f"capture on {on} began", **about)
            if state == "ended" and before != "ended":
                text = f"capture on {on} ended: {record['reason']}, {record['packets']} packets"
                self._events.add("DEBUG_MODE_OFF", text, **about)
        self._capturing = capturing

    def _repaired(self, view: View) -> None:
        """What others changed in the kernel of an engine, and its agent has put right."""
        for name, engine in list(self._engines.items()):
            body = view.config.named("serviceengine", engine_of(name))
            try:
                rows = engine.driver.repairs() if engine.applied is not None and body is not None else []
            except DataplaneError as error:
                log.debug("service engine %s: %s", name, error)
                continue
            for row in self._fresh(name, rows):
                if body is not None:
                    text = f"{name}: {row['text']}; put right"
                    self._events.add("SE_DRIFT_REPAIRED", text, obj=("serviceengine", body["uuid"], body["name"]))
                    self._notices.tell(self._notices.make(text, "drift"))
            if rows:
                self._repairs[name] = rows[-1]["number"], rows[-1]["time"]

    def _fresh(self, name: str, rows: list[Row]) -> list[Row]:
        """Those not told yet, by their order, for clocks jump: behind the last one told; of a new agent all."""
        told = self._repairs.get(name)
        if told is None:
            return [row for row in rows if row["time"] > self._began]
        known = [(row["number"], row["time"]) for row in rows]
        return rows[known.index(told) + 1 :] if told in known else rows

    def _switched(self, view: View) -> None:
        """Tell when another engine of a pair has become active; an election says nothing before its end."""
        for group in view.config.all("serviceenginegroup"):
            members = view.group(f"/api/serviceenginegroup/{group['uuid']}")
            for tag, pair in TAGS.items():
                active = next((body["name"] for body in members if self._leads(view, body, pair)), None)
                if active is not None:
                    self._became(group, tag, active)

    @staticmethod
    def _leads(view: View, engine: Body, pair: int) -> bool:
        seen = view.engines.get(engine["name"])
        return seen is not None and seen.leads(pair)

    def _became(self, group: Body, tag: str, active: str) -> None:
        before = self._active.get((group["uuid"], tag))
        self._active[group["uuid"], tag] = active
        if before in (None, active):
            return
        text = f"{active} is active for group {group['name']} ({tag}) in place of {before}"
        self._events.add("VS_SWITCHOVER", text, obj=("serviceenginegroup", group["uuid"], group["name"]))
        self._notices.tell(self._notices.make(text, "switchover"))


def _known_by(track: str, body: Body) -> str:
    return str(body["name"] if track == "engine" else body["uuid"])


def _health(status: Mapping[str, Any]) -> float:
    return {"OPER_UP": UP, "OPER_DOWN": DOWN}.get(str(status["state"]), UNKNOWN)


def _counted(engine: Engine, ids: Ids) -> Iterator[tuple[Key, dict[str, int]]]:
    """What one engine has counted, by what it belongs to."""
    named = engine.driver.counters()
    services: dict[int, dict[str, int]] = {}
    for row in engine.driver.facts("rates"):
        values = {name: row[name] for name in ("packets", "bytes", "reply_packets", "reply_bytes")}
        if row["mark"] & NAT_MARK:
            services[row["mark"]] = values
            continue
        yield ("server", f"{row['mark']} {row['ip']} {row['port']}"), values
        total = services.setdefault(row["mark"], dict.fromkeys(values, 0))
        for name, value in values.items():
            total[name] += value
    for kind, track in (("service", "service"), ("nat_rule", "rule")):
        for key, number in ids.numbers.get(kind, {}).items():
            counter = service_counter(number) if kind == "service" else nat_counters(number)[1]
            values = services.get(number if kind == "service" else NAT_MARK | number, {})
            if counter in named or values:
                yield (track, key), {"connections": named.get(counter, (0, 0))[0], **values}
    total = dict.fromkeys(("packets", "bytes", "reply_packets", "reply_bytes"), 0)
    for link in engine.driver.facts("links"):
        found = link["statistics"]
        total["packets"] += found.get("rx_packets", 0)
        total["bytes"] += found.get("rx_bytes", 0)
        total["reply_packets"] += found.get("tx_packets", 0)
        total["reply_bytes"] += found.get("tx_bytes", 0)
    yield ("engine", engine_of(engine.name)), total

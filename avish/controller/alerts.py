"""Alerts: events that an alertconfig watches for, sent to the syslog servers and given to the scripts."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from queue import Queue
from typing import Any, Protocol

from avish.config.config import Body, Config
from avish.controller.events import Event, Events

log = logging.getLogger(__name__)
ALERT = "ALERT"
"""The event_id under which an alert is kept among the events."""
COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "ALERT_OP_LT": lambda a, b: a < b,
    "ALERT_OP_LE": lambda a, b: a <= b,
    "ALERT_OP_GE": lambda a, b: a >= b,
    "ALERT_OP_GT": lambda a, b: a > b,
}


class Outlet(Protocol):
    """Where alerts go; each returns "" or why it failed, and does not wait for ever."""

    def syslog(self, server: Mapping[str, Any], sender: str, alert: Mapping[str, Any]) -> str:
        """Send to one server of an alertsyslogconfig."""

    def scripts(self, alert: Mapping[str, Any]) -> list[str]:
        """Run what is installed for alerts; what failed, in words."""


class Alerts:
    """A thread of its own looks at events and sends: nothing that makes events ever waits for it."""

    def __init__(
        self, events: Events, config: Callable[[], Config], outlet: Outlet, clock: Callable[[], float]
    ) -> None:
        self._events = events
        self._config = config
        self._outlet = outlet
        self._clock = clock
        self._queue: Queue[Event | None] = Queue()
        self._hits: dict[str, deque[tuple[float, str]]] = {}
        self._raised: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        events.listen(self._queue.put)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what waits is looked at first."""
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(10)

    def look(self) -> None:
        """Look at what waits, in this thread."""
        while not self._queue.empty():
            if (event := self._queue.get()) is not None:
                self._consider(event)

    def recent(self, query: Mapping[str, str]) -> list[Event]:
        """The alerts that have not expired, oldest first."""
        now = self._clock()
        found = self._events.recent({**query, "event_id": ALERT})
        return [alert for alert in found if alert["event_details"].get("expires", now) >= now]

    def test(self) -> list[dict[str, str]]:
        """Send a message to every syslog server; how each took it."""
        alert = {"name": "test", "text": "a test message of this controller", "time": self._clock(), "event_id": "TEST"}
        return [
            {"server": f"{server['syslog_server']}:{server.get('syslog_server_port', 514)}",
             "result": self._outlet.syslog(server, sender, alert) or "sent"}
            for server, sender in servers(self._config())
        ]  # fmt: skip

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._consider(event)
            except Exception:  # the thread must outlive a bug, and say so
                log.exception("an event could not be looked at for alerts")

    def _consider(self, event: Event) -> None:
        if event["event_id"] == ALERT:
            return
        for config in self._config().all("alertconfig"):
            if config.get("enabled", True) and config.get("source") == "EVENT_LOGS" and matches(config, event):
                self._hit(config, event)

    def _hit(self, config: Body, event: Event) -> None:
        """The rule holds: raise, unless it has to hold more often or was raised a moment ago."""
        now = self._clock()
        window = config.get("rolling_window", 300) if config.get("category") == "ROLLINGWINDOW" else float("inf")
        hits = self._hits.setdefault(config["uuid"], deque(maxlen=65536))
        hits.append((now, event["event_id"]))
        while hits and now - hits[0][0] > window:
            hits.popleft()
        if len(hits) < config.get("threshold", 1) or not _all_came(config, {name for _, name in hits}):
            return
        if now - self._raised.get(config["uuid"], float("-inf")) < config.get("throttle", 600):
            return
        hits.clear()
        self._raised[config["uuid"]] = now
        self._raise(config, event, now)

    def _raise(self, config: Body, event: Event, now: float) -> None:
        text = config.get("summary") or event["event_description"]
        alert = {"name": config["name"], "text": text, "time": now, "event_id": event["event_id"], "event": event}
        failed = [f"{server['syslog_server']}: {why}" for server, sender in servers(self._config())
                  if (why := self._outlet.syslog(server, sender, alert))]  # fmt: skip
        failed += self._outlet.scripts(alert)
        for why in failed:
            log.warning("alert %s could not be sent: %s", config["name"], why)
        details = {
            "alertconfig": config["name"],
            "event": event["number"],
            "expires": now + config.get("expiry_time", 86400),
        }
        if failed:
            details["not_sent"] = failed
        self._events.add(
            ALERT, f"{config['name']}: {text}", obj=("alertconfig", config["uuid"], config["name"]), details=details
        )


def servers(config: Config) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every syslog server, and what it is told as the sender."""
    for one in config.all("alertsyslogconfig"):
        for server in one.get("syslog_servers", []):
            yield server, one.get("sender_hostname", "")


def matches(config: Body, event: Event) -> bool:
    """Whether an event is one that the configuration watches for."""
    if config.get("obj_uuid", event["obj_uuid"]) != event["obj_uuid"]:
        return False
    if config.get("object_type", event["obj_type"].upper()) != event["obj_type"].upper():
        return False
    rule = config.get("alert_rule") or {}
    words = rule.get("event_match_filter", "")
    if words and words.lower() not in f"{event['event_id']} {event['event_description']}".lower():
        return False
    watched = rule.get("sys_event_rule") or []
    return any(_fits(one, event) for one in watched) if watched else bool(words)


def _fits(rule: Body, event: Event) -> bool:
    same = rule.get("event_id") == event["event_id"]
    if same == bool(rule.get("not_cond")):
        return False
    return all(_detail(one, event) for one in rule.get("event_details", []))


def _detail(wanted: Body, event: Event) -> bool:
    """A detail of the event against the one that is wanted; unlike a number, a word is only equal or not."""
    known = {**event, **event["event_details"]}
    found, value = str(known.get(wanted["event_details_key"], "")), wanted["event_details_value"]
    kind = wanted.get("comparator", "ALERT_OP_EQ")
    if kind in ("ALERT_OP_EQ", "ALERT_OP_NE"):
        return bool((found == value) == (kind == "ALERT_OP_EQ"))
    try:
        return bool(COMPARE[kind](float(found), float(value)))
    except ValueError:
        return False


def _all_came(config: Body, came: set[str]) -> bool:
    """With OPERATOR_AND every event of the rule has to have come."""
    rule = config.get("alert_rule") or {}
    watched = [one for one in rule.get("sys_event_rule") or [] if not one.get("not_cond")]
    if rule.get("operator", "OPERATOR_AND") == "OPERATOR_OR" or len(watched) < 2:
        return True
    return all(one.get("event_id") in came for one in watched)


def rfc5424(alert: Mapping[str, Any], host: str, process: int) -> str:
    """One message in the form of RFC 5424: facility local0, severity warning, the event as structured data."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(alert["time"])) + f".{int(alert['time'] % 1 * 1000):03d}Z"
    pairs = {"alert": alert["name"], "event": alert["event_id"]}
    if event := alert.get("event"):
        pairs |= {"object": event["obj_name"], "type": event["obj_type"], "number": event["number"]}
    data = " ".join(f'{name}="{_quoted(str(value))}"' for name, value in pairs.items())
    return (
        f"<132>1 {stamp} {host or '-'} avish {process} {alert['event_id']} [alert@32473 {data}] {_flat(alert['text'])}"
    )


def legacy(alert: Mapping[str, Any], host: str) -> str:
    """The old form of RFC 3164."""
    stamp = time.strftime("%b %e %H:%M:%S", time.gmtime(alert["time"]))
    return f"<132>{stamp} {host or '-'} avish: {_flat(alert['text'])}"


def as_json(alert: Mapping[str, Any], host: str, process: int) -> str:
    """RFC 5424 whose text is the alert as JSON."""
    return rfc5424({**alert, "text": json.dumps(dict(alert), separators=(",", ":"))}, host, process)


def _quoted(text: str) -> str:
    return _flat(text).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _flat(text: str) -> str:
    """On one line: a message is a line."""
    return "".join(c if c.isprintable() else " " for c in text)

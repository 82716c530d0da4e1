"""What goes to the syslog servers besides alerts: the audit line by line, and what the system itself tells."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from queue import Full, Queue
from typing import Any

from avish.config.config import Config
from avish.controller.alerts import ALERT, Outlet, servers
from avish.controller.audit import Entry
from avish.controller.events import Event

log = logging.getLogger(__name__)
AUDIT_SWITCH, SYSTEM_SWITCH = "Syslog-Config-Events", "Syslog-System-Events"
"""The alertconfigs of the system that turn each of the two on and off."""
WAITING = 10_000
"""Messages that wait for slow servers; what comes then is counted and left out."""
OF_AUDIT = ("CONFIG_", "USER_", ALERT)
"""How the events begin that the audit or an alert tells already."""
BESIDE = frozenset({"n", "time", "event", "user", "source", "request", "hash"})
Message = dict[str, Any]


class Forwarder:
    """A thread of its own sends: what is written down waits for no server."""

    def __init__(self, config: Callable[[], Config], outlet: Outlet) -> None:
        self._config = config
        self._outlet = outlet
        self._queue: Queue[Message | None] = Queue(WAITING)
        self._lost = 0
        self._failing: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what waits is given up, for a server may be away for long."""
        if self._thread.ident is None:
            return
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put(None)
        self._thread.join(10)

    def audited(self, entry: Entry) -> None:
        """Take an entry of the audit."""
        if self._wanted(AUDIT_SWITCH):
            self._take({"name": AUDIT_SWITCH, "event_id": "AUDIT", "text": audit_text(entry), "audit": dict(entry),
                        "time": datetime.fromisoformat(str(entry["time"])).timestamp()})  # fmt: skip

    def happened(self, event: Event) -> None:
        """Take an event."""
        if not event["event_id"].startswith(OF_AUDIT) and self._wanted(SYSTEM_SWITCH):
            when = datetime.fromisoformat(event["report_timestamp"]).timestamp()
            self._take({"name": SYSTEM_SWITCH, "event_id": event["event_id"], "text": event["event_description"],
                        "event": event, "time": when})  # fmt: skip

    def send(self) -> None:
        """Send what waits, in this thread."""
        while not self._queue.empty():
            if (message := self._queue.get_nowait()) is not None:
                self._send(message)

    def _wanted(self, switch: str) -> bool:
        config = self._config()
        return bool((config.named("alertconfig", switch) or {}).get("enabled")) and any(servers(config))

    def _take(self, message: Message) -> None:
        try:
            self._queue.put_nowait(message)
        except Full:
            self._lost += 1

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                self._send(message)
            except Exception:  # the thread must outlive a bug, and say so
                log.exception("a message for the syslog servers could not be sent")

    def _send(self, message: Message) -> None:
        if self._lost:
            message["text"] += f" ({self._lost} messages before this one were left out: the servers are too slow)"
            self._lost = 0
        for server, sender in servers(self._config()):
            self._told(server, self._outlet.syslog(server, sender, message))

    def _told(self, server: Mapping[str, Any], why: str) -> None:
        """Failure and recovery of a server are each logged once."""
        name = str(server["syslog_server"])
        if why and name not in self._failing:
            self._failing.add(name)
            log.warning("syslog server %s takes nothing: %s", name, why)
        elif not why and name in self._failing:
            self._failing.discard(name)
            log.warning("syslog server %s takes messages again", name)


def audit_text(entry: Entry) -> str:
    """An entry of the audit as one sentence."""
    more = " ".join(f"{name}={value}" for name, value in entry.items() if name not in BESIDE)
    request = f", request {entry['request']}" if entry["request"] else ""
    return f"{entry['user'] or '?'} from {entry['source']}: {entry['event']} {more}{request}"

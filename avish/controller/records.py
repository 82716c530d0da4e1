"""What the controller notes down beside the configuration: events, alerts, rates and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from avish.api.request import Request, Response
from avish.controller.alerts import Alerts
from avish.controller.events import Events
from avish.controller.forwarding import Forwarder
from avish.controller.metrics import Timings
from avish.controller.rings import Rates

Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Records:
    """The books. ``commits``, ``requests``: how long they took; ``home``: the directory they are in."""

    events: Events
    alerts: Alerts
    forwarder: Forwarder
    rates: Rates
    commits: Timings
    requests: Timings
    home: Path

    def start(self) -> None:
        """Begin to write and to look."""
        self.events.start()
        self.alerts.start()
        self.forwarder.start()

    def close(self) -> None:
        """Write what waits."""
        self.alerts.stop()
        self.forwarder.stop()
        self.events.close()

    def resources(self) -> Mapping[tuple[str, ...], Mapping[str, Handler]]:
        """By path below /api/ and method."""
        return {
            ("events",): {"GET": self._events},
            ("alerts",): {"GET": lambda request: Response(200, {"alert": self.alerts.recent(request.query)})},
            ("alerts", "test"): {"POST": lambda _: Response(200, {"result": self.alerts.test()})},
        }

    def _events(self, request: Request) -> Response:
        """GET /api/events; with ``follow=1`` a stream of those to come."""
        if request.query.get("follow", "") not in ("", "0"):
            return Response(200, stream=self.events.follow(request.query))
        return Response(200, {"event": self.events.recent(request.query)})

"""The controller's records put together: which file they are in, and what writes itself down."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from avish.config.store import Who
from avish.controller.access import SYSTEM
from avish.controller.alerts import Alerts
from avish.controller.audit import Audit
from avish.controller.captures import Captures
from avish.controller.commit import Committer, Outcome
from avish.controller.engines import Engine
from avish.controller.events import Events, line
from avish.controller.forwarding import Forwarder
from avish.controller.metrics import Collector, Timings
from avish.controller.records import Records
from avish.controller.rings import Rates
from avish.server import metrics
from avish.server.home import Home
from avish.server.outlet import SystemOutlet

log = logging.getLogger(__name__)
Place = tuple[str, int] | None


def open_records(home: Home, committer: Committer, audit: Audit) -> Records:
    """The books of a home; commits and logins write themselves down, and under systemd all goes to the journal."""
    events = Events(home.events, time.time)
    outlet = SystemOutlet(home.alert_scripts)
    alerts = Alerts(events, lambda: committer.head.config, outlet, time.time)
    forwarder = Forwarder(lambda: committer.head.config, outlet)
    records = Records(events, alerts, forwarder, Rates(), commits=Timings(), requests=Timings(), home=home.path)

    def told(outcome: Outcome, who: Who) -> None:
        records.commits.add(outcome.seconds)
        if who.user != SYSTEM:
            events.committed(outcome, who)

    committer.told.append(told)
    audit.told.append(events.audited)
    audit.told.append(forwarder.audited)
    events.listen(forwarder.happened)
    if os.environ.get("JOURNAL_STREAM"):
        events.listen(lambda event: log.info("%s", line(event)))
    return records


def collector(committer: Committer, engines: Mapping[str, Engine], captures: Captures, records: Records) -> Collector:
    """What Prometheus scrapes."""
    return Collector(
        committer=committer,
        engines=engines,
        captures=captures,
        rates=records.rates,
        commits=records.commits,
        requests=records.requests,
    )


@contextmanager
def scraped(where: Place, source: Collector, listens: dict[str, str]) -> Iterator[None]:
    """While inside, Prometheus is answered at a place, if one was given. UnavailableError when it is taken."""
    if where is None:
        yield
        return
    end = metrics.serve(where, source)
    listens["metrics"] = f"{where[0]} port {where[1]}"
    try:
        yield
    finally:
        end()

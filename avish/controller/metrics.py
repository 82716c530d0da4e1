"""What Prometheus scrapes: the totals that the monitor has read, and how long commits and requests took.

Nothing is asked of an engine during a scrape: it costs the same whatever the kernels are doing.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from avish.config.config import Config
from avish.config.ids import Ids, rule_of
from avish.controller.captures import Captures
from avish.controller.commit import Committer
from avish.controller.engines import Engine
from avish.controller.rings import Rates, Track

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Timings:
    """A histogram of seconds, cheap to add to from any thread."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """One that took so long."""
        place = bisect_left(BOUNDS, seconds)
        with self._lock:
            self._buckets[place] += 1
            self._sum += seconds

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Buckets as Prometheus wants them, and the sum of all seconds."""
        with self._lock:
            buckets, total = list(self._buckets), self._sum
        found, count = [], 0
        for bound, number in zip([*map(str, BOUNDS), "+Inf"], buckets, strict=True):
            count += number
            found.append((bound, float(count)))
        return found, total


class Collector:
    """For a CollectorRegistry of prometheus_client."""

    def __init__(
        self,
        *,
        committer: Committer,
        engines: Mapping[str, Engine],
        captures: Captures,
        rates: Rates,
        commits: Timings,
        requests: Timings,
    ) -> None:
        self._committer = committer
        self._engines = engines
        self._captures = captures
        self._rates = rates
        self._commits = commits
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        head = self._committer.head
        yield from self._things(head.config, head.ids)
        yield from self._own(head.config)

    def _things(self, config: Config, ids: Ids) -> Iterator[Metric]:
        services = [
            (body["name"], t) for uuid, t in self._rates.all("service") if (body := config.get("virtualservice", uuid))
        ]
        yield from _carried("virtualservice", [([name], track) for name, track in services], ["virtualservice"])
        yield _gauge("avish_virtualservice_up", "1 when the service is up", ["virtualservice"],
                     [([name], track.state / 100) for name, track in services if track.state >= 0])  # fmt: skip
        yield from _carried("server", list(_servers(config, ids, self._rates)), ["virtualservice", "server", "port"])
        rules = [(_rule(config, key), track) for key, track in self._rates.all("rule")]
        yield from _carried(
            "nat_rule", [(labels, track) for labels, track in rules if labels], ["natpolicy", "rule", "index"]
        )
        engines = [([name], track) for name, track in self._rates.all("engine")]
        yield from _carried("serviceengine", engines, ["serviceengine"], connections=False)
        pools = [([body["name"]], t.state / 100) for uuid, t in self._rates.all("pool")
                 if (body := config.get("pool", uuid)) and t.state >= 0]  # fmt: skip
        yield _gauge("avish_pool_up", "1 when the pool is up", ["pool"], pools)

    def _own(self, config: Config) -> Iterator[Metric]:
        in_step = [([e.name], float(e.applied is not None)) for e in self._engines.values()]
        yield _gauge(
            "avish_serviceengine_in_step", "1 when the engine holds the configuration", ["serviceengine"], in_step
        )
        yield _gauge("avish_revision", "Revision of the configuration", [], [([], float(config.revision))])
        jobs = [job.record() for job in self._captures.jobs()]
        yield _gauge("avish_capture_running", "1 while the capture runs", ["subject"], [
            ([str(job["subject"])], float(job.get("state") == "running")) for job in jobs
        ])  # fmt: skip
        yield _counter("avish_capture_packets", "Packets captured", ["subject"], [
            ([str(job["subject"])], float(job.get("packets", 0))) for job in jobs
        ])  # fmt: skip
        yield _histogram("avish_commit_seconds", "Time a commit took", self._commits)
        yield _histogram("avish_api_seconds", "Time a request took", self._requests)


def _carried(
    kind: str, found: list[tuple[list[str], Track]], labels: list[str], *, connections: bool = True
) -> Iterator[Metric]:
    """Packets and bytes in both directions, and connections."""
    for what in ("packets", "bytes"):
        rows = []
        for values, track in found:
            rows.append(([*values, "in"], float(track.totals[what])))
            rows.append(([*values, "out"], float(track.totals[f"reply_{what}"])))
        text = f"{what.capitalize()} since the controller began to look: in from clients (received), out to them (sent)"
        yield _counter(f"avish_{kind}_{what}", text, [*labels, "direction"], rows)
    if connections and kind != "server":
        rows = [(values, float(track.totals["connections"])) for values, track in found]
        yield _counter(
            f"avish_{kind}_connections", "Connections taken since the controller began to look", labels, rows
        )


def _servers(config: Config, ids: Ids, rates: Rates) -> Iterator[tuple[list[str], Track]]:
    for key, track in rates.all("server"):
        mark, ip, port = key.split(" ")
        body = config.get("virtualservice", ids.key_of("service", int(mark)) or "")
        if body is not None:
            yield [body["name"], ip, port], track


def _rule(config: Config, key: str) -> list[str]:
    uuid, index = rule_of(key)
    policy = config.get("natpolicy", uuid)
    name = next((rule.get("name", "") for rule in (policy or {}).get("rules", []) if rule["index"] == index), None)
    return [policy["name"], name, str(index)] if policy and name is not None else []


Rows = list[tuple[list[str], float]]


def _gauge(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, text, labels=labels), rows)


def _counter(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, text, labels=labels), rows)


def _filled(family: Any, rows: Rows) -> Metric:
    for values, number in rows:
        family.add_metric(values, number)
    result: Metric = family
    return result


def _histogram(name: str, text: str, timings: Timings) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    buckets, total = timings.cumulative()
    family = HistogramMetricFamily(name, text)
    family.add_metric([], buckets, sum_value=total)
    return family

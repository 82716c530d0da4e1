"""/api/analytics/metrics and /api/licenseusage, as the vendor's SDK asks them: from the rates that are kept anyway."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from avish.api.request import Request, Response
from avish.config.config import Body, Config
from avish.controller.access import READ
from avish.controller.engines import Engine
from avish.controller.gate import Gate
from avish.controller.rings import Key, Rates, Track
from avish.errors import ValidationError
from dataplane.errors import DataplaneError

BITS = 8
MINUTE = 60
STEP, LIMIT = 5, 12
"""Seconds between two points, and how many of them, unless asked otherwise."""
MOST_REQUESTS = 100
Counters = tuple[str, ...]
CARRIED: dict[str, tuple[str, Counters, int]] = {
    "avg_bandwidth": ("BITS_PER_SECOND", ("bytes", "reply_bytes"), BITS),
    "avg_rx_bytes": ("BYTES_PER_SECOND", ("bytes",), 1),
    "avg_tx_bytes": ("BYTES_PER_SECOND", ("reply_bytes",), 1),
    "avg_rx_pkts": ("PER_SECOND", ("packets",), 1),
    "avg_tx_pkts": ("PER_SECOND", ("reply_packets",), 1),
}
METRICS: dict[str, dict[str, tuple[str, Counters, int]]] = {
    "virtualservice": {
        **{f"l4_client.{name}": made for name, made in CARRIED.items()},
        "l4_client.avg_new_established_conns": ("PER_SECOND", ("connections",), 1),
    },
    "serviceengine": {f"se_if.{name}": made for name, made in CARRIED.items()},
}
"""By object type and metric: its unit, the counters it is the sum of, and what they are multiplied by."""
TRACKS = {"virtualservice": "service", "serviceengine": "engine"}
CORES = ("controller_stats.avg_num_service_cores", "segroup_stats.avg_license_usage")
"""How many processors engines have: of the controller, and of the group ``obj_id``."""


@dataclass(frozen=True, slots=True)
class Analytics:
    """Answers them."""

    rates: Rates
    engines: Mapping[str, Engine]
    config: Callable[[], Config]
    gate: Gate

    def resources(self) -> dict[tuple[str, ...], Mapping[str, Callable[[Request], Response]]]:
        """By path below /api/ and method."""
        place = ("analytics", "metrics")
        return {
            ("licenseusage",): {"GET": self._usage},
            (*place, "controller"): {"GET": self._controller},
            (*place, "collection"): {"POST": self._collection},
            **{(*place, kind, "*"): {"GET": self._object} for kind in METRICS},
        }

    def _usage(self, _: Request) -> Response:
        """Nothing is licensed here: every processor of the machine may be used."""
        all_cores, used = os.cpu_count() or 1, self._cores("")
        told = {"available": all_cores, "consumed": used, "escrow": 0, "remaining": max(all_cores - used, 0)}
        return Response(200, {"licensed_cores": all_cores, **told})

    def _cores(self, group: str) -> int:
        """Processors of the engines (of a group) that answer; all engines of this machine share them."""
        found = [0]
        for body in self.config().all("serviceengine"):
            engine = self.engines.get(str(body["name"]))
            if engine is None or (group and group not in str(body.get("se_group_ref"))):
                continue
            try:
                found.append(int(engine.driver.facts("memory")["processors"]))
            except DataplaneError:
                continue  # it has none to offer now
        return max(found)

    def _controller(self, request: Request) -> Response:
        wanted = request.query.get("metric_id", CORES[0]).split(",")
        for name in wanted:
            if name not in CORES:
                raise _unknown(name, CORES)
        cores, now = float(self._cores(request.query.get("obj_id", ""))), time.time()
        series = [_series(name, "controller", "CORES", STEP, [cores], now) for name in wanted]
        return Response(200, {"count": 1, "results": [{"series": series}]})

    def _object(self, request: Request) -> Response:
        kind, uuid = request.path.strip("/").split("/")[-2:]
        return Response(200, self._metrics(request, kind, uuid, request.query))

    def _collection(self, request: Request) -> Response:
        """{"metric_requests": [{"id", "entity_uuid", "metric_id", "step", "limit"}]}: all of them at once."""
        asked = request.body.get("metric_requests") if isinstance(request.body, dict) else None
        if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
            raise ValidationError("metric_requests is missing: a list of what is asked for, each an object")
        if len(asked) > MOST_REQUESTS:
            raise ValidationError(f"metric_requests: {len(asked)} are too many, up to {MOST_REQUESTS} are answered")
        series = {}
        for number, one in enumerate(asked):
            uuid = str(one.get("entity_uuid", ""))
            found = self._metrics(request, uuid.partition("-")[0], uuid, {k: str(v) for k, v in one.items()})
            series[str(one.get("id", number))] = found["series"]
        return Response(200, {"series": series})

    def _metrics(self, request: Request, kind: str, uuid: str, query: Mapping[str, str]) -> dict[str, Any]:
        if kind not in METRICS:
            raise ValidationError(f"nothing is measured of {kind or 'no object'}: {' or '.join(METRICS)}", status=404)
        body, known = self._seen(request, kind, uuid), METRICS[kind]
        wanted = query["metric_id"].split(",") if query.get("metric_id") else list(known)
        step, limit = _number(query, "step", STEP), _number(query, "limit", LIMIT)
        track, now = self.rates.get(_key(kind, body)) or Track(), time.time()
        series = []
        for name in wanted:
            if name not in known:
                raise _unknown(name, known)
            unit, counters, factor = known[name]
            values = [factor * value for value in _points(track, counters, step, limit)]
            series.append(_series(name, uuid, unit, step, values, now))
        return {"metric_id": ",".join(wanted), "entity_uuid": uuid, "limit": limit, "step": step, "series": series}

    def _seen(self, request: Request, kind: str, uuid: str) -> Body:
        scope = self.gate.scope(request)
        scope.require(kind, READ)
        body = self.config().get(kind, uuid)
        if body is None or not scope.sees(kind, body):
            raise ValidationError(f"{kind} object {uuid} not found!", status=404)
        return body


def _key(kind: str, body: Body) -> Key:
    return TRACKS[kind], str(body["name"] if kind == "serviceengine" else body["uuid"])


def _points(track: Track, counters: Counters, step: int, limit: int) -> list[float]:
    """Means over ``step`` seconds, oldest first: the last minute is kept by seconds, the last hour by minutes."""
    rings, each = (track.minutes, MINUTE) if step >= MINUTE else (track.seconds, 1)
    sums = [sum(values) for values in zip(*(rings[name].values() for name in counters), strict=True)]
    size = max(round(step / each), 1)
    whole = [sums[end - size : end] for end in range(len(sums), size - 1, -size)][:limit]
    return [round(sum(part) / size, 2) for part in reversed(whole)]


def _series(name: str, uuid: str, unit: str, step: int, values: list[float], now: float) -> dict[str, Any]:
    times = [datetime.fromtimestamp(now - step * back, UTC).isoformat() for back in range(len(values) - 1, -1, -1)]
    statistics = {
        "min": min(values, default=0.0),
        "max": max(values, default=0.0),
        "mean": round(sum(values) / len(values), 2) if values else 0.0,
        "sum": round(sum(values), 2),
        "num_samples": len(values),
    }
    header = {"name": name, "entity_uuid": uuid, "units": unit, "statistics": statistics}
    data = [{"timestamp": when, "value": value} for when, value in zip(times, values, strict=True)]
    return {"header": header, "data": data}


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name) or str(otherwise)
    if not text.isdecimal() or not 0 < int(text[:9]) <= 86_400:
        raise ValidationError(f"{name}: {text[:20]!r} is no number from 1 to 86400")
    return int(text)


def _unknown(name: str, known: Any) -> ValidationError:
    return ValidationError(f"metric_id: {name[:100]!r} is not measured here; what is: {', '.join(known)}", status=404)

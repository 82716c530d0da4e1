"""Health monitors and pools -> what the dataplane tests."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from avish.config.config import Body, Config, uuid_in
from avish.config.engines import Engine
from avish.config.health import FIELDS, KINDS
from dataplane.health_model import Probe, Watch

_BETWEEN = ("poolgroup", "l4policyset")
"""Types that lead from virtual services to pools."""


def compile_probe(config: Config, uuid: str) -> Probe | None:
    """The test of a health monitor; None when no pool uses it, or when it is of a kind that is not tested."""
    body = config.get("healthmonitor", uuid)
    if body is None or body["type"] not in KINDS or not any(config.referring(uuid, "pool")):
        return None
    return Probe(
        name=body["name"],
        kind=KINDS[body["type"]],
        interval=float(body["send_interval"]),
        timeout=float(body["receive_timeout"]),
        rise=body["successful_checks"],
        fall=body["failed_checks"],
        port=body.get("monitor_port", 0),
        quick=not body.get("disable_quickstart", False),
        user=body.get("authentication", {}).get("username", ""),
        password=body.get("authentication", {}).get("password", ""),
        **_settings(body),
    )


def _settings(body: Body) -> dict[str, Any]:
    """What is of one kind only."""
    kind = KINDS[body["type"]]
    given = body.get(FIELDS[kind], {}) if kind in FIELDS else {}
    if kind in ("tcp", "udp"):
        return _talk(given, kind)
    if kind in ("http", "https"):
        return _http(given)
    if kind == "ftp":
        return {"request": given.get("filename", ""), "passive": given.get("mode") != "FTP_PORT_MODE"}
    if kind == "external":
        return {
            "request": given.get("command_code", ""),
            "arguments": tuple(shlex.split(given.get("command_parameters", ""))),
            "environment": tuple(shlex.split(given.get("command_variables", ""))),
        }
    return {}


def _talk(given: Body, kind: str) -> dict[str, Any]:
    return {
        "request": given.get(f"{kind}_request", ""),
        "response": given.get(f"{kind}_response", ""),
        "maintenance": given.get("maintenance_response", ""),
        "half_open": bool(given.get("tcp_half_open")),
    }


def _http(given: Body) -> dict[str, Any]:
    return {
        "request": given.get("http_request", ""),
        "response": given.get("http_response", ""),
        "maintenance": given.get("maintenance_response", ""),
        "codes": tuple(given.get("http_response_code", ())),
        "maintenance_codes": tuple(given.get("maintenance_code", ())),
        "exact": bool(given.get("exact_http_request")),
        "body": given.get("http_request_body", ""),
        "size": given.get("response_size", 2048),
        "server_name": given.get("ssl_attributes", {}).get("server_name", ""),
    }


def compile_watch(config: Config, engine: Engine, uuid: str) -> Watch | None:
    """What an engine watches of a pool; None when nothing does, or no virtual service of theirs uses it."""
    pool = config.get("pool", uuid)
    if pool is None or not _used(config, engine, uuid):
        return None
    probes = tuple(monitor for monitor in monitors(pool) if compile_probe(config, monitor))
    servers = tuple(dict.fromkeys(_servers(pool)))
    if not probes or not servers:
        return None
    engines = config.get("serviceenginegroup", engine.group) or {}
    return Watch(
        servers=servers,
        probes=probes,
        needed=min(pool.get("min_health_monitors_up") or 0, len(probes)),
        on_standby=bool(engines.get("hm_on_standby", True)),
    )


def _used(config: Config, engine: Engine, pool: str) -> bool:
    services = (config.get("virtualservice", uuid) for uuid in users_of_pool(config, pool))
    return any(body is not None and engine.carries(body) for body in services)


def monitors(pool: Body) -> Iterator[str]:
    """The uuids of the health monitors of a pool."""
    return (uuid_in(ref) for ref in pool.get("health_monitor_refs", ()))


def _servers(pool: Body) -> Iterator[tuple[str, int]]:
    """Those that are used; what is switched off is not tested."""
    usual = pool.get("default_server_port", 80)
    for server in pool.get("servers", []) if pool.get("enabled", True) else ():
        if server.get("enabled", True):
            yield server["ip"]["addr"], server.get("port") or usual


def pools_of(config: Config, body: Body | None) -> list[str]:
    """The uuids of the pools that a virtual service sends connections to, directly, by a group or by a policy."""
    found: dict[str, None] = {}
    for kind, uuid in _references(body):
        if kind == "pool":
            found[uuid] = None
        elif kind in _BETWEEN:
            found.update(dict.fromkeys(pools_of(config, config.get(kind, uuid))))
    return list(found)


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """(type, uuid) of every reference in a body."""
    if isinstance(value, str):
        if value.startswith("/api/"):
            kind, _, uuid = value[5:].partition("/")
            yield kind, uuid
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def users_of_pool(config: Config, uuid: str) -> Iterator[str]:
    """The uuids of the virtual services that send connections to a pool, in whatever way."""
    for kind, referrer in config.referrers(uuid):
        if kind == "virtualservice":
            yield referrer
        elif kind in _BETWEEN:
            yield from users_of_pool(config, referrer)


def stale_pools(places: Iterable[Config], changed: Mapping[str, list[str]], services: Iterable[str]) -> list[str]:
    """The pools to look at again when these objects (and these virtual services) have changed."""
    found = dict.fromkeys(changed.get("pool", []))
    services = list(services)
    for config in places:
        if changed.get("serviceenginegroup"):
            found.update(dict.fromkeys(config.table("pool")))
        for kind in _BETWEEN:
            for between in changed.get(kind, []):
                found.update(dict.fromkeys(pools_of(config, config.get(kind, between))))
        for monitor in changed.get("healthmonitor", []):
            found.update(dict.fromkeys(config.referring(monitor, "pool")))
        for uuid in services:
            found.update(dict.fromkeys(pools_of(config, config.get("virtualservice", uuid))))
    return list(found)


def stale_monitors(places: Iterable[Config], changed: Mapping[str, list[str]], pools: Iterable[str]) -> list[str]:
    """The monitors to look at again when these pools are."""
    pools = list(pools)
    found = dict.fromkeys(changed.get("healthmonitor", []))
    for config in places:
        for uuid in pools:
            found.update(dict.fromkeys(monitors(config.get("pool", uuid) or {})))
    return list(found)

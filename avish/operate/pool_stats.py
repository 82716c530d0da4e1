"""``show pool <pool> detail, server detail, server internal, hmon, algo, vs``: what its servers carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avish.config.config import Body, ref_to
from avish.operate import filters, pool
from avish.operate.counts import Count
from avish.operate.flows import seconds
from avish.operate.listing import Listing
from avish.operate.service_stats import carriers, mark_of
from avish.operate.traffic import Traffic, by_server, server_stats, summed
from avish.operate.view import View, configured
from dataplane.model import Service

Servers = dict[tuple[str, int], Traffic]


def users(view: View, body: Body) -> list[Body]:
    """The virtual services whose traffic goes to the pool, through a pool group too."""
    found: dict[str, Body] = {}
    waiting = [body["uuid"]]
    known = set(waiting)
    while waiting:
        for kind, uuid in view.config.referrers(waiting.pop()):
            if kind == "virtualservice":
                found[uuid] = view.config.get(kind, uuid) or {}
            elif kind == "poolgroup" and uuid not in known:
                known.add(uuid)
                waiting.append(uuid)
    return list(found.values())


def _carried(view: View, body: Body) -> Servers:
    """By server, over the engines that the filters leave."""
    result: Servers = {}
    services = users(view, body)
    members = {one["uuid"]: one for service in services for one in carriers(view, service)}
    marks = [mark for service in services if (mark := mark_of(view, service))]
    for member in members.values():
        for server, traffic in by_server(view, member, marks).items():
            result[server] = result.get(server, Traffic()) + traffic
    return result


def _of(carried: Servers, body: Body, ip: str, port: int) -> Traffic:
    """What a server has carried; one that is asked at the port the client asked for, over all ports."""
    if body.get("use_service_port"):
        return summed(traffic for server, traffic in carried.items() if server[0] == ip)
    return carried.get((ip, port), Traffic())


def _servers(view: View, body: Body) -> Iterator[tuple[Body, str, int]]:
    """The servers that the filters leave: body, address, port."""
    for server in body.get("servers", []):
        ip = server["ip"]["addr"]
        port = server.get("port") or body.get("default_server_port", 0)
        if filters.server_wanted(view.query, ip, port):
            yield server, ip, port


def detail(view: View, body: Body) -> dict[str, Any]:
    """State and connections of the pool."""
    carried = _carried(view, body)
    mine = [_of(carried, body, ip, port) for _, ip, port in _servers(view, body)]
    known = pool.summary(view, body)
    stats = {
        "total_connections": Count(sum(one.total for one in mine)),
        "current_connections": sum(one.open for one in mine),
    }
    counted = {name: known[name] for name in ("num_servers", "num_servers_enabled", "num_servers_up")}
    return {
        "oper_status": known["oper_status"],
        "pool_stats": stats,
        **counted,
        "vrf_id": view.vrf_id,
        "name": body["name"],
        "uuid": body["uuid"],
    }


def server_detail(view: View, body: Body) -> list[dict[str, Any]]:
    """What each server has carried."""
    carried = _carried(view, body)
    states = _states(view, body)
    return [
        {
            "ip_addr": server["ip"],
            "port": port,
            "oper_status": states[ip, port],
            "server_l4stats": server_stats(_of(carried, body, ip, port)),
        }
        for server, ip, port in _servers(view, body)
    ]


def server_internal(view: View, body: Body) -> list[dict[str, Any]]:
    """The same with the server's configuration, and the slots it has in the kernel."""
    carried, slots = _carried(view, body), _slots(view, body)
    states = _states(view, body)
    found = []
    for server, ip, port in _servers(view, body):
        traffic = _of(carried, body, ip, port)
        stats = {"current_connections": traffic.open, "total_connections": Count(traffic.total)}
        found.append(
            {
                "ip_addr": server["ip"],
                "port": port,
                "oper_status": states[ip, port],
                "server_config": dict(server),
                "server_stats": stats,
                "server_l4stats": server_stats(traffic),
                "slots": slots.get((ip, port), slots.get((ip, 0), 0)),
            }
        )
    return found


def internal(view: View, body: Body) -> dict[str, Any]:
    """The pool with its configuration, how many services use it, and how its servers stand in the kernel."""
    slots = _slots(view, body)
    return {
        "oper_status": pool.summary(view, body)["oper_status"],
        "pool_config": configured(view, body),
        "num_servers": len(body.get("servers", [])),
        "ref_count": len(users(view, body)),
        "num_persistence_objs": sum(1 for _ in persistence(view, body).rows),
        "picker": _picker(view, body),
        "slots": [
            {"ip_addr": server["ip"], "port": port, "slots": slots.get((ip, port), slots.get((ip, 0), 0))}
            for server, ip, port in _servers(view, body)
        ],
    }


def debug(view: View, body: Body) -> dict[str, Any]:
    """State of the pool, and how the health checks of its servers went."""
    status = pool.summary(view, body)["oper_status"]
    return {"uuid": body["uuid"], "oper_status": status, "hmon_stat": [pool.hmonstat(view, body)]}


def _states(view: View, body: Body) -> dict[tuple[str, int], Any]:
    """The state of each server, by address and port."""
    rows = pool.server_summary(view, body)
    return {(row["ip_addr"]["addr"], row["port"]): row["oper_status"] for row in rows}


def _services(view: View, body: Body) -> Iterator[Service]:
    """The services of the pool as the active engine holds them."""
    for service in users(view, body):
        for member in carriers(view, service)[:1]:
            found = view.engine(member).desired.services.get(mark_of(view, service))
            if found is not None:
                yield found


def _slots(view: View, body: Body) -> dict[tuple[str, int], int]:
    service = next(_services(view, body), None)
    result: dict[tuple[str, int], int] = {}
    for slot in service.slots if service else ():
        result[slot] = result.get(slot, 0) + 1
    return result


def algo(view: View, body: Body) -> dict[str, Any]:
    """How servers are chosen: the share of each in slots, and for least connections what is open."""
    slots = _slots(view, body)
    carried = _carried(view, body)
    entries = [
        {"index": number, "ip_addr": server["ip"], "port": port, "weight": slots.get((ip, port), slots.get((ip, 0), 0))}
        for number, (server, ip, port) in enumerate(_servers(view, body))
    ]
    known = {"lb_algorithm": body.get("lb_algorithm", ""), "picker": _picker(view, body)}
    if body.get("lb_algorithm") == "LB_ALGORITHM_LEAST_CONNECTIONS":
        for entry in entries:
            entry["num_open_connections"] = _of(carried, body, entry["ip_addr"]["addr"], entry["port"]).open
        return known | {"lc_stats": {"entry": entries}}
    return known | {"wrr_stats": {"total_weight": sum(slots.values()), "entry": entries}}


def _picker(view: View, body: Body) -> str:
    service = next(_services(view, body), None)
    return service.picker if service else "none: no service uses the pool"


def persistence(view: View, body: Body) -> Listing:
    """The clients that are bound to servers of the pool; filters persistence_ip and server_ip."""
    marks = {mark for one in users(view, body) if (mark := mark_of(view, one))}
    members = {one["uuid"]: one for service in users(view, body) for one in carriers(view, service)}
    return Listing({"uuid": body["uuid"]}, "persistence_entry", _bound(view, body, list(members.values()), marks))


def _bound(view: View, body: Body, members: list[Body], marks: set[int]) -> Iterator[dict[str, Any]]:
    own = {server["ip"]["addr"] for server in body.get("servers", [])}
    for member in members if not view.query.get("persistence_cookie") else ():
        for row in view.engine(member).driver.facts("persisted"):
            if row["mark"] not in marks or row["ip"] not in own:
                continue
            port = row["port"] or body.get("default_server_port", 0)
            if filters.inside(view.query, row["client"], "persistence") and filters.server_wanted(
                view.query, row["ip"], port
            ):
                yield {
                    "se": member["name"],
                    "client_ip": row["client"],
                    "server_ip": row["ip"],
                    "port": port,
                    "local_timeout": seconds(row["timeout"]),
                    "local_eol": seconds(row["left"]),
                }


def hmon(view: View, body: Body) -> dict[str, Any]:
    """The health monitors in effect, as configured."""
    monitors = [found for ref in body.get("health_monitor_refs", []) if (found := view.config.target(ref))]
    return {"health_monitor": [configured(view, one) for one in monitors]}


def services(view: View, body: Body) -> dict[str, Any]:
    """The virtual services that use the pool."""
    return {"uuid": body["uuid"], "vs": [{"name": one["name"], "uuid": one["uuid"]} for one in users(view, body)]}


def group_summary(view: View, body: Body) -> dict[str, Any]:
    """``show serviceenginegroup <group> summary``: its engines by how they are."""
    up: list[str] = []
    down: list[str] = []
    gone: list[str] = []
    for member in view.group(ref_to("serviceenginegroup", body["uuid"])):
        seen = view.engines.get(member["name"])
        if seen is None or seen.fault():
            gone.append(member["name"])
        else:
            (up if seen.connected else down).append(member["name"])
    return {"uuid": body["uuid"], "up_se": up, "down_se": down, "disconnected_se": gone}

"""``show serviceengine <se> connected, placement, seagent``: an engine as the controller knows it."""

from __future__ import annotations

from typing import Any

from avish.config.config import Body
from avish.operate import serviceengine
from avish.operate.view import View, configured, envelope
from dataplane.model import TABLES


def connected(view: View, body: Body) -> dict[str, Any]:
    """The engine's object and machine: interfaces, gateways, whether it answers."""
    known = serviceengine.detail(view, body)
    routes = [row for seen in view.places(body) for row in seen.driver.routes()]
    gateways = {row["gateway"] for row in routes if row["prefix"] in ("default", "0.0.0.0/0", "")}
    return {
        "uuid": body["uuid"],
        "name": body["name"],
        "resources": known["resources"],
        "data_vnics": known["vnic"],
        "default_gws": sorted(one for one in gateways if one),
        **configured(view, {"se_group_ref": body.get("se_group_ref", "")}),
        "se_connected": known["se_connected"],
        "gateway_up": known.get("gateway_up", True),
    }


def placement(view: View, body: Body) -> dict[str, Any]:
    """What the machine has to give, and the services that the engine carries or would take over."""
    memory = view.engine(body).driver.facts("memory")
    total, free = memory["total_kb"] // 1024, memory["available_kb"] // 1024
    places = view.places(body)
    rows = [row for one in places for row in one.addresses()]
    return {
        "name": body["name"],
        "vcpus": memory["processors"],
        "memory": total,
        "memory_inuse": total - free,
        "memory_free": free,
        "ips": sorted({row["ip"] for row in rows if not row["ip"].startswith("127.") and row["ip"] != "::1"}),
        "vnics": [{"if_name": one.name, "mac_addr": one.mac} for place in places for one in place.driver.interfaces()],
        "online": not any(place.fault() for place in places),
        "resources_consumed": [
            consumer
            for service in view.config.all("virtualservice")
            if service.get("se_group_ref") == body.get("se_group_ref")
            for consumer in [_consumer(view, body, service)]
        ],
    }


def _consumer(view: View, body: Body, service: Body) -> dict[str, Any]:
    primary = [one["uuid"] for one in view.of(service).carriers(service)][:1] == [body["uuid"]]
    vips = (view.config.target(service.get("vsvip_ref")) or {}).get("vip", [])
    addresses = [vip[kind]["addr"] for vip in vips for kind in ("ip_address", "ip6_address") if vip.get(kind)]
    return {"consumer_name": service["name"], "is_primary": primary, "is_stby": not primary, "vip": addresses}


def seagent(view: View, body: Body) -> dict[str, Any]:
    """The agent of the engine: whether it answers and is in step, and how much it was told to hold."""
    memory, places = view.engine(body).driver.facts("memory"), view.places(body)
    told = {name: sum(len(getattr(seen.desired, name)) for seen in places) for name in TABLES}
    return {
        "se_ref": envelope(body)["se_ref"],
        "num_cpu": memory["processors"],
        "mem_mb": memory["total_kb"] // 1024,
        "agent_mem_kb": memory["own_kb"],
        "num_vnic": sum(len(seen.driver.interfaces()) for seen in places),
        "registered_with_controller": not any(seen.fault() for seen in places),
        "in_step": all(seen.connected for seen in places),
        "num_config_objects": sum(told.values()),
        "config_objects": told,
    }

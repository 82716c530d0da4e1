"""A virtual service with its VIPs, profiles and pool -> what the dataplane calls a service."""

from __future__ import annotations

from avish.compile.placement import in_main_vrf
from avish.compile.slots import Slot, Weighted, hashed, table_size, turns
from avish.config.config import Body, Config
from avish.config.services import PROTOCOLS, port_ranges, profile_type, vip_addresses
from dataplane.model import Listener, Service


def compile_service(config: Config, body: Body, number: int) -> Service | None:
    """The service with the id ``number``; None when it takes no connection (off, or nowhere to listen)."""
    if not body.get("enabled", True) or not in_main_vrf(config, body.get("vrf_context_ref")):
        return None
    listeners = _listeners(config, body)
    if not listeners:
        return None
    pool = config.target(body.get("pool_ref")) or {}
    hashes = pool.get("lb_algorithm") == "LB_ALGORITHM_CONSISTENT_HASH"
    return Service(
        id=number,
        listeners=listeners,
        picker="source_hash" if hashes else "round_robin",
        slots=_slots(pool, hashes=hashes),
        keep_port=bool(pool.get("use_service_port")),
        snat=_snat(config, body),
    )


def _listeners(config: Config, body: Body) -> tuple[Listener, ...]:
    ranges = list(port_ranges(config, body))
    addresses = vip_addresses(config.target(body.get("vsvip_ref")))
    return tuple(Listener(ip, item.protocol, item.first, item.last) for ip in addresses for item in ranges)


def _slots(pool: Body, *, hashes: bool) -> tuple[Slot, ...]:
    every = pool.get("servers", [])
    usual = pool.get("default_server_port", 80)
    servers = [
        Weighted(server["ip"]["addr"], server.get("port") or usual, server.get("ratio", 1))
        for server in (every if pool.get("enabled", True) else [])
        if server.get("enabled", True) and server["ip"]["type"] == "V4"
    ]
    return hashed(servers, table_size(len(every))) if hashes else turns(servers)


def _snat(config: Config, body: Body) -> bool:
    """Servers see the engine's address, unless a profile says otherwise."""
    application = config.target(body.get("application_profile_ref")) or {}
    if application.get("preserve_client_ip"):
        return False
    ref = body.get("network_profile_ref")
    if PROTOCOLS.get(profile_type(config, ref)) != "udp":
        return True
    profile = (config.target(ref) or {}).get("profile", {})
    return bool(profile.get("udp_fast_path_profile", {}).get("snat", True))

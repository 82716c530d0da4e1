"""A virtual service with its VIPs, profiles, policies and pools -> what the dataplane calls a service."""

from __future__ import annotations

from avish.compile.health import pools_of
from avish.compile.limits import service_limits
from avish.compile.policies import branches, security_rules
from avish.compile.pools import NO_SERVERS, servers_of
from avish.config.config import Body, Config
from avish.config.services import (
    PROTOCOLS,
    ftp_settings,
    idle_times,
    port_ranges,
    profile_type,
    snat_addresses,
    vip_addresses,
    vip_targets,
)
from dataplane.model import Ftp, Listener, Service


def compile_service(config: Config, body: Body, number: int) -> Service | None:
    """The service with the id ``number``; None when it takes no connection (off, or nowhere to listen)."""
    if not body.get("enabled", True):
        return None
    listeners = _listeners(config, body)
    if not listeners:
        return None
    traffic = body.get("traffic_enabled", True)
    servers = servers_of(config, body.get("pool_ref"), body.get("pool_group_ref")) if traffic else NO_SERVERS
    return Service(
        id=number,
        listeners=listeners,
        picker=servers.picker,
        slots=servers.slots,
        keep_port=servers.keep_port,
        snat=_snat(config, body),
        leaving=servers.leaving,
        persistence=servers.persistence,
        limits=service_limits(config, body),
        server_limits=servers.server_limits,
        branches=branches(config, body, servers) if traffic else (),
        policy=security_rules(config, config.target(body.get("network_security_policy_ref"))),
        ftp=_ftp(config, body),
        snat_to=_snat_to(config, body),
        reserve=servers.reserve,
        routed=servers.routed,
        close_when_down=bool(body.get("remove_listening_port_on_vs_down")),
        pools=tuple(pools_of(config, body)),
        inline=servers.inline,
        idle=idle_times(config, body),
    )


def _listeners(config: Config, body: Body) -> tuple[Listener, ...]:
    ranges = list(port_ranges(config, body))
    targets = vip_targets(config.target(body.get("vsvip_ref")))
    return tuple(Listener(ip, item.protocol, item.first, item.last) for ip in targets for item in ranges)


def _ftp(config: Config, body: Body) -> Ftp | None:
    """Where a profile asks to follow FTP: the single TCP ports it is for."""
    found = ftp_settings(config, body)
    if found is None:
        return None
    settings, ports = found
    active, passive = not settings.get("deactivate_active"), not settings.get("deactivate_passive")
    return Ftp(ports, active=active, passive=passive)


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


def _snat_to(config: Config, body: Body) -> tuple[str, ...]:
    """The addresses given; of an IP version without any, the VIPs if asked for. None where the client's is kept."""
    if not _snat(config, body):
        return ()
    vips = vip_addresses(config.target(body.get("vsvip_ref"))) if body.get("use_vip_as_snat") else []
    given = snat_addresses(body)
    kinds = {":" in one for one in given}
    return tuple(dict.fromkeys([*given, *(one for one in vips if (":" in one) not in kinds)]))

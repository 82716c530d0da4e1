"""Which function answers which command, and which gives the runtime in lists."""

from __future__ import annotations

from collections.abc import Mapping

from avish.errors import SchemaError
from avish.operate import (
    bgp,
    drill,
    failover,
    flows,
    forgetting,
    ftp,
    interfaces,
    pool,
    pool_stats,
    rates,
    resources,
    service_stats,
    serviceengine,
    stats,
    virtualservice,
)
from avish.operate.vrfs import Read, in_every_vrf, in_own_vrf
from avish.schema.model import Schema

_ONE_VRF: Mapping[str, Read] = {
    **rates.RUN,
    "se.summary": serviceengine.summary,
    "se.vshash": serviceengine.vshash,
    "se.natpolicystat": serviceengine.natpolicystat,
    "se.detail": serviceengine.detail,
    "se.nat_flows": flows.nat_flows,
    "se.route_flows": flows.route_flows,
    "se.natstat": flows.natstat,
    "se.routestat": flows.routestat,
    "se.flowtable": flows.flowtable,
    "se.flowtablestat": flows.flowtablestat,
    "se.tcp_flows": flows.tcp_flows,
    "se.tcp_flows_detail": flows.tcp_flows_detail,
    "se.network_service": serviceengine.network_service,
    "se.route": interfaces.route,
    "se.ip6route": interfaces.ip6route,
    "se.arptable": interfaces.arptable,
    "se.ndtable": interfaces.ndtable,
    "se.interface": interfaces.interface,
    "se.interface_summary": interfaces.interface_summary,
    "se.vnicdb": interfaces.vnicdb,
    "se.vrf_ip_info": interfaces.vrf_ip_info,
    "se.ipstat": stats.ipstat,
    "se.icmpstat": stats.icmpstat,
    "se.arpstat": stats.arpstat,
    "se.connected": resources.connected,
    "se.placement": resources.placement,
    "se.seagent": resources.seagent,
    "se.dosstat": stats.dosstat,
    "se.ip6stat": stats.ip6stat,
    "se.icmp6stat": stats.icmp6stat,
    "se.cpu": stats.cpu,
    "se.meminfo": stats.meminfo,
    "se.bgp": bgp.bgp,
    "se.capabilities": stats.capabilities,
    "se.reboot": serviceengine.reboot,
    "se.forget_flows": forgetting.flowtable,
    "se.forget_neighbours": forgetting.neighbours,
    "vs.detail": service_stats.detail,
    "vs.tcpstat": service_stats.tcpstat,
    "vs.udpstat": service_stats.udpstat,
    "vs.connections": service_stats.connections,
    "vs.forget_connections": forgetting.connections,
    "vs.client": service_stats.clients,
    "vs.policy_stats": service_stats.policy_stats,
    "vs.policy_detail": service_stats.policy_detail,
    "vs.dosstat": service_stats.dosstat,
    "vs.client_summary": service_stats.client_summary,
    "vs.placement": service_stats.placement,
    "vs.internal": service_stats.internal,
    "pool.detail": pool_stats.detail,
    "pool.server_detail": pool_stats.server_detail,
    "pool.server_internal": pool_stats.server_internal,
    "pool.internal": pool_stats.internal,
    "pool.debug": pool_stats.debug,
    "pool.persistence": pool_stats.persistence,
    "pool.hmon": pool_stats.hmon,
    "pool.forget_bound": forgetting.bound,
    "pool.algo": pool_stats.algo,
    "pool.vs": pool_stats.services,
    "se.probe": stats.probe,
    "ftp.sessions": ftp.sessions,
    "seg.summary": pool_stats.group_summary,
    "vs.summary": virtualservice.summary,
    "se.drill": drill.drill,
    "se.switchover": failover.switch_engine,
    "vs.switchover": failover.switch_service,
    "pool.summary": pool.summary,
    "pool.server_summary": pool.server_summary,
    "pool.hmonstat": pool.hmonstat,
}
"""By the ``run`` of a command in the grammar; each looks into one VRF, unless it says otherwise."""
_OF_ENGINES = frozenset({
    "vshash", "nat_flows", "route_flows", "natstat", "routestat", "flowtable", "flowtablestat",
    "tcp_flows", "tcp_flows_detail", "network_service", "route", "ip6route", "arptable", "ndtable", "interface",
    "interface_summary", "vnicdb", "vrf_ip_info", "ipstat", "icmpstat", "arpstat", "dosstat", "ip6stat", "icmp6stat",
    "forget_flows", "forget_neighbours",
})  # fmt: skip
"""Commands about an engine whose answer is that of all its VRFs together."""


def _placed(name: str, read: Read) -> Read:
    kind, _, rest = name.partition(".")
    if kind in ("vs", "pool"):
        return in_own_vrf(read)
    return in_every_vrf(read) if kind == "se" and rest in _OF_ENGINES else read


RUN: Mapping[str, Read] = {name: _placed(name, read) for name, read in _ONE_VRF.items()}
"""By the ``run`` of a command in the grammar."""

RUNTIME: Mapping[str, Read] = {
    "serviceengine": lambda view, body: {"oper_status": serviceengine.oper_status(view, body)},
    "virtualservice": in_own_vrf(virtualservice.runtime),
    "pool": in_own_vrf(pool.runtime),
}
"""By object type."""


def lint(schema: Schema) -> None:
    """Raises SchemaError when the grammar names a command that nothing answers."""
    for command in schema.commands:
        if command.run and command.run not in RUN:
            raise SchemaError(f"commands: {' '.join(command.path)}: run: unknown function {command.run!r}")

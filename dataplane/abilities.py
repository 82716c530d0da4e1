"""What the kernel of this namespace can do for services and routing, found by its own dry run at the agent's start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dataplane import nftrun
from dataplane.diff import Plan, Step
from dataplane.model import Service

_TABLE = "avish_probe"
_PROBES: dict[str, tuple[str, str]] = {
    "ftp_helper": (
        'ct helper x { type "ftp" protocol tcp; l3proto ip; }',
        "CONFIG_NF_CONNTRACK_FTP, CONFIG_NF_NAT_FTP",
    ),
    "flow_timeouts": (
        "ct timeout x { protocol tcp; l3proto ip; policy = { established : 300 }; }",
        "CONFIG_NF_CONNTRACK_TIMEOUT",
    ),
    "connection_limits": ("chain x { ct count over 1 drop; }", "CONFIG_NFT_CONNLIMIT"),
    "rate_limits": ("chain x { limit rate over 1/second drop; }", "CONFIG_NFT_LIMIT"),
    "round_robin": ("chain x { meta mark set numgen inc mod 2; }", "CONFIG_NFT_NUMGEN"),
    "consistent_hash": ("chain x { meta mark set jhash ip saddr mod 2 seed 0x1; }", "CONFIG_NFT_HASH"),
    "address_translation": (
        "chain x { type nat hook prerouting priority -100; tcp dport 1 dnat to 192.0.2.1; }",
        "CONFIG_NFT_NAT",
    ),
    "reject": ("chain x { reject with tcp reset; }", "CONFIG_NFT_REJECT"),
    "virtual_mac": (
        'chain x { type filter hook egress device "lo" priority 0; arp saddr ether set 00:00:5e:00:01:01; }',
        "CONFIG_NETFILTER_EGRESS, Linux 5.16",
    ),
    "auto_gateway": (
        """map m { type ipv4_addr : ether_addr; flags dynamic,timeout; timeout 1m; size 8; }
        chain i { type filter hook ingress device "lo" priority 0; update @m { ip saddr : ether saddr }; }
        chain o { type filter hook egress device "lo" priority 0; ether daddr set ip daddr map @m; }""",
        "CONFIG_NETFILTER_EGRESS, Linux 5.16",
    ),
}
"""Name: what to try, and the kernel options that it needs."""
_FAMILIES = {"virtual_mac": "netdev", "auto_gateway": "netdev"}
"""Of those that are not tried in a table of IPv4."""
_HASHES = {"source_hash", "source_port_hash"}


def probe() -> dict[str, bool]:
    """Every ability by name; nothing is left behind. Tried all at once, and one by one only where something lacks."""
    tried = {name: _commands(name, text) for name, (text, _) in _PROBES.items()}
    if nftrun.takes("".join(tried.values())):
        return dict.fromkeys(_PROBES, True)
    return {name: nftrun.takes(commands) for name, commands in tried.items()}


def probe_names() -> list[str]:
    """The names of all abilities."""
    return list(_PROBES)


def _commands(name: str, text: str) -> str:
    return f"table {_FAMILIES.get(name, 'ip')} {_TABLE}_{name} {{\n{text}\n}}\n"


def refusals(plan: Plan, there: Mapping[str, bool]) -> list[str]:
    """Why what ``plan`` puts in place cannot be carried with the abilities that are ``there``."""
    return [
        f"{what} needs {name.replace('_', ' ')}, which the kernel of this engine has not ({_PROBES[name][1]})"
        for step in plan
        if step.op == "put"
        for name, what in _needs(step)
        if not there.get(name, True)
    ]


def _needs(step: Step) -> Iterator[tuple[str, str]]:
    if step.table == "timeouts" and step.key != "icmp":
        yield "flow_timeouts", "flowtable_profile"
    if step.table == "switches" and step.key == "auto_gateway" and step.new:
        yield "auto_gateway", "enable_auto_gateway"
    if step.table == "pairs" and step.new.vmac:
        yield "virtual_mac", "enable_vmac"
    if step.table == "nat":
        yield "address_translation", f"NAT rule {step.new.id}"
        if len(step.new.pool) > 1:
            yield "consistent_hash", f"NAT rule {step.new.id}: a choice among addresses"
    if step.table == "services":
        yield from dict.fromkeys(_needs_of(step.new))


def _needs_of(service: Service) -> Iterator[tuple[str, str]]:
    name = f"service {service.id}"
    if service.idle:
        yield "flow_timeouts", f"{name}: session_idle_timeout"
    yield "address_translation", name
    yield "reject", f"{name}: a refusal"
    if service.ftp is not None:
        yield "ftp_helper", f"{name}: a profile that follows FTP"
    if service.limits.connections or any(one.server_limits.connections for one in service.choices):
        yield "connection_limits", f"{name}: a limit on concurrent connections"
    rates = [service.limits.rate, service.limits.client_rate, *(rule.rate for rule in service.policy)]
    if any(rates) or any(one.server_limits.rate for one in service.choices):
        yield "rate_limits", f"{name}: a limit on a rate"
    pickers = {one.picker for one in service.choices}
    if pickers & _HASHES or len(service.snat_to) > 1:
        yield "consistent_hash", f"{name}: a hash"
    if pickers - _HASHES:
        yield "round_robin", f"{name}: servers in turn"

"""Counters of the kernel's protocols, and what the machine of a service engine has to give."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from avish.config.config import Body
from avish.errors import UnavailableError, ValidationError
from avish.operate.counts import Count, counted
from avish.operate.filters import number
from avish.operate.view import View, envelope

IP = {
    "ips_total": "InReceives",
    "ips_badhlen": "InHdrErrors",
    "ips_badaddr": "InAddrErrors",
    "ips_fragments": "ReasmReqds",
    "ips_fragdropped": "ReasmFails",
    "ips_fragtimeout": "ReasmTimeout",
    "ips_forward": "ForwDatagrams",
    "ips_noproto": "InUnknownProtos",
    "ips_delivered": "InDelivers",
    "ips_localout": "OutRequests",
    "ips_odropped": "OutDiscards",
    "ips_reassembled": "ReasmOKs",
    "ips_fragmented": "FragOKs",
    "ips_ofragments": "FragCreates",
    "ips_cantfrag": "FragFails",
    "ips_noroute": "OutNoRoutes",
    "ips_idropped": "InDiscards",
}
IP_MORE = {"ips_badsum": "InCsumErrors", "ips_tooshort": "InTruncatedPkts", "ips_cantforward": "InNoRoutes"}
IP6 = {
    "ip6s_total": "InReceives",
    "ip6s_badvers": "InHdrErrors",
    "ip6s_toobig": "InTooBigErrors",
    "ip6s_tooshort": "InTruncatedPkts",
    "ip6s_fragments": "ReasmReqds",
    "ip6s_fragdropped": "ReasmFails",
    "ip6s_fragtimeout": "ReasmTimeout",
    "ip6s_forward": "OutForwDatagrams",
    "ip6s_cantforward": "InNoRoutes",
    "ip6s_delivered": "InDelivers",
    "ip6s_localout": "OutRequests",
    "ip6s_odropped": "OutDiscards",
    "ip6s_reassembled": "ReasmOKs",
    "ip6s_fragmented": "FragOKs",
    "ip6s_ofragments": "FragCreates",
    "ip6s_cantfrag": "FragFails",
    "ip6s_noroute": "OutNoRoutes",
    "ip6s_idropped": "InDiscards",
}
DROPPED = {"unknown_protocol": "InUnknownProtos", "ip_frag_full": "ReasmFails", "ip_frag_incomplete": "ReasmTimeout"}
ICMP_SUMS = {
    "icps_received": "InMsgs",
    "icps_sent": "OutMsgs",
    "icps_error": "InErrors",
    "icps_checksum": "InCsumErrors",
}
ICMP6_SUMS = {name.replace("icps", "icp6s"): kernel for name, kernel in ICMP_SUMS.items()}
ICMP6_KINDS = {
    "ICMP6_ECHO_REQUEST": "Echos",
    "ICMP6_ECHO_REPLY": "EchoReplies",
    "ICMP6_DST_UNREACH": "DestUnreachs",
    "ICMP6_PACKET_TOO_BIG": "PktTooBigs",
    "ICMP6_TIME_EXCEEDED": "TimeExcds",
    "ICMP6_PARAM_PROB": "ParmProblems",
    "ND_ROUTER_SOLICIT": "RouterSolicits",
    "ND_ROUTER_ADVERT": "RouterAdvertisements",
    "ND_NEIGHBOR_SOLICIT": "NeighborSolicits",
    "ND_NEIGHBOR_ADVERT": "NeighborAdvertisements",
    "ND_REDIRECT": "Redirects",
    "MLD_LISTENER_QUERY": "GroupMembQueries",
    "MLD_LISTENER_REPORT": "GroupMembResponses",
    "MLD_LISTENER_DONE": "GroupMembReductions",
    "MLDV2_LISTENER_REPORT": "MLDv2Reports",
}
ICMP_KINDS = {
    "ICMP_ECHOREQ": "Echos",
    "ICMP_ECHOREPLY": "EchoReps",
    "ICMP_UNREACH": "DestUnreachs",
    "ICMP_SOURCEQUENCH": "SrcQuenchs",
    "ICMP_REDIRECT": "Redirects",
    "ICMP_TIMXCEED": "TimeExcds",
    "ICMP_PARAMPROB": "ParmProbs",
    "ICMP_TSTAMP": "Timestamps",
    "ICMP_TSTAMPREPLY": "TimestampReps",
    "ICMP_MASKREQ": "AddrMasks",
    "ICMP_MASKREPLY": "AddrMaskReps",
}


def ipstat(view: View, body: Body) -> dict[str, Any]:
    """IPv4 of the engine's namespace, in the original's names; what Linux does not count is left out."""
    groups = view.engine(body).driver.facts("protocols")
    return envelope(body) | counted(groups.get("Ip", {}), IP) | counted(groups.get("IpExt", {}), IP_MORE)


def icmpstat(view: View, body: Body) -> dict[str, Any]:
    """ICMP received and sent by kind."""
    found = view.engine(body).driver.facts("protocols").get("Icmp", {})
    return envelope(body) | {
        "icps_inhist": counted(found, {ours: f"In{kind}" for ours, kind in ICMP_KINDS.items()}),
        "icps_outhist": counted(found, {ours: f"Out{kind}" for ours, kind in ICMP_KINDS.items()}),
        "more_stats": counted(found, ICMP_SUMS),
    }


def ip6stat(view: View, body: Body) -> dict[str, Any]:
    """IPv6 of the engine's namespace."""
    return envelope(body) | counted(_ipv6(view, body, "Ip6"), IP6)


def icmp6stat(view: View, body: Body) -> dict[str, Any]:
    """ICMPv6 received and sent by kind."""
    found = _ipv6(view, body, "Icmp6")
    return envelope(body) | {
        "icp6s_inhist": counted(found, {ours: f"In{kind}" for ours, kind in ICMP6_KINDS.items()}),
        "icp6s_outhist": counted(found, {ours: f"Out{kind}" for ours, kind in ICMP6_KINDS.items()}),
        "more_stats": counted(found, ICMP6_SUMS),
    }


def _ipv6(view: View, body: Body, group: str) -> dict[str, int]:
    found: dict[str, int] | None = view.engine(body).driver.facts("protocols").get(group)
    if found is None:
        raise UnavailableError(f"the kernel of {body['name']} has no IPv6: there is nothing to count")
    return found


def dosstat(view: View, body: Body) -> dict[str, Any]:
    """What the kernel dropped as malformed; attacks that Linux does not tell apart are left out."""
    groups = view.engine(body).driver.facts("protocols")
    return envelope(body) | counted(groups.get("Ip", {}), DROPPED)


def arpstat(view: View, body: Body) -> dict[str, Any]:
    """ARP requests and replies, counted from the start of the agent on."""
    found = view.engine(body).driver.facts("arp")
    if not found:
        raise UnavailableError(f"{body['name']} does not count ARP now: its table is not there (avishd check)")
    names = ("txrequests", "txreplies", "rxrequests", "rxreplies")
    total = {"received": Count(found["rxrequests"] + found["rxreplies"])}
    return envelope(body) | {name: Count(found[name]) for name in names} | total


def cpu(view: View, body: Body) -> dict[str, Any]:
    """Shares of the processors over a tenth of a second, and of the engine's processes; memory in kilobytes."""
    driver = view.engine(body).driver
    found, memory = driver.facts("processor"), driver.facts("memory")
    return {
        "se_ref": envelope(body)["se_ref"],
        "total_linux_cpu_utilization": found["busy"],
        "total_cpu_utilization": round(sum(one["cpu"] for one in found["processes"]), 1),
        "total_memory": memory["total_kb"],
        "free_memory": memory["available_kb"],
        "idle_cpu": found["idle"],
        "process_cpu_utilization": [
            {
                "process_name": one["name"],
                "process_cpu_usage": one["cpu"],
                "process_memory_usage": one["memory_kb"],
            }
            for one in sorted(found["processes"], key=lambda one: -one["memory_kb"])
        ],
    }


def meminfo(view: View, body: Body) -> dict[str, Any]:
    """Memory of the agent and of the connection table in bytes, and of the machine."""
    found = view.engine(body).driver.facts("memory")
    table: dict[str, Any] = {"connections": found["connections"]}
    if found["connection_bytes"]:
        table["bytes_per_connection"] = found["connection_bytes"]
        table["bytes_allocated"] = found["connections"] * found["connection_bytes"]
    return envelope(body) | {
        "memory_config": {
            "number_of_CPUs": found["processors"],
            "pointer_size": found["pointer_size"],
            "page_size": found["page_size"],
        },
        "process_memory_stats": {"bytes_mapped": found["own_kb"] * 1024},
        "connection_memory_stats": table,
        "machine_memory_stats": {
            "bytes_total": found["total_kb"] * 1024,
            "bytes_available": found["available_kb"] * 1024,
            "bytes_cached": found["cached_kb"] * 1024,
            "bytes_slab": found["slab_kb"] * 1024,
        },
    }


def capabilities(view: View, body: Body) -> dict[str, Any]:
    """What the kernel and the programs of the engine's machine can do."""
    return {"se_ref": envelope(body)["se_ref"], "capabilities": dict(view.engine(body).driver.facts("capabilities"))}


def probe(view: View, body: Body) -> dict[str, Any]:
    """Reach for an address from the engine: query kind, address, port, vrf."""
    query = view.query
    view = view.within(query["vrf"]) if "vrf" in query else view
    try:
        address = str(ip_address(query.get("address", "")))
    except ValueError as error:
        raise ValidationError(f"address: {error}") from None
    kind = query.get("kind", "")
    lines = list(view.engine(body).driver.probe(kind, address, number(query, "port")))
    return {"se_ref": envelope(body)["se_ref"], "line": lines, "reached": _reached(kind, address, lines)}


def _reached(kind: str, address: str, lines: list[str]) -> bool:
    """Whether the address has answered: to one ping, to the handshake, or as a hop of the way to it."""
    if kind == "ping":
        return any(re.search(r"\b[1-9]\d* received", line) for line in lines)
    if kind == "tcp":
        return any(" connected from " in line for line in lines)
    return any(address in line.split() for line in lines[1:])

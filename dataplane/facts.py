"""What the kernel of the current namespace says beside our own tables: links, protocol counters, processes, sockets.

``read(kind)`` answers by a table of small readers: a new observation is one function here.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from dataplane import links, netlink, nftrun, persisted, ratecount, rtnetlink, sysctl
from dataplane.errors import RefusedError
from dataplane.model import Row

_PROC = Path("/proc")
_NET = _PROC / "self" / "net"
_SAMPLE_SECONDS = 0.1
"""The share of a processor is measured over this long."""
_TOOL_SECONDS = 10
_TCP_STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT", "CLOSED", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING",
)  # fmt: skip
ARP_TABLE = "avish_arp"
_OFFLOAD = "table ip avish_probe_offload {\nflowtable x { hook ingress priority 0; devices = { lo }; }\n}\n"
_ARP_COUNTERS = ("txrequests", "txreplies", "rxrequests", "rxreplies")
_PROGRAMS = ("nft", "conntrack", "keepalived", "conntrackd", "vtysh", "ping", "traceroute", "ss")
_CONNTRACK_STATS = {2: "found", 4: "invalid", 8: "insert", 9: "insert_failed", 10: "drop", 11: "early_drop",
                    12: "error", 13: "search_restart", 14: "clash_resolve", 15: "chain_toolong"}  # fmt: skip


def read(kind: str) -> Any:
    """The fact of that kind (a key of ``READERS``). Raises RefusedError for an unknown one, OSError."""
    reader = READERS.get(kind)
    if reader is None:
        raise RefusedError(f"nothing reads {kind!r} from the kernel")
    return reader()


def link_rows() -> list[Row]:
    """Every interface but loopback. Keys: name, index, mac, mtu, up, running, kind, master, vlan, statistics."""
    with IPRoute() as kernel:
        found = list(kernel.get_links())
    names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in found}
    return [_link(link, names) for link in found if link.get_attr("IFLA_IFNAME") != links.LOOPBACK]


def _link(link: Any, names: Mapping[int, str]) -> Row:
    info = link.get_attr("IFLA_LINKINFO")
    data: Any = info.get_attr("IFLA_INFO_DATA") if info else None
    counted = link.get_attr("IFLA_STATS64") or {}
    return {
        "name": link.get_attr("IFLA_IFNAME"),
        "index": link["index"],
        "mac": link.get_attr("IFLA_ADDRESS") or "",
        "mtu": link.get_attr("IFLA_MTU"),
        "up": bool(link["flags"] & 0x1),
        "running": bool(link["flags"] & 0x40),
        "kind": (info.get_attr("IFLA_INFO_KIND") if info else None) or "physical",
        "master": names.get(link.get_attr("IFLA_MASTER"), ""),
        "vlan": (data.get_attr("IFLA_VLAN_ID") if hasattr(data, "get_attr") else None) or 0,
        "statistics": {name: value for name, value in dict(counted).items() if isinstance(value, int)},
    }


def route6_rows() -> list[Row]:
    """The IPv6 routes of the main table. Keys: prefix, gateway or None, interface, protocol, metric."""
    with IPRoute() as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        found = list(kernel.get_routes(family=socket.AF_INET6, table=254))
    return [
        {
            "prefix": str(IPv6Network((route.get_attr("RTA_DST") or "::", route["dst_len"]))),
            "gateway": route.get_attr("RTA_GATEWAY"),
            "interface": names.get(route.get_attr("RTA_OIF"), ""),
            "protocol": {2: "kernel", 3: "boot", 4: "static", 9: "ra", links.OWN: "avish"}.get(
                route["proto"], str(route["proto"])
            ),
            "metric": route.get_attr("RTA_PRIORITY") or 0,
        }
        for route in found
        if route["type"] == 1
    ]


def neighbour6_rows() -> list[Row]:
    """The IPv6 neighbours. Keys: ip, mac or None, interface, state, router."""
    with IPRoute() as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        return [
            {
                "ip": entry.get_attr("NDA_DST"),
                "mac": entry.get_attr("NDA_LLADDR"),
                "interface": names.get(entry["ifindex"], ""),
                "state": links.NEIGHBOUR_STATES[entry["state"]],
                "router": bool(entry["flags"] & 0x80),
            }
            for entry in kernel.get_neighbours(family=socket.AF_INET6)
            if entry["state"] in links.NEIGHBOUR_STATES
        ]


def protocol_counters() -> dict[str, dict[str, int]]:
    """The kernel's own counters by group: Ip, Icmp, IcmpMsg, Tcp, Udp, TcpExt, IpExt, and those of IPv6 as Ip6 ..."""
    result: dict[str, dict[str, int]] = {}
    for name in ("snmp", "netstat"):
        lines = (_NET / name).read_text().splitlines()
        for titles, values in zip(lines[::2], lines[1::2], strict=False):
            group, _, rest = titles.partition(": ")
            numbers = values.partition(": ")[2].split()
            result[group] = {key: int(number) for key, number in zip(rest.split(), numbers, strict=False)}
    with suppress(OSError):  # a kernel without IPv6
        for line in (_NET / "snmp6").read_text().splitlines():
            name, value = line.split()
            group = next((g for g in ("UdpLite6", "Icmp6", "Ip6", "Udp6") if name.startswith(g)), "Ip6")
            result.setdefault(group, {})[name.removeprefix(group)] = int(value)
    return result


def connection_statistics() -> dict[str, int]:
    """The connection table: entries, max, and the sums over the processors that ``conntrack -S`` shows."""
    header = netlink.netfilter_header(socket.AF_INET)
    totals = dict.fromkeys(_CONNTRACK_STATS.values(), 0)
    with netlink.Netlink() as kernel:
        for message in kernel.dump(netlink.netfilter_type(1, 4), header):
            for number, data in netlink.each(message.body, 4):
                if number in _CONNTRACK_STATS:
                    totals[_CONNTRACK_STATS[number]] += int.from_bytes(data, "big")
        (whole,) = kernel.request(netlink.netfilter_type(1, 5), header)
    found = netlink.parse(whole.body, 4)
    return {name: int.from_bytes(found.get(n, b""), "big") for name, n in (("entries", 1), ("max", 2))} | totals


def processor() -> Row:
    """Shares in percent over a tenth of a second: of all processors, and of the namespace's processes.

    Keys: processors, busy, idle, per_cpu, processes [{pid, name, cpu, memory_kb}].
    """
    mine = _processes()
    before, spent = _cpu_times(), {pid: _process_ticks(pid) for pid in mine}
    began = time.monotonic()
    time.sleep(_SAMPLE_SECONDS)
    after, took = _cpu_times(), time.monotonic() - began
    shares = {name: _busy(before[name], after[name]) for name in after if name in before}
    total = shares.pop("cpu", 0.0)
    return {
        "processors": len(shares),
        "busy": total,
        "idle": round(100 - total, 1),
        "per_cpu": list(shares.values()),
        "processes": [_process(pid, name, spent[pid], took) for pid, name in mine.items() if _process_ticks(pid) >= 0],
    }


def _cpu_times() -> dict[str, tuple[int, int]]:
    """By line of /proc/stat: ticks in all, idle ticks."""
    found = {}
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("cpu"):
            name, *numbers = line.split()
            ticks = [int(number) for number in numbers[:8]]
            found[name] = (sum(ticks), ticks[3] + ticks[4])
    return found


def _busy(before: tuple[int, int], after: tuple[int, int]) -> float:
    total = after[0] - before[0]
    return round(100 * (1 - (after[1] - before[1]) / total), 1) if total > 0 else 0.0


def _processes() -> dict[int, str]:
    """The processes of this network namespace, by pid."""
    here = (_PROC / "self" / "ns" / "net").stat().st_ino
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "ns" / "net").stat().st_ino == here:
                    found[int(entry.name)] = _process_name(entry)
    return found


def _process_name(entry: Path) -> str:
    words = (entry / "cmdline").read_bytes().split(b"\0")
    if b"-m" in words[:4]:
        return words[words.index(b"-m") + 1].decode(errors="replace")
    return (entry / "comm").read_text().strip()


def _process_ticks(pid: int) -> int:
    """User and system ticks of a process; -1 when it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return int(fields[11]) + int(fields[12])


def _process(pid: int, name: str, before: int, took: float) -> Row:
    ticks = max(_process_ticks(pid) - max(before, 0), 0)
    share = 100 * ticks / os.sysconf("SC_CLK_TCK") / took if before >= 0 else 0.0
    return {"pid": pid, "name": name, "cpu": round(share, 1), "memory_kb": _resident(pid)}


def _resident(pid: int) -> int:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def memory() -> Row:
    """Kilobytes: total, free, available, cached, slab of the machine; own: the agent's; connections: the table's."""
    found = dict(_memory_lines())
    entries = connection_statistics()["entries"]
    return {
        "total_kb": found.get("MemTotal", 0),
        "free_kb": found.get("MemFree", 0),
        "available_kb": found.get("MemAvailable", 0),
        "cached_kb": found.get("Cached", 0),
        "slab_kb": found.get("Slab", 0),
        "own_kb": _resident(os.getpid()),
        "connections": entries,
        "connection_bytes": _connection_bytes(),
        "processors": os.cpu_count() or 1,
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "pointer_size": 8 if platform.architecture()[0] == "64bit" else 4,
    }


def _memory_lines() -> Iterator[tuple[str, int]]:
    for line in (_PROC / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        yield name, int(rest.split()[0])


def _connection_bytes() -> int | None:
    """What one connection takes in the kernel; None where that cannot be read."""
    with suppress(OSError):
        for line in (_PROC / "slabinfo").read_text().splitlines():
            if line.startswith("nf_conntrack "):
                return int(line.split()[3])
    return None


def sockets() -> list[Row]:
    """The TCP sockets. Keys: ip, port, peer, peer_port, state (number), state_name, tx_queue, rx_queue."""
    return [row for name in ("tcp", "tcp6") for row in _socket_rows(name)]


def _socket_rows(name: str) -> Iterator[Row]:
    with suppress(FileNotFoundError):
        for line in (_NET / name).read_text().splitlines()[1:]:
            fields = line.split()
            own, other, state = fields[1], fields[2], int(fields[3], 16)
            queued = fields[4].split(":")
            yield {
                "ip": _address(own),
                "port": int(own.partition(":")[2], 16),
                "peer": _address(other),
                "peer_port": int(other.partition(":")[2], 16),
                "state": state,
                "state_name": _TCP_STATES[state] if state < len(_TCP_STATES) else str(state),
                "tx_queue": int(queued[0], 16),
                "rx_queue": int(queued[1], 16),
            }


def _address(text: str) -> str:
    data = bytes.fromhex(text.partition(":")[0])
    words = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
    return str(IPv4Address(words) if len(words) == 4 else IPv6Address(words))


def socket_details() -> list[Row]:
    """What ss knows of each TCP connection: ip, port, peer, peer_port, state, and its own words as they are."""
    out = _tool("ss", "-H", "-t", "-n", "-i", "-e", "-O", "-a")
    return [row for line in out.splitlines() if (row := _detail(line))]


def _detail(line: str) -> Row | None:
    fields = line.split()
    if len(fields) < 5:
        return None
    (ip, _, port), (peer, _, peer_port) = fields[3].rpartition(":"), fields[4].rpartition(":")
    words = dict(re.findall(r"\b([a-z_]+):(\S+)", " ".join(fields[5:])))
    return {
        "ip": ip,
        "port": port,
        "peer": peer,
        "peer_port": peer_port,
        "state": fields[0],
        "rx_queue": int(fields[1]),
        "tx_queue": int(fields[2]),
        "words": words,
    }


def arp_counters() -> dict[str, int]:
    """ARP messages sent and received since the agent began to count; empty when it does not."""
    found = {}
    body = netlink.netfilter_header(3) + netlink.text(1, ARP_TABLE) + netlink.big32(3, 1)  # NFPROTO_ARP
    try:
        with netlink.Netlink() as kernel:
            for message in kernel.dump(netlink.netfilter_type(10, 19), body):
                parts = netlink.parse(message.body, 4)
                data = netlink.parse(parts[4])
                found[parts[2].rstrip(b"\0").decode()] = int.from_bytes(data[2], "big")
    except netlink.NetlinkError:
        return {}
    return found


def count_arp() -> None:
    """Begin to count ARP in a table of its own, unless it is counted. Raises RefusedError."""
    if set(arp_counters()) == set(_ARP_COUNTERS):
        return
    counters = "".join(f"add counter arp {ARP_TABLE} {name}\n" for name in _ARP_COUNTERS)
    rules = "".join(
        f"add rule arp {ARP_TABLE} {chain} arp operation {word} counter name {letter}x{words}\n"
        for chain, letter in (("output", "t"), ("input", "r"))
        for word, words in (("request", "requests"), ("reply", "replies"))
    )
    chains = "".join(
        f"add chain arp {ARP_TABLE} {chain} {{ type filter hook {chain} priority 0; }}\n"
        for chain in ("input", "output")
    )
    table = f"add table arp {ARP_TABLE}\ndelete table arp {ARP_TABLE}\nadd table arp {ARP_TABLE}\n"
    nftrun.load(table + counters + chains + rules)


def forget_arp() -> None:
    """Take the table away. Raises RefusedError."""
    nftrun.load(f"add table arp {ARP_TABLE}\ndelete table arp {ARP_TABLE}\n")


def capabilities() -> Row:
    """What this kernel and machine can do for an engine: name -> what was found."""
    settings = {
        "conntrack_accounting": "net/netfilter/nf_conntrack_acct",
        "conntrack_timestamps": "net/netfilter/nf_conntrack_timestamp",
        "conntrack_max": "net/netfilter/nf_conntrack_max",
        "ipv6_forwarding": "net/ipv6/conf/all/forwarding",
        "ipv4_forwarding": sysctl.FORWARD,
    }
    found: Row = {"kernel": platform.release(), "nftables": _first_line("nft", "--version")}
    for name, setting in settings.items():
        try:
            found[name] = sysctl.read(setting)
        except OSError:
            found[name] = "not in this kernel"
    found["arp_counters"] = bool(arp_counters())
    found |= {f"{kind}_device": rtnetlink.knows(kind) for kind in ("vlan", "vrf")}
    found["flow_offload"] = nftrun.takes(_OFFLOAD)
    for name in _PROGRAMS:
        found[f"program_{name}"] = shutil.which(name) or "not installed"
    return found


def _first_line(*command: str) -> str:
    return (_tool(*command).splitlines() or [""])[0]


def _tool(*command: str) -> str:
    """What a program of the system prints. Raises RefusedError when it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TOOL_SECONDS)
    except FileNotFoundError:
        raise RefusedError(f"{command[0]} is not installed on the engine") from None
    except subprocess.TimeoutExpired:
        raise RefusedError(f"{command[0]} did not end within {_TOOL_SECONDS} s") from None
    if done.returncode:
        raise RefusedError(f"{command[0]}: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else 'failed'}")
    return done.stdout


def kernel_texts() -> dict[str, str]:
    """What a support archive keeps of a namespace, by file name: the texts of the system's own programs."""
    commands = {
        "ip-address": ("ip", "-d", "-s", "address"),
        "ip-route": ("ip", "route", "show", "table", "all"),
        "ip-rule": ("ip", "rule"),
        "ip-neighbour": ("ip", "-s", "neighbour"),
        "nft-ruleset": ("nft", "list", "ruleset"),
        "conntrack-statistics": ("conntrack", "-S"),
        "sockets": ("ss", "-a", "-n", "-p", "-i", "-t", "-u"),
    }
    texts = {}
    for name, command in commands.items():
        try:
            texts[name] = _tool(*command)
        except RefusedError as error:
            texts[name] = f"{error}\n"
    return texts


READERS: Mapping[str, Callable[[], Any]] = {
    "links": link_rows,
    "routes6": route6_rows,
    "neighbours6": neighbour6_rows,
    "protocols": protocol_counters,
    "connections": connection_statistics,
    "processor": processor,
    "memory": memory,
    "sockets": sockets,
    "socket_details": socket_details,
    "arp": arp_counters,
    "capabilities": capabilities,
    "persisted": persisted.rows,
    "rates": ratecount.rows,
    "texts": kernel_texts,
}

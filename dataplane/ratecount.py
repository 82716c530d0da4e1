"""Packets and bytes of every service, server and NAT rule, counted by the kernel as they are forwarded.

Sets of a table of our own fill themselves: an element with a counter for each mark and server that is seen. No rule and
no element has to follow the configuration, and a packet costs the same with one service as with 10,000.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

from dataplane import netlink, nftread, nftrun
from dataplane.model import NAT_MARK, Row

TABLE = "avish_rates"
_SIZE = 65535
_SILENT_SECONDS = 60
_INET = 1
_GET_SET, _SET_TABLE, _SET_NAME = 10, 1, 2
_KEY, _EXPRESSION, _EXPRESSIONS = 1, 7, 11
_EXPRESSION_DATA, _BYTES, _PACKETS = 2, 1, 2
_ADDRESS_SIZE = {4: 4, 6: 16}


def _set(name: str, key: str, flags: str = "dynamic") -> str:
    return f"  set {name} {{ typeof {key}; flags {flags}; counter; size {_SIZE}; }}\n"


# a set that is full ends its rule: what is behind it must not take the packet for one of the other direction
_RULES = f"""
add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
{_set("up4", "ct mark . ip daddr . th dport")}{_set("down4", "ct mark . ip saddr . th sport")}\
{_set("up6", "ct mark . ip6 daddr . th dport")}{_set("down6", "ct mark . ip6 saddr . th sport")}\
{_set("nat_up", "ct mark")}{_set("nat_down", "ct mark")}\
{_set("silent4", "ct mark . ip daddr . th dport", "dynamic,timeout")}\
{_set("silent6", "ct mark . ip6 daddr . th dport", "dynamic,timeout")}
  chain nat_original {{ add @nat_up {{ ct mark counter }}; }}
  chain nat_reply {{ add @nat_down {{ ct mark counter }}; }}
  chain nat {{
    ct direction original goto nat_original
    goto nat_reply
  }}
  chain service_up4 {{ add @up4 {{ ct mark . ip daddr . th dport counter }}; }}
  chain service_down4 {{ add @down4 {{ ct mark . ip saddr . th sport counter }}; }}
  chain service_up6 {{ add @up6 {{ ct mark . ip6 daddr . th dport counter }}; }}
  chain service_down6 {{ add @down6 {{ ct mark . ip6 saddr . th sport counter }}; }}
  chain silent {{
    meta nfproto ipv4 update @silent4 {{ ct mark . ip daddr . th dport timeout {_SILENT_SECONDS}s counter }} return
    update @silent6 {{ ct mark . ip6 daddr . th dport timeout {_SILENT_SECONDS}s counter }}
  }}
  chain service {{
    ct state new ct status confirmed meta l4proto tcp jump silent
    meta l4proto != {{ tcp, udp }} return
    meta nfproto ipv4 ct direction original goto service_up4
    meta nfproto ipv4 goto service_down4
    ct direction original goto service_up6
    goto service_down6
  }}
  chain forward {{
    type filter hook forward priority 10; policy accept;
    ct mark 0 return
    ct mark & {NAT_MARK:#x} != 0 goto nat
    goto service
  }}
}}
"""


def begin() -> None:
    """Count from now on; what an agent before counted goes on. Raises RefusedError, NetlinkError."""
    if not _is_ours():
        nftrun.load(_RULES)


def _is_ours() -> bool:
    """Whether the table is there as we write it; an agent of an earlier release counted less."""
    head = netlink.netfilter_header(_INET)
    return bool(nftread.get(_GET_SET, [head + netlink.text(_SET_TABLE, TABLE) + netlink.text(_SET_NAME, "silent6")]))


def forget() -> None:
    """Take the table away. Raises RefusedError."""
    nftrun.load(f"add table inet {TABLE}\ndelete table inet {TABLE}\n")


def rows() -> list[Row]:
    """Keys: mark, ip and port of the server ("" and 0 for a NAT rule), packets, bytes, reply_packets, reply_bytes."""
    found: dict[tuple[int, str, int], Row] = {}
    for up, down, version in (("up4", "down4", 4), ("up6", "down6", 6), ("nat_up", "nat_down", 0)):
        for name, prefix in ((up, ""), (down, "reply_")):
            for key, packets, size in _elements(name, version):
                row = found.setdefault(key, _nothing(key))
                row[f"{prefix}packets"], row[f"{prefix}bytes"] = packets, size
    return list(found.values())


def silent() -> dict[tuple[int, str, int], int]:
    """How often clients had to ask for a connection again, by service, and address and port of the server.

    What did not happen for a minute is forgotten.
    """
    names = (("silent4", 4), ("silent6", 6))
    return {key: packets for name, version in names for key, packets, _ in _elements(name, version)}


def _nothing(key: tuple[int, str, int]) -> Row:
    counted = dict.fromkeys(("packets", "bytes", "reply_packets", "reply_bytes"), 0)
    return {"mark": key[0], "ip": key[1], "port": key[2], **counted}


def _elements(name: str, version: int) -> Iterator[tuple[tuple[int, str, int], int, int]]:
    return (_element(element, version) for element in nftread.elements(_INET, TABLE, name))


def _element(parts: dict[int, bytes], version: int) -> tuple[tuple[int, str, int], int, int]:
    key = netlink.parse(parts[_KEY])[1]
    mark = int.from_bytes(key[:4], sys.byteorder)
    expression = parts.get(_EXPRESSION) or netlink.parse(parts[_EXPRESSIONS])[1]
    counter = netlink.parse(netlink.parse(expression)[_EXPRESSION_DATA])
    numbers = int.from_bytes(counter[_PACKETS], "big"), int.from_bytes(counter[_BYTES], "big")
    if not version:
        return (mark, "", 0), *numbers
    end = 4 + _ADDRESS_SIZE[version]
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return (mark, socket.inet_ntop(family, key[4:end]), int.from_bytes(key[end : end + 2], "big")), *numbers

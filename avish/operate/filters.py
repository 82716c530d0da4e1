"""The words behind ``filter``, as they come in a query, and what of them the kernel is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network

from avish.config.config import Body
from avish.errors import ValidationError
from dataplane.model import FlowMatch

Query = Mapping[str, str]
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132}
LAST_PORT = 65535


def flow_match(query: Query) -> FlowMatch:
    """Connections by source and destination (flowtable), or by any end (connections, tcp-flows)."""
    return FlowMatch(
        protocol=_protocol(query.get("protocol_str", "")),
        src=network(query, "src_ip_addr", "src_ip_mask"),
        dst=network(query, "dst_ip_addr", "dst_ip_mask"),
        sport=ports(query, "src_port", "src_port_hi"),
        dport=ports(query, "dst_port", "dst_port_hi"),
        any_ip=network(query, "ip_addr", "ip_mask"),
        any_port=number(query, "port"),
    )


def network(query: Query, address: str, mask: str) -> str:
    """The address, or the network it is in when a mask goes with it ("24" or "255.255.255.0"); "" for none."""
    text, length = query.get(address, ""), query.get(mask, "").lstrip("/")
    if not text:
        if length:
            raise ValidationError(f"{mask}: a mask goes with {address} ADDRESS")
        return ""
    try:
        found = ip_network(f"{text}/{length}" if length else text, strict=False)
    except ValueError:
        wrong = mask if length else address
        raise ValidationError(
            f"{wrong}: {query[wrong]!r} is not right here; an address, or a mask as 24 or 255.255.255.0"
        ) from None
    return str(found) if length and found.prefixlen < found.max_prefixlen else str(found.network_address)


def ports(query: Query, first: str, last: str) -> tuple[int, int]:
    """A port, or a range up to ``last``."""
    low, high = number(query, first), number(query, last)
    if not low and not high:
        return 0, LAST_PORT
    if high and high < low:
        raise ValidationError(f"{last}: {high} is below {first} {low}")
    return low, high or low


def number(query: Query, name: str) -> int:
    """A whole number of the query, 0 when it is not there."""
    text = query.get(name, "0")
    if not text.isdigit():
        raise ValidationError(f"{name}: {text!r} is not a whole number")
    return int(text)


def _protocol(text: str) -> int:
    if not text or text.isdigit():
        return int(text or 0)
    if text.lower() not in PROTOCOLS:
        raise ValidationError(f"protocol_str: {text!r} is none of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[text.lower()]


def flag(query: Query, name: str) -> bool:
    """Whether a word stands there."""
    return query.get(name, "").lower() not in ("", "0", "false")


def server_wanted(query: Query, ip: str, port: int) -> bool:
    """server_ip with server_mask or up to server_end_ip, and server_port."""
    if not inside(query, ip, "server"):
        return False
    wanted = number(query, "server_port")
    return not wanted or wanted == port


def inside(query: Query, ip: str, prefix: str) -> bool:
    """Whether an address is X_ip, in X_ip/X_mask, or between X_ip and X_end_ip."""
    begin, end = query.get(f"{prefix}_ip", ""), query.get(f"{prefix}_end_ip", "")
    if not begin:
        return True
    address = ip_address(ip)
    if end:
        low, high = ip_address(begin), ip_address(end)
        if low.version != high.version or int(low) > int(high):
            raise ValidationError(f"{prefix}_end_ip: {end} is not an address above {begin}")
        return low.version == address.version and int(low) <= int(address) <= int(high)
    return address in ip_network(network(query, f"{prefix}_ip", f"{prefix}_mask"))


def interface_wanted(query: Query, name: str, mac: str) -> bool:
    """intfname, mac and core_num (there is one core: 0)."""
    if query.get("core_num", "0") not in ("0", ""):
        return False
    return query.get("intfname", name) == name and query.get("mac", mac).lower() == mac.lower()


def check_interface(query: Query, names: Iterable[str]) -> None:
    """ValidationError when intfname is none of ``names``."""
    wanted, known = query.get("intfname", ""), sorted(names)
    if wanted and wanted not in known:
        raise ValidationError(f"intfname: there is no interface {wanted!r}; there are {', '.join(known)}")


def engine_wanted(query: Query, body: Body, *, primary: bool) -> bool:
    """se_uuid or se_ref, and primary_only; all_se takes every engine."""
    if flag(query, "all_se"):
        return True
    if query.get("se_uuid", body["uuid"]) != body["uuid"] or query.get("se_ref", body["name"]) != body["name"]:
        return False
    return primary or not flag(query, "primary_only")


def per_engine(query: Query) -> bool:
    """disable_aggregate: a block for each engine (there is one core in each)."""
    return query.get("disable_aggregate", "") != ""

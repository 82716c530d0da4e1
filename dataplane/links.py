"""Addresses, routes, interfaces and neighbours of the current namespace. Ours carry the protocol number OWN."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from dataplane import rtnetlink
from dataplane.diff import Step
from dataplane.errors import RefusedError
from dataplane.model import Address, Interface, Route, Row, version
from dataplane.netlink import Message, Netlink, whole
from dataplane.rtnetlink import Found

_LOG = logging.getLogger(__name__)
ERRORS = (NetlinkError, OSError)
"""What the kernel's refusals are raised as in here; only ``perform`` translates them."""

OWN = rtnetlink.OWN
LOOPBACK = "lo"
_UNICAST = 1
_ROUTE_PROTOCOLS = {2: "kernel", 3: "boot", 4: "static", OWN: "avish"}
NEIGHBOUR_STATES = {
    0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY", 0x10: "PROBE", 0x20: "FAILED",
    0x80: "PERMANENT",
}  # fmt: skip
_ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104  (a destination, nothing is bound)
_LINK_LOCAL = "fe80:"
_UP = 0x1
_GET_FLAGS, _GET_MAC = 0x8913, 0x8927
_ALREADY_GONE = (errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENODEV)
_BROADCAST = b"\xff" * 6
_ETHERTYPE_ARP = 0x0806
_ETHERTYPE_IPV6 = 0x86DD
_ICMP6 = 58
_ROUTER_AND_OVERRIDE = b"\xa0\0\0\0"
_ARP_REQUEST, _ARP_REPLY = 1, 2


def perform(step: Step) -> None:
    """Carry out a step of the tables "addresses" or "routes". Raises RefusedError; what is gone already is dropped."""
    with _in_words(step):
        kernel = _HANDLES.kernel()
        if step.table == "addresses":
            _perform_address(kernel, step)
        else:
            _perform_route(kernel, step)


class _Handles(threading.local):
    """What a thread keeps open for its changes: to open and close them takes longer than a change, 10 ms and more.

    A thread stays in one network namespace.
    """

    def __init__(self) -> None:
        self._kernel: Netlink | None = None
        self._packets: socket.socket | None = None

    def kernel(self) -> Netlink:
        """For addresses and routes."""
        if self._kernel is None:
            self._kernel = rtnetlink.changer()
        return self._kernel

    def packets(self) -> socket.socket:
        """For frames of our own; nothing is received."""
        if self._packets is None:
            self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        return self._packets


_HANDLES = _Handles()


def _perform_address(kernel: Netlink, step: Step) -> None:
    if step.op == "drop":
        _remove_address(kernel, step.old)
        return
    if step.old is not None and step.old.interface == step.new.interface:
        return  # only its kind changed, which the kernel does not know
    rtnetlink.put_address(kernel, _index(step.new.interface), step.new.ip)
    if step.old is not None:
        _leave_or_return(kernel, step.old, step.new)
    if step.new.interface:
        _announce(step.new)


def _leave_or_return(kernel: Netlink, old: Address, new: Address) -> None:
    """The second half of a move; without it the first is taken back."""
    try:
        _remove_address(kernel, old)
    except ERRORS:
        _remove_address(kernel, new)
        raise


def _remove_address(kernel: Netlink, address: Address) -> None:
    try:
        rtnetlink.drop_address(kernel, _index(address.interface), address.ip)
    except ERRORS as error:
        if _number(error) not in _ALREADY_GONE:
            raise


def _perform_route(kernel: Netlink, step: Step) -> None:
    route = step.new if step.op == "put" else step.old
    try:
        index = _index(route.interface) if route.interface else None
        if step.op == "put":
            rtnetlink.put_route(kernel, route, index, replace=step.old is not None)
        else:
            rtnetlink.drop_route(kernel, route, index)
    except ERRORS as error:
        if step.op == "put" or _number(error) not in _ALREADY_GONE:
            raise


def _index(interface: str) -> int:
    return socket.if_nametoindex(interface or LOOPBACK)


def _number(error: NetlinkError | OSError) -> int | None:
    return error.code if isinstance(error, NetlinkError) else error.errno


@contextmanager
def _in_words(step: Step) -> Iterator[None]:
    try:
        yield
    except ERRORS as error:
        number = _number(error)
        reason = os.strerror(number) if number else str(error)
        raise RefusedError(f"{describe(step)}: {reason}") from error


def describe(step: Step) -> str:
    """A step in words: "route 10.0.0.0/24 via 10.1.0.1 cannot be set"."""
    value = step.new if step.op == "put" else step.old
    verb = "set" if step.op == "put" else "removed"
    return f"{name_of(value)} cannot be {verb}"


def name_of(value: Address | Route) -> str:
    """An address or route in words."""
    if isinstance(value, Address):
        return f"address {value.ip} on {value.interface or LOOPBACK}"
    return f"route {value.prefix} via {value.gateway}" + (f" on {value.interface}" if value.interface else "")


def _announce(address: Address) -> None:
    """The address is in place whether the neighbours hear of it or not; of a pair only the active engine is heard."""
    try:
        announce(address.interface, address.ip)
    except ERRORS as error:
        if address.pair and _number(error) == errno.ENOBUFS:
            return
        _LOG.warning("%s could not be announced: %s", name_of(address), error)


def announce(interface: str, ip: str) -> None:
    """Tell the neighbours that ``ip`` is here, unless the link is down. Raises OSError.

    By gratuitous ARP (request and reply) or an unsolicited neighbour advertisement.
    """
    packets = _HANDLES.packets()
    flags, _ = _asked(packets, interface, _GET_FLAGS)
    _, mac = _asked(packets, interface, _GET_MAC)
    if not flags & _UP:
        return
    if version(ip) == 4:
        frames = [gratuitous_arp(mac, ip, operation) for operation in (_ARP_REQUEST, _ARP_REPLY)]
    else:
        frames = [neighbour_advertisement(mac, ip)]
    for frame in frames:
        packets.sendto(frame, (interface, 0))


def _asked(packets: socket.socket, interface: str, question: int) -> tuple[int, bytes]:
    """The answer to an ioctl of an interface, as flags and as a hardware address. Raises OSError."""
    answer = fcntl.ioctl(packets, question, struct.pack("16s24x", interface.encode()))
    flags, mac = struct.unpack("=16xH6s16x", answer)
    return flags, mac


def gratuitous_arp(mac: bytes, ip: str, operation: int) -> bytes:
    """The Ethernet frame in which ``ip`` announces itself to everybody."""
    address = IPv4Address(ip).packed
    header = _BROADCAST + mac + _ETHERTYPE_ARP.to_bytes(2, "big")
    kinds = b"\x00\x01\x08\x00\x06\x04" + operation.to_bytes(2, "big")
    return header + kinds + mac + address + _BROADCAST + address


def neighbour_advertisement(mac: bytes, ip: str) -> bytes:
    """The Ethernet frame in which ``ip`` tells all nodes of the link that it is here now (RFC 4861, 4.4)."""
    source, everybody = IPv6Address(ip).packed, IPv6Address("ff02::1").packed
    body = bytes([136, 0, 0, 0]) + _ROUTER_AND_OVERRIDE + source + b"\x02\x01" + mac
    pseudo = source + everybody + len(body).to_bytes(4, "big") + b"\0\0\0" + bytes([_ICMP6])
    body = body[:2] + _checksum(pseudo + body) + body[4:]
    header = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes([_ICMP6, 255]) + source + everybody
    return b"\x33\x33\0\0\0\x01" + mac + _ETHERTYPE_IPV6.to_bytes(2, "big") + header + body


def _checksum(data: bytes) -> bytes:
    """The Internet checksum of an even number of bytes."""
    total = sum(int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def interfaces(*, ours: bool = True) -> list[Interface]:
    """The interfaces, loopback left out, with all their addresses but those of the link alone, ``ours`` or not."""
    held: dict[int, list[str]] = {}
    for one in _addresses():
        if ours or not _is_own(one):
            held.setdefault(one.device, []).append(f"{one.ip}/{one.prefixlen}")
    with IPRoute() as kernel:
        links = list(kernel.get_links())
    return [
        Interface(
            name=link.get_attr("IFLA_IFNAME"),
            index=link["index"],
            mac=link.get_attr("IFLA_ADDRESS") or "",
            mtu=link.get_attr("IFLA_MTU"),
            up=bool(link["flags"] & _UP),
            addresses=tuple(held.get(link["index"], ())),
        )
        for link in links
        if link.get_attr("IFLA_IFNAME") != LOOPBACK
    ]


def _addresses() -> list[Found]:
    """Of both IP versions; those that are valid on one link alone are left out."""
    found = rtnetlink.addresses()
    return [one for one in found if version(one.ip) == 4 or one.scope != rtnetlink.SCOPE_LINK]


def address_rows() -> list[Row]:
    """The addresses, as ``dataplane.driver.Driver.addresses`` describes them."""
    names = dict(socket.if_nameindex())
    return [
        {"ip": one.ip, "prefixlen": one.prefixlen, "interface": names.get(one.device, ""), "own": _is_own(one)}
        for one in _addresses()
    ]


def _is_own(address: Found) -> bool:
    """Kernels before 5.18 do not keep the protocol of an address: there the unusual scope tells."""
    if address.protocol is not None:
        return address.protocol == OWN
    if version(address.ip) == 6:
        return bool(address.prefixlen == 128 and address.flags & rtnetlink.NO_DETECTION)
    alone = address.prefixlen == 32 and address.scope == rtnetlink.SCOPE_HOST
    return alone and not IPv4Address(address.ip).is_loopback


def _names(kernel: Any) -> dict[int, str]:
    return {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}


def own_addresses() -> list[Address]:
    """What we have put on the interfaces; the kernel does not know of which kind an address is: all are "vip"."""
    return [
        Address(row["ip"], "" if row["interface"] == LOOPBACK else row["interface"], "vip")
        for row in address_rows()
        if row["own"]
    ]


def own_routes() -> list[Route]:
    """Our static routes, with the interface the kernel uses."""
    return [
        Route(row["prefix"], row["gateway"] or "", row["interface"])
        for row in route_rows()
        if row["protocol"] == _ROUTE_PROTOCOLS[OWN]
    ]


def route_rows() -> list[Row]:
    """The main routing table, as ``dataplane.driver.Driver.routes`` describes it; several next hops: a row each."""
    names = dict(socket.if_nameindex())
    routes = [_route(message) for message in rtnetlink.routes(rtnetlink.MAIN_TABLE)]
    return [row for route in routes if _is_routed(route) for row in _route_rows(route, names)]


def _route(message: Message) -> Any:
    route = rtmsg(whole(message))
    route.decode()
    return route


def _is_routed(route: Any) -> bool:
    return route["type"] == _UNICAST and not (route.get_attr("RTA_DST") or "").startswith(_LINK_LOCAL)


def _route_rows(route: Any, names: dict[int, str]) -> Iterator[Row]:
    number = route["proto"]
    for hop in route.get_attr("RTA_MULTIPATH") or [route]:
        yield {
            "prefix": str(ip_network((route.get_attr("RTA_DST") or _ANY[route["family"]], route["dst_len"]))),
            "gateway": hop.get_attr("RTA_GATEWAY"),
            "interface": names.get(hop.get_attr("RTA_OIF") if hop is route else hop["oif"], ""),
            "source": route.get_attr("RTA_PREFSRC"),
            "protocol": _ROUTE_PROTOCOLS.get(number, str(number)),
            "metric": route.get_attr("RTA_PRIORITY") or 0,
        }


def neighbour_rows() -> list[Row]:
    """The ARP and ND tables, as ``dataplane.driver.Driver.neighbours`` describes it."""
    with IPRoute() as kernel:
        names = _names(kernel)
        return [
            {
                "ip": entry.get_attr("NDA_DST"),
                "mac": entry.get_attr("NDA_LLADDR"),
                "interface": names.get(entry["ifindex"], ""),
                "state": NEIGHBOUR_STATES[entry["state"]],
            }
            for entry in _neighbours(kernel)
        ]


def _neighbours(kernel: Any) -> Iterator[Any]:
    for family in (socket.AF_INET, socket.AF_INET6):
        yield from (entry for entry in kernel.get_neighbours(family=family) if entry["state"] in NEIGHBOUR_STATES)


def forget_neighbours() -> int:
    """Delete what the kernel learned of its neighbours; how many there were. Raises what ERRORS says."""
    with IPRoute() as kernel:
        learned = [entry for entry in _neighbours(kernel) if NEIGHBOUR_STATES[entry["state"]] != "PERMANENT"]
        for entry in learned:
            with suppress(NetlinkError):  # it may have gone meanwhile
                kernel.neigh("del", ifindex=entry["ifindex"], dst=entry.get_attr("NDA_DST"), family=entry["family"])
    return len(learned)

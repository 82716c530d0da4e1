"""Addresses and routes by raw netlink: an engine has thousands of them. Ours carry the protocol number OWN.

``ports`` are the sockets that changes are made through: by them a notification is known to be of a change of our own.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from dataplane import netlink
from dataplane.model import Route, version
from dataplane.netlink import Netlink

OWN = 201
NEW_LINK, DELETE_LINK, NEW_ADDRESS, DELETE_ADDRESS, NEW_ROUTE, DELETE_ROUTE = 16, 17, 20, 21, 24, 25
GROUPS = (1, 5, 7, 9, 11)
"""Links, addresses and routes of both IP versions."""
LOCAL_TABLE, MAIN_TABLE = 255, 254
SCOPE_LINK, SCOPE_HOST = 253, 254
NO_DETECTION = 0x02

_GET_ADDRESS, _GET_ROUTE = 22, 26
_REPLACE, _EXCLUSIVE, _CREATE = 0x100, 0x200, 0x400
_ADDRESS, _LOCAL, _CACHE, _FLAGS, _PROTOCOL = 1, 2, 6, 8, 11
_DESTINATION, _DEVICE, _GATEWAY = 1, 4, 5
_LINK_NAME, _LINK_INFORMATION, _LINK_KIND, _LINK_HEADER_SIZE = 3, 18, 1, 16
_NOWHERE, _UNICAST = 255, 1
NEW_NEIGHBOUR, DELETE_NEIGHBOUR = 28, 29
_NEIGHBOUR_HEADER = struct.Struct("=BxxxiHBB")
_PERMANENT, _SELF, _HARDWARE = 0x80, 0x02, 2
_FOR_EVER = 0xFFFFFFFF
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_ADDRESS_HEADER, _ROUTE_HEADER = struct.Struct("=BBBBI"), struct.Struct("=BBBBBBBBI")

ports: set[int] = set()


class Found(NamedTuple):
    """An address of the kernel. ``device``: its interface; ``protocol``: None where that is not kept (before 5.18)."""

    ip: str
    prefixlen: int
    device: int
    scope: int
    flags: int
    protocol: int | None


def changer() -> Netlink:
    """A socket for changes, whose notifications are known to be ours. Raises OSError."""
    kernel = Netlink(socket.NETLINK_ROUTE)
    ports.add(kernel.port)
    return kernel


def listener(*, timeout: float | None) -> Netlink:
    """A socket that is told of every change. Raises OSError."""
    kernel = Netlink(socket.NETLINK_ROUTE, timeout=timeout, receive_buffer=1 << 24)
    for group in GROUPS:
        kernel.subscribe(group)
    return kernel


def knows(kind: str) -> bool:
    """Whether the kernel can make interfaces of a kind, which all want more to be said: none is made by this."""
    information = netlink.nested(_LINK_INFORMATION, netlink.text(_LINK_KIND, kind))
    body = bytes(_LINK_HEADER_SIZE) + netlink.text(_LINK_NAME, "avish-probe") + information
    try:
        with Netlink(socket.NETLINK_ROUTE) as kernel:
            kernel.request(NEW_LINK, body, _CREATE | _EXCLUSIVE)
    except netlink.NetlinkError as error:
        return error.errno != errno.EOPNOTSUPP
    return True


def put_address(kernel: Netlink, index: int, ip: str) -> None:
    """It is never chosen as a source address; an IPv6 address answers at once, without looking for another.

    Raises NetlinkError.
    """
    packed = ip_address(ip).packed
    if version(ip) == 4:
        head = _ADDRESS_HEADER.pack(socket.AF_INET, 32, 0, SCOPE_HOST, index)
        more = b""
    else:
        head = _ADDRESS_HEADER.pack(socket.AF_INET6, 128, NO_DETECTION, 0, index)
        more = netlink.attribute(_CACHE, struct.pack("=IIII", 0, _FOR_EVER, 0, 0))
        more += netlink.attribute(_FLAGS, struct.pack("=I", NO_DETECTION))
    body = head + netlink.attribute(_LOCAL, packed) + netlink.attribute(_ADDRESS, packed)
    body += netlink.attribute(_PROTOCOL, bytes([OWN])) + more
    kernel.request(NEW_ADDRESS, body, _CREATE | _EXCLUSIVE)


def drop_address(kernel: Netlink, index: int, ip: str) -> None:
    """Raises NetlinkError."""
    packed = ip_address(ip).packed
    head = _ADDRESS_HEADER.pack(_FAMILIES[version(ip)], len(packed) * 8, 0, 0, index)
    kernel.request(DELETE_ADDRESS, head + netlink.attribute(_LOCAL, packed) + netlink.attribute(_ADDRESS, packed))


def put_route(kernel: Netlink, route: Route, index: int | None, *, replace: bool) -> None:
    """``index``: of the interface, None: the kernel finds it by the gateway. Raises NetlinkError."""
    kernel.request(NEW_ROUTE, _route(route, index, 0), _CREATE | (_REPLACE if replace else _EXCLUSIVE))


def drop_route(kernel: Netlink, route: Route, index: int | None) -> None:
    """Raises NetlinkError."""
    kernel.request(DELETE_ROUTE, _route(route, index, _NOWHERE if version(route.prefix) == 4 else 0))


def take_frames(kernel: Netlink, index: int, mac: str) -> None:
    """Make an interface take frames for one more hardware address. Raises NetlinkError."""
    kernel.request(NEW_NEIGHBOUR, _filter(index, mac), _CREATE | _EXCLUSIVE)


def leave_frames(kernel: Netlink, index: int, mac: str) -> None:
    """Undo ``take_frames``. Raises NetlinkError."""
    kernel.request(DELETE_NEIGHBOUR, _filter(index, mac))


def _filter(index: int, mac: str) -> bytes:
    head = _NEIGHBOUR_HEADER.pack(socket.AF_BRIDGE, index, _PERMANENT, _SELF, 0)
    return head + netlink.attribute(_HARDWARE, bytes.fromhex(mac.replace(":", "")))


def _route(route: Route, index: int | None, scope: int) -> bytes:
    network = ip_network(route.prefix)
    family = _FAMILIES[network.version]
    body = _ROUTE_HEADER.pack(family, network.prefixlen, 0, 0, MAIN_TABLE, OWN, scope, _UNICAST, 0)
    if network.prefixlen:
        body += netlink.attribute(_DESTINATION, network.network_address.packed)
    body += netlink.attribute(_GATEWAY, ip_address(route.gateway).packed)
    return body if index is None else body + netlink.attribute(_DEVICE, struct.pack("=I", index))


def addresses() -> list[Found]:
    """All there are in the namespace. Raises NetlinkError, NetlinkTimeoutError."""
    with Netlink(socket.NETLINK_ROUTE) as kernel:
        return [_found(message.body) for message in kernel.dump(_GET_ADDRESS, bytes(_ADDRESS_HEADER.size))]


def routes(table: int) -> list[netlink.Message]:
    """Those of one table, IPv4 first. Raises NetlinkError, NetlinkTimeoutError."""
    with Netlink(socket.NETLINK_ROUTE) as kernel:
        kernel.be_strict()
        return [message for family in _FAMILIES.values() for message in _routes(kernel, family, table)]


def _routes(kernel: Netlink, family: int, table: int) -> list[netlink.Message]:
    """A table without any route is none to the kernel."""
    try:
        return list(kernel.dump(_GET_ROUTE, _ROUTE_HEADER.pack(family, 0, 0, 0, table, 0, 0, 0, 0)))
    except netlink.NetlinkError as error:
        if error.errno == errno.ENOENT:
            return []
        raise


def _found(body: bytes) -> Found:
    family, prefixlen, flags, scope, index = _ADDRESS_HEADER.unpack_from(body)
    parts = netlink.parse(body, _ADDRESS_HEADER.size)
    ip = socket.inet_ntop(family, parts.get(_LOCAL) or parts[_ADDRESS])
    protocol = parts.get(_PROTOCOL)
    wide = parts.get(_FLAGS)
    if wide is not None:
        flags = int(struct.unpack("=I", wide)[0])
    return Found(ip, prefixlen, index, scope, flags, protocol[0] if protocol else None)


def address_of(body: bytes) -> str:
    """Which address a notification is about."""
    return _found(body).ip


def is_about_ours(message: netlink.Message) -> bool:
    """Whether a notification is of a change of our own, or about what is ours or follows from it.

    IPv6 addresses are told without the port that they came by: of them the protocol tells.
    """
    if message.port in ports:
        return True
    if message.type in (NEW_ADDRESS, DELETE_ADDRESS):
        return netlink.parse(message.body, _ADDRESS_HEADER.size).get(_PROTOCOL) == bytes([OWN])
    return message.type in (NEW_ROUTE, DELETE_ROUTE) and (message.body[4] == LOCAL_TABLE or message.body[5] == OWN)

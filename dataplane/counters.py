"""Named counters and service tables of our nftables table, by raw dumps: nft takes seconds when there are thousands."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from dataplane import intervals, netlink, nftread
from dataplane.model import Row
from dataplane.nft import TABLE
from dataplane.ruleset import LISTENER_MAPS
from dataplane.ruleset_service import SERVICE_CHAIN
from dataplane.rulewords import PROTOCOLS

_GET_OBJECTS = 19
_OBJECT_TABLE, _OBJECT_NAME, _OBJECT_TYPE, _OBJECT_DATA = 1, 2, 3, 4
_COUNTER = 1
_ELEMENT_KEY, _ELEMENT_DATA, _ELEMENT_KEY_END = 1, 2, 10
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_ADDRESS_SIZE: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}
_NAMES = {number: name for name, number in PROTOCOLS.items()}


def counters(names: Iterable[str] = ()) -> dict[str, tuple[int, int]]:
    """Name -> packets, bytes, of both IP versions together; of those ``names`` that are there, without any of all.

    Empty when there is no table.
    """
    wanted = [netlink.text(_OBJECT_NAME, name) for name in names]
    found: dict[str, tuple[int, int]] = {}
    for family in _FAMILIES:
        head = netlink.netfilter_header(family) + netlink.text(_OBJECT_TABLE, TABLE)
        kind = netlink.big32(_OBJECT_TYPE, _COUNTER)
        bodies = [head + name + kind for name in wanted]
        for parts in nftread.get(_GET_OBJECTS, bodies) if wanted else nftread.dump(_GET_OBJECTS, head + kind):
            name, (packets, size) = _counter(parts)
            before = found.get(name, (0, 0))
            found[name] = (before[0] + packets, before[1] + size)
    return found


def listeners() -> list[Row]:
    """What the service tables hold, as ``dataplane.driver.Driver.listeners`` describes it."""
    return [
        _listener(element, family)
        for family in _FAMILIES
        for name in LISTENER_MAPS
        for element in nftread.elements(family, TABLE, name)
    ]


def _counter(parts: dict[int, bytes]) -> tuple[str, tuple[int, int]]:
    data = netlink.parse(parts[_OBJECT_DATA])
    return nftread.text(parts[_OBJECT_NAME]), (int.from_bytes(data[2], "big"), int.from_bytes(data[1], "big"))


def _listener(element: dict[int, bytes], family: int) -> Row:
    """The key is address, protocol and port, each padded to four bytes; data is the verdict with its chain."""
    size = _ADDRESS_SIZE[family]
    key = _value(element[_ELEMENT_KEY])
    end = _value(element.get(_ELEMENT_KEY_END, element[_ELEMENT_KEY]))
    chain = nftread.text(netlink.parse(netlink.parse(element[_ELEMENT_DATA])[2])[2])
    return {
        "ip": intervals.text((_number(key[:size]), _number(end[:size])), version=4 if size == 4 else 6),
        "protocol": _NAMES.get(key[size], str(key[size])),
        "first": _number(key[size + 4 : size + 6]),
        "last": _number(end[size + 4 : size + 6]),
        "service": int(chain.removeprefix(SERVICE_CHAIN)),
    }


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _value(data: bytes) -> bytes:
    return netlink.parse(data)[1]

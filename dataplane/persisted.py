"""The clients that are bound to a server: the kernel's map, with what is left of each entry's time."""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection

from dataplane import netlink, nftread, nftrun
from dataplane.model import Row
from dataplane.nft import TABLE

_KEY, _DATA, _TIMEOUT, _EXPIRATION = 1, 2, 4, 5
_SIZES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}
_WORDS: dict[int, str] = {socket.AF_INET: "ip", socket.AF_INET6: "ip6"}


def rows() -> list[Row]:
    """Keys: mark (of the service), client (as far as it is kept), ip and port of the server, timeout and left

    ``port`` is 0 where the port the client asked for is kept; times in seconds.
    """
    found: list[Row] = []
    for family in _SIZES:
        servers = _servers(family)
        for parts in nftread.elements(family, TABLE, "persisted"):
            key, number = _value(parts[_KEY]), _word(_value(parts[_DATA]))
            mark = _word(key)
            ip, port = servers.get((mark, number), ("", 0))
            found.append(
                {
                    "mark": mark,
                    "client": socket.inet_ntop(family, key[4 : 4 + _SIZES[family]]),
                    "ip": ip,
                    "port": port,
                    "timeout": _seconds(parts.get(_TIMEOUT)),
                    "left": _seconds(parts.get(_EXPIRATION)),
                }
            )
    return found


def forget(mark: int, servers: Collection[str]) -> int:
    """Delete the entries of a service that lead to these servers; how many there were. Raises RefusedError."""
    commands, count = [], 0
    for family, words in _WORDS.items():
        known = _servers(family)
        gone = []
        for parts in nftread.elements(family, TABLE, "persisted"):
            key, number = _value(parts[_KEY]), _word(_value(parts[_DATA]))
            if _word(key) == mark and known.get((mark, number), ("", 0))[0] in servers:
                gone.append((f"{mark} . {socket.inet_ntop(family, key[4 : 4 + _SIZES[family]])}", number))
        if gone:  # added first, for it may have gone already
            commands.append(f"add element {words} {TABLE} persisted {{ {', '.join(f'{k} : {n}' for k, n in gone)} }}")
            commands.append(f"delete element {words} {TABLE} persisted {{ {', '.join(k for k, _ in gone)} }}")
        count += len(gone)
    if commands:
        nftrun.load("\n".join(commands))
    return count


def _servers(family: int) -> dict[tuple[int, int], tuple[str, int]]:
    """By mark and number of the server, its address and port."""
    size, found = _SIZES[family], {}
    for name in ("servers", "servers_keep_port"):
        for parts in nftread.elements(family, TABLE, name):
            key, data = _value(parts[_KEY]), _value(parts[_DATA])
            port = int.from_bytes(data[size : size + 2], "big") if name == "servers" else 0
            found[_word(key), _word(key[4:])] = socket.inet_ntop(family, data[:size]), port
    return found


def _value(data: bytes) -> bytes:
    return netlink.parse(data)[1]


def _word(data: bytes) -> int:
    return int.from_bytes(data[:4], sys.byteorder)


def _seconds(data: bytes | None) -> int | None:
    return None if data is None else int.from_bytes(data, "big") // 1000

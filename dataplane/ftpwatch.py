"""FTP control connections, read along: which data connections they announce, and what the server made of them.

Packets are logged where they are forwarded: there the destination is the server already, the source still the client,
and what the engine itself sends (health tests) does not pass. Ports are those on the server's side: 21, and those of
services that follow FTP or listen on 21. The sessions seen last are kept, bounded in number.
"""

from __future__ import annotations

import errno
import logging
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from dataplane import netlink, nftread, nftrun
from dataplane.model import Row, Service
from dataplane.nflog import SUBSYSTEM

_LOG = logging.getLogger(__name__)
TABLE = "avish_ftp"
GROUP = 19_999
PORT = 21
_SESSIONS, _TRANSFERS = 2000, 20
_CONFIG, _PACKET = netlink.netfilter_type(SUBSYSTEM, 1), netlink.netfilter_type(SUBSYSTEM, 0)
_COMMAND, _MODE = 1, 2
_BIND, _COPY_PACKET, _SNAPLEN = b"\x01", b"\x02", 600
_PAYLOAD, _PREFIX = 9, 10
_SET = "ports"
_INET, _ELEMENT_KEY = 1, 1
_RULES = f"""
add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  set {_SET} {{
    type inet_service
    elements = {{ {PORT} }}
  }}
  chain forward {{
    type filter hook forward priority 300; policy accept;
    tcp dport @{_SET} log prefix "c" snaplen {_SNAPLEN} group {GROUP}
    tcp sport @{_SET} log prefix "r" snaplen {_SNAPLEN} group {GROUP}
  }}
}}
"""
_DATA_COMMANDS = ("LIST", "NLST", "RETR", "STOR", "APPE", "STOU", "MLSD")
_QUADS = re.compile(rb"(\d{1,3},\d{1,3},\d{1,3},\d{1,3},\d{1,3},\d{1,3})")
_EXTENDED = re.compile(rb"\((.)\1\1(\d{1,5})\1\)")
Key = tuple[str, int, str]


def ports_of(services: Iterable[Service]) -> frozenset[int]:
    """Where the servers of services take control connections."""
    found = {PORT}
    for one in services:
        ports = one.ftp.ports if one.ftp is not None else ()
        if one.keep_port:
            found.update(ports)
        elif ports or any(listener.first == listener.last == PORT for listener in one.listeners):
            found.update(port for _, port in one.slots)
    return frozenset(found)


def _ports_there() -> frozenset[int]:
    """What the rules in the kernel read along; nothing when they are not there, or of a release before."""
    elements = nftread.elements(_INET, TABLE, _SET)
    keys = [netlink.parse(element[_ELEMENT_KEY])[1] for element in elements]
    return frozenset(int.from_bytes(key[:2], "big") for key in keys)


def forget() -> None:
    """Take the rules away. Raises RefusedError."""
    nftrun.load(f"add table inet {TABLE}\ndelete table inet {TABLE}\n")


class FtpWatch:
    """Reads along in a thread of its own from ``start`` until ``stop``."""

    def __init__(self) -> None:
        self.book = Book()
        self._ports: frozenset[int] = frozenset()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Put the rules in place and begin to read. Raises RefusedError, OSError."""
        kernel = netlink.Netlink(timeout=0.5, drop_silently=True)
        try:
            header = netlink.netfilter_header(0, GROUP)
            kernel.request(_CONFIG, header + netlink.attribute(_COMMAND, _BIND))
            mode = _SNAPLEN.to_bytes(4, "big") + _COPY_PACKET + b"\0"
            kernel.request(_CONFIG, header + netlink.attribute(_MODE, mode))
            self.begin()
        except BaseException:
            kernel.close()
            raise
        self._thread = threading.Thread(target=self._listen, args=(kernel,), daemon=True, name="ftp")
        self._thread.start()

    def begin(self) -> None:
        """Put the rules in place, unless they are. Raises RefusedError, NetlinkError."""
        wanted, self._ports = self._ports, _ports_there()
        if not self._ports:
            nftrun.load(_RULES)
            self._ports = frozenset({PORT})
        if wanted:
            self.follow(wanted)

    def follow(self, ports: frozenset[int]) -> None:
        """From now on these are read along. Raises RefusedError. Before ``start`` nothing is."""
        if not self._ports or ports == self._ports:
            return
        wanted = ", ".join(map(str, sorted(ports)))
        nftrun.load(f"flush set inet {TABLE} {_SET}\nadd element inet {TABLE} {_SET} {{ {wanted} }}\n")
        self._ports = ports

    def stop(self) -> None:
        """End the thread; the rules stay until ``forget``."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _listen(self, kernel: netlink.Netlink) -> None:
        with kernel:
            while not self._ended.is_set():
                try:
                    messages = kernel.receive()
                except netlink.NetlinkTimeoutError:
                    continue
                except OSError as error:
                    if error.errno == errno.ENOBUFS:
                        continue
                    _LOG.warning("FTP is no longer read along: %s", error)
                    return
                now = time.time()
                for message in messages:
                    if message.type == _PACKET:
                        parts = netlink.parse(message.body, 4)
                        self.book.packet(parts.get(_PAYLOAD, b""), parts.get(_PREFIX, b"")[:1] == b"c", now)


class Book:
    """What was read: sessions by client address and port and server address."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[Key, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self) -> list[Row]:
        """The sessions, oldest first.

        Keys: client, client_port, server, server_port, first, last (seconds since the epoch), user, closed, transfers:
        [{time, mode, ip, port, command, replies}].
        """
        with self._lock:
            return [{**one, "transfers": [dict(t) for t in one["transfers"]]} for one in self._sessions.values()]

    def packet(self, data: bytes, command: bool, now: float) -> None:  # noqa: FBT001  (which way it goes)
        """One IP packet: of the client (``command``) or of the server. What is none is passed over."""
        found = _segment(data)
        if found is None:
            return
        (src, sport), (dst, dport), flags, payload = found
        key = (src, sport, dst) if command else (dst, dport, src)
        with self._lock:
            session = self._session(key, dport if command else sport, now)
            if flags & 0x05:  # FIN, RST
                session["closed"] = True
            for line in payload.split(b"\r\n"):
                if line:
                    (_command if command else _reply)(session, line, now)

    def _session(self, key: Key, port: int, now: float) -> dict[str, Any]:
        session = self._sessions.get(key)
        if session is None:
            session = {
                "client": key[0],
                "client_port": key[1],
                "server": key[2],
                "server_port": port,
                "first": now,
                "last": now,
                "user": "",
                "closed": False,
                "transfers": deque(maxlen=_TRANSFERS),
            }
            self._sessions[key] = session
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        session["last"] = now
        return session


def _segment(data: bytes) -> tuple[tuple[str, int], tuple[str, int], int, bytes] | None:
    """Source, destination, TCP flags and payload of an IP packet; None for anything else."""
    if len(data) < 40:
        return None
    version = data[0] >> 4
    start = (data[0] & 15) * 4 if version == 4 else 40
    if version not in (4, 6) or data[9 if version == 4 else 6] != 6 or len(data) < start + 20:
        return None
    ends = (data[12:16], data[16:20]) if version == 4 else (data[8:24], data[24:40])
    src, dst = (str(ip_address(end)) for end in ends)
    ports = int.from_bytes(data[start : start + 2], "big"), int.from_bytes(data[start + 2 : start + 4], "big")
    offset = start + (data[start + 12] >> 4) * 4
    length = int.from_bytes(data[2:4], "big") if version == 4 else 40 + int.from_bytes(data[4:6], "big")
    return (src, ports[0]), (dst, ports[1]), data[start + 13], data[offset:length]


def _command(session: dict[str, Any], line: bytes, now: float) -> None:
    word = line[:4].strip().upper().decode("ascii", "replace")
    if word == "USER":
        session["user"] = _printable(line[5:])
    elif word in ("PORT", "EPRT"):
        announced = _port(line) if word == "PORT" else _eprt(line)
        if announced:
            _begin(session, "active", announced, now, word)
    elif word in _DATA_COMMANDS and session["transfers"]:
        session["transfers"][-1]["command"] = _printable(line)


def _reply(session: dict[str, Any], line: bytes, now: float) -> None:
    code = line[:3]
    if not code.isdigit():
        return
    if code == b"227" and (announced := _port(line)):
        _begin(session, "passive", announced, now, "PASV")
    elif code == b"229" and (found := _EXTENDED.search(line)):
        _begin(session, "passive", (session["server"], int(found[2])), now, "EPSV")
    elif session["transfers"] and session["transfers"][-1]["command"]:
        session["transfers"][-1]["replies"].append(_printable(line))
        del session["transfers"][-1]["replies"][:-3]


def _begin(session: dict[str, Any], mode: str, announced: tuple[str, int], now: float, word: str) -> None:
    ip, port = announced
    session["transfers"].append(
        {"time": now, "mode": mode, "word": word, "ip": ip, "port": port, "command": "", "replies": []}
    )


def _port(line: bytes) -> tuple[str, int] | None:
    """h1,h2,h3,h4,p1,p2."""
    found = _QUADS.search(line)
    numbers = [int(part) for part in found[1].split(b",")] if found else []
    if not numbers or max(numbers) > 255:
        return None
    return ".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5]


def _eprt(line: bytes) -> tuple[str, int] | None:
    """|1|address|port|."""
    try:
        parts = line[5:].strip().split(line[5:6])
        return str(ip_address(parts[2].decode("ascii"))), int(parts[3])
    except (ValueError, IndexError):
        return None


def _printable(data: bytes) -> str:
    return "".join(c if c.isprintable() else "?" for c in data[:200].decode("utf-8", "replace"))

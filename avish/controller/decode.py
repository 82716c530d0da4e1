"""A tapped packet as a person reads it: one line and its parts. Takes about 0.2 ms; scapy loads on first use."""

from __future__ import annotations

import functools
import logging
import re
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from dataplane.model import NAT_MARK
from dataplane.taps import LINK_ETHERNET, Packet, ends

Side = Literal["internal", "external", "routed", "in", "out", "-"]

_SHORT = {"forward": "fwd", "received": "recv"}
_ENDS_V4 = struct.Struct(">4s4sHH")
_ENDS = "%d.%d.%d.%d:%d > %d.%d.%d.%d:%d"
_IP_HEADER = 20
_PAYLOAD_SHOWN = 64
_ESCAPES = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_TEXT_SHARE = 0.75
_RULE_PLACE = re.compile(r"(.*/\d+) ", re.DOTALL)
_FTP_COMMAND = re.compile(rb"(PORT|EPRT) ([0-9|,.:a-fA-F]+)", re.IGNORECASE)
_FTP_REPLY = re.compile(rb"(227|229) [^(]{0,60}\(([0-9|,.]+)\)")
_SIX_NUMBERS = re.compile(rb"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Names:
    """What the configuration says of a packet. ``rule``: "policy/index name"; ``server``: "address:port"."""

    rule: str = ""
    virtualservice: str = ""
    pool: str = ""
    server: str = ""


def side_of(packet: Packet) -> Side:
    """Which side of the translation the packet is on: "internal" faces the servers, "external" the clients.

    A NAT rule translates what servers open, a service what clients open; replies pass the other way round.
    """
    if packet.point not in ("before", "after"):
        return _side_of_other(packet)
    opened_by_server = packet.mark == 0 or bool(packet.mark & NAT_MARK)  # 0: FTP data that no rule took
    as_sent = packet.point == "before"
    from_server = opened_by_server == (packet.direction == "original")
    return "internal" if as_sent == from_server else "external"


def _side_of_other(packet: Packet) -> Side:
    if packet.point == "forward":
        return "routed"
    if packet.point in ("sent", "received"):
        return ("out" if packet.point == "sent" else "in") if packet.link == LINK_ETHERNET else "internal"
    return "-"


def server_end(packet: Packet) -> bytes:
    """Address and port of the server of a service's flow, 6 or 18 bytes; b"" where there is none."""
    if packet.point in ("sent", "received"):
        own = ends(packet.data) if packet.link != LINK_ETHERNET else b""
        return _half(own, second=packet.point == "sent")
    if packet.point not in ("before", "after") or packet.mark & NAT_MARK or not packet.mark:
        return b""
    original = packet.direction == "original"
    found = ends(packet.data) if original == (packet.point == "after") else packet.other
    return _half(found, second=original)


def _half(found: bytes, *, second: bool) -> bytes:
    """Destination (``second``) or source, with its port."""
    size = (len(found) - 4) // 2
    if size <= 0:
        return b""
    return found[size : 2 * size] + found[-2:] if second else found[:size] + found[-4:-2]


def end_text(end: bytes) -> str:
    """As in "10.0.0.1:80" or "[fd00::1]:80"."""
    port = int.from_bytes(end[-2:], "big")
    if len(end) == 6:
        return f"{end[0]}.{end[1]}.{end[2]}.{end[3]}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, end[:-2])}]:{port}"


def ends_text(found: bytes) -> str:
    """As in "10.0.0.1:5 > 10.0.0.2:80"; "" for none."""
    if len(found) == 12:
        one, other, source, destination = _ENDS_V4.unpack(found)
        return _ENDS % (*one, source, *other, destination)
    if len(found) != 36:
        return ""
    return f"{end_text(_half(found, second=False))} > {end_text(_half(found, second=True))}"


def comment(packet: Packet, names: Names) -> str:
    """What the capture file says of a packet."""
    side = side_of(packet)
    parts = [f"side={side}"] if side != "-" else []
    parts.append(f"point={packet.point}")
    parts += [
        f'{key}="{value}"'
        for key, value in (
            ("rule", names.rule),
            ("virtualservice", names.virtualservice),
            ("pool", names.pool),
            ("server", names.server),
            ("other", ends_text(packet.other)),
            ("reason", packet.reason),
        )
        if value
    ]
    return " ".join(parts)


def flow_of(packet: Packet) -> int:
    """A number that all packets of a flow have, both ways and on both sides."""
    own = ends(packet.data[14:] if packet.link == LINK_ETHERNET else packet.data)
    sides = {frozenset((_half(one, second=False), _half(one, second=True))) for one in (own, packet.other) if one}
    return zlib.crc32(repr(sorted(map(sorted, sides))).encode())


@dataclass(frozen=True)
class Sighting:
    """A packet and what the configuration says of it."""

    engine: str
    packet: Packet
    names: Names

    @functools.cached_property
    def event(self) -> dict[str, Any]:
        """The packet decoded, once however many ask.

        Keys: event ("packet"), line, time (seconds since the epoch), engine, interface, side, point, rule,
        virtualservice, pool, server, other (ends on the other side), reason, flow (a number), protocol (upper case),
        src, sport, dst, dport (ports None where there are none), flags, length, info.
        """
        packet, names = self.packet, self.names
        parts = _dissect(packet)
        payload = parts.pop("payload")
        event = {
            "event": "packet",
            "line": "",
            "time": packet.time,
            "engine": self.engine,
            "interface": packet.interface,
            "side": side_of(packet),
            "point": packet.point,
            "rule": names.rule,
            "virtualservice": names.virtualservice,
            "pool": names.pool,
            "server": names.server,
            "other": ends_text(packet.other),
            "reason": packet.reason,
            "flow": flow_of(packet),
            **parts,
            "length": packet.length,
        }
        event["info"] = parts["info"] or _ftp(payload) or _text(payload)
        event["line"] = _line(event)
        return event


def _line(event: dict[str, Any]) -> str:
    place = _RULE_PLACE.match(event["rule"])
    columns = [
        datetime.fromtimestamp(event["time"], UTC).astimezone().strftime("%H:%M:%S.%f"),
        _word(event["engine"]),
        f"{event['side']:<8}",
        f"{_SHORT.get(event['point'], event['point']):<6}",
        f"{_word(place[1] if place else event['rule']):<9}",
        f"{_word(event['virtualservice']):<9}",
        f"{_word(event['server']):<18}",
        f"{event['protocol']:<4}",
        f"{_end(event['src'], event['sport']):>21} > {_end(event['dst'], event['dport']):<21}",
        f"[{event['flags']}]",
        f"len {event['length']}",
        f'reason "{event["reason"]}"' if event["reason"] else "",
        event["info"],
    ]
    return " ".join(column for column in columns if column).rstrip()


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _word(name: str) -> str:
    """A name as one column: quoted if it holds blanks, "-" if there is none, never a control character."""
    shown = _printable(name)
    return f'"{shown}"' if " " in shown else shown or "-"


def _ftp(payload: bytes) -> str:
    """An FTP command or reply that announces an address, with the address as one reads it; "" for anything else."""
    found = _FTP_COMMAND.match(payload) or _FTP_REPLY.match(payload)
    if found is None:
        return ""
    address = _announced(found[2])
    return f"{_text(payload.rstrip())} = {address}" if address else ""


def _announced(text: bytes) -> str:
    """What "10,0,0,1,4,1" of PORT and PASV or "|1|10.0.0.1|1025|" of EPRT and EPSV means; "" for neither."""
    numbers = _SIX_NUMBERS.fullmatch(text)
    if numbers:
        values = [int(number) for number in numbers.groups()]
        return "" if max(values) > 255 else f"{'.'.join(map(str, values[:4]))}:{values[4] * 256 + values[5]}"
    parts = text.decode("ascii", "replace").split("|")
    if len(parts) == 5 and parts[3].isdigit() and int(parts[3]) < 65536:
        return f"{parts[2]}:{parts[3]}" if parts[2] else f"port {parts[3]}"
    return ""


def _text(payload: bytes) -> str:
    """The start of a payload that is text, quoted and escaped; nothing of one that is not."""
    head = payload[:_PAYLOAD_SHOWN]
    readable = sum(1 for byte in head if byte in b"\t\r\n" or 0x20 <= byte < 0x7F)
    if not head or readable < _TEXT_SHARE * len(head):
        return ""
    more = "..." if len(payload) > _PAYLOAD_SHOWN else ""
    return '"' + "".join(map(_escaped, head)) + '"' + more


def _escaped(byte: int) -> str:
    if byte in _ESCAPES:
        return _ESCAPES[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"


def _dissect(packet: Packet) -> dict[str, Any]:
    """protocol, src, sport, dst, dport, flags, info and payload."""
    parts: dict[str, Any] = {
        "protocol": "?",
        "src": "?",
        "sport": None,
        "dst": "?",
        "dport": None,
        "flags": "",
        "info": "",
        "payload": b"",
    }
    try:
        found = parts | _layers(packet)
    except Exception:
        logging.getLogger(__name__).debug("a packet cannot be decoded", exc_info=True)
        return parts | {"flags": "not decodable"}
    for key in ("protocol", "src", "dst", "flags", "info"):
        found[key] = "?" if found[key] is None else _printable(str(found[key]))
    return found


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _layers(packet: Packet) -> dict[str, Any]:
    if packet.link == LINK_ETHERNET:
        return _frame(packet.data)
    version = packet.data[0] >> 4 if packet.data else 0
    if version == 4 and len(packet.data) >= _IP_HEADER:
        return _ipv4(_scapy().IP(packet.data))
    if version == 6 and len(packet.data) >= 40:
        return _ipv6(_scapy().IPv6(packet.data))
    return {"flags": "not decodable"}


def _frame(data: bytes) -> dict[str, Any]:
    frame = _scapy().Ether(data)
    if frame.haslayer("IP"):
        return _ipv4(frame["IP"])
    if frame.haslayer("IPv6"):
        return _ipv6(frame["IPv6"])
    if frame.haslayer("ARP"):
        return _arp(frame["ARP"])
    return {"protocol": f"0x{frame.type:04x}", "src": frame.src, "dst": frame.dst}


def _arp(message: Any) -> dict[str, Any]:
    if message.op == 1 and message.psrc == message.pdst:
        info = f"{message.psrc} is at {message.hwsrc} (gratuitous)"
    elif message.op == 1:
        info = f"who has {message.pdst}, tell {message.psrc}"
    else:
        info = f"{message.psrc} is at {message.hwsrc}"
    return {"protocol": "ARP", "src": message.psrc, "dst": message.pdst, "flags": _word(str(message.op)), "info": info}


def _ipv4(packet: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {"protocol": packet.sprintf("%IP.proto%").upper(), "src": packet.src, "dst": packet.dst}
    if packet.frag:
        return parts | {"flags": f"fragment at {packet.frag * 8}"}
    if packet.proto == 112:
        return parts | _vrrp(bytes(packet.payload))
    return parts | _transport(packet, packet.proto)


def _ipv6(packet: Any) -> dict[str, Any]:
    names = {6: "TCP", 17: "UDP", 58: "ICMP6", 112: "VRRP"}
    parts: dict[str, Any] = {
        "protocol": names.get(packet.nh, str(packet.nh)),
        "src": packet.src,
        "dst": packet.dst,
    }
    if packet.nh == 112:
        return parts | _vrrp(bytes(packet.payload))
    if packet.nh == 58:
        return parts | {"flags": _word(packet.payload.name.removeprefix("ICMPv6 ").lower())}
    return parts | _transport(packet, packet.nh)


def _vrrp(data: bytes) -> dict[str, Any]:
    """VRRP 2 and 3 begin alike: version and type, router, priority."""
    if len(data) < 8:
        return {"protocol": "VRRP", "flags": "cut short"}
    count = data[3]
    text = f"advertisement of router {data[1]}, priority {data[2]}, {count} addresses"
    listed = [socket.inet_ntoa(data[at : at + 4]) for at in range(8, 8 + 4 * count, 4) if len(data) >= at + 4]
    return {"protocol": "VRRP", "flags": f"v{data[0] >> 4}", "info": f"{text}: {', '.join(listed)}" if listed else text}


def _transport(packet: Any, protocol: int) -> dict[str, Any]:
    if packet.haslayer("TCP") and protocol == 6:
        segment = packet["TCP"]
        return _ports(segment) | {"flags": str(segment.flags)}
    if packet.haslayer("UDP") and protocol == 17:  # not the one quoted in an ICMP error
        return _ports(packet["UDP"])
    if packet.haslayer("ICMP"):
        return {"flags": packet.sprintf("%ICMP.type%")}
    return {}


def _ports(segment: Any) -> dict[str, Any]:
    return {"sport": segment.sport, "dport": segment.dport, "payload": bytes(segment.payload)}


@dataclass(frozen=True)
class _Layers:
    IP: Callable[[bytes], Any]
    IPv6: Callable[[bytes], Any]
    Ether: Callable[[bytes], Any]


@functools.cache
def _scapy() -> _Layers:
    """Loading it takes half a second, so only who looks at packets pays."""
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    return _Layers(IP, IPv6, Ether)


def message_of_engines(packet: Packet) -> str:
    """What a packet between engines is, for the file."""
    parts = _dissect(packet)
    return f"{parts['protocol']} {parts['info']}".strip() if parts["protocol"] == "VRRP" else "conntrackd message"

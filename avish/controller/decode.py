"""A tapped packet as a person reads it: one line and its parts. Takes about 0.1 ms; scapy loads on first use."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from dataplane.model import NAT_MARK, Packet

Side = Literal["internal", "external"]

_IP_HEADER = 20
_PAYLOAD_SHOWN = 64
_ESCAPES = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_TEXT_SHARE = 0.75
_RULE_PLACE = re.compile(r"(.*/\d+) ", re.DOTALL)


def side_of(packet: Packet) -> Side:
    """Which side of the translation the packet is on: "internal" faces the servers, "external" the clients.

    A NAT rule translates what servers open, a service what clients open; replies pass the other way round.
    """
    opened_by_server = bool(packet.mark & NAT_MARK)
    as_sent = packet.point == "before"
    from_server = opened_by_server == (packet.direction == "original")
    return "internal" if as_sent == from_server else "external"


def comment(packet: Packet, rule: str, virtualservice: str) -> str:
    """What the capture file says of a packet; the same for all packets of one mark, point and direction."""
    parts = [f"side={side_of(packet)}", f"point={packet.point}"]
    parts += [f'rule="{rule}"'] if rule else []
    parts += [f'virtualservice="{virtualservice}"'] if virtualservice else []
    return " ".join(parts)


@dataclass(frozen=True)
class Sighting:
    """A packet and what the configuration says of it. ``rule``: "policy/index name" or "", ``virtualservice`` or ""."""

    engine: str
    packet: Packet
    rule: str
    virtualservice: str

    @functools.cached_property
    def event(self) -> dict[str, Any]:
        """The packet decoded, once however many ask.

        Keys: event ("packet"), line, time (seconds since the epoch), engine, side, point, rule, virtualservice,
        protocol (upper case), src, sport, dst, dport (ports None where there are none), flags, length.
        """
        parts = _dissect(self.packet.data)
        payload = parts.pop("payload")
        event = {
            "event": "packet",
            "line": "",
            "time": self.packet.time,
            "engine": self.engine,
            "side": side_of(self.packet),
            "point": self.packet.point,
            "rule": self.rule,
            "virtualservice": self.virtualservice,
            **parts,
            "length": self.packet.length,
        }
        event["line"] = _line(event, payload)
        return event


def _line(event: dict[str, Any], payload: bytes) -> str:
    place = _RULE_PLACE.match(event["rule"])
    columns = [
        datetime.fromtimestamp(event["time"], UTC).astimezone().strftime("%H:%M:%S.%f"),
        _word(event["engine"]),
        f"{event['side']:<8}",
        f"{event['point']:<6}",
        f"{_word(place[1] if place else event['rule']):<9}",
        f"{_word(event['virtualservice']):<9}",
        f"{event['protocol']:<4}",
        f"{_end(event['src'], event['sport']):>21} > {_end(event['dst'], event['dport']):<21}",
        f"[{event['flags']}]",
        f"len {event['length']}",
        _text(payload),
    ]
    return " ".join(columns).rstrip()


def _end(address: str, port: int | None) -> str:
    return address if port is None else f"{address}:{port}"


def _word(name: str) -> str:
    """A name as one column: quoted if it holds blanks, "-" if there is none, never a control character."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in name)
    return f'"{shown}"' if " " in shown else shown or "-"


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


def _dissect(data: bytes) -> dict[str, Any]:
    """protocol, src, sport, dst, dport, flags and payload of what starts with an IPv4 header."""
    parts: dict[str, Any] = {
        "protocol": "?",
        "src": "?",
        "sport": None,
        "dst": "?",
        "dport": None,
        "flags": "",
        "payload": b"",
    }
    if len(data) < _IP_HEADER or data[0] >> 4 != 4:
        return parts | {"flags": "not decodable"}
    packet = _dissector()(data)
    parts |= {"protocol": packet.sprintf("%IP.proto%").upper(), "src": packet.src, "dst": packet.dst}
    if packet.frag:
        return parts | {"flags": f"fragment at {packet.frag * 8}"}
    return parts | _transport(packet)


def _transport(packet: Any) -> dict[str, Any]:
    if packet.haslayer("TCP"):
        segment = packet["TCP"]
        return _ports(segment) | {"flags": str(segment.flags)}
    if packet.haslayer("UDP") and packet.proto == 17:  # not the one quoted in an ICMP error
        return _ports(packet["UDP"])
    if packet.haslayer("ICMP"):
        return {"flags": packet.sprintf("%ICMP.type%")}
    return {}


def _ports(segment: Any) -> dict[str, Any]:
    return {"sport": segment.sport, "dport": segment.dport, "payload": bytes(segment.payload)}


@functools.cache
def _dissector() -> Callable[[bytes], Any]:
    """The IPv4 layer of scapy; loading it takes a quarter of a second, so only who looks at packets pays."""
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
    from scapy.layers.inet import IP

    return cast("Callable[[bytes], Any]", IP)

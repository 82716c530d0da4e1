"""Filters of whole interfaces: an expression in the language of pcap-filter(7), made into a BPF program by tcpdump."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, summarize_address_range

from dataplane.errors import RefusedError
from dataplane.model import AddressMatch
from dataplane.taps import CONNTRACKD_PORT, FlagMatch, PacketMatch, PortRange

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, value."""

_SECONDS = 20.0
_WHOLE = 262_144
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ANCILLARY = 0xFFFFF000
_PACKET_TYPE, _INTERFACE = 4, 8
_OUTGOING = 4
IPC = f"ip proto 112 or ip6 proto 112 or udp port {CONNTRACKD_PORT}"
"""What the engines of a group tell each other: VRRP, and flows through conntrackd."""


def expression(matches: Iterable[PacketMatch]) -> str:
    """The expression that is true when one of ``matches`` is; "" for none."""
    return " or ".join(f"({_all(match)})" for match in matches)


def _all(match: PacketMatch) -> str:
    parts = [_host(host) for host in match.hosts]
    parts += [_ports("src", ports) for ports in match.source_ports]
    parts += [_ports("dst", ports) for ports in match.destination_ports]
    parts += [_flags(flags) for flags in match.flags]
    parts += ["tcp"] if match.tcp else []
    parts += ["ip"] if match.ipv4 else []
    return " and ".join(f"({part})" for part in parts) or "len >= 0"


def _host(match: AddressMatch) -> str:
    found = " or ".join(word for element in match.elements for word in _nets(element)) or "len < 0"
    return f"not ({found})" if match.negate else found


def _nets(element: str) -> Iterator[str]:
    """A range is the networks that make it up."""
    if "-" in element:
        first, last = (ip_address(part.strip()) for part in element.split("-"))
        for network in summarize_address_range(first, last):
            yield f"net {network}"
    else:
        yield f"{'net' if '/' in element else 'host'} {element}"


def _ports(side: str, ports: PortRange) -> str:
    found = f"{side} portrange {ports.first}-{ports.last}"
    return f"(tcp or udp) and not {found}" if ports.negate else found


def _flags(match: FlagMatch) -> str:
    """Also of IPv6 packets without extension headers: there TCP begins at byte 40."""
    test = f"= {match.mask}" if match.every else "!= 0"
    found = f"(ip and tcp[13] & {match.mask} {test}) or (ip6 and tcp and ip6[53] & {match.mask} {test})"
    return f"tcp and not ({found})" if match.negate else found


def program(text: str, snaplen: int, *, directions: Iterable[str], loopback: int) -> list[Instruction]:
    """The program for an expression, in front of it the test for the direction ("rx", "tx") and against ``loopback``.

    It gives the number of bytes to keep. Raises RefusedError when tcpdump does not understand the expression.
    """
    body = _compiled(text, snaplen or _WHOLE)
    wanted = set(directions)
    start: list[Instruction] = [(_LOAD_WORD, 0, 0, _ANCILLARY + _INTERFACE), (_JUMP_EQUAL, 0, 1, loopback)]
    start.append((_RETURN, 0, 0, 0))
    if wanted in ({"rx"}, {"tx"}):
        true, false = (0, 1) if wanted == {"rx"} else (1, 0)
        start.append((_LOAD_WORD, 0, 0, _ANCILLARY + _PACKET_TYPE))
        start += [(_JUMP_EQUAL, true, false, _OUTGOING), (_RETURN, 0, 0, 0)]
    return start + body


def _compiled(text: str, snaplen: int) -> list[Instruction]:
    argv = ["tcpdump", "-dd", "-y", "EN10MB", "-s", str(snaplen), text]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"the program tcpdump, which compiles packet filters, cannot be run: {error}") from error
    found = re.findall(r"\{ (0x\w+), (\d+), (\d+), (0x\w+) \}", done.stdout)
    if done.returncode or not found:
        reason = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise RefusedError(f"the packet filter {text!r} cannot be compiled: {reason[0]}")
    return [(int(code, 16), int(true), int(false), int(value, 16)) for code, true, false, value in found]


def packed(instructions: Iterable[Instruction]) -> bytes:
    """As the kernel takes it."""
    return b"".join(struct.pack("=HBBI", *one) for one in instructions)

"""Small changes of our tables as raw netlink batches: a hundredth of the time that nft takes when there is much. Pure.

``nft`` reads all chains and sets before it changes one. What changes often, elements and the chains of a service, is
encoded here, in the form that nft itself would send, so that the listing is the same. What is not known here makes
``encode`` answer None: then nft is asked.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network

from dataplane.netlink import attribute, big32, nested, netfilter_header, netfilter_type, text
from dataplane.nft import TABLE, Change, ElementSet, Table

_SUBSYSTEM = 10
_BEGIN, _END = 16, 17
_NEW_CHAIN, _DELETE_CHAIN, _NEW_RULE, _DELETE_RULE = 3, 5, 6, 8
_NEW_ELEMENTS, _DELETE_ELEMENTS, _NEW_OBJECT, _DELETE_OBJECT = 12, 14, 18, 20
_CREATE, _APPEND, _REQUEST, _ACK = 0x400, 0x800, 0x1, 0x4
_HEADER = struct.Struct("=IHHII")
_VALUE, _VERDICT = 1, 2
_LIST_ENTRY = 1
_COUNTER, _TIMEOUT = 1, 7
_ELEMENTS_PER_MESSAGE = 256
_FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
_VERDICTS = {"drop": 0, "accept": 1, "jump": -3, "goto": -4}
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_SOURCE = {"ip": (12, 4), "ip6": (8, 16)}
"""Of the source address in the network header: offset, length."""
_PORT_UNREACHABLE = {"ip": 3, "ip6": 4}
_MARK_KEY, _L4_KEY, _CT_MARK_KEY = 3, 16, 3
_REGISTER, _SMALL_REGISTER = 1, 8
_KERNEL_BURST = 5


class _UnknownError(Exception):
    """Something that is not encoded here."""


def encode(change: Change, *, commit: bool) -> bytes | None:
    """The batch of a change, without its end unless it is to ``commit``: the kernel then checks it and changes nothing.

    None when the change holds something that is not known here. The last message but the end asks for an answer.
    """
    try:
        parts = [part for old, new in change.pairs for part in _messages(old, new)]
    except _UnknownError:
        return None
    if not parts:
        return b""
    kinds = [(_BEGIN, _REQUEST, netfilter_header(socket.AF_UNSPEC, _SUBSYSTEM)), *parts]
    kind, flags, body = kinds[-1]
    kinds[-1] = (kind, flags | _ACK, body)
    if commit:
        kinds.append((_END, _REQUEST, netfilter_header(socket.AF_UNSPEC, _SUBSYSTEM)))
    return b"".join(_message(number, *one) for number, one in enumerate(kinds))


_Part = tuple[int, int, bytes]
"""Message type, flags, body."""


def _message(sequence: int, kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def _part(family: str, kind: int, flags: int, *attributes: bytes) -> _Part:
    body = netfilter_header(_FAMILIES[family]) + b"".join(attributes)
    return netfilter_type(_SUBSYSTEM, kind), flags | _REQUEST, body


def _messages(old: Table, new: Table) -> Iterator[_Part]:
    """In the order in which the kernel can take them: nothing is used before it is there or gone while it is used."""
    if old.objects != new.objects or old.sets.keys() != new.sets.keys():
        raise _UnknownError
    family, name = new.family, text(1, TABLE)
    for key, was in old.sets.items():
        gone = {one: data for one, data in was.elements.items() if new.sets[key].elements.get(one) != data}
        if was.passing:  # added first, for it may have gone already
            yield from _elements(family, _NEW_ELEMENTS, key, was, gone)
        yield from _elements(family, _DELETE_ELEMENTS, key, was, gone)
    changed = [key for key in {**old.chains, **new.chains} if old.chains.get(key) != new.chains.get(key)]
    if any(chain.hook for table in (old, new) for key in changed if (chain := table.chains.get(key)) is not None):
        raise _UnknownError
    yield from (_part(family, _DELETE_RULE, 0, name, text(2, key)) for key in changed if key in old.chains)
    yield from (_part(family, _DELETE_CHAIN, 0, name, text(3, key)) for key in changed if key not in new.chains)
    for counter in sorted(old.counters - new.counters):
        yield _part(family, _DELETE_OBJECT, 0, name, text(2, counter), big32(3, _COUNTER))
    for counter in sorted(new.counters - old.counters):
        zero = nested(4, attribute(1, bytes(8)), attribute(2, bytes(8)))
        yield _part(family, _NEW_OBJECT, _CREATE, name, text(2, counter), big32(3, _COUNTER), zero)
    yield from (_part(family, _NEW_CHAIN, _CREATE, name, text(3, key)) for key in changed if key not in old.chains)
    for key, wanted in new.sets.items():
        fresh = {one: data for one, data in wanted.elements.items() if old.sets[key].elements.get(one) != data}
        yield from _elements(family, _NEW_ELEMENTS, key, wanted, fresh)
    for key in changed:
        for rule in new.chains[key].rules if key in new.chains else ():
            yield _part(family, _NEW_RULE, _CREATE | _APPEND, name, text(2, key), nested(4, *_rule(rule, family)))


def _elements(family: str, kind: int, name: str, holder: ElementSet, elements: dict[str, str]) -> Iterator[_Part]:
    if not elements:
        return
    encoded = [_element(holder, key, data) for key, data in elements.items()]
    for place in range(0, len(encoded), _ELEMENTS_PER_MESSAGE):
        part = nested(3, *encoded[place : place + _ELEMENTS_PER_MESSAGE])
        yield _part(family, kind, _CREATE if kind == _NEW_ELEMENTS else 0, text(1, TABLE), text(2, name), part)


def _element(holder: ElementSet, key: str, data: str) -> bytes:
    key, _, timeout = key.partition(" timeout ")
    key_type, _, data_type = holder.type.partition(" : ")
    kinds, words = key_type.split(" . "), key.split(" . ")
    first, last = _packed(kinds, words, end=False), _packed(kinds, words, end=True)
    parts = [nested(1, attribute(_VALUE, first))]
    if "interval" in holder.flags:
        parts.append(nested(10, attribute(_VALUE, last)))
    if data:
        parts.append(_data(data_type, data))
    if timeout:
        parts.append(attribute(4, _milliseconds(timeout).to_bytes(8, "big")))
    return nested(_LIST_ENTRY, *parts)


def _milliseconds(timeout: str) -> int:
    if not timeout.endswith("s") or not timeout[:-1].isdecimal():
        raise _UnknownError
    return int(timeout[:-1]) * 1000


def _data(kind: str, data: str) -> bytes:
    if kind == "verdict":
        return nested(2, _verdict(data))
    return nested(2, attribute(_VALUE, _packed(kind.split(" . "), data.split(" . "), end=False)))


def _packed(kinds: list[str], words: list[str], *, end: bool) -> bytes:
    """The parts of a key; where there are several, each is padded to four bytes."""
    if len(kinds) != len(words):
        raise _UnknownError
    parts = [_ENCODERS[kind](word, end) for kind, word in zip(kinds, words, strict=True)]
    return parts[0] if len(parts) == 1 else b"".join(part + b"\0" * (-len(part) % 4) for part in parts)


def _address(word: str, end: bool) -> bytes:  # noqa: FBT001  (one of several functions of one form)
    if "/" in word:
        network = ip_network(word)
        return (network.broadcast_address if end else network.network_address).packed
    return ip_address(word).packed


def _ports(word: str, end: bool) -> bytes:  # noqa: FBT001
    first, _, last = word.partition("-")
    return int(last if end and last else first).to_bytes(2, "big")


def _number(word: str, end: bool) -> bytes:  # noqa: FBT001, ARG001
    return int(word, 16).to_bytes(4, sys.byteorder)


def _protocol(word: str, end: bool) -> bytes:  # noqa: FBT001, ARG001
    return bytes([int(word)])


_ENCODERS: dict[str, Callable[[str, bool], bytes]] = {
    "ipv4_addr": _address,
    "ipv6_addr": _address,
    "inet_service": _ports,
    "inet_proto": _protocol,
    "mark": _number,
}


def _verdict(words: str) -> bytes:
    word, _, chain = words.partition(" ")
    code = attribute(1, _VERDICTS[word].to_bytes(4, "big", signed=True))
    return nested(_VERDICT, code, *([text(2, chain)] if chain else []))


def _rule(rule: str, family: str) -> list[bytes]:
    """The expressions of a rule. Raises _UnknownError."""
    for pattern, build in _RULES:
        found = pattern.fullmatch(rule)
        if found is not None:
            return build(found, family)
    raise _UnknownError


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _immediate(data: bytes, register: int) -> bytes:
    return _expression("immediate", big32(1, register), nested(2, data))


def _build_counter(found: re.Match[str], family: str) -> list[bytes]:  # noqa: ARG001
    return [_expression("objref", big32(1, _COUNTER), text(2, found["name"]))]


def _build_timeout(found: re.Match[str], family: str) -> list[bytes]:  # noqa: ARG001
    return [_expression("objref", big32(1, _TIMEOUT), text(2, found["name"]))]


def _build_mark(found: re.Match[str], family: str) -> list[bytes]:  # noqa: ARG001
    value = _immediate(attribute(_VALUE, _number(found["mark"], False)), _REGISTER)
    return [value, _expression("ct", big32(2, _CT_MARK_KEY), big32(4, _REGISTER))]


def _build_turns(found: re.Match[str], family: str) -> list[bytes]:  # noqa: ARG001
    parts = [big32(1, _REGISTER), big32(2, int(found["mod"])), big32(3, int(found["kind"] == "random"))]
    return [_expression("numgen", *parts, big32(4, int(found["offset"] or 0))), _SET_META_MARK]


def _build_hash(found: re.Match[str], family: str) -> list[bytes]:
    offset, length = _SOURCE[family]
    loads = [_payload(_SMALL_REGISTER + 1, 1, offset, length)]
    if found["port"]:
        loads.append(_payload(_SMALL_REGISTER + 1 + length // 4, 2, 0, 2))
        length += 4
    hashed = [big32(1, _SMALL_REGISTER + 1), big32(2, _REGISTER), big32(3, length), big32(4, int(found["mod"]))]
    hashed += [big32(5, 1), big32(6, int(found["offset"] or 0)), big32(7, 0)]
    return [*loads, _expression("hash", *hashed), _SET_META_MARK]


def _payload(register: int, base: int, offset: int, length: int) -> bytes:
    return _expression("payload", big32(1, register), big32(2, base), big32(3, offset), big32(4, length))


def _build_verdict(found: re.Match[str], family: str) -> list[bytes]:  # noqa: ARG001
    return [_immediate(_verdict(found[0]), 0)]


def _build_reset(found: re.Match[str], family: str) -> list[bytes]:  # noqa: ARG001
    tcp = _expression("cmp", big32(1, _REGISTER), big32(2, 0), nested(3, attribute(_VALUE, b"\x06")))
    return [
        _expression("meta", big32(2, _L4_KEY), big32(1, _REGISTER)),
        tcp,
        _expression("reject", big32(1, 1), attribute(2, b"\0")),
    ]


def _build_reject(found: re.Match[str], family: str) -> list[bytes]:  # noqa: ARG001
    return [_expression("reject", big32(1, 0), attribute(2, bytes([_PORT_UNREACHABLE[family]])))]


def _build_rate(found: re.Match[str], family: str) -> list[bytes]:
    rate, unit = int(found["count"]).to_bytes(8, "big"), _UNITS[found["unit"]].to_bytes(8, "big")
    burst = int(found["burst"] or _KERNEL_BURST)
    limit = [attribute(1, rate), attribute(2, unit), big32(3, burst), big32(4, 0), big32(5, 1)]
    counter = _build_counter(found, family) if found["name"] else []
    return [_expression("limit", *limit), *counter, _immediate(_verdict(found["then"]), 0)]


_SET_META_MARK = _expression("meta", big32(2, _MARK_KEY), big32(3, _REGISTER))
_BEHIND = r"(?: offset (?P<offset>\d+))?"
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], list[bytes]]], ...] = (
    (re.compile(r'counter name "(?P<name>\w+)"'), _build_counter),
    (re.compile(r'ct timeout set "(?P<name>\w+)"'), _build_timeout),
    (re.compile(r"ct mark set (?P<mark>0x[0-9a-f]{8})"), _build_mark),
    (re.compile(r"meta mark set numgen (?P<kind>inc|random) mod (?P<mod>\d+)" + _BEHIND), _build_turns),
    (
        re.compile(r"meta mark set jhash ip6? saddr(?P<port> \. th sport)? mod (?P<mod>\d+) seed 0x1" + _BEHIND),
        _build_hash,
    ),
    (re.compile(r"(?:goto|jump) \w+|accept|drop"), _build_verdict),
    (re.compile(r"reject with tcp reset"), _build_reset),
    (re.compile(r"reject"), _build_reject),
    (
        re.compile(
            r"limit rate over (?P<count>\d+)/(?P<unit>\w+)(?: burst (?P<burst>\d+) packets)?"
            r"(?: counter name \"(?P<name>\w+)\")? (?P<then>drop|goto \w+)"
        ),
        _build_rate,
    ),
)

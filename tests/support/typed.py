"""Hypothesis strategies made from the schema: values as typed, and whole lines as the tree offers them."""

from __future__ import annotations

import string
from ipaddress import ip_address

from hypothesis import assume
from hypothesis import strategies as st
from language import KNOWN, TREE

from avish.errors import ParseError
from avish.lang.complete import complete
from avish.lang.lex import lex, quote
from avish.lang.tree import RangeType
from avish.lang.walk import follow, parse
from avish.schema import types

NAME_LETTERS = string.ascii_letters + string.digits + ".@+_-"
NAMES = st.text(NAME_LETTERS, min_size=1, max_size=12)
TEXTS = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=12)
V4 = st.ip_addresses(v=4).map(str)
WORDS = 8
"""So many words a line gets at most."""


def names(kind):
    """The objects there are, for completion."""
    return KNOWN.get(kind, [])


def typed(kind):
    """Texts that the leaf type takes, unquoted."""
    return next(make(kind) for of, make in STRATEGIES if isinstance(kind, of))


def _numbers(kind):
    if kind.allowed:
        return st.sampled_from([str(number) for number in (*kind.allowed, *kind.extra)])
    if kind.real:
        return st.floats(kind.low, kind.high, allow_nan=False, allow_infinity=False).map(str)
    low = int(kind.low) if kind.low is not None else -(2**40)
    high = int(kind.high) if kind.high is not None else 2**40
    whole = st.integers(low, high).map(str)
    return st.one_of(whole, st.sampled_from([str(n) for n in kind.extra])) if kind.extra else whole


STRATEGIES = (
    (RangeType, lambda _: st.tuples(V4, V4).map(lambda ends: "-".join(sorted(ends, key=ip_address)))),
    (types.Number, _numbers),
    (types.Enum, lambda kind: st.sampled_from([spelled for word in kind.words() for spelled in (word, word.upper())])),
    (types.Prefix, lambda _: st.tuples(V4, st.integers(0, 32)).map(lambda pair: f"{pair[0]}/{pair[1]}")),
    (types.Ip, lambda _: st.ip_addresses().map(str)),
    (types.Mac, lambda _: st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))),
    (types.Bool, lambda _: st.sampled_from(["true", "False", "1", "0"])),
    (types.Name | types.Ref, lambda _: NAMES),
    (types.Type, lambda _: TEXTS),
)
"""Leaf types, the narrower before the wider, and how values of them are made."""


class Modes(list):
    """Open modes that print as their names; a message prints as everything below it."""

    def __repr__(self):
        return ":".join(message.name for message in self)


@st.composite
def lines(draw, frames):
    """A line of words and values that completion offers where ``frames`` are open, and that may end there."""
    line = ""
    for _ in range(WORDS):
        offers = complete(TREE, frames, line, names)
        assert offers, f"nothing is offered behind {line!r}"
        offer = draw(st.sampled_from(offers))
        if offer.text == "<cr>" and not offer.literal:
            break
        line += (offer.text if offer.literal else _value(draw, frames, line)) + " "
    assume(_ends(frames, line))
    return line.strip()


def _value(draw, frames, line):
    node = follow(TREE, frames, lex(line).tokens, line=line).node
    return quote(draw(typed(node.value.type)))


def _ends(frames, line):
    refusal = None
    try:
        parse(TREE, frames, line)
    except ParseError as error:
        refusal = error
    assert refusal is None or refusal.start == len(line.rstrip()), f"offered but refused: {line!r}: {refusal.text}"
    return refusal is None


@st.composite
def modes(draw):
    """The open modes of some object: the way down through its nested messages, up to four deep."""
    frame = TREE.schema.object(draw(st.sampled_from(sorted(TREE.schema.index))))
    found = Modes([frame])
    for _ in range(draw(st.integers(0, 3))):
        inner = [item.message for item in found[-1].fields.values() if item.message is not None and not item.read_only]
        if not inner:
            break
        found.append(draw(st.sampled_from(inner)))
    return found


VOCABULARY = ["configure", "show", "debug", "delete", "do", "save", "exit", "cancel", "where", "no", "index", "pool", "servers",
              "natpolicy", "rules", "match", "action", "nat_info", "flags", "flag", "ip", "port", "enabled", "10.1.1.1",
              "10.0.0.0/8", "80", "-1", "|", "grep", "x", "--json", '"', "'", "#", "\\", "True", "vip"]  # fmt: skip
NOISE = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(VOCABULARY), max_size=9).map(" ".join),
    st.lists(st.one_of(st.sampled_from(VOCABULARY), st.text(max_size=4)), max_size=6).map(" ".join),
)

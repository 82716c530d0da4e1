"""Hypothesis strategies of whole objects, made from the schema, and lines typed into a candidate."""

from __future__ import annotations

import string

from hypothesis import strategies as st
from language import TREE
from typed import STRATEGIES

from avish.config.config import Config
from avish.config.defaults import system_defaults
from avish.config.normalise import normalise
from avish.config.transaction import Put, prepare
from avish.controller.bodies import Renderer
from avish.lang.blocks import wanted
from avish.lang.walk import parse
from avish.lang.written import names_file
from avish.schema import types
from avish.shell.candidate import Candidate

SCHEMA = TREE.schema
NOW = 1_700_000_000_000_000
NAMES = st.text(string.ascii_letters + string.digits + " .@+_-", min_size=1, max_size=12).filter(
    lambda t: t == t.strip()
)
TRICKY = st.sampled_from(["END", "END2", "--", "-- END", "--x", "<<", "<< END", "|", "#", "no", "", " ", "null", "yes", "1:30",
                          "save", "\\", '"', "'", "a\nEND\nb", "\n", "x\n", "\n x", "a\tb", "\x07", "é\u00a0ß", "<sensitive>",
                          "{}", "[", "- a", "a: b", "2020-01-01", "~", "&a", "*a", "!t", "%", "@", "`", "x\u2028y", "file:/etc/passwd",
                          "file:~"])  # fmt: skip
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")
TEXTS = st.one_of(TRICKY, st.text(LETTERS, max_size=10), st.lists(TRICKY, max_size=4).map("\n".join))
MANY = ("pool", "network", "natpolicy", "ipaddrgroup", "vsvip", "poolgroup", "l4policyset", "networksecuritypolicy",
        "microservicegroup", "trafficcloneprofile", "errorpageprofile", "serverautoscalepolicy")  # fmt: skip
"""Types of which a fresh store has none or few, and that others refer to."""


def _config():
    config = Config().with_changes(system_defaults(SCHEMA, NOW), 1)
    puts = [Put(kind, None, {"name": name}) for kind in MANY for name in ("one", "a b", "--x")]
    return prepare(SCHEMA, config, puts, NOW + 1).config


CONFIG = _config()
"""System defaults, and some objects to refer to."""


def _typed(kind):
    return next(make(kind) for of, make in STRATEGIES if isinstance(kind, of))


def _leaf(kind):
    """Values as REST takes them."""
    if isinstance(kind, types.Ref) and not kind.loose:
        return st.sampled_from([body["name"] for body in CONFIG.all(kind.to)])
    if isinstance(kind, types.Name | types.Ref):
        return NAMES
    if isinstance(kind, types.Secret):
        return TEXTS.filter(lambda text: text not in ("", types.SENSITIVE))
    if type(kind) is types.Type or isinstance(kind, types.Text):
        return TEXTS
    if isinstance(kind, types.Number) and kind.real:
        low, high = kind.low if kind.low is not None else -1e30, kind.high if kind.high is not None else 1e30
        return st.floats(low, high, allow_nan=False)
    return _typed(kind).map(kind.parse)


def _possible(item):
    """Whether there are values for a field at all."""
    kind = item.type
    return not (isinstance(kind, types.Ref) and not kind.loose and not CONFIG.all(kind.to))


@st.composite
def messages(draw, message, depth=0):
    """A body of a message, with what is required and some of the rest."""
    body = {}
    for name, item in message.fields.items():
        if item.read_only or not _possible(item):
            continue
        wanted = (item.required and item.default is None and not item.auto) or name in message.key
        if wanted or draw(st.integers(0, 5 if depth == 0 else 3)) == 0:
            body[name] = draw(_field(item, depth))
    return body


def _field(item, depth):
    if item.message is None:
        one, key = _leaf(item.type), repr
    else:
        one, key = messages(item.message, depth + 1), lambda body: _key(item.message, body)
    if not item.list:
        return one
    most = min(item.max_items or 3, 3)
    return st.lists(one, min_size=max(item.min_items, 1), max_size=max(most, item.min_items, 1), unique_by=key)


def _key(message, body):
    return repr([body.get(name) for name in message.key])


@st.composite
def stored(draw, kind=None):
    """An object type, and a body of it as the store has it."""
    kind = kind or draw(st.sampled_from([kind for kind in SCHEMA.objects() if kind.verb != "show"]))
    given = draw(messages(kind))
    if "name" in kind.fields:
        given["name"] = draw(NAMES)
    return kind, store(kind, given)


def store(kind, given, existing=None):
    """What the controller makes of a body."""
    body, issues = normalise(CONFIG, kind, given, existing, "uuid-1")
    assert not issues, (kind.name, given, [str(issue) for issue in issues])
    return body


def rest(kind, body):
    """The body as REST shows it."""
    return Renderer().body(CONFIG, kind, {**body, "_last_modified": "1"}, "https://ctlr1")


def _block(feed, end):
    return "\n".join(iter(lambda: _next(feed, end), None))


def type_lines(lines, before=None):
    """The body that the lines make when typed; ``before``: the object there is already."""
    if lines == [""]:
        return {}  # a singleton at its defaults: there is nothing to type
    feed = iter(lines)
    candidate, saved = None, None
    for line in feed:
        announced = wanted(line)
        block = _block(feed, announced.end) if announced else None
        walk = parse(TREE, candidate.modes if candidate else [], line, block=block)
        assert saved is None, f"the object was saved before {line!r}"
        for op in walk.ops:
            assert block is not None or op[0] != "set" or not isinstance(op[2], str) or not names_file(op[2])
            if op[0] == "open":
                candidate = Candidate.open(SCHEMA.object(op[1]), op[2] if len(op) > 2 else "", before)
            elif op[0] == "save" and len(candidate.frames) == 1:
                saved = candidate.body
            else:
                if op[0] == "save":
                    candidate.settle()
                candidate.apply(op)
        candidate.settle()
    assert saved is not None, "the object was never saved"
    return saved


def _next(feed, end):
    line = next(feed)
    return None if line.strip() == end else line

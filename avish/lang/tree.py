"""The one tree: object types and commands expand into it; parser, completion, help and docs know nothing else.

A node lists what may come next: ``words`` (each with help, what it does and where it leads) and at most one ``value``.
What a step does is an operation, a plain tuple that ``walk`` collects and the session carries out:

("open", object, name)   begin to edit          ("set", field, value)      a scalar, or one more of a list
("enter", field)         a nested message       ("index", n)               the n-th element instead of a new one
("range", {begin, end})  both ends at once      ("unset", field)           ``no field``
("discard", field, v)    ``no field value``     ("remove", field)          ``no field``, elements; ("match", field, v)
("body", body, replace)  a whole object (replace), or some of its fields
("save",) ("cancel",) ("exit",) ("where",)      and ("index", n) behind it say which
("list", object) ("show", object, name) ("delete", object, name)
("run", command)         a command of the grammar; before it its ("arg", field, value), ("option", field, value) and
("watch",)               ("filter", field, value); a show again and again
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from avish.schema import types
from avish.schema.model import MODE_WORDS, Command, Field, Message, Schema

Op = tuple[Any, ...]
INDEX = types.Number(low=1, high=2**31)
BESIDE = ("compare", "do", "history", "show", "terminal", "watch")
"""Words of the top that need no ``do`` inside a mode."""


class RangeType(types.Type):
    """``A-B``: both ends of an address range."""

    __slots__ = ()
    name = "range"
    label = "<x.x.x.x>-<x.x.x.x>"

    def parse(self, text: str) -> dict[str, Any]:
        """``{"begin": address, "end": address}``."""
        begin, dash, end = text.partition("-")
        if not dash:
            raise ValueError(f"{types.shown(text)} is not a range: FIRST-LAST, or begin and end in the sub-mode")
        ends = {"begin": types.parse_address(begin), "end": types.parse_address(end)}
        first, last = ipaddress.ip_address(begin), ipaddress.ip_address(end)
        if first.version != last.version or int(first) > int(last):
            raise ValueError(f"{text!r} is no range: FIRST must not be above LAST")
        return ends

    def describe(self) -> str:
        """The form."""
        return "range of addresses x.x.x.x-x.x.x.x; or enter the sub-mode and give begin and end"


RANGE = RangeType()


@dataclass(slots=True, eq=False)
class Arrow:
    """Leads to a node; a function in its place is called when the way is first gone."""

    help: str
    to: Node | Callable[[], Node]

    @property
    def node(self) -> Node:
        """The node, grown if need be."""
        if not isinstance(self.to, Node):
            self.to = self.to()
        return self.to


@dataclass(slots=True, eq=False)
class Value(Arrow):
    """A value that may come next: ``op`` and then the value is done, then ``then``.

    ``names``: the object type whose names complete it; ``default``: what holds when nothing is given.
    """

    type: types.Type
    op: tuple[Any, ...]
    default: str = ""
    names: str = ""
    then: Op | None = None


@dataclass(slots=True, eq=False)
class Step(Arrow):
    """A word that may come next. ``hidden``: taken but not offered. ``vain``: whatever follows, it is refused."""

    op: Op | None = None
    hidden: bool = False
    vain: bool = False


@dataclass(slots=True, eq=False)
class Node:
    """A place on a line.

    ``end``: None when the line may not end here, else the operations of ending here. ``leave``: the operation of going
    on from here with a word of ``fall`` (or of ending). ``needs``: what is missing when the line ends too early.
    ``fields``: the words are a message's fields, so that a field of an outer message may stand here as well;
    ``negates``: the same behind ``no``.
    """

    words: dict[str, Step] = field(default_factory=dict)
    value: Value | None = None
    fall: Node | None = None
    end: tuple[Op, ...] | None = None
    leave: Op | None = None
    needs: str = ""
    fields: bool = False
    negates: bool = False


class Tree:
    """The tree of a schema, grown where it is walked."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._entries: dict[int, Node] = {}
        self._modes: dict[int, Node] = {}
        self.nouns: list[Node] = []
        """The nodes where an object type may stand."""
        self.show = self._show()
        self.root = self._root()
        self._inside = self._verbs() | self._beside()

    def _help(self, word: str) -> str:
        return self.schema.words[word]

    def _verbs(self) -> dict[str, Step]:
        end = Node(end=())
        return {word: Step(self._help(word), end, (word,)) for word in MODE_WORDS}

    # --- top level

    def _root(self) -> Node:
        root = Node({verb: Step(self._help(verb), self._objects(verb)) for verb in ("configure", "debug", "delete")})
        root.words |= {"show": Step(self._help("show"), self.show), "watch": self._watch()} | self._verbs()
        self._graft(root, self.schema.commands, 0)
        root.words["do"] = Step(self._help("do"), Node({"show": root.words["show"]}, needs="show"))
        return Node(dict(sorted(root.words.items())), end=())

    def _watch(self) -> Step:
        return Step(self._help("watch"), Node({"show": Step(self._help("show"), self.show)}, needs="show"), ("watch",))

    def _beside(self) -> dict[str, Step]:
        """The words of the top that are taken inside a mode as well, where no field has their name."""
        return {word: self.root.words[word] for word in BESIDE if word in self.root.words}

    def _objects(self, verb: str) -> Node:
        wanted = "debug" if verb == "debug" else "configure"
        node = Node(needs="an object type")
        for name, (own, word, text) in sorted(self.schema.index.items(), key=lambda item: item[1][1]):
            if own == wanted:
                _put(node, word, Step(text, partial(self._named, verb, name, word)))
        self.nouns.append(node)
        return node

    def _named(self, verb: str, name: str, word: str) -> Node:
        if self.schema.object(name).singleton:
            return self._single(verb, name)
        if verb == "delete":
            value = Value("Name of the object", Node(end=()), types.Name(), ("delete", name), names=name)
        else:
            lender = self._lender(name)
            value = Value("Name of the object", self._edited(name), types.Name(), ("open", name), names=lender)
        return Node(value=value, needs=f"Usage: '{verb} {word} <name>'. You must enter the object name.")

    def _single(self, verb: str, name: str) -> Node:
        """Behind an object type of which there is one: no name."""
        if verb == "delete":
            return Node(end=(("delete", name, ""),))
        entry = self.entry(self.schema.object(name))
        opening: Op = ("open", name, "")
        return Node(fall=entry, leave=opening, end=())

    def _lender(self, name: str) -> str:
        """The object type whose names complete those of ``name``."""
        debug = self.schema.index[name][0] == "debug"
        return (self.schema.object(name).names if debug else "") or name

    def _edited(self, name: str) -> Callable[[], Node]:
        return lambda: self.entry(self.schema.object(name))

    def _show(self) -> Node:
        node = Node(needs="what to show")
        self.nouns.append(node)
        for name, (verb, word, text) in sorted(self.schema.index.items()):
            holder = node
            if verb == "debug":
                holder = node.words.setdefault(
                    "debug", Step(self._help("show debug"), Node(needs="an object type"))
                ).node
            _put(holder, word, Step(text, partial(self._shown, name)))
        return node

    def _shown(self, name: str) -> Node:
        if self.schema.object(name).singleton:
            return Node(end=(("list", name),))
        value = Value("One of them, by name", Node(end=()), types.Name(), ("show", name), names=self._lender(name))
        return Node(value=value, end=(("list", name),))

    def _graft(self, node: Node, commands: Iterable[Command], depth: int) -> None:
        """Put the paths of commands into the tree, from their word number ``depth`` on."""
        behind: dict[str, list[Command]] = {}
        for command in commands:
            if depth < len(command.path):
                behind.setdefault(command.path[depth], []).append(command)
            else:
                _finish(node, command)
        for word, some in behind.items():
            if word.startswith("<"):
                self._graft(_argument(node, some[0].args[word[1:-1]]), some, depth + 1)
            else:
                self._word(node, word, some, depth)

    def _word(self, node: Node, word: str, commands: list[Command], depth: int) -> None:
        """Lead from ``node`` by ``word`` to the commands; of several behind it none lends it its help.

        What grows only when it is walked gets them then: a line pays for its own way, not for all of them.
        """
        step = node.words.get(word)
        if step is None:
            text = self.schema.words.get(" ".join(commands[0].path[: depth + 1]), commands[0].help)
            hidden, vain = all(one.hidden for one in commands), all(one.refused for one in commands)
            step = node.words[word] = Step(text, lambda: Node(needs="the rest of the command"), None, hidden, vain)
        if isinstance(step.to, Node):
            self._graft(step.to, commands, depth + 1)
        else:
            step.to = partial(self._grown, step.to, commands, depth + 1)

    def _grown(self, grow: Callable[[], Node], commands: list[Command], depth: int) -> Node:
        node = grow()
        self._graft(node, commands, depth)
        return node

    # --- inside a mode

    def mode(self, message: Message) -> Node:
        """What may begin a line inside the mode of ``message``."""
        node = self._modes.get(id(message))
        if node is None:
            words = self._inside | self.entry(message).words
            node = self._modes[id(message)] = Node(words, end=(), fields=True)
        return node

    def entry(self, message: Message) -> Node:
        """What may follow in the middle of a line: the fields, and ``no``."""
        node = self._entries.get(id(message))
        if node is None:
            node = self._entries[id(message)] = Node(end=(), fields=True)
            for item in message.fields.values():
                if not item.read_only:
                    node.words[item.name] = self._field(node, item)
            node.words["no"] = Step(self._help("no"), lambda: self._negated(message))
        return node

    def _field(self, entry: Node, item: Field) -> Step:
        if item.message is not None:
            return Step(item.help, lambda: self._nested(entry, item), ("enter", item))
        op = ("set", item)
        if isinstance(item.type, types.Bool) and not item.list:
            return Step(item.help, _switch(entry, op))
        default = "" if item.default is None or item.list else item.leaf.format(item.default)
        value = Value(item.help, entry, item.leaf, op, default=default, names=_names(item))
        return Step(item.help, Node(value=value, needs=f"a value: {item.leaf.describe()}"))

    def _nested(self, entry: Node, item: Field) -> Node:
        """Behind the name of a nested message; ``entry``: where the line goes on when nothing is left to edit."""
        message = item.nested
        inner = self.entry(message)
        node = Node(dict(inner.words), end=(), fields=True)
        if item.list and "index" not in message.fields:
            at = Value("Number of an element that exists, from 1", inner, INDEX, ("index",))
            node.words["index"] = Step("An element that exists, by number", Node(value=at, needs="a number"))
        if message.bare == "range":
            node.value = Value(item.help, entry, RANGE, ("range",), then=("save",))
        elif message.bare:
            bare = message.fields[message.bare]
            node.value = Value(bare.help, inner, bare.leaf, ("set", bare), names=_names(bare))
        return node

    def _negated(self, message: Message) -> Node:
        entry = self.entry(message)
        words = {f.name: self._without(entry, f) for f in message.fields.values() if not f.read_only}
        return Node(words, needs="a field to unset", negates=True)

    def _without(self, entry: Node, item: Field) -> Step:
        """The step of ``no field``."""
        if item.message is not None and item.list:
            return Step(item.help, lambda: self._which(item), ("remove", item))
        if isinstance(item.type, types.Bool) and not item.list:
            return Step(item.help, entry, ("set", item, False))
        if item.list:
            value = Value("The value to remove", entry, item.leaf, ("discard", item), names=_names(item))
            return Step(item.help, Node(value=value, needs="the value to remove"))
        return Step(item.help, entry, ("unset", item))

    @staticmethod
    def _which(item: Field) -> Node:
        """The pairs that say which elements to remove; of flags none means all of them."""
        message = item.nested
        more = Node(end=())
        for inner in message.fields.values():
            if inner.message is None and not inner.read_only and not inner.list:
                value = Value(inner.help, more, inner.leaf, ("match", inner), names=_names(inner))
                more.words[inner.name] = Step(inner.help, Node(value=value, needs=f"a value: {inner.leaf.describe()}"))
        whole = () if message.bare and isinstance(message.fields.get(message.bare, item).type, types.Enum) else None
        first = Node(dict(more.words), end=whole, needs="which one (index N, or its fields)")
        if "index" not in message.fields:
            at = Value("Number of the element, from 1", Node(end=()), INDEX, ("index",))
            first.words["index"] = Step("The element by number", Node(value=at, needs="a number"))
        if message.bare == "range":
            first.value = Value(item.help, Node(end=()), RANGE, ("range",))
        elif message.bare:
            bare = message.fields[message.bare]
            first.value = Value(bare.help, more, bare.leaf, ("match", bare), names=_names(bare))
        return first


def _put(node: Node, words: str, step: Step) -> None:
    """Put a step behind words of which there may be several (``controller properties``)."""
    *first, last = words.split()
    for word in first:
        node = node.words.setdefault(word, Step(step.help, Node(needs="the rest of the object type"))).node
    node.words[last] = step


def _switch(entry: Node, op: Op) -> Node:
    """Behind a boolean's name: True and False are offered, other spellings taken, and the name alone means True."""
    words = {"True": Step("Switch on", entry, (*op, True)), "False": Step("Switch off", entry, (*op, False))}
    for word, value in (("true", True), ("1", True), ("false", False), ("0", False)):
        words[word] = Step("", entry, (*op, value), hidden=True)
    return Node(words, fall=entry, leave=(*op, True), end=())


def _names(item: Field) -> str:
    return item.type.to if isinstance(item.type, types.Ref) and not item.type.loose else ""


def _argument(node: Node, item: Field) -> Node:
    """Behind the argument of a command, which may be that of several."""
    if node.value is None:
        node.needs = f"a value: {item.leaf.describe()}"
        behind = Node(needs="the rest of the command")
        node.value = Value(item.help, behind, item.leaf, ("arg", item), names=_names(item))
    return node.value.node


def _finish(node: Node, command: Command) -> None:
    """Let a command end at ``node``, its options and filters behind it."""
    node.end = (("run", command),)
    node.words |= _choices(command.options, "option", node)
    if command.filters:
        behind = Node(end=node.end, needs="a filter word")
        behind.words = _choices(command.filters, "filter", behind)
        node.words["filter"] = Step("Only what these words and values say", Node(behind.words, needs="a filter word"))


def _choices(fields: Mapping[str, Field], kind: str, back: Node) -> dict[str, Step]:
    """The words of a command that may follow its path in any order; each leads ``back``."""
    words = {}
    for item in fields.values():
        if isinstance(item.type, types.Bool):
            words[item.name] = Step(item.help, back, (kind, item, True))
        else:
            value = Value(item.help, back, item.leaf, (kind, item), names=_names(item))
            words[item.name] = Step(item.help, Node(value=value, needs=f"a value: {item.leaf.describe()}"))
    return words

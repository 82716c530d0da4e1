"""A session without a controller: its calls are answered from a dictionary."""

from __future__ import annotations

import copy

from avish.errors import AvishError
from avish.lang.tree import Tree
from avish.schema.load import schema
from avish.shell.effects import Call, Document, Exit, Print, Reply, Stream, Warn
from avish.shell.explain import explain
from avish.shell.session import Session

TREE = Tree(schema())


class World:
    """Objects by type and name, and what was asked. ``answers`` holds replies to give instead: (method, path): Reply."""

    def __init__(self, objects=None, answers=None):
        self.objects = objects or {}
        self.answers = answers or {}
        self.calls = []

    def answer(self, call):
        self.calls.append(call)
        if (call.method, call.path) in self.answers:
            return self.answers[call.method, call.path]
        kind, _, uuid = call.path.removeprefix("/api/").partition("/")
        if call.method == "GET":
            found = list(self.objects.get(kind, {}).values())
            if "name" in call.query:
                found = [body for body in found if body["name"] == call.query["name"]]
            return Reply(200, {"count": len(found), "results": copy.deepcopy(found)})
        if call.method == "DELETE":
            name = next(name for name, body in self.objects[kind].items() if body["uuid"] == uuid)
            del self.objects[kind][name]
            return Reply(204, None)
        body = {"uuid": uuid or f"{kind}-{len(self.calls)}", **call.body}
        self.objects.setdefault(kind, {})[body["name"]] = copy.deepcopy(body)
        return Reply(201 if call.method == "POST" else 200, body)

    @property
    def writes(self):
        return [call for call in self.calls if call.method != "GET"]


class Shell:
    """A session and its world; ``type`` gives the text that a user would see."""

    def __init__(self, objects=None, answers=None, **options):
        self.world = World(objects, answers)
        self.session = Session(TREE, "ctlr1", **options)

    def effects(self, line):
        """The effects of a line but its calls, which are answered."""
        steps, reply, seen = self.session.run(line), None, []
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration:
                return seen
            reply = self.world.answer(effect) if isinstance(effect, Call) else None
            if not isinstance(effect, Call):
                seen.append(effect)

    def type(self, *lines):
        """Everything printed, errors included, one text a piece."""
        out = []
        for line in lines:
            try:
                out += [_text(effect) for effect in self.effects(line) if not isinstance(effect, Document)]
            except AvishError as error:
                out.append(f"error: {explain(error)}")
        return out

    @property
    def body(self):
        """The object being edited, as it would be saved now."""
        return self.session.candidate.body

    @property
    def top(self):
        """The message of the innermost mode, as edited so far."""
        return self.session.candidate.frames[-1].value


def _text(effect):
    if isinstance(effect, Print):
        return effect.text
    if isinstance(effect, Warn):
        return f"warning: {effect.text}"
    if isinstance(effect, Stream):
        return f"stream {effect.path}"
    assert isinstance(effect, Exit)
    return "exit"


def ip(text):
    """An address as bodies have it."""
    return {"addr": text, "type": "V4"}


def prefix(text):
    """A prefix as bodies have it."""
    address, _, mask = text.partition("/")
    return {"ip_addr": ip(address), "mask": int(mask)}

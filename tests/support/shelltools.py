"""A session without a controller: its calls are answered from a dictionary."""

from __future__ import annotations

import copy

from controller import Direct

from avish.errors import AvishError, ValidationError
from avish.lang.tree import Tree
from avish.schema.load import schema
from avish.shell.effects import (
    Ask,
    Call,
    Confirm,
    Document,
    Exit,
    FileEffect,
    Frame,
    Pause,
    Print,
    ReadFile,
    Reply,
    Spawn,
    Stream,
    Warn,
)
from avish.shell.explain import explain
from avish.shell.session import Session

TREE = Tree(schema())


class World:
    """Objects by type and name, and what was asked. ``answers`` holds replies to give instead: (method, path): Reply.

    Transactions work; ``candidates`` holds the objects behind each dry run, by token; ``kernel`` what each tells.
    """

    def __init__(self, objects=None, answers=None):
        self.objects = objects or {}
        self.answers = answers or {}
        self.calls = []
        self.candidates = {}
        self.kernel = {}
        self.revision = 1

    def work_in(self, tenant):
        """All of these objects are in one tenant."""

    def answer(self, call):
        self.calls.append(call)
        if (call.method, call.path) in self.answers:
            return self.answers[call.method, call.path]
        if call.path == "/api/transaction":
            return self._transaction(call)
        if call.query.get("after", "") and call.query["after"] not in self.candidates:
            return Reply(410, {"error": "gone"})
        return self._one(self.candidates.get(call.query.get("after"), self.objects), call)

    def _transaction(self, call):
        before = call.query.get("after", "")
        if before and before not in self.candidates:
            return Reply(410, {"error": f"there is no candidate {before}"})
        objects = copy.deepcopy(self.candidates.get(before, self.objects))
        for request in call.body["requests"]:
            self._one(objects, Call(request["method"], request["path"], body=request.get("body")))
        if "dryrun" in call.query:
            token = f"token{len(self.candidates) + 1}"
            self.candidates[token] = objects
            return Reply(200, {"objects": [], "kernel": self.kernel, "token": token})
        self.objects.clear()
        self.objects.update(objects)
        self.revision += 1
        return Reply(200, {"revision": self.revision})

    def _one(self, objects, call):
        kind, _, uuid = call.path.partition("?")[0].removeprefix("/api/").partition("/")
        if call.method == "GET" and uuid:
            found = [body for body in objects.get(kind, {}).values() if body.get("uuid") == uuid]
            return Reply(200, copy.deepcopy(found[0])) if found else Reply(404, {"error": f"{kind} {uuid} not found"})
        if call.method == "GET":
            found = list(objects.get(kind, {}).values())
            if "name" in call.query:
                found = [body for body in found if body["name"] == call.query["name"]]
            return Reply(200, {"count": len(found), "results": copy.deepcopy(found)})
        if call.method == "DELETE":
            name = next(name for name, body in objects[kind].items() if body["uuid"] == uuid)
            del objects[kind][name]
            return Reply(204, None)
        body = {"uuid": uuid or f"{kind}-{len(self.calls)}", **call.body}
        objects.setdefault(kind, {})[body["name"]] = copy.deepcopy(body)
        return Reply(201 if call.method == "POST" else 200, body)

    @property
    def writes(self):
        return [call for call in self.calls if call.method != "GET"]


class LabWorld:
    """The same with a whole controller behind it."""

    def __init__(self, lab):
        self.client = Direct(lab)
        self._store = lab.controller.store

    def work_in(self, tenant):
        self.client.work_in(tenant)

    def answer(self, call):
        answer = self.client.call(call.method, call.path, call.query, call.body, comment=call.comment)
        return Reply(answer.status, answer.body, answer.warnings)

    @property
    def revision(self):
        return self._store.load().revision


class Shell:
    """A session and its world; ``type`` gives the text that a user would see. No file is touched."""

    def __init__(self, objects=None, answers=None, said=(), world=None, **options):
        self.world = world or World(objects, answers)
        self.files = {}
        self.said = list(said)
        """What the user answers to questions, in order; yes when there is nothing left."""
        self.session = Session(TREE, "ctlr1", **options)

    def effects(self, line, block=None):
        """The effects of a line but its calls, which are answered."""
        return self.carry_out(self.session.run(line, block))

    def carry_out(self, steps, seen=None):
        """The same of a generator of effects; ``seen`` also has those before an error."""
        reply, seen = None, [] if seen is None else seen
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration:
                return seen
            try:
                reply = self._reply(effect)
            except AvishError as error:
                steps.throw(error)
            if not isinstance(effect, (Call, FileEffect)):
                seen.append(effect)

    def _reply(self, effect):
        if isinstance(effect, Call):
            self.world.work_in(effect.tenant or self.session.tenant)
            return self.world.answer(effect)
        if isinstance(effect, (Ask, Confirm)):
            return Reply(200, self.said.pop(0) if self.said else True)
        if isinstance(effect, ReadFile):
            if effect.path not in self.files:
                raise ValidationError(f"{effect.path} cannot be read")
            return Reply(200, self.files[effect.path])
        if isinstance(effect, FileEffect):
            return Reply(200, "/a/file")
        if isinstance(effect, Spawn):
            return Reply(200, 0)
        return Reply(200, False) if isinstance(effect, Pause) else None

    def type(self, *lines):
        """Everything printed, errors included, one text a piece."""
        out = []
        for line in lines:
            seen, refused = [], []
            try:
                self.carry_out(self.session.run(line), seen)
            except AvishError as error:
                refused = [f"error: {explain(error)}"]
            out += [_text(effect) for effect in seen if not isinstance(effect, Document)] + refused
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
    if isinstance(effect, (Ask, Confirm, Frame)):
        return effect.text
    if isinstance(effect, Pause):
        return f"pause {effect.seconds}"
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

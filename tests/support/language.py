"""The real tree, and lines walked in it."""

from __future__ import annotations

from avish.lang.check import Checker
from avish.lang.complete import complete
from avish.lang.tree import Tree
from avish.lang.walk import parse
from avish.schema.load import schema

TREE = Tree(schema())
KNOWN = {"pool": ["p1", "p 2"], "healthmonitor": ["System-TCP", "System-UDP"], "serviceengine": ["se1"]}


def inside(*lines):
    """The messages of the modes that ``lines`` lead into."""
    checker = Checker(TREE)
    for line in lines:
        verdict = checker.check(line)
        assert verdict["ok"], (line, verdict)
    return checker._modes


def walked(line, *lines, **options):
    """The walk of ``line`` typed behind ``lines``."""
    return parse(TREE, inside(*lines), line, **options)


def ops(line, *lines, **options):
    """Its operations; fields and commands by name or path."""
    return [tuple(_told(part) for part in op) for op in walked(line, *lines, **options).ops]


def _told(part):
    if hasattr(part, "path"):
        return " ".join(part.path)
    if hasattr(part, "name"):
        return part.name
    if isinstance(part, dict) and "addr" in part:
        return part["addr"]
    if isinstance(part, dict) and "mask" in part:
        return f"{part['ip_addr']['addr']}/{part['mask']}"
    if isinstance(part, dict):
        return "-".join(_told(end) for end in part.values())
    return part


def tab(before, *lines, names=lambda kind: KNOWN.get(kind, [])):
    """What TAB finds behind ``before``."""
    return complete(TREE, inside(*lines), before, names)

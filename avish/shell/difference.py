"""What ``compare`` found, as text: objects, their fields, and the kernel elements that go along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avish.shell.render import cell, printable

MARKS = {"create": "+", "update": "~", "delete": "-"}


def difference_text(body: dict[str, Any]) -> str:
    """The answer of /api/compare; "no difference" when there is none."""
    lines = [*_objects(body.get("objects", [])), *_kernel(body.get("kernel", {}))]
    return "\n".join(lines) or "no difference"


def _objects(objects: list[dict[str, Any]]) -> Iterator[str]:
    for one in objects:
        name = one.get("name") or one.get("uuid", "")
        yield printable(f"{MARKS.get(one['action'], '~')} {one['type']} {name}")
        for change in one.get("changes", []):
            yield from _change(change)


def _change(change: dict[str, Any]) -> Iterator[str]:
    old, new = change.get("old"), change.get("new")
    if old is not None:
        yield printable(f"  - {change['field']}: {_value(old)}")
    if new is not None:
        yield printable(f"  + {change['field']}: {_value(new)}")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    return cell(value)


def _kernel(kernel: dict[str, list[str]]) -> Iterator[str]:
    for engine, steps in kernel.items():
        if steps:
            yield f"kernel of {engine}:"
            yield from (printable(f"  {step}") for step in steps)

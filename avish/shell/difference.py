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
    for mark, side in (("-", "old"), ("+", "new")):
        for field, text in _leaves(change["field"], change.get(side)):
            yield printable(f"  {mark} {field}: {text}")


def _leaves(field: str, value: Any) -> Iterator[tuple[str, str]]:
    """The fields below one, a line for each; elements are numbered from 1, plain ones stand on one line."""
    if isinstance(value, dict) and value and not is_address(value):
        for name, below in value.items():
            yield from _leaves(f"{field}.{name}", below)
    elif isinstance(value, list) and any(isinstance(one, dict) and not is_address(one) for one in value):
        for number, below in enumerate(value, 1):
            yield from _leaves(f"{field}[{number}]", below)
    elif isinstance(value, list):
        yield field, ", ".join(map(cell, value))
    elif value is not None:
        yield field, cell(value)


def is_address(value: dict[str, Any]) -> bool:
    """Whether a message is shown as one value: an address or a prefix."""
    return "addr" in value or "ip_addr" in value


def _kernel(kernel: dict[str, list[str]]) -> Iterator[str]:
    for engine, steps in kernel.items():
        if steps:
            yield f"kernel of {engine}:"
            yield from (printable(f"  {step}") for step in steps)

"""What the pure session asks of the world, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A REST request; answered with a Reply."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True)
class Print:
    """Text for the user, through ``pipes`` if there are any (each: a command and its arguments)."""

    text: str
    pipes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A REST body for --json: printed instead of tables."""

    value: Any


@dataclass(frozen=True, slots=True)
class Warn:
    """A sentence beside the output (standard error in a script)."""

    text: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Show the events of ``path`` while the session goes on; ``title`` says of what."""

    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave the shell."""


Effect = Call | Print | Document | Warn | Stream | Exit


@dataclass(frozen=True, slots=True)
class Reply:
    """A REST answer. ``warnings`` came beside the body."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()

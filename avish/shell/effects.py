"""What the pure session asks of the world, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, str] = MappingProxyType({})


class Call(NamedTuple):
    """A REST request; answered with a Reply."""

    method: str
    path: str
    query: Mapping[str, str] = NOTHING
    body: Any = None


class Print(NamedTuple):
    """Text for the user, through ``pipes`` if there are any (each: a command and its arguments)."""

    text: str
    pipes: tuple[tuple[str, ...], ...] = ()


class Document(NamedTuple):
    """A REST body, printed in place of the tables where JSON is wanted; ``asked``: by this line itself."""

    value: Any
    asked: bool = False
    pipes: tuple[tuple[str, ...], ...] = ()


class Warn(NamedTuple):
    """A sentence beside the output (standard error in a script)."""

    text: str


class Stream(NamedTuple):
    """Show the events of ``path`` while the session goes on; ``title`` says of what."""

    path: str
    title: str


class Exit(NamedTuple):
    """Leave the shell."""


Effect = Call | Print | Document | Warn | Stream | Exit


class Reply(NamedTuple):
    """A REST answer. ``warnings`` came beside the body."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()

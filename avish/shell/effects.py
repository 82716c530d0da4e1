"""What the pure session asks of the world, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, str] = MappingProxyType({})
Pipes = tuple[tuple[str, ...], ...]
"""Each: a command and its arguments."""


class Call(NamedTuple):
    """A REST request; answered with a Reply."""

    method: str
    path: str
    query: Mapping[str, str] = NOTHING
    body: Any = None
    comment: str = ""
    """Kept with the commit that the request makes."""
    tenant: str = ""
    """Where it works; "": where the session does."""


class Print(NamedTuple):
    """Text for the user, through ``pipes`` if there are any. ``page``: it may be long, show it page by page.

    A Reply whose body is False: the user has seen enough.
    """

    text: str
    pipes: Pipes = ()
    page: bool = False


class Document(NamedTuple):
    """A REST body, printed in place of the tables where JSON is wanted; ``form``: "json" or "yaml" was asked for."""

    value: Any
    form: str = ""
    pipes: Pipes = ()


class Rows(NamedTuple):
    """A page of a long answer: ``rows`` stand under ``key`` behind ``head``, counted from ``number`` on."""

    head: Mapping[str, Any]
    key: str
    rows: list[Any]
    number: int
    first: bool
    last: bool
    columns: tuple[Any, ...] = ()
    """Of a table with a line for each row."""


class Warn(NamedTuple):
    """A sentence beside the output (standard error in a script)."""

    text: str


class Stream(NamedTuple):
    """Show the events of ``path``; ``title`` says of what.

    While the session goes on, or (``follow``) until they end. ``raw``: as JSON, one a line.
    """

    path: str
    title: str
    pipes: Pipes = ()
    follow: bool = False
    raw: bool = False


class Fetch(NamedTuple):
    """Bytes of ``path`` into a file, into a directory ("DIR/", under their own name), "-", or a program.

    Answered with a Reply whose body is the path written to.
    """

    path: str
    to: str
    program: tuple[str, ...] = ()


class Ask(NamedTuple):
    """A line from the user, answered with a Reply whose body is the text; ``hidden``: not shown while it is typed.

    A script's answer is its next line.
    """

    text: str
    hidden: bool = False


class Confirm(NamedTuple):
    """A question answered with yes or no: a Reply whose body is True or False. A script is not asked: yes."""

    text: str


class Frame(NamedTuple):
    """A picture that replaces the one before (``watch``); a script gets one below the other."""

    text: str
    title: str = ""
    pipes: Pipes = ()


class Live(NamedTuple):
    """A picture that fills the terminal in place of the one before, for so long: a Reply whose body is the key pressed.

    The terminal is given back when the command ends. Without a keyboard the answer is "q".
    """

    text: str
    seconds: float


class Pause(NamedTuple):
    """Wait; a Reply whose body is False when the user has had enough (Ctrl-C)."""

    seconds: float


class ReadFile(NamedTuple):
    """The text of a file of the user's: a Reply whose body is the text, or ValidationError."""

    path: str


class WriteFile(NamedTuple):
    """Keep a text in a file of the user's; ``secret``: for nobody else to read."""

    path: str
    text: str
    secret: bool = False


class CopyFile(NamedTuple):
    """Copy a file of the user's: a Reply whose body is the path of the copy."""

    source: str
    destination: str


class RemoveFile(NamedTuple):
    """Remove a file of the user's: a Reply whose body is its path."""

    path: str


class Spawn(NamedTuple):
    """Hand the terminal to a program until it ends: a Reply whose body is its exit status."""

    argv: tuple[str, ...]


class Exit(NamedTuple):
    """Leave the shell."""


FileEffect = ReadFile | WriteFile | CopyFile | RemoveFile
Asking = Ask | Confirm | Pause | Spawn
Effect = Call | Print | Document | Rows | Warn | Stream | Fetch | Asking | Frame | Live | FileEffect | Exit


class Reply(NamedTuple):
    """A REST answer, or that to a question. ``warnings`` came beside the body."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()

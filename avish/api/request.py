"""What a transport hands to the controller, and what it gets back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """A REST call. ``path`` without query, ``body`` decoded JSON (None: there was none), ``user`` as the transport
    authenticated it ("" unknown), ``source`` where it came from, ``host`` the caller's name for this controller.
    Names in ``headers`` are lower case. ``via``: the door it came in by, "unix", "https" or "ssh". ``tenant``: the
    uuid of the one it works in, or "*" for all. ``id``: found again in the answer and in the audit.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    user: str = ""
    source: str = ""
    host: str = "localhost"
    headers: Mapping[str, str] = field(default_factory=dict)
    via: str = "unix"
    tenant: str = "admin"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """``body`` is encoded as JSON unless it is None; ``stream``, if any, is sent as JSON lines in its place, or
    ``text`` as it is, or the ``file`` of that path. ``cookies``: values of Set-Cookie.

    A stream blocks for about a second at most between two events; ``close()`` on it, where there is one, ends it.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterator[dict[str, Any]] | None = None
    text: str = ""
    file: str = ""
    cookies: tuple[str, ...] = ()

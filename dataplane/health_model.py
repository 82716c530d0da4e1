"""What of the health of servers an SeState says: how a test goes, and which servers have to pass which tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProbeKind = Literal["tcp", "udp", "ping", "ftp", "http", "https", "external"]

HTTP_CLASSES = ("HTTP_ANY", "HTTP_1XX", "HTTP_2XX", "HTTP_3XX", "HTTP_4XX", "HTTP_5XX")


@dataclass(frozen=True, slots=True)
class Probe:
    """How a server is tested.

    Every ``interval`` seconds; ``timeout`` seconds until an answer counts as missing. ``rise`` good answers in a row
    make a server that was down up, ``fall`` failures in a row one that was up down. ``port`` 0: that of the server.
    ``quick``: what is not decided yet is tested again at once. ``request`` is sent, ``response`` has to be in the
    answer ("" asks for none), ``maintenance`` in the answer means that the server wants no new clients.
    For HTTP: ``codes`` (classes of HTTP_CLASSES that mean up), ``maintenance_codes``, ``exact`` (no header is added),
    ``body``, ``size`` (bytes of the answer that are searched), ``server_name`` (for TLS). For FTP: ``request`` is the
    file to fetch, ``passive`` how. For a script: ``request`` is its text, ``arguments`` go behind address and port,
    ``environment`` is NAME=value.
    """

    name: str
    kind: ProbeKind
    interval: float = 10.0
    timeout: float = 4.0
    rise: int = 2
    fall: int = 2
    port: int = 0
    quick: bool = True
    request: str = ""
    response: str = ""
    maintenance: str = ""
    half_open: bool = False
    codes: tuple[str, ...] = ()
    maintenance_codes: tuple[int, ...] = ()
    exact: bool = False
    body: str = ""
    size: int = 2048
    server_name: str = ""
    user: str = ""
    password: str = ""
    passive: bool = True
    arguments: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """The servers of a pool, and the keys of the probes each has to pass: all, or ``needed`` of them.

    ``on_standby``: they are also tested from an engine that is not active.
    """

    servers: tuple[tuple[str, int], ...]
    probes: tuple[str, ...]
    needed: int = 0
    on_standby: bool = True

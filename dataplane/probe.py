"""Reaching for an address from the engine: the system's ping and traceroute, and a TCP handshake, line by line."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator

from dataplane.errors import RefusedError

KINDS = ("ping", "traceroute", "tcp")
_PING = ("ping", "-n", "-c", "5", "-i", "0.2", "-W", "2")
_TRACE = ("traceroute", "-n", "-q", "1", "-w", "1", "-m", "20")
_CONNECT_SECONDS = 5.0


def probe(kind: str, address: str, port: int = 0) -> Iterator[str]:
    """Lines of what was found, as it comes. Raises RefusedError for an unknown kind or a missing program."""
    if kind == "tcp":
        yield _connect(address, port)
    elif kind in KINDS:
        yield from _run(*(_PING if kind == "ping" else _TRACE), address)
    else:
        raise RefusedError(f"an engine cannot be asked to {kind!r}: {', '.join(KINDS)}")


def _connect(address: str, port: int) -> str:
    """One handshake: from where, to where, how long; or why not."""
    began = time.monotonic()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect((address, port))
        except TimeoutError:
            return f"tcp {address} port {port}: no answer within {_CONNECT_SECONDS:g} s"
        except OSError as error:
            return f"tcp {address} port {port}: {error.strerror or error} after {_milliseconds(began)} ms"
        own = connection.getsockname()
    return f"tcp {address} port {port}: connected from {own[0]} port {own[1]} in {_milliseconds(began)} ms"


def _milliseconds(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.1f}"


def _run(*command: str) -> Iterator[str]:
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise RefusedError(f"{command[0]} is not installed on the engine") from None
    with child:
        try:
            for line in child.stdout or ():
                yield line.rstrip("\n")
        finally:
            child.kill()

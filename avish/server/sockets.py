"""Unix sockets: who is at the other end, who listens, and how to."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from avish.errors import UnavailableError
from dataplane.wire import listening

BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")


def peer(connection: socket.socket) -> tuple[int, int]:
    """(pid, uid) of the process at the other end of a Unix socket."""
    size = _CREDENTIALS.size
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def connect(path: Path, timeout: float | None = None) -> socket.socket | None:
    """A connection to a Unix socket, None when nobody listens there. OSError when who listens does not take it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


def listener_pid(path: Path) -> int | None:
    """Which process listens on a Unix socket, None when nobody does."""
    connection = connect(path, timeout=2.0)
    if connection is None:
        return None
    with connection:
        return peer(connection)[0]


def listen(path: Path, group: int | None) -> socket.socket:
    """A listening Unix socket: 0660 for ``group``, else 0600. The caller holds the lock of the home directory."""
    listener = listening(path, BACKLOG)
    if group is not None:
        os.chown(path, -1, group)
        path.chmod(0o660)
    return listener


def listen_at(address: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. UnavailableError when the address cannot be had."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        raise UnavailableError(f"{address} port {port} cannot be listened at: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener

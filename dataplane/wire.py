"""The protocol between controller and agent: frames of JSON over a stream socket, and how our values travel in it.

A frame is four bytes of length, high byte first, and a JSON document. A request is {"op": name, "args": [...]}; the
answer {"ok": value}, or {"error": kind, "text": ...}. Streams answer with any number of {"part": ...} before.
Values of the model are objects with the key TAG: {"~": class, "v": [fields]}, {"~": "map", "v": [[key, value], ...]}
for mappings whose keys are not all text, {"~": "bytes", "v": base64}. Sequences arrive as tuples.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from dataplane import model, taps
from dataplane.diff import Step
from dataplane.errors import RefusedError, UnreachableError
from dataplane.failover_model import Gateway, Link, Pair
from dataplane.health_model import Probe, Watch

VERSION = 6
TAG = "~"
MAX_FRAME = 1 << 28
"""Bytes; more is taken for garbage. 10,000 services with 64 slots each are some 30 MB."""

CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        model.Address, model.Route, model.Listener, model.Persistence, model.Leaving, model.Limits, model.Service,
        model.AddressMatch, model.PortMatch, model.Rate, model.ServerLimits, model.Match, model.Branch,
        model.SecurityRule, model.Ftp,
        model.ProtocolMatch, model.NatRule, model.SeState, model.Interface, Step,
        taps.CaptureSpec, taps.PacketMatch, taps.PortRange, taps.FlagMatch, model.FlowMatch,
        Probe, Watch, Pair, Link, Gateway,
    )
}  # fmt: skip
_FIELDS = {kind: tuple(part.name for part in fields(kind)) for kind in CLASSES.values()}
_ERRORS: dict[str, type[RefusedError | UnreachableError]] = {
    "refused": RefusedError,
    "unreachable": UnreachableError,
}


def listening(path: Path, backlog: int) -> socket.socket:
    """A listening socket at ``path``, mode 0600 from its first moment; what was there is replaced. Raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(backlog)
    return listener


class FrameError(ValueError):
    """A frame that is not one: too long, not JSON, or not an object."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """While a value of many parts is built the collector would look at all of them again and again, and find nothing.

    For the state of 10,000 services that takes longer than the work itself. Threads may be in here at the same time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def encode(value: Any) -> Any:
    """A value of the model as JSON data. Raises TypeError for what cannot travel."""
    with _uncollected():
        return _encode(value)


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple | list):
        return [_encode(item) for item in value]
    names = _FIELDS.get(type(value))
    if names is not None:
        return {TAG: type(value).__name__, "v": [_encode(getattr(value, name)) for name in names]}
    if isinstance(value, bytes):
        return {TAG: "bytes", "v": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        if all(isinstance(key, str) and key != TAG for key in value):
            return {key: _encode(item) for key, item in value.items()}
        return {TAG: "map", "v": [[_encode(key), _encode(item)] for key, item in value.items()]}
    raise TypeError(f"{type(value).__name__} does not travel")


def decode(data: Any) -> Any:
    """The value that ``encode`` made ``data`` of. Raises FrameError."""
    with _uncollected():
        return _decode(data)


def _decode(data: Any) -> Any:
    if isinstance(data, list):
        return tuple([_decode(item) for item in data])
    if not isinstance(data, dict):
        return data
    if TAG not in data:
        return {key: _decode(item) for key, item in data.items()}
    try:
        return _decode_tagged(data[TAG], data["v"])
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a value cannot be read: {error}") from error


def _decode_tagged(tag: str, data: Any) -> Any:
    if tag == "bytes":
        return base64.b64decode(data, validate=True)
    if tag == "map":
        return {_decode(key): _decode(item) for key, item in data}
    return CLASSES[tag](*[_decode(item) for item in data])


def send(connection: socket.socket, document: dict[str, Any], payload: bytes = b"") -> None:
    """Send one frame, and behind it the bytes that its key "payload" then counts. Raises OSError."""
    if payload:
        document = {**document, "payload": len(payload)}
    data = json.dumps(document, separators=(",", ":")).encode()
    connection.sendall(len(data).to_bytes(4, "big") + data)
    if payload:
        connection.sendall(payload)


def receive_payload(connection: socket.socket, document: dict[str, Any]) -> bytes:
    """The bytes behind a frame. Raises OSError, FrameError."""
    length = document.get("payload", 0)
    if not isinstance(length, int) or not 0 <= length <= MAX_FRAME:
        raise FrameError(f"a payload of {length!r} bytes")
    data = _exactly(connection, length) if length else b""
    if data is None:
        raise FrameError("a payload has no end")
    return data


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next frame; None when the other side is done. Raises OSError, FrameError: then the stream is useless."""
    header = _exactly(connection, 4)
    if header is None:
        return None
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes")
    data = _exactly(connection, length)
    if data is None:
        raise FrameError("a frame has no end")
    return _document(data)


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    """None when the other side closed before the first byte."""
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(min(length - len(data), 1 << 20))
        if not piece and not data:
            return None
        if not piece:
            raise FrameError("a frame has no end")
        data += piece
    return bytes(data)


def _document(data: bytes) -> dict[str, Any]:
    try:
        with _uncollected():
            document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise FrameError("not a JSON object")
    return document


def error_document(error: Exception) -> dict[str, Any]:
    """An exception as an answer; what is not one of the dataplane's errors is a bug and says so."""
    for name, kind in _ERRORS.items():
        if isinstance(error, kind):
            return {"error": name, "text": str(error)}
    return {"error": "bug", "text": f"{type(error).__name__}: {error}"}


def raise_error(document: dict[str, Any]) -> None:
    """Raise what an answer says went wrong; a bug of the agent, which may leave anything in place, as Unreachable."""
    if "error" not in document:
        return
    text = str(document.get("text", ""))
    kind = _ERRORS.get(str(document["error"]))
    raise kind(text) if kind else UnreachableError(f"the agent failed: {text}")

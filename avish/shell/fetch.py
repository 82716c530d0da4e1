"""Bytes from the controller into a file of the user's, standard output, or a program."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from avish.api.client import Client
from avish.errors import ApplyError, ValidationError
from avish.newfile import new_file, private_opener
from avish.shell.effects import Fetch
from avish.shell.files import confined

HOW = "ssh HOST 'show debug serviceengine NAME capture export -' | wireshark -k -i -"


def fetch(client: Client, effect: Fetch, screen: Any) -> str:
    """Follow the stream to its end; where it went. ApplyError when that cannot be written, or nobody reads it."""
    raw: Callable[[bytes], None] | None = getattr(screen, "raw", None)
    if raw is not None and (effect.program or effect.to == "-"):
        for event in client.stream(effect.path):
            if event.get("event") == "data":
                raw(base64.b64decode(event["data"]))
        return "-"
    if confined():
        raise ValidationError("over SSH you have no files here; scp takes captures and exports away", status=403)
    if effect.to.endswith("/"):
        return _named(client.stream(effect.path), Path(effect.to))
    with _sink(effect) as sink:
        try:
            for event in client.stream(effect.path):
                _write(sink, event)
        except BrokenPipeError:
            pass  # the reader has seen enough
    return effect.to


def _named(events: Iterator[dict[str, Any]], folder: Path) -> str:
    """A file that the controller names; it appears when it is whole."""
    first = next(events, {})
    target = folder / Path(str(first.get("name", "capture.pcapng"))).name
    try:
        with new_file(target) as sink:
            for event in events:
                _write(sink, event)
            size = sink.tell()
            if size != first.get("size", size):
                raise ApplyError(f"the download broke off after {size} of {first.get('size')} bytes")
    except OSError as error:
        raise ApplyError(f"{target} cannot be written: {error.strerror}") from None
    return str(target)


def _write(sink: IO[bytes], event: dict[str, Any]) -> None:
    if event.get("event") == "data":
        sink.write(base64.b64decode(event["data"]))
        sink.flush()


@contextmanager
def _sink(effect: Fetch) -> Iterator[IO[bytes]]:
    if effect.program:
        with _program(effect.program) as child:
            yield child
    elif effect.to == "-":
        raise ValidationError(f"packets are not for a terminal; from another machine: {HOW}")
    else:
        try:
            file = open(Path(effect.to).expanduser(), "xb", opener=private_opener)  # noqa: SIM115
        except OSError as error:
            raise ApplyError(f"{effect.to} cannot be written: {error.strerror}") from None
        with file:
            yield file


@contextmanager
def _program(argv: tuple[str, ...]) -> Iterator[IO[bytes]]:
    if shutil.which(argv[0]) is None:
        raise ValidationError(f"{argv[0]} is not installed here; from a machine that has it: {HOW}")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        if child.stdin is None:
            raise ApplyError(f"{argv[0]} takes no packets")
        yield child.stdin
        child.stdin.close()

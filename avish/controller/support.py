"""``show tech-support``: one archive with what somebody needs who was not there. No secret leaves in it."""

from __future__ import annotations

import io
import json
import os
import platform
import struct
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from avish.api.request import Request, Response
from avish.config.config import Config
from avish.config.store import Store
from avish.controller.commit import Committer
from avish.controller.configuration import Configuration
from avish.controller.cursors import close
from avish.controller.engines import Engine
from avish.controller.records import Records
from avish.controller.status import Status
from avish.schema.model import Message, Schema
from avish.schema.types import SENSITIVE, Secret
from dataplane.driver import Driver
from dataplane.errors import DataplaneError

LOG_TAIL = 2 << 20
"""Bytes of each log, the end of it."""
CAPTURES = 10
FLOWS = 2000
COMMITS = 200
EVENTS = 5000
SHORTEST = 3
"""Secrets of fewer letters are not looked for in texts: they would be found everywhere."""
FACTS = ("links", "protocols", "connections", "memory", "processor", "capabilities", "rates", "arp", "ftp", "finished")
VARIABLES = "command_variables"
"""NAME=value pairs that may hold passwords: only the names go in."""
_PACKET_BLOCKS = (3, 6)


class Support:
    """Makes archives in ``folder``."""

    def __init__(
        self,
        *,
        schema: Schema,
        store: Store,
        committer: Committer,
        engines: Mapping[str, Engine],
        status: Status,
        records: Records,
        configuration: Configuration,
        home: Path,
    ) -> None:
        self._schema = schema
        self._store = store
        self._committer = committer
        self._engines = engines
        self._status = status
        self._records = records
        self._configuration = configuration
        self._home = home

    def post(self, request: Request) -> Response:
        """POST /api/tech-support: {"file", "size", "entries", "missing": [what could not be had, and why]}."""
        now = time.time()
        name = f"{time.strftime('tech-support_%Y%m%d_%H%M%S', time.gmtime(now))}_{int(now % 1 * 1000):03d}"
        path = self._home / "exports" / f"{name}.tar.gz"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        missing: list[str] = []
        secrets = sorted(secrets_of(self._schema, self._committer.head.config), key=len, reverse=True)
        count = 0
        with os.fdopen(_private(path), "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as archive:
            for entry, make in self._parts(request):
                try:
                    data = make()
                except (DataplaneError, OSError) as error:
                    missing.append(f"{entry}: {error}")
                    continue
                _add(archive, f"{name}/{entry}", cleaned(data, secrets))
                count += 1
            if missing:
                _add(archive, f"{name}/missing.txt", "\n".join(missing).encode())
        return Response(200, {"file": str(path), "size": path.stat().st_size, "entries": count, "missing": missing})

    def _parts(self, request: Request) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Name and maker of every file."""
        revision = self._committer.head.config.revision
        yield "versions.json", lambda: _json(_versions(self._status))
        yield "status.json", lambda: _json(self._status.report())
        yield "configuration.json", lambda: _json(_without_variables(self._configuration.export(request).body))
        yield "commits.json", lambda: _json([vars_of(one) for one in self._store.revisions(revision, COMMITS)])
        yield "events.json", lambda: _json(self._records.events.recent({"last": str(EVENTS)}))
        yield "alerts.json", lambda: _json(self._records.alerts.recent({"last": str(EVENTS)}))
        for engine in self._engines.values():
            yield from _engine_parts(engine)
        for path in sorted((self._home / "log").glob("*")):
            yield f"log/{path.name}", partial(_tail, path)
        captures = sorted((self._home / "captures").glob("**/*.pcap*"), key=lambda one: one.stat().st_mtime)
        for path in captures[-CAPTURES:]:
            yield f"captures/{path.name}", partial(headers_of, path)


def _engine_parts(engine: Engine) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """What the kernel of an engine says."""
    place, driver = f"engines/{engine.name}", engine.driver

    def texts() -> Mapping[str, str]:
        found: Mapping[str, str] = driver.facts("texts")
        return found

    yield f"{place}/kernel.txt", lambda: "".join(f"==== {n}\n{t}\n" for n, t in texts().items()).encode()
    yield f"{place}/counters.json", lambda: _json(driver.counters())
    yield f"{place}/listeners.json", lambda: _json(driver.listeners())
    yield f"{place}/flows.json", lambda: _json(_first(driver.flows(0, 0)))
    for kind in FACTS:
        yield f"{place}/{kind}.json", partial(_fact, driver, kind)


def _fact(driver: Driver, kind: str) -> bytes:
    return _json(driver.facts(kind))


def _first(rows: Iterator[Any]) -> list[Any]:
    found = list(islice(rows, FLOWS))
    close(rows)
    return found


def _versions(status: Status) -> dict[str, Any]:
    return {**status.version(), "python": sys.version, "kernel": platform.release(), "machine": platform.machine()}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str).encode()


def vars_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass with slots."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _without_variables(value: Any) -> Any:
    """The values of variables of scripts are nobody's business."""
    if isinstance(value, dict):
        return {
            key: _names_only(one) if key == VARIABLES and isinstance(one, str) else _without_variables(one)
            for key, one in value.items()
        }
    return [_without_variables(one) for one in value] if isinstance(value, list) else value


def _names_only(text: str) -> str:
    return " ".join(f"{word.partition('=')[0]}={SENSITIVE}" for word in text.split())


def secrets_of(schema: Schema, config: Config) -> set[str]:
    """Every secret value of the configuration."""
    found: set[str] = set()
    for kind in config.types():
        message = schema.object(kind)
        for body in config.all(kind):
            found |= set(_secrets(message, body))
    return {one for one in found if len(one) >= SHORTEST and one != SENSITIVE}


def _secrets(message: Message, body: Mapping[str, Any]) -> Iterator[str]:
    for name, value in body.items():
        item = message.fields.get(name)
        if item is None:
            continue
        values: Iterable[Any] = value if isinstance(value, list) else [value]
        for one in values:
            if isinstance(item.type, Secret) and isinstance(one, str):
                yield one
            elif name == VARIABLES and isinstance(one, str):
                yield from (word.partition("=")[2] for word in one.split())
            elif item.message is not None and isinstance(one, Mapping):
                yield from _secrets(item.message, one)


def cleaned(data: bytes, secrets: Iterable[str]) -> bytes:
    """``data`` without the secrets, in whatever way JSON may write them."""
    for secret in secrets:
        for text in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            data = data.replace(text.encode(), SENSITIVE.encode())
    return data


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - LOG_TAIL, 0))
        return file.read()


def headers_of(path: Path) -> bytes:
    """A pcapng file up to its first packet: interfaces and comments, no traffic."""
    with path.open("rb") as file:
        data = file.read(1 << 16)
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind in _PACKET_BLOCKS or length < 12 or at + length > len(data):
            break
        at += length
    return data[:at]


def _private(path: Path) -> int:
    """A new file that only root reads."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
    archive.addfile(entry, io.BytesIO(data))

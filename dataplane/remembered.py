"""What was last put into the kernel's tables, remembered in a file: an agent that starts again need not list them.

The kernel numbers the generations of a namespace's tables. As long as its number is the one that our last change left,
the tables are what we made of them; of 10,000 services it takes nft seconds to list them. Anything that breaks the
chain (a change of somebody else, another boot, another namespace) only costs that listing.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dataplane import nftread, sysctl
from dataplane.diff import Plan
from dataplane.model import TABLES, SeState

_LOG = logging.getLogger(__name__)
_NAMESPACE_COOKIE = 71
_ROUND = 1 << 64


@dataclass(frozen=True, slots=True)
class Record:
    """``where``: the boot and the namespace; ``code``: what writes the rules; ``state``: see ``digest``."""

    where: str
    code: str
    generation: int
    state: int


class Remembered:
    """``path``: the file, None to remember nothing. Used by one thread at a time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._where, self._code = _where(), _code()
        self._record = None if path is None else self._read(path)

    def now(self) -> int:
        """The generation of the tables. Raises NetlinkError."""
        return 0 if self._path is None else nftread.generation()

    def holds(self, state: SeState) -> bool:
        """Whether the tables are certainly those of ``state``."""
        record = self._record
        return record is not None and record.generation == self.now() and record.state == digest(state)

    def keep(self, state: SeState, generation: int) -> None:
        """The tables are those of ``state`` at a generation."""
        self._write(Record(self._where, self._code, generation, digest(state)))

    def moved(self, plan: Plan, before: int) -> None:
        """``plan`` was carried out, in at most one transaction since the generation ``before``."""
        record, now = self._record, self.now()
        if record is None or record.generation != before or now > before + 1:
            self.forget()
        else:
            self._write(Record(self._where, self._code, now, (record.state + _change(plan)) % _ROUND))

    def forget(self) -> None:
        """The tables may be anything."""
        self._record = None
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _read(self, path: Path) -> Record | None:
        try:
            record = Record(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None  # none was kept, or another release's
        return record if (record.where, record.code) == (self._where, self._code) else None

    def _write(self, record: Record) -> None:
        if self._path is None:
            return
        self._record = record
        beside = self._path.with_suffix(".part")
        try:
            beside.write_text(json.dumps(asdict(record)))
            beside.replace(self._path)
        except OSError as error:
            _LOG.warning("what the tables hold is not remembered: %s", error)
            self.forget()


def digest(state: SeState) -> int:
    """A number for what a state holds: the sum of those of its entries, so that a change costs what it changes."""
    return _sum((table, key, value) for table in TABLES for key, value in getattr(state, table).items()) % _ROUND


def _change(plan: Plan) -> int:
    gone = ((step.table, step.key, step.old) for step in plan if step.old is not None)
    come = ((step.table, step.key, step.new) for step in plan if step.new is not None)
    return _sum(come) - _sum(gone)


def _sum(entries: Iterable[tuple[str, Any, Any]]) -> int:
    return sum(_number(*entry) for entry in entries)


def _number(table: str, key: Any, value: Any) -> int:
    return int.from_bytes(blake2b(repr((table, key, value)).encode(), digest_size=8).digest(), "big")


def _where() -> str:
    """The boot and the namespace; its cookie is never given twice in one boot (Linux 5.14)."""
    with socket.socket() as one:
        cookie = one.getsockopt(socket.SOL_SOCKET, _NAMESPACE_COOKIE, 8).hex()
    return f"{sysctl.boot()} {cookie}"


def _code() -> str:
    """Another release may write other rules for the same state."""
    here = Path(__file__).parent
    return blake2b(b"".join(path.read_bytes() for path in sorted(here.glob("*.py"))), digest_size=8).hexdigest()

"""The files of captures: rotated, a few captures kept per tenant, never at the price of the store's room."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from avish.controller.limits import Limits
from avish.errors import ApplyError
from avish.newfile import new_file
from dataplane.pcapfile import CaptureFile
from dataplane.pcapng import Encoder, PcapEncoder, PcapngEncoder, merge

DISK_RESERVE = 64 * 2**20
"""A capture ends, or does not begin, rather than leave less than this free on its disk: the store needs it."""
_CHUNK = 256 * 1024
_SORTED_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A capture whose files are on the disk; ``key``: type and uuid of its debug object."""

    stem: str
    key: tuple[str, str]
    name: str
    tenant: str
    started: float
    files: tuple[str, ...]


class Folder:
    """Where captures are kept."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock

    def free(self) -> int:
        """Bytes that captures may still take."""
        try:
            return shutil.disk_usage(self.path if self.path.exists() else self.path.parent).free - DISK_RESERVE
        except OSError:
            return 0

    def full(self) -> str:
        """Why nothing more can be written; "" while it can."""
        return f"less than {DISK_RESERVE // 2**20} MB are free under {self.path}" if self.free() < 0 else ""

    def prepare(self) -> None:
        """Raises ApplyError when there is no room, or no folder to be had."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise ApplyError(f"capture files cannot be made under {self.path}: {error.strerror}") from error
        if reason := self.full():
            raise ApplyError(f"a capture is refused: {reason}; remove files there, or give it a larger disk")

    def stem(self, words: str) -> str:
        """A name of no capture yet: two may start within a second."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).astimezone().strftime("%Y%m%d_%H%M%S")
        stem, number = f"{words}_{stamp}", 1
        while list(self.path.glob(f"{stem}.*")):
            number += 1
            stem = f"{words}_{stamp}_{number}"
        return stem

    def kept(self) -> list[Kept]:
        """The captures that have files, oldest first."""
        found = []
        for path in self.path.glob("*.json"):
            try:
                data = json.loads(path.read_text())
                kept = Kept(**{**data, "key": tuple(data["key"]), "files": tuple(data["files"])})
            except (OSError, ValueError, TypeError, KeyError):
                continue  # not ours, or gone meanwhile
            found.append(kept)
        return sorted(found, key=lambda one: (one.started, one.stem))

    def note(self, kept: Kept) -> None:
        """Write down what a capture is, beside its files. Raises OSError."""
        path = self.path / f"{kept.stem}.json"
        with new_file(path) as file:
            file.write(json.dumps(asdict(kept)).encode())

    def thin_out(self, tenant: str, most: int, running: set[str]) -> list[str]:
        """Remove the oldest captures of a tenant but ``most``; those that run stay. Gives the removed."""
        own = [one for one in self.kept() if one.tenant == tenant]
        gone = [one for one in own[: max(len(own) - most, 0)] if one.stem not in running]
        for one in gone:
            for name in (*one.files, f"{one.stem}.json"):
                (self.path / name).unlink(missing_ok=True)
        return [one.stem for one in gone]

    def latest(self, key: tuple[str, str]) -> Kept | None:
        """The newest capture of a debug object."""
        return next((one for one in reversed(self.kept()) if one.key == key), None)

    def download(self, kept: Kept) -> Iterator[dict[str, Any]]:
        """The capture as one file, in the order of time: {"event": "file", "name", "size"}, then {"event": "data"}."""
        paths = [path for path in (self.path / name for name in kept.files) if path.exists()]
        with _whole(paths, self.path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            yield {"event": "file", "name": f"{kept.stem}{Path(kept.files[0]).suffix}", "size": size}
            while chunk := file.read(_CHUNK):
                yield {"event": "data", "data": base64.b64encode(chunk).decode()}


def _whole(paths: list[Path], folder: Path) -> IO[bytes]:
    """The one file there is, or one made of many."""
    if len(paths) == 1:
        return paths[0].open("rb")
    whole = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (it is given away)
    if paths and paths[0].suffix == ".pcapng":
        merge(paths, whole)
    else:
        _join(paths, whole)
    return whole


def _join(paths: list[Path], whole: IO[bytes]) -> None:
    """Pcap files in the order they were written, one header."""
    for number, path in enumerate(paths):
        with path.open("rb") as file:
            file.seek(24 if number else 0)
            shutil.copyfileobj(file, whole)


class Rotation:
    """The files of one capture: the newest ``limits.files`` stay. Raises OSError when the disk refuses."""

    def __init__(self, folder: Folder, stem: str, limits: Limits, title: str) -> None:
        self.stem = stem
        self.packets = 0
        self._folder = folder
        self._limits = limits
        self._encoder = encoder(limits, title)
        self._number = 1
        self._gone_packets = self._gone_bytes = 0
        self._files = [self._new()]

    @property
    def file(self) -> Path:
        """The file that is written."""
        return self._files[-1].path

    @property
    def paths(self) -> list[Path]:
        """Those that are there, oldest first."""
        return [file.path for file in self._files]

    @property
    def size(self) -> int:
        """Bytes of the files that are there."""
        return sum(file.size for file in self._files)

    @property
    def last_size(self) -> int:
        """Bytes of the file that is written."""
        return self._files[-1].size

    @property
    def kept(self) -> int:
        """Packets in the files that are there."""
        return sum(file.packets for file in self._files)

    def append(self, make: Callable[[Encoder], bytes], count: int) -> bool:
        """Add ``count`` packets; True when a new file was begun for them."""
        turned = self._limits.files > 1 and self.last_size >= self._limits.bytes
        if turned:
            self._turn()
        self._files[-1].append(make(self._encoder), count)
        self.packets += count
        return turned

    def close(self) -> None:
        """Close the file."""
        self._files[-1].close()

    def sort(self) -> None:
        """Bring each file into the order of time, unless that would take long; they are closed. Raises OSError."""
        if not self._limits.pcapng or self.size > _SORTED_BYTES:
            return
        for file in self._files:
            with new_file(file.path) as sink:
                merge([file.path], sink)

    def discard(self) -> None:
        """Nothing was captured and nothing will be."""
        self.close()
        for path in self.paths:
            path.unlink(missing_ok=True)

    def _turn(self) -> None:
        self._files[-1].close()
        self._number += 1
        self._files.append(self._new())
        while len(self._files) > self._limits.files:
            self._files.pop(0).path.unlink(missing_ok=True)

    def _new(self) -> CaptureFile:
        suffix = "" if self._number == 1 else f".{self._number}"
        path = self._folder.path / f"{self.stem}{suffix}.{self._encoder.suffix}"
        return CaptureFile(path, self._encoder.header())


def encoder(limits: Limits, title: str) -> Encoder:
    """What turns packets into bytes."""
    if limits.pcapng:
        return PcapngEncoder(snaplen=limits.snaplen, comment=title)
    return PcapEncoder(snaplen=limits.snaplen)

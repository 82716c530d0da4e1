"""A capture file as it grows: whole blocks at any moment, also on a disk that is full."""

from __future__ import annotations

import os
from pathlib import Path


class CaptureFile:
    """A new file (mode 0600) at ``path`` that begins with ``header``.

    Raises FileExistsError when there is one already and OSError when the disk refuses; what was appended until then
    stays readable. ``size`` is the length in bytes, ``packets`` the number of packets appended.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.size = 0
        self.packets = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self.append(header, 0)
        except OSError:
            self.close()
            raise

    def append(self, data: bytes, packets: int) -> None:
        """Add ``packets`` packets whole; a disk that takes only a part of them loses that part again."""
        view = memoryview(data)
        try:
            written = 0
            while written < len(view):
                written += os.write(self._file, view[written:])
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size += len(data)
        self.packets += packets

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

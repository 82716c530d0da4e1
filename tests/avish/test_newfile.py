"""New files: whole or not at all, private, and not through links."""

from __future__ import annotations

import os
import stat

import pytest

from avish.newfile import new_file
from avish.shell import fetch, files
from avish.shell.effects import Fetch, WriteFile


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def wide():
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_it_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x"
    path.write_text("before")

    def torn():
        with new_file(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        torn()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["x"]


def test_a_link_is_replaced_not_followed(tmp_path, wide):
    target = tmp_path / "target"
    target.write_text("untouched")
    path = tmp_path / "x"
    path.symlink_to(target)
    with new_file(path) as file:
        file.write(b"new")
    assert (target.read_text(), path.read_bytes(), mode(path)) == ("untouched", b"new", 0o600)


def test_nobody_foresees_where_a_shell_writes(tmp_path):
    """A link that waits for the name that a file has while it grows."""
    target = tmp_path / "target"
    target.write_text("untouched")
    (tmp_path / f".x.{os.getpid()}").symlink_to(target)
    files.write(WriteFile(str(tmp_path / "x"), "text"))
    events = iter([{"event": "file", "name": "x"}, {"event": "data", "data": "QUJD"}])
    fetch.fetch(Stream(events), Fetch("/p", f"{tmp_path}/"), None)
    assert target.read_text() == "untouched"
    assert (tmp_path / "x").read_bytes() == b"ABC"


def test_packets_are_for_nobody_else(tmp_path, wide):
    events = iter([{"event": "data", "data": "QUJD"}])
    fetch.fetch(Stream(events), Fetch("/p", str(tmp_path / "x")), None)
    assert (mode(tmp_path / "x"), (tmp_path / "x").read_bytes()) == (0o600, b"ABC")


class Stream:
    """A controller that sends these events."""

    def __init__(self, events):
        self.events = events

    def stream(self, path):
        return self.events

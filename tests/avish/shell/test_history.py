"""The lines that are kept."""

from __future__ import annotations

import stat

from avish.shell import history
from avish.shell.history import LineHistory


def test_kept_over_sessions_without_what_is_not_clean(tmp_path):
    path = tmp_path / "state" / "history-a"
    first = LineHistory(path, lambda line: line.replace("geheim", "<sensitive>") if line != "never" else "")
    for line in ["show pool", "  show pool ", "", "never", "password geheim", "show pool"]:
        first.append_string(line)
    assert list(first.get_strings()) == ["show pool", "password <sensitive>", "show pool"]
    assert path.read_text() == "show pool\npassword <sensitive>\nshow pool\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert next(iter(LineHistory(path, str).load_history_strings())) == "show pool"


def test_a_file_that_grew_long_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "KEPT", 3)
    path = tmp_path / "h"
    path.write_text("".join(f"line {n}\n" for n in range(10)))
    assert list(LineHistory(path, str).load_history_strings()) == ["line 9", "line 8", "line 7"]
    assert path.read_text() == "line 7\nline 8\nline 9\n"


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    lines = LineHistory(tmp_path / "file" / "h", str)
    lines.append_string("show pool")
    assert list(lines.get_strings()) == ["show pool"]
    assert list(lines.load_history_strings()) == []


def test_two_shells_lose_no_line(tmp_path, monkeypatch):
    """One cuts the file while the other, which opened it before, adds to it."""
    monkeypatch.setattr(history, "KEPT", 3)
    path = tmp_path / "h"
    path.write_text("".join(f"line {n}\n" for n in range(10)))
    other = LineHistory(path, str)
    real = history.os.open

    def opened(*arguments):
        """Between the opening and the writing of the other, the file is cut."""
        monkeypatch.setattr(history.os, "open", real)
        handle = real(*arguments)
        list(LineHistory(path, str).load_history_strings())
        return handle

    monkeypatch.setattr(history.os, "open", opened)
    other.store_string("mine")
    assert path.read_text() == "line 7\nline 8\nline 9\nmine\n"


def test_lines_that_came_since_it_was_read_survive_the_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "KEPT", 3)
    path = tmp_path / "h"
    path.write_text("".join(f"line {n}\n" for n in range(10)))
    shell = LineHistory(path, str)
    real = shell._cut

    def cut():
        LineHistory(path, str).store_string("late")
        real()

    monkeypatch.setattr(shell, "_cut", cut)
    list(shell.load_history_strings())
    assert path.read_text() == "line 8\nline 9\nlate\n"


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "target").write_text("")
    (tmp_path / "h").symlink_to(tmp_path / "target")
    LineHistory(tmp_path / "h", str).store_string("show pool")
    assert (tmp_path / "target").read_text() == ""

"""Files of the user's: plain ones of a reasonable size, and none is touched by a dry run."""

from __future__ import annotations

import os

import pytest
from test_batch import run

from avish.errors import ValidationError
from avish.shell import files
from avish.shell.effects import ReadFile


def test_a_text_is_read_as_it_is(tmp_path):
    (tmp_path / "f").write_bytes("a\nüb\n".encode())
    assert files.read(ReadFile(str(tmp_path / "f"))) == "a\nüb\n"


def test_what_is_no_plain_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path), str(tmp_path / "pipe")):
        with pytest.raises(ValidationError, match="is no plain file"):
            files.read(ReadFile(path))


def test_what_is_too_large_is_not_read_whatever_its_size_says(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 2**20)
    (tmp_path / "f").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(ValidationError, match="is larger than 1 MB"):
        files.read(ReadFile(str(tmp_path / "f")))
    (tmp_path / "f").write_bytes(b"x" * 2**20)
    assert len(files.read(ReadFile(str(tmp_path / "f")))) == 2**20


def test_what_is_not_there_says_so(tmp_path):
    with pytest.raises(ValidationError, match="No such file"):
        files.read(ReadFile(str(tmp_path / "f")))


def test_a_dry_run_touches_no_file(tmp_path):
    here, there, saved = tmp_path / "here", tmp_path / "there", tmp_path / "saved"
    here.write_text("a")
    lines = [
        f"purge file source {here}",
        f"copy file source {here} destination {there}",
        f"copy file source {here} destination {tmp_path}",
        f"show pool | save {saved}",
    ]
    ran = run("\n".join(lines), dry_run=True)
    assert (ran.status, ran.out.splitlines()) == (
        0,
        [
            f"would remove {here}",
            f"would copy {here} to {there}",
            f"would copy {here} to {tmp_path / 'here'}",
            f"would write 4 lines to {saved}",
        ],
    )
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    missing = run(f"purge file source {there}", dry_run=True)
    assert (missing.status, missing.err) == (1, f"line 1: {there} is no file\n")


def test_a_dry_run_changes_no_password_and_confirms_nothing():
    assert run("passwd\nold\nnew\n", dry_run=True).out == "would change the password\n"
    assert run("tech-support\n", dry_run=True).world.writes == []

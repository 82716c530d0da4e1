"""Sessions over SSH have no way to the machine's files: theirs are the controller's exports."""

from __future__ import annotations

import contextvars

import pytest
from controller import Direct, Lab

from avish.errors import AvishError
from avish.shell import fetch, files
from avish.shell.effects import CopyFile, Fetch, ReadFile, RemoveFile, WriteFile


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path / "home")
    yield lab
    lab.close()


@pytest.fixture
def shell(lab):
    """Carries out what a session of anna asks of files; she may change pools and nothing else."""
    access = [{"role_ref": "Application-Admin", "all_tenants": True}]
    assert Direct(lab).call("POST", "/api/user", body={"name": "anna", "access": access}).status == 201
    client = Direct(lab)
    client.user = "anna"
    context = contextvars.copy_context()
    context.run(files.confine, client)
    return lambda effect, **options: context.run(files.handle, effect, **options)


def test_what_is_written_is_read_and_removed(shell, lab):
    assert shell(WriteFile("x", "text")) == "exports/x"
    assert shell(ReadFile("exports/x")) == "text"
    assert shell(RemoveFile("x"), dry=True) == "x"
    assert shell(ReadFile("x")) == "text"
    shell(RemoveFile("x"))
    with pytest.raises(AvishError, match="there is no file exports/x"):
        shell(ReadFile("x"))


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "../avish.db", "of-bert/x", "exports/../avish.db", "/tmp/x", "~/x", "..", ""]
)
@pytest.mark.parametrize("make", [ReadFile, RemoveFile, lambda path: WriteFile(path, "text")])
def test_no_path_leads_out(shell, lab, path, make):
    before = sorted(one for one in lab.home.path.rglob("*"))
    with pytest.raises(AvishError):
        shell(make(path))
    assert sorted(one for one in lab.home.path.rglob("*")) == before


def test_nothing_is_copied_and_no_packets_are_written(shell, lab, tmp_path):
    with pytest.raises(AvishError, match="no files here"):
        shell(CopyFile("/etc/hostname", str(tmp_path / "x")))
    context = contextvars.copy_context()
    context.run(files.confine, Direct(lab))
    for to, program in ((str(tmp_path / "x"), ()), (f"{tmp_path}/", ()), ("", ("/bin/sh",))):
        with pytest.raises(AvishError, match="no files here"):
            context.run(fetch.fetch, Direct(lab), Fetch("/p", to, program), None)
    assert not (tmp_path / "x").exists()

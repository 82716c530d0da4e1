from __future__ import annotations

import os
import stat
import subprocess

import pytest

from avish.errors import UnavailableError, ValidationError
from avish.server.home import EngineSpec, Home, private_log


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_folders_are_private(home):
    for name in ("captures", "exports", "log", "run"):
        assert stat.S_IMODE((home.path / name).stat().st_mode) == 0o700
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    home.prepare()


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "run").mkdir()
    (tmp_path / "passwd").write_text("")
    with pytest.raises(ValidationError, match="not those of a home"):
        Home(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["passwd", "run"]


@pytest.mark.parametrize("there", [[], ["log"], ["captures", "exports", "log", "run", "notes"], ["avish.db", "notes"]])
def test_a_directory_that_is_there_keeps_its_mode(tmp_path, there):
    tmp_path.chmod(0o755)
    for name in there:
        (tmp_path / name).mkdir()
    Home(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert (tmp_path / "run").is_dir()


def test_a_second_controller_is_refused_and_the_first_is_named(home):
    assert home.holder() is None
    with home.lock():
        assert home.holder() == os.getpid()
        with pytest.raises(UnavailableError, match=str(os.getpid())), home.lock():
            pass
        assert home.holder() == os.getpid()
    assert home.holder() is None
    assert (home.path / "run" / "avishd.lock").read_text() == ""


def test_a_pid_left_by_a_controller_that_crashed_is_not_believed(home):
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        with home.lock():
            (home.path / "run" / "avishd.lock").write_text(str(stranger.pid))
            assert home.holder() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_home_that_was_never_prepared_has_no_holder(tmp_path):
    assert Home(tmp_path / "nothing").holder() is None
    assert Home(tmp_path / "nothing").engines() == []


def test_engines_are_remembered_in_order(home):
    specs = [EngineSpec("se2", "g", "x-se2", made=True), EngineSpec("se1", "g", "")]
    home.keep_engines(specs)
    assert home.engines() == specs
    assert [entry.name for entry in home.path.iterdir() if entry.is_file()] == ["engines.json"]
    home.forget_engines()
    assert home.engines() == []
    home.forget_engines()


@pytest.mark.parametrize("text", ["", "[1]", '[{"nom": "se1"}]', "{"])
def test_a_broken_list_of_engines_is_told(home, text):
    (home.path / "engines.json").write_text(text)
    with pytest.raises(UnavailableError, match=r"engines\.json cannot be read"):
        home.engines()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="too long"):
        Home(tmp_path / ("x" * 100)).prepare()


def test_a_home_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="file"):
        Home(tmp_path / "file" / "home").prepare()


def test_logs_are_private_and_not_written_through_links(tmp_path):
    with private_log(tmp_path / "log") as out:
        out.write(b"x")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(OSError):
        private_log(tmp_path / "link")

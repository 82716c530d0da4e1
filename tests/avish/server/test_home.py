from __future__ import annotations

import os
import stat

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
    assert stat.S_IMODE(home.path.stat().st_mode) in (0o700, 0o710)
    home.prepare()


def test_a_second_controller_is_refused_and_the_first_is_named(home):
    assert home.holder() is None
    with home.lock():
        assert home.holder() == os.getpid()
        with pytest.raises(UnavailableError, match=str(os.getpid())), home.lock():
            pass
    assert home.holder() is None


def test_a_home_that_was_never_prepared_has_no_holder(tmp_path):
    assert Home(tmp_path / "nothing").holder() is None
    assert Home(tmp_path / "nothing").engines() == []


def test_engines_are_remembered_in_order(home):
    specs = [EngineSpec("se2", "g", "x-se2", made=True), EngineSpec("se1", "g", "")]
    home.keep_engines(specs)
    assert home.engines() == specs
    home.forget_engines()
    assert home.engines() == []
    home.forget_engines()


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

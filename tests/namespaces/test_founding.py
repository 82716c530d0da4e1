"""The founding scenario, as `make run` proves it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[2]


def test_the_proof(founding):
    argv = [sys.executable, ROOT / "fixtures/proof/active_ftp.py", "--home", founding.home, "--prefix", founding.prefix]
    done = subprocess.run(
        [*map(str, argv), "--bin", str(Path(sys.executable).parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "All of it works" in done.stdout


def test_the_first_save_of_a_runbook_that_fails_later_stays(founding):
    script = (ROOT / "fixtures/runbooks/active-ftp.avi").read_text() + "configure pool broken\nservers port 80\nsave\n"
    done = founding.shell(script, "--min-output")
    assert done.returncode == 1
    assert "line 76: pool broken servers[1]: ip is missing" in done.stderr
    assert "ftp-vs" in founding.do("show virtualservice")
    assert founding.avishd("check").returncode == 0

"""The collection itself, where it is: the founding scenario as a playbook. docs/automation.md says how to have it.

``AVISH_ANSIBLE`` is the folder that ``ansible_collections`` is in, with vmware.alb or its forerunner in
community.network; ``ansible-playbook`` is looked for in PATH, or is what ``AVISH_ANSIBLE_PLAYBOOK`` says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from httpsrig import PASSWORD
from test_ansible_sequences import ORDER, PLAYBOOK

FOLDER = os.environ.get("AVISH_ANSIBLE", "")
PROGRAM = os.environ.get("AVISH_ANSIBLE_PLAYBOOK") or shutil.which("ansible-playbook")
COLLECTIONS = {"vmware.alb": "vmware/alb", "community.network": "community/network"}
RESULT = re.compile(r"^(ok|changed|fatal): \[localhost\](?:: FAILED!)?(?: => (.*))?$", re.MULTILINE)
KEPT = "serviceenginegroup"
"""Is changed and stays; the module waits for minutes when it deletes one."""


def installed():
    """The first collection that is there, and the names of its modules; skips when none is."""
    if not FOLDER or PROGRAM is None:
        pytest.skip("AVISH_ANSIBLE names no collection, or there is no ansible-playbook (docs/automation.md)")
    for name, place in COLLECTIONS.items():
        modules = Path(FOLDER) / "ansible_collections" / place / "plugins/modules"
        if (modules / "avi_pool.py").exists():
            return name, {path.stem for path in modules.glob("avi_*.py")}
    pytest.skip(f"neither {' nor '.join(COLLECTIONS)} is in {FOLDER}")


class Play:
    """Runs tasks against a controller."""

    def __init__(self, rig, folder):
        self.collection, self.modules = installed()
        self.folder = folder
        self.access = {
            "controller": rig.address, "username": "admin", "password": PASSWORD, "api_version": "22.1.3",
            "tenant": "admin",
        }  # fmt: skip

    def task(self, kind, body):
        """One; an object whose module the forerunner lacks goes through its avi_api_session."""
        return {"name": kind, f"{self.collection}.avi_{kind}": {"avi_credentials": self.access, **body}}

    def has(self, kind):
        return f"avi_{kind}" in self.modules

    def run(self, tasks):
        """By task: (changed, message)."""
        path = self.folder / "play.yml"
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "ignore_errors": True,
            "tasks": tasks,
        }
        path.write_text(yaml.safe_dump([play]))
        env = {name: value for name, value in os.environ.items() if "CA_BUNDLE" not in name} | {
            "ANSIBLE_COLLECTIONS_PATH": FOLDER, "LC_ALL": "C.UTF-8", "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"), "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "False", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        python = Path(PROGRAM).resolve().with_name("python3")
        words = [PROGRAM, "-i", "localhost,", "-e", f"ansible_python_interpreter={python}", path]
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=300)
        found = RESULT.findall(done.stdout)
        assert len(found) == len(tasks), done.stdout[-2000:] + done.stderr[-2000:]
        return [(word == "changed", text) for word, text in found]


@pytest.fixture
def play(web_rig, tmp_path):
    return Play(web_rig, tmp_path)


def test_the_founding_scenario_twice_and_away(play, web_rig):
    scenario = [(kind, body) for kind, body in PLAYBOOK if play.has(kind)]
    assert len(scenario) >= 6
    tasks = [play.task(kind, body) for kind, body in scenario]
    assert play.run(tasks) == [(True, "")] * len(tasks)
    revision = web_rig.head.config.revision
    assert play.run(tasks) == [(False, "")] * len(tasks)
    assert web_rig.head.config.revision == revision
    ((changed, message),) = play.run([play.task("pool", {"name": "ftp-pool", "state": "absent"})])
    assert not changed
    assert "Cannot delete, object is referred by" in message
    there = {kind: body for kind, body in scenario if kind != KEPT}
    away = [play.task(kind, {**there[kind], "state": "absent"}) for kind in sorted(there, key=ORDER.index)]
    assert play.run(away) == [(True, "")] * len(away)
    assert play.run(away) == [(False, "")] * len(away)


def test_one_field_alone(play, web_rig):
    changes = {"avi_api_update_method": "patch", "avi_api_patch_op": "replace"}
    assert play.run([play.task("pool", {"name": "p", "description": "a"})]) == [(True, "")]
    assert play.run([play.task("pool", {"name": "p", "description": "b", **changes})]) == [(True, "")]
    assert web_rig.one("pool", "p")["description"] == "b"


def test_any_request_by_the_session_module(play, web_rig):
    kinds = {kind: body for kind, body in PLAYBOOK if kind == "natpolicy"}
    tasks = [
        {"name": kind, f"{play.collection}.avi_api_session":
            {"avi_credentials": play.access, "http_method": "post", "path": kind, "data": body}}
        for kind, body in kinds.items()
    ]  # fmt: skip
    assert play.run(tasks) == [(True, "")]
    assert web_rig.one("natpolicy", "ftp-nat")["rules"][0]["name"] == "active-data"
    assert play.run(tasks) == [(False, "")]

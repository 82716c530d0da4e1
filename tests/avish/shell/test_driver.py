"""Effects carried out: what interrupts them, what is enough, what goes into a file."""

from __future__ import annotations

import pytest
from shelltools import TREE

from avish.shell.driver import Driver
from avish.shell.session import Session


class Client:
    """Answers with an empty list, or is interrupted."""

    def __init__(self):
        self.interrupt = ""
        self.closed = 0
        self.asked = 0

    def call(self, method, path, query=None, body=None, etag="", comment=""):
        self.asked += 1
        if method == self.interrupt:
            raise KeyboardInterrupt
        answer = type("Answer", (), {"status": 200, "warnings": ()})()
        answer.body = {"count": 2000, "results": [{"name": "p", "uuid": "u"}]} if method == "GET" else {"name": "p"}
        return answer

    def close(self):
        self.closed += 1

    def work_in(self, tenant):
        """There is one."""


class Screen:
    def __init__(self):
        self.said, self.enough = [], False

    def out(self, text):
        self.said.append(text)

    err = out

    def page(self, text):
        self.said.append(text)
        return not self.enough


@pytest.fixture
def driver():
    return Driver(Session(TREE, "c", interactive=True, quiet=True), Client(), Screen(), None, as_json=False)


def test_an_interrupted_call_leaves_no_answer_behind_for_the_next(driver):
    driver.client.interrupt = "GET"
    with pytest.raises(KeyboardInterrupt):
        driver.run("show pool p")
    assert (driver.client.closed, driver.broken) == (1, False)


def test_an_interrupted_write_is_told_to_go_on(driver):
    driver.client.interrupt = "PUT"
    driver.run("configure pool p description x")
    with pytest.raises(KeyboardInterrupt):
        driver.run("save")
    assert (driver.client.closed, driver.broken) == (1, True)
    assert driver.session.candidate is not None
    driver.client.interrupt = ""
    driver.run("cancel")
    assert not driver.broken


def test_who_has_seen_enough_is_asked_for_no_further_page(driver):
    driver.screen.enough = True
    driver.run("show pool")
    assert (len(driver.screen.said), driver.client.asked) == (1, 1)


def test_an_answer_goes_into_a_file(driver, tmp_path):
    driver.run(f"show pool p | grep name | save {tmp_path}/out")
    assert driver.screen.said == [f"Wrote 1 lines to {tmp_path}/out"]
    assert "name" in (tmp_path / "out").read_text()

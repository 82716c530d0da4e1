"""The shell on a terminal: keys typed, screen read."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

pytestmark = pytest.mark.root
BIN = Path(sys.executable).parent
LIMIT = 15


class Terminal:
    """A shell in a pseudo-terminal of 140 x 40."""

    def __init__(self, home: Path) -> None:
        self.screen = pyte.HistoryScreen(140, 40, history=2000)
        self.stream = pyte.ByteStream(self.screen)
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self.child = pexpect.spawn(
            str(BIN / "avish"), ["--home", str(home)], dimensions=(40, 140), env=environment, timeout=LIMIT
        )

    def text(self) -> str:
        """What is on the screen, and what has scrolled off it."""
        above = ["".join(line[x].data for x in range(140)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display])

    def see(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows ``pattern``."""
        end = time.monotonic() + LIMIT
        while not (found := re.search(pattern, self.text(), re.MULTILINE)):
            if time.monotonic() > end:
                raise AssertionError(f"no {pattern!r} on the screen:\n{self.text()}")
            try:
                data = self.child.read_nonblocking(65536, timeout=0.2)
            except pexpect.TIMEOUT:
                continue
            self.stream.feed(data)
            if b"\x1b[6n" in data:
                self.child.send(f"\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R")
        return found

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def line(self, text: str, answer: str) -> None:
        self.type(text + "\r")
        self.see(answer)


@pytest.fixture
def terminal(founding) -> Iterator[Terminal]:
    shell = Terminal(founding.home)
    shell.see(r"^\[admin:[^\]]+\]: >")
    yield shell
    shell.child.close(force=True)


def test_a_pool_typed_with_help(terminal):
    terminal.type("?")
    terminal.see(r"^  configure  Create or change an object")
    terminal.type("conf\t")
    terminal.see(r"> configure$")
    terminal.line("pool p1", r"pool>\s*$")
    terminal.type("servers ip ?")
    terminal.see(r"<x\.x\.x\.x>")
    terminal.line("10.10.40.101 port 99999", r"port: 99999 is out of range")
    terminal.line("servers ip 10.10.40.101 port 21", r"pool:servers>\s*$")
    terminal.line("save", r"pool>\s*$")
    terminal.line("save", r"\| servers\[1\] ")
    terminal.type("show pool p\t\r")
    terminal.see(r"show pool p1[\s\S]*LB_ALGORITHM_LEAST_CONNECTIONS")


def test_names_complete_from_the_controller(terminal):
    terminal.type("show serviceengine \t")
    terminal.see(r"^  se1 *\n  se2")
    terminal.type("se1 vs\t")
    terminal.see(r"> show serviceengine se1 vshash$")


def test_words_may_be_abbreviated_on_a_terminal(terminal):
    terminal.line("sh pool", r"\| Name +\| UUID")
    terminal.line("s pool", r"is ambiguous: save, show")


def test_ctrl_c_clears_the_line_and_ctrl_d_leaves(terminal):
    terminal.type("configure pool half")
    terminal.see("configure pool half")
    terminal.type("\x03")
    terminal.line("where", r"^Tenant: admin")
    terminal.line("configure pool p2", r"pool>\s*$")
    terminal.type("\x04")
    terminal.see("pool p2 was not saved; its changes are dropped")
    terminal.child.expect(pexpect.EOF)


def test_a_paste_stops_at_the_first_error(terminal):
    terminal.type("\x1b[200~configure pool p3\nlb_algorithm nonsense\nsave\n\x1b[201~\r")
    terminal.see(r"line 2 of \d: lb_algorithm: 'nonsense' is not one of its values")
    terminal.see(r"pool>\s*$")


def test_a_capture_streams_while_the_prompt_is_usable(terminal, founding):
    runbook = (Path(__file__).resolve().parents[2] / "fixtures/runbooks/active-ftp.avi").read_text()
    founding.do(runbook)
    terminal.line("debug serviceengine se1", r"debugserviceengine>\s*$")
    terminal.line("flags flag debug_pcap_nat", "New object being created")
    terminal.line("save", r"capture on se1: .*10000 packets")
    terminal.type("show vir")
    founding.inside("client1", "curl", "-sS", "--ftp-port", "-", "--max-time", "5", "ftp://10.10.10.50/")
    terminal.see(r"internal before ftp-nat/1 .*10\.10\.40\.10\d:20 > 10\.10\.20\.100:\d+ +\[S\]")
    terminal.see(r"external after +ftp-nat/1 .*10\.10\.10\.50:20 > 10\.10\.20\.100:\d+ +\[S\]")
    terminal.type("\tftp-vs\r")
    terminal.see(r"\| name +\| ftp-vs")
    founding.do("debug serviceengine se1\nno flags flag debug_pcap_nat\nsave\n")
    terminal.see(r"capture on se1 ended: stopped by admin")

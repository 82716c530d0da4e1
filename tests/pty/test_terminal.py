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
from site_lab import Site, running

pytestmark = pytest.mark.root
BIN = Path(sys.executable).parent
LIMIT = 15
COLUMNS, LINES = 140, 50
CURL = (
    "curl",
    "-sS",
    "--ftp-port",
    "-",
    "--max-time",
    "5",
    "--retry",
    "10",
    "--retry-delay",
    "1",
    "--retry-all-errors",
)
"""Again while the servers have not been found to be up yet."""
PASTE = "\x1b[200~", "\x1b[201~"


class Terminal:
    """A shell in a pseudo-terminal."""

    def __init__(self, home: Path, state: Path, *options: str) -> None:
        self.screen = pyte.HistoryScreen(COLUMNS, LINES, history=500)
        self.stream = pyte.ByteStream(self.screen)
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": str(state)}
        self.raw = b""
        self.child = pexpect.spawn(
            str(BIN / "avish"),
            ["--home", str(home), *options],
            dimensions=(LINES, COLUMNS),
            env=environment,
            timeout=LIMIT,
        )
        self.see(r"^\[admin:[^\]]+\]: >")

    def text(self) -> str:
        """What is on the screen, and what has scrolled off it."""
        above = ["".join(line[x].data for x in range(COLUMNS)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display])

    def see(self, pattern: str, limit: float = LIMIT) -> re.Match[str]:
        """Wait until the screen shows ``pattern``."""
        end = time.monotonic() + limit
        while not (found := re.search(pattern, self.text(), re.MULTILINE)):
            if time.monotonic() > end:
                raise AssertionError(f"no {pattern!r} on the screen:\n{self.text()}")
            try:
                data = self.child.read_nonblocking(1 << 20, timeout=0.2)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                data = b""
                end = min(end, time.monotonic())
            self.raw += data
            self.stream.feed(data)
        return found

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def line(self, text: str, answer: str) -> None:
        self.type(text + "\r")
        self.see(answer)

    def ended(self) -> int:
        self.child.expect(pexpect.EOF)
        self.child.close()
        return int(self.child.exitstatus)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """One lab for all terminals."""
    topology = Path(__file__).resolve().parents[2] / "fixtures/topologies/active-ftp.yaml"
    with running(topology, tmp_path_factory.mktemp("pty"), f"t{os.getpid()}y") as found:
        yield found


@pytest.fixture
def terminal(site, tmp_path) -> Iterator[Terminal]:
    shell = Terminal(site.home, tmp_path)
    yield shell
    shell.child.close(force=True)


def test_a_pool_typed_with_help(terminal):
    terminal.type("?")
    terminal.see(r"^  configure +Create or change an object")
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
    terminal.line("sh virtualservice", r"\| Name +\| IP Address")
    terminal.line("s pool", r"is ambiguous: save, show, ")


def test_ctrl_c_clears_the_line_and_ctrl_d_leaves(terminal):
    terminal.type("configure pool half")
    terminal.see("configure pool half")
    terminal.type("\x03")
    terminal.line("where", r"^Tenant: admin")
    terminal.type("\x04")
    assert terminal.ended() == 0


def test_ctrl_d_asks_before_it_drops_anything(terminal):
    terminal.line("configure pool p2", r"pool>\s*$")
    terminal.type("\x04")
    terminal.see(r"pool p2 was not saved; leave all the same\? \[y/N\]")
    terminal.type("n\r")
    terminal.line("where", r"\| name +\| p2")
    terminal.type("\x04\x04")
    terminal.see("pool p2 was not saved; it is dropped")
    assert terminal.ended() == 0


def test_a_paste_stops_at_the_first_error(terminal):
    terminal.type(f"{PASTE[0]}configure pool p3\nlb_algorithm nonsense\nsave\nrest{PASTE[1]}")
    terminal.see(r"line 2 of 3: lb_algorithm: 'nonsense' is not one of its values")
    terminal.see(r"the paste ends here: the 2 lines behind were not carried out")
    terminal.see(r"pool>\s*$")


def test_a_paste_of_5000_lines_loses_none(terminal, site):
    pools = [
        f"configure pool many-{n}\nservers ip 10.9.{n // 250}.{n % 250 + 1} port 80\nsave\ncancel" for n in range(1249)
    ]
    script = ["configure pool all", "description --", "one", "two # three", "END", "cancel"]
    lines = "\n".join(["where", *pools, *script, "configure pool last"])
    assert lines.count("\n") == 5003
    terminal.type(f"{PASTE[0]}{lines}\n{PASTE[1]}")
    terminal.see(r"configure pool last\n.*pool>\s*\Z", limit=60)
    done = set(re.findall(rb"configure pool (\S+)", terminal.raw))
    assert [n for n in range(1249) if f"many-{n}".encode() not in done] == []
    assert b"line " not in terminal.raw


def test_lines_typed_ahead_wait_for_the_prompt(terminal):
    terminal.type("".join(f"configure pool ahead-{n}\rcancel\r" for n in range(20)) + "where\r")
    terminal.see(r"^Tenant: admin")
    assert [n for n in range(20) if f"> configure pool ahead-{n}\n" not in terminal.text()] == []


def test_values_of_several_lines(terminal):
    terminal.line("configure pool p5", r"pool>\s*$")
    terminal.line("description --", r"^Please input the value for field description \(Enter END to terminate input\):")
    terminal.type("first\r  second\rEND\r")
    terminal.line("where", r"\| description \| first +\|\n\| +\|   second")
    terminal.type("description --\rnever\r\x03")
    terminal.see(r"interrupted$")
    terminal.line("where", r"interrupted[\s\S]*\| description \| first")
    terminal.type("cancel\rconfigure pool p6 << DONE\r")
    terminal.line("description: as YAML\rDONE", r"\| description +\| as YAML")


def test_secrets_are_stars_on_the_screen_and_placeholders_in_history(terminal, tmp_path):
    terminal.line("configure healthmonitor h authentication username u", r"authentication>\s*$")
    terminal.line("password one-line", r"password \*{8}\n")
    terminal.line("password", r"^password:")
    terminal.line("asked-for", r"^password: \*{9}\n")
    terminal.line("password --", r"^Please input the value")
    terminal.type("block\rEND\r")
    terminal.line("where", r"\| password +\| <sensitive>")
    terminal.type("cancel\rcancel\rconfigure healthmonitor h << DONE\r")
    terminal.line("authentication:\r  password: in-a-document", r"^>   password: \*{13}\n")
    terminal.line("DONE", r"\| password +\| <sensitive>")
    terminal.line("history", r"^ +\d+  password <sensitive>$")
    kept = (tmp_path / "avish").glob("history-*")
    texts = [path.read_text() for path in kept]
    assert texts
    for secret in ("one-line", "asked-for", "block", "in-a-document"):
        assert secret not in terminal.text()
        assert [text for text in texts if secret in text] == []


def test_history_is_kept_and_searched_and_suggested(terminal, site, tmp_path):
    terminal.line("show virtualservice", r"\| Name")
    terminal.line("where", r"^Tenant")
    terminal.type("\x04")
    terminal.ended()
    again = Terminal(site.home, tmp_path)
    again.type("\x12virt")
    again.see(r"show virtualservice")
    again.type("\r")
    again.see(r"\| Name")
    again.type("whe\x1b[C\r")
    again.see(r"^Tenant: admin")
    again.child.close(force=True)


def test_long_answers_come_page_by_page(terminal):
    terminal.line("terminal length 5", r"length 5\n.*>\s*\Z")
    terminal.line("show applicationprofile System-L4-Application", r"\| uuid .*\n--More--")
    terminal.type(" ")
    terminal.see(r"\| preserve_client_ip .*\n.*\n--More--")
    terminal.type("q")
    terminal.see(r"^\[admin:[^\]]+\]: >\s*\Z")
    terminal.line("terminal length 0", r"length 0\n.*>\s*\Z")
    terminal.line("show serviceenginegroup Default-Group", r"\| tenant_ref[\s\S]*> *\s*\Z")


def test_a_watch_ends_with_ctrl_c(terminal, site):
    terminal.line("watch show pool", r"^every 2 s, Ctrl-C ends it")
    site.do("configure pool watched\nsave\n")
    terminal.see(r"\| watched +\|")
    assert b"\x1b[7mwatched\x1b[27m" in terminal.raw
    terminal.type("\x03")
    terminal.see(r"\| watched[\s\S]*\n\[admin:[^\]]+\]: >\s*\Z")


def test_the_terminal_may_change_its_size(terminal):
    terminal.child.setwinsize(10, 60)
    terminal.line("show applicationprofile System-L4-Application", r"--More--")
    terminal.type("q")
    terminal.line("where", "Tenant: admin")


def test_what_destroys_is_asked_for(terminal, site):
    site.do("configure pool doomed\nsave\n")
    terminal.line("delete pool doomed", r"Delete pool doomed\? \[y/N\]")
    terminal.line("", r">\s*\Z")
    terminal.line("show pool doomed | grep name", r"\| name +\| doomed")
    terminal.line("delete pool doomed", r"doomed\? \[y/N\][\s\S]*doomed\? \[y/N\]")
    terminal.line("y", r"^Successfully deleted doomed\.")


def test_every_session_sees_that_a_commit_awaits_its_confirmation(terminal, site):
    site.do("configure session\nconfigure pool late\nsave\ncommit confirm 0.1\n")
    terminal.see(r"commit \d+ rolls back in 0:0\d")
    terminal.see(r"commit \d+ of admin was not confirmed in time: the configuration is that of commit \d+ again")
    terminal.line("show pool late", r"there is no pool named 'late'")


def test_no_colours_where_none_are_wanted(site, tmp_path):
    shell = Terminal(site.home, tmp_path, "--no-color")
    shell.line("show pol", r"unknown word 'pol'")
    shell.line("show serviceengine", r"\| se1")
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", shell.raw)
    shell.child.close(force=True)


def test_a_capture_streams_while_the_prompt_is_usable(terminal, site):
    runbook = (Path(__file__).resolve().parents[2] / "fixtures/runbooks/active-ftp.avi").read_text()
    site.do(runbook)
    terminal.line("debug serviceengine se1", r"debugserviceengine>\s*$")
    terminal.line("flags flag debug_pcap_nat", "New object being created")
    terminal.line("save", r"capture on se1: .*10000 packets")
    terminal.type("show vir")
    site.inside("client1", *CURL, "ftp://10.10.10.50/")
    terminal.see(r"internal before ftp-nat/1 .*10\.10\.40\.10\d:20 > 10\.10\.20\.100:\d+ +\[S\]")
    terminal.see(r"external after +ftp-nat/1 .*10\.10\.10\.50:20 > 10\.10\.20\.100:\d+ +\[S\]")
    terminal.type("\tftp-vs\r")
    terminal.see(r"\| name +\| ftp-vs")
    site.do("debug serviceengine se1\nno flags flag debug_pcap_nat\nsave\n")
    terminal.see(r"capture on se1 ended: stopped by admin")

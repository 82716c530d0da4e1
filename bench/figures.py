"""The figures of the bench, each measured in turns with its floor."""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab import OBJECTS, RUNBOOK, name_of
from terminal import Terminal

STARTS = 15
KEYS = 60
SAVES = 40
LINES = 60_000
UNWANTED = ("scapy", "pyroute2", "nftables")
WIPE = "\x05\x15"


@dataclass
class Figure:
    """``value`` and ``floor`` in ``unit``; ``target`` in words; ``met``."""

    name: str
    value: float
    floor: float
    unit: str
    target: str
    met: bool
    floor_name: str

    @property
    def ratio(self):
        return self.value / self.floor if self.floor else 0.0


def run_seconds(argv, **options):
    """How long a program takes from start to end."""
    began = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, **options)
    return time.perf_counter() - began


def in_turns(count, *measures):
    """The medians of measures taken in turns, after one that does not count; in milliseconds."""
    rows = [[measure() * 1000 for measure in measures] for _ in range(count + 1)]
    return [statistics.median(column) for column in zip(*rows[1:], strict=True)]


def p95(values):
    return sorted(values)[int(len(values) * 0.95)]


def prompt(python, shell):
    """From the start of the shell to its prompt on the screen."""

    def shell_start():
        with Terminal(shell) as terminal:
            return terminal.expect("]: >") - terminal.began

    def floor_start():
        with Terminal([python, "-c", "import prompt_toolkit"]) as terminal:
            return terminal.ended() - terminal.began

    value, floor = in_turns(STARTS, shell_start, floor_start)
    return Figure("prompt", value, floor, "ms", "<= 2 x floor", value <= 2 * floor, "import prompt_toolkit")


def one_show(python, shell):
    """A whole run of the shell with one show command."""
    command = [*shell, "-c", "show virtualservice"]
    value, floor = in_turns(STARTS, lambda: run_seconds(command), lambda: run_seconds([python, "-c", "pass"]))
    name = "avish -c 'show virtualservice'"
    return Figure(name, value, floor, "ms", "<= floor + 120 ms", value <= floor + 120, "bare Python")


def imports(python, shell):
    """Modules of the interactive shell and of a one-line run; none of the heavy ones may be among them."""
    with Terminal(shell, {"PYTHONPROFILEIMPORTTIME": "1"}) as terminal:
        terminal.expect("]: >")
        terminal.type("show virtualservice\r")
        terminal.expect("ftp-vs")
        interactive = _modules(terminal.screen().decode(errors="replace"))
    once = subprocess.run(
        [python, "-X", "importtime", *shell, "-c", "show virtualservice"], capture_output=True, text=True, check=True
    )
    floor = subprocess.run(
        [python, "-X", "importtime", "-c", "import prompt_toolkit"], capture_output=True, text=True, check=True
    )
    found = sorted((interactive | _modules(once.stderr)) & set(UNWANTED))
    target = "none of " + ", ".join(UNWANTED) + (f"; found {', '.join(found)}" if found else "")
    count, least = len(interactive), len(_modules(floor.stderr))
    return Figure("modules of the shell", count, least, "", target, not found, "import prompt_toolkit")


def _modules(report):
    """The names in the last column of an import report, packages by their first part as well."""
    rows = [line.split("|") for line in report.splitlines() if line.startswith("import time:")]
    names = {row[2].strip() for row in rows if len(row) == 3}
    return names | {name.partition(".")[0] for name in names}


LISTED = 300  # names that the shell lists at once


def keys(python, shell):
    """From the key to the answer on the screen, with 1,000 objects."""
    floor = [python, str(Path(__file__).with_name("floor_keys.py"))]
    with Terminal(shell) as live, Terminal([*floor, "60"]) as short, Terminal([*floor, str(LISTED)]) as long:
        for terminal in (live, short, long):
            terminal.expect(">")
            terminal.settle()
        tab = _pressed("\t", (live, _show_one, "-pool"), (short, _show_one, "-inserted"))
        names = _pressed(
            "?", (live, lambda _: "show pool ", "type the first letters"), (long, lambda _: "show pool ", "last one")
        )
        live.type("configure pool ftp-pool\r")
        live.expect("pool>")
        fields = _pressed("?", (live, lambda _: "", "Unset a field"), (short, lambda _: "", "last one"))
    rows = [("TAB, a name of 1,000", tab), ("?, the fields of a pool", fields), ("?, names of 1,000", names)]
    return [_key_figure(name, answers, least) for name, (answers, least) in rows]


def _key_figure(name, answers, least):
    value = p95(answers)
    medians = f"{statistics.median(answers):.1f} and {statistics.median(least):.1f}"
    note = f"prompt_toolkit alone (medians {medians} ms)"
    return Figure(f"{name} (p95)", value, p95(least), "ms", "<= 15 ms", value <= 15, note)


def _show_one(turn):
    return f"show pool {name_of(turn * 13 % OBJECTS)[:10]}"


def _pressed(key, *sessions):
    """How long each session, (terminal, text before the key by turn, text that must appear), took; in milliseconds."""
    samples = [[] for _ in sessions]
    for turn in range(KEYS + 1):
        for number, (terminal, before, after) in enumerate(sessions):
            terminal.type(before(turn))
            terminal.settle()
            pressed = terminal.type(key)
            samples[number].append((terminal.expect(after) - pressed) * 1000)
            terminal.settle()
            terminal.type(WIPE)
            terminal.settle()
    return tuple(one[1:] for one in samples)


def parse_only(python, shell, folder):
    """Lines a second, start of the program included."""
    runbook = RUNBOOK.read_text().splitlines()
    file = folder / "lines.avi"
    file.write_text("\n".join(runbook * (LINES // len(runbook))) + "\n")
    count = LINES // len(runbook) * len(runbook)
    program = "import json, sys\nfor n, line in enumerate(sys.stdin): print(json.dumps({'line': n, 'text': line}))"

    def judged():
        with file.open() as lines:
            return run_seconds([*shell, "--parse-only"], stdin=lines)

    def copied():
        with file.open() as lines:
            return run_seconds([python, "-c", program], stdin=lines)

    value, least = (count / ms * 1000 for ms in in_turns(3, judged, copied))
    name, target = "--parse-only", ">= 20,000 lines/s"
    return Figure(name, value, least, "lines/s", target, value >= 20_000, "read a line, print JSON")


def save(lab):
    """One pool saved: a server's ratio, changed on the active engine's and its partner's kernel and on disk."""
    client = lab.client()
    database = sqlite3.connect(lab.home / "floor.db", isolation_level=None)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (x)")
    turn = iter(range(1_000_000))

    def saved():
        body = client.call("GET", "/api/pool", {"name": "ftp-pool"}).body["results"][0]
        body["servers"][0]["ratio"] = next(turn) % 2 + 1
        began = time.perf_counter()
        answer = client.call("PUT", f"/api/pool/{body['uuid']}", body=body)
        if answer.status != 200:
            raise SystemExit(f"bench: a save was refused: {json.dumps(answer.body)[:300]}")
        return time.perf_counter() - began

    nft = ["nsenter", f"--net={lab.namespace('router')}", "nft", "add table ip bench; delete table ip bench"]

    def least():
        began = time.perf_counter()
        for _ in range(2):
            database.execute("INSERT INTO t VALUES (1)")
        subprocess.run(nft, check=True)
        return time.perf_counter() - began

    value, floor = in_turns(SAVES, saved, least)
    database.close()
    return Figure("save of one object", value, floor, "ms", "<= 40 ms", value <= 40, "2 SQLite commits, 1 nft")

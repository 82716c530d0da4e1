"""Ten thousand virtual services in the store of a real controller without engines: import, prompt, keys, shows."""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from figures import Figure, in_turns, run_seconds
from peers import vtysh_lines
from terminal import Terminal

from avish.api.client import Client
from avish.errors import UnavailableError

SERVICES = 10_000
PRESSES = 120
STARTS = 11
SHOWS = 9
SERVERS, POOLS = 5, 600
PATIENCE = 30.0
WIPE = "\x05\x15"
TENANT = "/api/tenant/?name=admin"
L4 = "/api/applicationprofile/?tenant=admin&name=System-L4-Application"


def name_of(number):
    """The name of an object that the bench made."""
    return f"bench-{number:05d}"


def document():
    """A configuration in the vendor's shape."""
    pools, vips, services = [], [], []
    for number in range(SERVICES):
        name = name_of(number)
        third, fourth = divmod(number, 250)
        servers = [{"ip": {"addr": f"10.40.{third}.{one + 20}", "type": "V4"}, "port": 8080} for one in range(4)]
        vip = {"vip_id": "0", "ip_address": {"addr": f"10.20.{third}.{fourth + 1}", "type": "V4"}}
        pools.append({"name": name, "tenant_ref": TENANT, "servers": servers})
        vips.append({"name": name, "tenant_ref": TENANT, "vip": [vip]})
        refs = {
            f"{kind}_ref": f"/api/{kind}/?tenant=admin&name={name}&cloud=Default-Cloud" for kind in ("pool", "vsvip")
        }
        services.append(
            {"name": name, "tenant_ref": TENANT, "services": [{"port": 80}], "application_profile_ref": L4, **refs}
        )
    return {"META": {}, "VirtualService": services, "Pool": pools, "VsVip": vips}


class Bare:
    """A controller of its own, without engines. ``shell``: the program on it."""

    def __init__(self, bin_dir):
        self.bin = bin_dir

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="avish-bench-")
        self.home = Path(self.folder.name) / "home"
        self.shell = [str(self.bin / "avish"), "--home", str(self.home)]
        with (Path(self.folder.name) / "serve.log").open("wb") as log:
            self.process = subprocess.Popen(
                [self.bin / "avishd", "serve", "--home", str(self.home)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                raise SystemExit(f"bench: no controller: {Path(log.name).read_text()[-300:]}")
            select.select([], [], [], 0.02)
        return self

    def _answers(self):
        with contextlib.suppress(UnavailableError):
            return Client(self.home).call("GET", "/api/cluster/version").status == 200
        return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.folder.cleanup()

    def peak(self):
        """The most memory it ever had, in MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def figures(bin_dir):
    """All figures, one after the other."""
    python = str(bin_dir / "python")
    with Bare(bin_dir) as full, Bare(bin_dir) as empty:
        yield from _import(full)
        yield _prompt(full, empty)
        yield _first_screen(full)
        yield _show_one(python, full)
        yield from _keys(full)
        yield from _typed(empty)


def _import(full):
    """The file is read and sent by the shell, as an operator would."""
    file = full.home / "exports" / "bench.json"
    file.write_text(json.dumps(document()))
    shell = [*full.shell, "-c", f"import configuration file {file}"]
    parsed, took = run_seconds(["python3", "-c", f"import json; json.load(open('{file}'))"]), 0.0
    took = run_seconds(shell, stderr=subprocess.DEVNULL)
    revision = Client(full.home).call("GET", "/api/commits").body["count"]
    assert revision == 2, "the import was not one commit"
    name = f"import of {SERVICES} services, one transaction"
    yield Figure(name, took * 1000, parsed * 1000, "ms", "<= 10 s", took <= 10, "reading the JSON")
    peak = full.peak()
    yield Figure("its controller, memory at most", peak, 0, "MB", "<= 500 MB", peak <= 500, "none")


def _start(shell):
    with Terminal(shell) as terminal:
        return terminal.expect("]: >") - terminal.began


def _prompt(full, empty):
    value, floor = in_turns(STARTS, lambda: _start(full.shell), lambda: _start(empty.shell))
    name = f"prompt, {SERVICES} services"
    return Figure(name, value, floor, "ms", "<= floor + 30 ms", value <= floor + 30, "with an empty store")


def _first_screen(full):
    taken = []
    for _ in range(SHOWS):
        with Terminal(full.shell) as terminal:
            terminal.expect("]: >")
            terminal.settle()
            pressed = terminal.type("show virtualservice\r")
            taken.append((terminal.expect(name_of(0)) - pressed) * 1000)
    value = statistics.median(taken)
    name = "show virtualservice, first screen"
    return Figure(name, value, 0, "ms", "<= 300 ms", value <= 300, "none")


def _show_one(python, full):
    command = [*full.shell, "-c", f"show pool {name_of(SERVICES // 2)}"]
    value, floor = in_turns(SHOWS, lambda: run_seconds(command), lambda: run_seconds([python, "-c", "pass"]))
    name = f"avish -c 'show pool X', {SERVICES} services"
    return Figure(name, value, floor, "ms", "<= floor + 60 ms", value <= floor + 60, "bare Python")


def _keys(full):
    """99 of 100 presses are answered in that time."""
    cases = [
        ("TAB, a name", "\t", lambda turn: f"show pool {name_of(turn * 79 % SERVICES)[:10]}", "-0"),
        (
            "TAB, a name to configure",
            "\t",
            lambda turn: f"configure virtualservice {name_of(turn * 79 % SERVICES)[:10]}",
            "-0",
        ),
        ("?, all names", "?", lambda _: "show pool ", "type the first letters"),
        ("?, what can be shown", "?", lambda _: "show ", "vrfcontext"),
    ]
    with Terminal(full.shell) as terminal:
        terminal.expect("]: >")
        terminal.settle()
        for title, key, before, after in cases:
            taken = sorted(_press(terminal, key, before(turn), after) for turn in range(PRESSES + 1))
            value = taken[int(len(taken) * 0.99) - 1]
            name = f"{title}, {SERVICES} services (p99)"
            note = f"none (median {statistics.median(taken):.1f} ms)"
            yield Figure(name, value, 0, "ms", "<= 25 ms", value <= 25, note)


def _begun(turn):
    return name_of(turn * 79 % SERVICES)[:10]


def _press(terminal, key, before, after):
    terminal.type(before)
    terminal.settle()
    pressed = terminal.type(key)
    took = (terminal.expect(after) - pressed) * 1000
    terminal.settle()
    terminal.type(WIPE)
    terminal.settle()
    return took


# --- lines through standard input


def _runbook():
    lines = []
    for pool in range(POOLS):
        lines += [f"configure pool typed-{pool}", "default_server_port 8080", "lb_algorithm lb_algorithm_round_robin"]
        for server in range(SERVERS):
            lines += [f"servers ip 10.41.{pool % 250}.{server + 1} port 80", "ratio 2", "save"]
        lines += ["save"]
    return lines


def _typed(empty):
    """As an operator types it, line by line; what the controller took for the saves does not count."""
    lines = _runbook()
    file = empty.home / "typed.avi"
    file.write_text("\n".join(lines) + "\n")
    log = empty.home / "calls.log"
    with file.open() as given:
        whole = run_seconds([*empty.shell, "--min-output", "--log", str(log)], stdin=given)
    start = min(run_seconds([*empty.shell, "-c", "# nothing"]) for _ in range(5))
    saves = sum(float(line.split()[3]) for line in log.read_text().splitlines() if line.startswith("POST")) / 1000
    value = len(lines) / (whole - start - saves)
    peer = vtysh_lines(len(lines))
    note = "vtysh -f" if peer else "vtysh is not installed"
    name = "configuration through stdin, net of commits"
    yield Figure(name, value, peer, "lines/s", ">= 2,500 lines/s", value >= 2500, note)
    yield Figure("the same, commits included", len(lines) / whole, peer, "lines/s", "reported", True, note)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for figure in figures(Path(__file__).resolve().parent.parent / ".venv" / "bin"):
        print(f"{figure.name}: {figure.value:,.1f} {figure.unit} (floor {figure.floor:,.1f}): {figure.target}")

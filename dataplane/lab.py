"""A topology made of network namespaces, veth pairs and bridges, and taken away again.

What a lab consists of is recorded before it is made, in ``<home>/lab.json`` and ``/run/avish-labs/<prefix>.json``:
``destroy`` removes exactly that, also after a crash, and no other lab whose prefix begins with the same letters.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataplane import processes
from dataplane.errors import LabError
from dataplane.topology import (
    BRIDGES,
    Node,
    Topology,
    engine_namespaces,
    made_namespaces,
    missing_program,
    nodes,
    search_path,
)
from dataplane.topology_reader import NAME

NETNS = Path("/run/netns")
RECORDS = Path("/run/avish-labs")

_TOOLS = ("ip", "nft", "nsenter", "setpriv", "unshare", "sh")
_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A program of ours ends when we are killed: it must not go on making what a later destroy has taken away."""

_SYSCTLS = """
set_to() { [ ! -e "/proc/sys/net/$1" ] || echo "$2" > "/proc/sys/net/$1"; }
set -e
set_to ipv4/ip_forward FORWARD
set_to ipv6/conf/all/forwarding FORWARD
for scope in all default; do
  set_to ipv4/conf/$scope/rp_filter 0
  set_to ipv6/conf/$scope/accept_dad 0
  set_to ipv6/conf/$scope/accept_ra 0
  set_to ipv6/conf/$scope/router_solicitations 0
  set_to ipv6/conf/$scope/disable_ipv6 NO_IPV6
done
"""
"""Said explicitly, for a new namespace takes over the machine's IPv4 settings; duplicate detection would only delay."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that stands. ``namespaces`` are those it made."""

    topology: Topology
    prefix: str
    home: Path
    log_dir: Path
    namespaces: tuple[str, ...]


def build(topology: Topology, prefix: str, home: Path, log_dir: Path) -> Lab:
    """Make the lab; all that can be checked is checked before anything is made.

    Raises LabError with one line per problem; what was made by then is gone again.
    """
    home = home.resolve()
    _raise(_problems(topology, prefix))
    names = made_namespaces(topology, prefix)
    with _labs_locked():
        _raise(_conflicts(topology, prefix, home, names))
        _write_records(topology, prefix, home, names)
        try:
            _make(topology, prefix)
        except BaseException:
            _remove(names)
            _forget(prefix, home)
            raise
    return Lab(topology, prefix, home, log_dir.resolve(), tuple(names))


def start_processes(lab: Lab) -> list[processes.Process]:
    """Start ``hosts.*.run`` in the topology's folder; returns when each listens, has ended, or seems to do neither.

    Output goes to ``<log_dir>/<host>-<n>.log``, n from 1. Raises LabError when a command fails at once, with the last
    line of its log; the lab is left as it is then.
    """
    lab.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    started = []
    for host in lab.topology.hosts.values():
        namespace = NETNS / f"{lab.prefix}-{host.name}"
        for number, command in enumerate(host.run):
            label = f"{lab.topology.path}: hosts.{host.name}.run[{number}]"
            log = lab.log_dir / f"{host.name}-{number + 1}.log"
            started.append(processes.start(label, command, namespace, lab.topology.folder, log))
    _raise(processes.failures(started))
    return started


def destroy(prefix: str, home: Path) -> list[str]:
    """Remove the lab with all processes inside it; says in words what was removed. Safe to call twice.

    Without a record of the lab nothing is removed, and that is said. Raises LabError when the lab is of another home
    or the caller is inside it.
    """
    home = home.resolve()
    with _labs_locked():
        names = _recorded_namespaces(prefix, home)
        if names is None:
            return [_nothing_recorded(prefix)]
        present = [name for name in names if (NETNS / name).exists()]
        ended = processes.end_all([NETNS / name for name in present])
        _remove(present)
        _forget(prefix, home)
    return [f"lab {prefix}: {ended} processes ended, {len(present)} namespaces removed"]


def recorded(home: Path) -> dict[str, Any] | None:
    """The record of the lab of ``home``, None when there is none.

    Keys: prefix, home, topology (absolute path), content (its ``fingerprint``), namespaces, engines
    (``engine_namespaces``).
    """
    return _read_record(home / "lab.json")


def _raise(problems: list[str]) -> None:
    if problems:
        raise LabError("\n".join(problems))


def _problems(topology: Topology, prefix: str) -> list[str]:
    """What stands in the way whatever other labs there are."""
    problems = [] if NAME.fullmatch(prefix) else [f"prefix {prefix!r}: must be letters, digits, '-', '_', '.'"]
    if os.geteuid() != 0:
        problems.append("a lab is made of network namespaces: only root can build it")
    problems += [text for tool in _TOOLS if (text := missing_program(tool))]
    return problems or _existing_namespace_problems(topology) + _rule_problems(topology)


def _existing_namespace_problems(topology: Topology) -> list[str]:
    """Engines in namespaces that are not there, or lack an interface."""
    problems = []
    for engine in topology.engines.values():
        for vrf, namespace in engine.namespaces.items():
            where = f"{topology.path}: serviceengines.{engine.name}"
            if namespace and not (NETNS / namespace).exists():
                problems.append(f"{where}.namespace: there is no network namespace {namespace!r}")
                continue
            there = _interface_names(namespace)
            lacking = [interface.name for interface in engine.vrfs[vrf] if interface.name not in there]
            problems += [f"{where}.interfaces.{name}: {namespace or 'the host'} has none" for name in lacking]
    return problems


def _interface_names(namespace: str) -> set[str]:
    argv = ["ip", *(["-n", namespace] if namespace else []), "-json", "link", "show"]
    return {link["ifname"] for link in json.loads(_run(argv))}


def _rule_problems(topology: Topology) -> list[str]:
    """Rule files that nft refuses, tried in an empty namespace."""
    problems = []
    for host in topology.hosts.values():
        if host.nft is not None:
            done = _attempt(["unshare", "--net", "nft", "--check", "--file", str(host.nft)], cwd=topology.folder)
            if done.returncode != 0:
                problems.append(f"{topology.path}: hosts.{host.name}.nft: {_complaint(done)}")
    return problems


def _conflicts(topology: Topology, prefix: str, home: Path, names: list[str]) -> list[str]:
    """Labs and namespaces that are there already."""
    for file in (_home_record(home), _run_record(prefix)):
        record = _read_record(file)
        if record and any((NETNS / name).exists() for name in record["namespaces"]):
            remedy = f"avishd down --prefix {record['prefix']} --home {record['home']}"
            return [f"lab {record['prefix']} of {record['home']} is there already: {remedy}"]
    taken = [name for name in names if (NETNS / name).exists()]
    return [
        f"{topology.path}: namespace {name} exists already and is no lab's: choose another prefix" for name in taken
    ]


@contextmanager
def _labs_locked() -> Iterator[None]:
    """One lab is built or destroyed at a time. The lock is on a directory: it leaves no file."""
    handle = os.open(RECORDS.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _home_record(home: Path) -> Path:
    return home / "lab.json"


def _run_record(prefix: str) -> Path:
    return RECORDS / f"{prefix}.json"


def _write_records(topology: Topology, prefix: str, home: Path, names: list[str]) -> None:
    record = {
        "prefix": prefix,
        "home": str(home),
        "topology": str(topology.path.resolve()),
        "content": fingerprint(topology.path),
        "namespaces": names,
        "engines": engine_namespaces(topology, prefix),
    }
    for file in (_run_record(prefix), _home_record(home)):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(file, json.dumps(record, indent=2) + "\n")


def fingerprint(topology: Path) -> str:
    """Tells whether a topology file is still what a lab was built from."""
    return hashlib.sha256(topology.read_bytes()).hexdigest()


def write_atomically(file: Path, text: str) -> None:
    """Replace the whole of ``file``: after a crash it holds the old text or the new one. Raises OSError."""
    new = file.with_name(f".{file.name}.new")
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def _read_record(file: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LabError(f"{file}: cannot be read: {error}") from None
    if not isinstance(record, dict):
        raise LabError(f"{file}: is not the record of a lab")
    return record


def _recorded_namespaces(prefix: str, home: Path) -> list[str] | None:
    """What the records of this lab name, None without one."""
    records = [record for file in (_run_record(prefix), _home_record(home)) if (record := _read_record(file))]
    mine = [record for record in records if record["prefix"] == prefix]
    for record in mine:
        if record["home"] != str(home):
            raise LabError(f"lab {prefix} belongs to the home {record['home']}, not {home}: nothing was removed")
    return sorted({name for record in mine for name in record["namespaces"]}) if mine else None


def _nothing_recorded(prefix: str) -> str:
    bridges = f"{prefix}-{BRIDGES}"
    rest = f"; the namespace {bridges} is there, but not by a record" if (NETNS / bridges).exists() else ""
    return f"lab {prefix}: no record of it, nothing removed{rest}"


def _forget(prefix: str, home: Path) -> None:
    """The records go last: a crash before leaves them for the next try."""
    record = _read_record(_home_record(home))
    if record and record["prefix"] == prefix:
        _home_record(home).unlink()
    _run_record(prefix).unlink(missing_ok=True)
    if RECORDS.is_dir() and not any(RECORDS.iterdir()):
        RECORDS.rmdir()


def _remove(names: Iterable[str]) -> None:
    present = [name for name in names if (NETNS / name).exists()]
    if present:
        _run(["ip", "-force", "-batch", "-"], "".join(f"netns delete {name}\n" for name in present))


def _make(topology: Topology, prefix: str) -> None:
    made = nodes(topology)
    if not made:
        return
    bridges = f"{prefix}-{BRIDGES}"
    _ip("", [f"netns add {name}" for name in made_namespaces(topology, prefix)])
    _set_sysctls(bridges, forward=False, ipv6=False)
    for node in made:
        _set_sysctls(f"{prefix}-{node.suffix}", forward=node.host is not None and node.host.forward, ipv6=True)
    _ip(bridges, _bridge_lines(topology))
    _ip("", _link_lines(made, prefix))
    for node in made:
        _load_rules(topology, node, f"{prefix}-{node.suffix}")
    _ip(bridges, _port_lines(topology, made))
    for node in made:
        _ip(f"{prefix}-{node.suffix}", _node_lines(node))


def _set_sysctls(namespace: str, *, forward: bool, ipv6: bool) -> None:
    script = _SYSCTLS.replace("FORWARD", str(int(forward))).replace("NO_IPV6", str(int(not ipv6)))
    _run(["nsenter", f"--net={NETNS / namespace}", "sh", "-c", script])


def _bridge_lines(topology: Topology) -> list[str]:
    """Bridges that forward at once and to everybody; their names are short, the alias says which network it is."""
    lines = ["link set dev lo up"]
    for number, network in enumerate(topology.networks):
        lines.append(f"link add br{number} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        lines.append(f"link set dev br{number} alias {network} up")
    return lines


def _ports(made: list[Node]) -> list[tuple[str, str, str, str]]:
    """Port on the bridge, suffix of the namespace, interface there, network: one for every cable."""
    cables = [(node.suffix, interface) for node in made for interface in node.interfaces]
    return [(f"port{n}", suffix, port.name, port.network) for n, (suffix, port) in enumerate(cables)]


def _link_lines(made: list[Node], prefix: str) -> list[str]:
    """Both ends are made where they belong, so that a name is never taken in between."""
    return [
        f"link add name {name} netns {prefix}-{suffix} type veth peer name {port} netns {prefix}-{BRIDGES}"
        for port, suffix, name, _ in _ports(made)
    ]


def _port_lines(topology: Topology, made: list[Node]) -> list[str]:
    bridges = {network: f"br{number}" for number, network in enumerate(topology.networks)}
    return [
        f"link set dev {port} master {bridges[network]} alias {suffix}:{name} up"
        for port, suffix, name, network in _ports(made)
    ]


def _node_lines(node: Node) -> list[str]:
    lines = ["link set dev lo up"]
    for interface in node.interfaces:
        lines.append(f"link set dev {interface.name} up")
        lines += [_address_line(interface.name, address) for address in interface.addresses]
    routes = node.host.routes if node.host else ()
    return lines + [f"route add {route.to} via {route.via}" for route in routes]


def _address_line(interface: str, address: str) -> str:
    return f"address add {address} dev {interface} {'nodad' if ':' in address else 'broadcast +'}"


def _load_rules(topology: Topology, node: Node, namespace: str) -> None:
    if node.host is not None and node.host.nft is not None:
        argv = ["nsenter", f"--net={NETNS / namespace}", "nft", "--file", str(node.host.nft)]
        _run(argv, cwd=topology.folder)


def _ip(namespace: str, lines: list[str]) -> None:
    """Carry out ``lines`` with one run of ip(8), in ``namespace`` ("": here)."""
    if lines:
        argv = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
        _run(argv, "\n".join(lines) + "\n")


def _run(argv: list[str], text: str = "", cwd: Path | None = None) -> str:
    """The program's output. Raises LabError with what it complained about first."""
    done = _attempt(argv, text, cwd)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv[:3])}: {_complaint(done)}")
    return done.stdout


def _attempt(argv: list[str], text: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": search_path()}
    argv = [*_WITH_US, *argv]
    return subprocess.run(argv, input=text, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The first two lines: what is wrong, and where."""
    return "; ".join(done.stderr.strip().splitlines()[:2]) or f"status {done.returncode}"

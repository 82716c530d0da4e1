"""``avishd up`` and ``down``: a lab with its controller, from nothing and back to nothing."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

from avish.api.client import Client
from avish.errors import UnavailableError, ValidationError
from avish.server.agents import AgentProcess, agent_of, end_process
from avish.server.home import EngineSpec, Home, private_log
from dataplane import lab
from dataplane.errors import DataplaneError, UnreachableError
from dataplane.processes import last_line
from dataplane.remote import RemoteDriver
from dataplane.topology import Topology, engine_namespaces, load

START_SECONDS = 60.0
STOP_SECONDS = 10.0
DEFAULT_PREFIX = "avish"


def specs_of(topology: Topology, prefix: str) -> list[EngineSpec]:
    """The engines of a topology, each once in every one of its VRFs."""
    spaces = engine_namespaces(topology, prefix)
    return [
        EngineSpec(engine.name, engine.se_group, namespace, made=engine.namespace is None, vrf=vrf)
        for engine in topology.engines.values()
        for vrf, namespace in spaces[engine.name].items()
    ]


Place = tuple[str, int] | None
"""Address and port to listen at, or None."""


def up(path: Path, prefix: str, home: Home, https: Place = None, ssh: Place = None, metrics: Place = None) -> list[str]:
    """Build the lab and start the controller, as far as they are not there; what was done, in words."""
    topology = load(path)
    record = lab.recorded(home.path)
    standing = record is not None and _stands(record["namespaces"])
    if record is not None and standing:
        _same_lab(record, topology, prefix, home)
    home.prepare()
    said = [f"lab {prefix} stands already"] if standing else [_build(topology, prefix, home)]
    home.keep_engines(specs_of(topology, prefix))
    return [*said, *_start_controller(home, {"--https": https, "--ssh": ssh, "--metrics": metrics})]


def _stands(namespaces: list[str]) -> bool:
    return bool(namespaces) and all((lab.NETNS / name).exists() for name in namespaces)


def _same_lab(record: dict[str, object], topology: Topology, prefix: str, home: Home) -> None:
    if record["topology"] == str(topology.path.resolve()) and record["prefix"] == prefix:
        if record.get("content") != lab.fingerprint(topology.path):
            raise ValidationError(
                f"{topology.path} has changed since its lab was built; take that down first:"
                f" avishd down --home {home.path} --prefix {prefix}"
            )
        return
    raise ValidationError(
        f"another lab stands in {home.path}: {record['topology']} with prefix {record['prefix']};"
        f" take it down first: avishd down --home {home.path}"
    )


def _build(topology: Topology, prefix: str, home: Home) -> str:
    built = lab.build(topology, prefix, home.path, home.log)
    try:
        started = lab.start_processes(built)
    except BaseException:
        lab.destroy(prefix, home.path)
        raise
    return f"lab {prefix}: {len(built.namespaces)} namespaces, {len(started)} programs"


def _start_controller(home: Home, places: dict[str, Place]) -> list[str]:
    if home.holder() is not None:
        return ["the controller runs already", *_listens(home, places)]
    reader, writer = os.pipe()
    log_file = home.log / "avishd.log"
    command = [sys.executable, "-m", "avish.server.main", "serve", "--home", str(home.path), "--ready-fd", str(writer)]
    command += [word for name, place in places.items() if place for word in (name, f"[{place[0]}]:{place[1]}")]
    with private_log(log_file) as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            pass_fds=[writer],
            cwd="/",
        )
    os.close(writer)
    with os.fdopen(reader) as ready:
        line = ready.readline() if select.select([ready], [], [], START_SECONDS)[0] else ""
    if not line:
        child.poll()
        raise UnavailableError(f"the controller did not start: {last_line(log_file)} (see {log_file})")
    behind = json.loads(line)["out_of_sync"]
    said = [f"service engine {name} is out of sync: {reason}" for name, reason in behind.items()]
    return [f"controller started (process {child.pid}), socket {home.socket}", *_listens(home, places), *said]


def _listens(home: Home, places: dict[str, Place]) -> list[str]:
    """Where a running controller listens; ValidationError when that is not what was asked for."""
    listens = client(home).call("GET", "/api/avish/status").body.get("listens", {})
    for name, place in places.items():
        if place and name.strip("-") not in listens:
            raise ValidationError(f"the controller runs without {name}: end it first (avishd down --home {home.path})")
    return [f"{kind} at {where}" for kind, where in listens.items()]


def down(prefix: str | None, home: Home) -> list[str]:
    """End controller and agents and remove the lab; the store stays. Safe to call twice, and after a crash."""
    record = lab.recorded(home.path)
    if record is not None and prefix not in (None, record["prefix"]):
        raise ValidationError(
            f"the lab in {home.path} has the prefix {record['prefix']}, not {prefix}: nothing was removed"
        )
    specs = home.engines()
    said = _stop_controller(home)
    for spec in specs:
        said += _stop_engine(home, spec)
    if record is not None:
        said += lab.destroy(record["prefix"], home.path)
    elif prefix is not None:  # a lab may stand whose home was deleted
        said += lab.destroy(prefix, home.path)
    home.forget_engines()
    return said or [f"nothing to take down in {home.path}"]


def _stop_controller(home: Home) -> list[str]:
    pid = home.holder()
    if pid is None:
        home.socket.unlink(missing_ok=True)
        return []
    end_process(pid, STOP_SECONDS)
    home.socket.unlink(missing_ok=True)
    return [f"controller ended (process {pid})"]


def _stop_engine(home: Home, spec: EngineSpec) -> list[str]:
    """End the agent; in a namespace that stays, what it had put into the kernel goes first."""
    agent = agent_of(home, spec)
    said = [] if spec.made else _clean(agent)
    try:
        agent.stop()
    except UnreachableError as error:
        if not spec.made:  # the lab ends what is in the namespaces it made
            said.append(f"service engine {spec.place}: end its agent by hand: {error}")
    return said


def _clean(agent: AgentProcess) -> list[str]:
    try:
        agent.ensure()
        RemoteDriver(agent.path).leave()
    except DataplaneError as error:
        return [f"service engine {agent.engine}: its kernel could not be cleaned: {error}"]
    return []


def client(home: Home) -> Client:
    """The controller of a home; UnavailableError when there is none."""
    found = Client(home.path)
    found.connect()
    return found

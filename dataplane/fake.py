"""A Driver in memory: carries out the same plans, refuses the same ones, and shows what a test puts into it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from queue import Queue
from typing import Any

from dataplane import flowfilter
from dataplane.diff import Plan, Step, applied, diff
from dataplane.driver import Capture
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import (
    EVERY_FLOW,
    FlowMatch,
    Interface,
    Row,
    SeState,
    nat_counters,
    version,
)
from dataplane.refusals import Surroundings, refusals
from dataplane.ruleset import listener_conflicts, render
from dataplane.rulewords import BOTH
from dataplane.taps import Batch, CaptureSpec, Packet


@dataclass
class FakeDriver:
    """An engine with ``own_interfaces``.

    ``kernel``: what the "kernel" holds, may be changed behind the driver's back; ``flow_rows``, ``counter_values``,
    ``neighbour_rows``, ``fact_values``, ``repair_rows``, ``eased_rows``: what the readers say;
    ``failures``: operation -> exception it raises until removed;
    ``down_servers`` (address, port) fail every test; ``exchanged``: pairs whose
    roles are the other way round; ``reachable`` False: nothing answers;
    ``calls``: the operations asked for, in order; ``captures``: the taps started.
    """

    own_interfaces: list[Interface]
    kernel: SeState = field(default_factory=SeState)
    revision: int | None = None
    flow_rows: list[Row] = field(default_factory=list)
    counter_values: dict[str, tuple[int, int]] = field(default_factory=dict)
    neighbour_rows: list[Row] = field(default_factory=list)
    fact_values: dict[str, Any] = field(default_factory=dict)
    probe_answer: str = "connected"
    failures: dict[str, Exception] = field(default_factory=dict)
    reachable: bool = True
    calls: list[str] = field(default_factory=list)
    captures: list[FakeCapture] = field(default_factory=list)
    repair_rows: list[Row] = field(default_factory=list)
    eased_rows: list[Row] = field(default_factory=list)
    exchanged: set[int] = field(default_factory=set)
    down_servers: set[tuple[str, int]] = field(default_factory=set)
    _held: SeState = field(default_factory=SeState)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def restart(self) -> None:
        """What is left when the agent has died and started again: the kernel, and no knowledge of it."""
        self.revision = None
        self._held = SeState()

    def interfaces(self) -> list[Interface]:
        self._asked("interfaces")
        return [replace(link, addresses=link.addresses + self._extra(link.name)) for link in self.own_interfaces]

    def sync(self, state: SeState, revision: int) -> list[str]:
        with self._lock:
            self._asked("sync")
            _refuse_bad_table(state)
            changes = [_in_words(step) for step in diff(self.kernel, state)]
            self.kernel = self._held = state
            self.revision = revision
            return changes

    def check(self, plan: Plan) -> None:
        with self._lock:
            self._asked("check")
            self._refuse(plan)

    def apply(self, plan: Plan, base: int, revision: int) -> None:
        with self._lock:
            self._asked("apply")
            if self.revision != base:
                raise UnreachableError(f"out of sync: the engine holds revision {self.revision}, not {base}")
            self._refuse(plan)
            self.kernel = applied(self.kernel, plan)
            self._held = applied(self._held, plan)
            self.revision = revision

    def _refuse(self, plan: Plan) -> None:
        if self.revision is None:
            raise UnreachableError("out of sync: the agent does not know yet what the engine should hold")
        target = applied(self._held, plan)
        found = refusals(plan, target, Surroundings(self.own_interfaces, frozenset(), frozenset(self._connected())))
        if found:
            raise RefusedError("; ".join(found))
        _refuse_bad_table(target)

    def drift(self) -> list[str]:
        self._asked("drift")
        if self.revision is None:
            return ["the agent does not know yet what the engine should hold"]
        return [_in_words(step) for step in diff(self.kernel, self._held)]

    def flows(self, mark: int, mask: int, match: FlowMatch = EVERY_FLOW) -> Iterator[Row]:
        self._asked("flows")
        wanted = flowfilter.predicate(match) or (lambda _: True)
        return iter([row for row in self.flow_rows if row["mark"] & mask == mark and wanted(row)])

    def facts(self, kind: str) -> Any:
        self._asked("facts")
        if kind in self.fact_values:
            return self.fact_values[kind]
        if kind == "links":
            return [_link_row(link) for link in self.own_interfaces]
        if kind not in _NOTHING:
            raise RefusedError(f"nothing reads {kind!r} from the kernel")
        return _NOTHING[kind]

    def forget_flows(self, mark: int, mask: int) -> int:
        self._asked("forget_flows")
        gone = [row for row in self.flow_rows if row["mark"] & mask == mark]
        self.flow_rows = [row for row in self.flow_rows if row not in gone]
        return len(gone)

    def forget_neighbours(self) -> int:
        self._asked("forget_neighbours")
        gone, self.neighbour_rows = self.neighbour_rows, []
        return len(gone)

    def forget_bound(self, mark: int, servers: tuple[str, ...]) -> int:
        self._asked("forget_bound")
        rows = self.fact_values.get("persisted", [])
        gone = [row for row in rows if row["mark"] == mark and row["ip"] in servers]
        self.fact_values["persisted"] = [row for row in rows if row not in gone]
        return len(gone)

    def probe(self, kind: str, address: str, port: int = 0) -> Iterator[str]:
        self._asked("probe")
        return iter([f"{kind} {address} port {port}: {self.probe_answer}"])

    def counters(self, names: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
        self._asked("counters")
        kept = [name for one in self.kernel.services.values() for name in sorted(one.counters)]
        kept += [name for number in self.kernel.nat for name in nat_counters(number)]
        return {name: self.counter_values.get(name, (0, 0)) for name in kept if not names or name in names}

    def listeners(self) -> list[Row]:
        self._asked("listeners")
        return [
            {"ip": one.ip, "protocol": one.protocol, "first": one.first, "last": one.last, "service": service.id}
            for service in self.kernel.services.values()
            for one in service.open_listeners
        ]

    def routes(self) -> list[Row]:
        self._asked("routes")
        connected = [
            _route_row(prefix, None, name, source, "kernel") for prefix, (name, source) in self._connected().items()
        ]
        return connected + [
            _route_row(route.prefix, route.gateway, self._way(route.gateway, route.interface), None, "avish")
            for route in self.kernel.routes.values()
        ]

    def _way(self, gateway: str, interface: str) -> str:
        ways = (
            link.name
            for link in self.own_interfaces
            if any(ip_interface(gateway).ip in ip_interface(own).network for own in link.addresses)
        )
        return interface or next(ways, "")

    def neighbours(self) -> list[Row]:
        self._asked("neighbours")
        return list(self.neighbour_rows)

    def addresses(self) -> list[Row]:
        self._asked("addresses")
        return [_address_row(own, link.name, own=False) for link in self.own_interfaces for own in link.addresses] + [
            _address_row(_alone(address.ip), address.interface or "lo", own=True)
            for address in self.kernel.addresses.values()
        ]

    def forwarding(self) -> bool:
        self._asked("forwarding")
        return bool(self.kernel.switches.get("routing"))

    def health(self, pool: str) -> list[Row]:
        """Every test passes, but for the servers in ``down_servers``."""
        self._asked("health")
        watch = self.kernel.pools.get(pool)
        return [self._health_row(pool, server, watch.probes) for server in watch.servers] if watch else []

    def pool_health(self) -> list[Row]:
        self._asked("pool_health")
        return [self._pool_row(pool, watch.servers) for pool, watch in self.kernel.pools.items()]

    def _pool_row(self, pool: str, servers: tuple[tuple[str, int], ...]) -> Row:
        down = [_brief_health(pool, server, up=False) for server in servers if server in self.down_servers]
        return {"pool": pool, "servers": len(servers), "up": len(servers) - len(down), "since": 0.0, "down": down}

    def _health_row(self, pool: str, server: tuple[str, int], probes: Iterable[str]) -> Row:
        up = server not in self.down_servers
        tests = [
            {
                **_brief_health(pool, server, up=up),
                "monitor": key,
                "name": self.kernel.probes[key].name,
                "kind": self.kernel.probes[key].kind,
                "transitions": [0.0],
                "rise": int(up),
                "fall": int(not up),
                "checks": 1,
                "failed": int(not up),
                "failures": {} if up else {"CONNECTION_REFUSED": 1},
                **dict.fromkeys(("recent", "average", "fastest", "slowest"), 1.0 if up else 0.0),
            }
            for key in probes
        ]
        return {**_brief_health(pool, server, up=up), "transitions": [0.0], "monitors": tests}

    def eased(self) -> list[Row]:
        self._asked("eased")
        return list(self.eased_rows)

    def repairs(self) -> list[Row]:
        self._asked("repairs")
        return list(self.repair_rows)

    def roles(self) -> list[Row]:
        """The preferred engine is active, until it is told to step down."""
        self._asked("roles")
        return [
            {
                "pair": number,
                "role": "active" if pair.preferred != (number in self.exchanged) else "standby",
                "since": 0.0,
                "reason": "",
                "preferred": pair.preferred,
                "peer_alive": True,
                "gateways": [{"ip": gateway.ip, "up": True} for gateway in pair.gateways],
                "lacks": "",
                "mirror": pair.mirror,
                "vmac": pair.vmac,
            }
            for number, pair in self.kernel.pairs.items()
        ]

    def step_down(self, pair: int) -> None:
        """A test has to exchange the peer as well."""
        self._asked("step_down")
        if not any(row["pair"] == pair and row["role"] == "active" for row in self.roles()):
            raise RefusedError("this engine is not the active one")
        self.exchanged ^= {pair}

    def drill(self, pair: int) -> Row:
        self._asked("drill")
        self.exchanged ^= {pair}
        return {"outage_ms": 1, "answers": 1}

    def crash(self, pair: int) -> None:
        self.step_down(pair)

    def capture(self, spec: CaptureSpec) -> Capture:
        self._asked("capture")
        tap = FakeCapture(spec)
        self.captures.append(tap)
        return tap

    def _asked(self, operation: str) -> None:
        self.calls.append(operation)
        if not self.reachable:
            raise UnreachableError("no agent answers")
        if operation in self.failures:
            raise self.failures[operation]

    def _extra(self, interface: str) -> tuple[str, ...]:
        return tuple(_alone(one.ip) for one in self.kernel.addresses.values() if one.interface == interface)

    def _connected(self) -> dict[str, tuple[str, str]]:
        """Network -> interface, address."""
        pairs = [(link.name, ip_interface(own)) for link in self.own_interfaces for own in link.addresses]
        return {str(own.network): (name, str(own.ip)) for name, own in pairs}


def _brief_health(pool: str, server: tuple[str, int], *, up: bool) -> Row:
    refused = {"reason": "connection refused", "code": "CONNECTION_REFUSED"}
    found = {"reason": "", "code": ""} if up else refused
    return {"pool": pool, "ip": server[0], "port": server[1], "up": up, "since": 0.0, **found}


class FakeCapture:
    """A tap that gives what ``feed`` is given, until it is closed."""

    def __init__(self, spec: CaptureSpec) -> None:
        self.lost = 0
        self.spec = spec
        self.closed = False
        self._queue: Queue[Batch | _End | None] = Queue()

    def feed(self, packets: Iterable[Packet | None]) -> None:
        """Let the tap see these packets, one by one; None is a lull."""
        for packet in packets:
            self._queue.put(None if packet is None else Batch([packet]))

    def __iter__(self) -> Iterator[Batch | None]:
        while not isinstance(entry := self._queue.get(), _End):
            yield entry

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._queue.put(_End())


class _End:
    """The tap was closed."""


def _refuse_bad_table(state: SeState) -> None:
    """What nftables would refuse. Raises RefusedError."""
    conflicts = listener_conflicts(state.services)
    if conflicts:
        raise RefusedError("; ".join(conflicts))
    try:
        for words in BOTH:
            render(state, words)
    except ValueError as error:
        raise RefusedError(str(error)) from error


def _in_words(step: Step) -> str:
    """What a step from the kernel's state to the wanted one says about the kernel."""
    if step.op == "drop":
        return f"{step.table} {step.key} does not belong here"
    return f"{step.table} {step.key} {'is missing' if step.old is None else 'differs'}"


_NOTHING: Mapping[str, Any] = {
    "finished": {"since": 0.0, "lost": 0, "totals": []},
    "finished_last": [],
    "ftp": [],
    "rates": [],
    "persisted": [],
    "sockets": [],
    "socket_details": [],
    "routes6": [],
    "neighbours6": [],
    "connections": dict.fromkeys(
        ("entries", "max", "found", "insert", "drop", "invalid", "error", "early_drop", "insert_failed"), 0
    ),
    "texts": {},
}
"""What the readers say of an engine that has done nothing yet."""


def _link_row(link: Interface) -> Row:
    return {
        "name": link.name,
        "index": link.index,
        "mac": link.mac,
        "mtu": link.mtu,
        "up": link.up,
        "running": link.up,
        "kind": "veth",
        "master": "",
        "vlan": 0,
        "statistics": dict.fromkeys(("rx_packets", "rx_bytes", "tx_packets", "tx_bytes"), 0),
    }


def _route_row(prefix: str, gateway: str | None, interface: str, source: str | None, protocol: str) -> Row:
    return {
        "prefix": prefix,
        "gateway": gateway,
        "interface": interface,
        "source": source,
        "protocol": protocol,
        "metric": 0,
    }


def _alone(ip: str) -> str:
    return f"{ip}/{32 if version(ip) == 4 else 128}"


def _address_row(address: str, interface: str, *, own: bool) -> Row:
    ip, length = address.split("/")
    return {"ip": ip, "prefixlen": int(length), "interface": interface, "own": own}

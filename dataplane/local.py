"""The Driver on the kernel of the network namespace that the process is in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataplane import (
    abilities,
    back,
    capture,
    conntrack,
    counters,
    facts,
    finished,
    ftpwatch,
    leastconn,
    links,
    nft,
    nftread,
    nftrun,
    overlay,
    persisted,
    probe,
    ratecount,
    ruleset,
    ruleset_flows,
    sysctl,
)
from dataplane.around import Around
from dataplane.diff import Plan, Step, applied, reverse
from dataplane.driver import Capture
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import EVERY_FLOW, NAT_MARK, FlowMatch, Interface, Row, Service, SeState
from dataplane.netlink import NetlinkTimeoutError
from dataplane.nftrun import Loader
from dataplane.refusals import refusals
from dataplane.remembered import Remembered
from dataplane.rulewords import BOTH, Words
from dataplane.taps import CaptureSpec

_LOG = logging.getLogger(__name__)
_LINK_TABLES = ("addresses", "routes")
_WORTH_A_THREAD = 100
"""Steps of addresses and routes."""


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Translates what the kernel answers to questions: silence is an UnreachableError, a refusal a RefusedError."""
    try:
        yield
    except (NetlinkTimeoutError, TimeoutError) as error:
        raise UnreachableError(f"the kernel does not tell its {what}: no answer") from error
    except links.ERRORS as error:
        raise RefusedError(f"the kernel does not tell its {what}: {error}") from error


class LocalDriver:
    """See ``dataplane.driver.Driver``. Changes exclude each other, reads never wait for them.

    What was applied last is kept in memory only: after a restart the first ``sync`` compares with the kernel, unless
    the file ``memory`` tells that nobody has touched the tables since.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._held: tuple[SeState, int] | None = None
        self._shown = SeState()
        self._up: overlay.Up = {}
        self._cut: overlay.Cut = overlay.NO_CUT
        self._least: tuple[Mapping[int, Service], frozenset[int]] = ({}, frozenset())
        self._uneven: frozenset[int] = frozenset()
        self._loader, self._around = Loader(), Around()
        self._coming: SeState | None = None
        self._listeners: tuple[int, list[Row]] | None = None
        sysctl.prepare()
        facts.count_arp()
        self._abilities = abilities.probe()
        self._memory = Remembered(memory)
        self._beside: dict[tuple[str, str], Callable[[], None]] = {}
        self._ledger, self._ftp = finished.Ledger(_addresses_there), ftpwatch.FtpWatch()
        capture.clean_stale()

    @property
    def revision(self) -> int | None:
        """The revision that the kernel holds; None before the first sync."""
        held = self._held
        return None if held is None else held[1]

    @property
    def held(self) -> SeState:
        """What configuration asks for; nothing before the first sync."""
        return SeState() if self._held is None else self._held[0]

    def keeps(self, ip: str) -> bool:
        """Whether an address is to be there, once what is under way is done."""
        return ip in (self._coming or self.held).addresses

    def may_have(self, ip: str) -> bool:
        """Whether an address is to be there, or comes or goes by what is under way."""
        return ip in self.held.addresses or self.keeps(ip)

    @contextmanager
    def _towards(self, target: SeState) -> Iterator[None]:
        """Meanwhile those who watch the kernel know what is coming."""
        self._coming = target
        try:
            yield
        finally:
            self._coming = None

    def sync(self, state: SeState, revision: int) -> list[str]:
        """Goes as far as it can: what the kernel refuses is told at the end (RefusedError), all else is in place."""
        with self._lock, self._towards(state):
            self._held = None
            steps = link_plan(state)
            changes = [_in_words(step) for step in steps]
            with _beside([step for step in steps if step.op == "put"]) as refused:
                shown = overlay.effective_state(state, self._up, self._cut)
                changes += self._begin_again() + self._sync_table(shown)
            if not sysctl.forwards():
                changes.append("forwarding was off")
            sysctl.prepare()
            _set_kernel(state)
            for name in sysctl.forwarding():  # after the tables, whose policy drops what is not ours
                sysctl.write(name, "1")
            refused += _attempt([step for step in steps if step.op == "drop"])
            if refused:
                raise RefusedError("; ".join(refused))
            self._held, self._shown = (state, revision), shown
            self._follow_ftp()
            return changes

    def repair(self, *, tables: bool) -> list[str]:
        """Put right what others have changed, in the nftables tables too if asked; what differed, in words.

        What cannot be put right is told at the end (RefusedError), all else is.
        """
        with self._lock:
            if self._held is None:
                return []
            steps = link_plan(self._shown)
            found = [_in_words(step) for step in steps]
            refused = _attempt(list(steps))
            if tables:
                found += self._begin_again() + self._sync_table(self._shown)
            if not sysctl.forwards():
                found.append("forwarding was off")
                for name in sysctl.forwarding():
                    sysctl.write(name, "1")
            away = back.faults(on=self._shown.switches.get("auto_gateway", False)) if tables else []
            if away:
                back.follow(on=self._shown.switches.get("auto_gateway", False))
            if refused:
                raise RefusedError("; ".join(refused))
            return found + away

    def leave(self, before: Mapping[str, str]) -> None:
        """Take away all that is ours, and put back the kernel settings of before. Raises RefusedError."""
        self.sync(SeState(), 0)
        with self._lock:
            self._held = None
            sysctl.restore(before)  # forwarding first: without the table nothing would be dropped
            nftrun.remove()
            facts.forget_arp()
            ftpwatch.forget()
            ratecount.forget()

    def _lost(self) -> list[tuple[str, str]]:
        """The tables beside, which count and copy, that are not there; before ``watch`` none has to be."""
        there = nftread.tables() if self._beside else []
        return [table for table in self._beside if table not in there]

    def _begin_again(self) -> list[str]:
        """Put back the tables beside; what they count begins anew. Raises RefusedError, NetlinkError."""
        lost = self._lost()
        for table in lost:
            self._beside[table]()
        return [f"nftables table {family} {name} is missing" for family, name in lost]

    def _sync_table(self, state: SeState) -> list[str]:
        """Bring the tables to ``state``, keeping counters where that is possible. Raises RefusedError."""
        if self._memory.holds(state):
            return []
        before = self._memory.now()
        compared = {words: _compare(state, words) for words in BOTH}
        found = {words: table for words, (table, _) in compared.items()}
        changes = [change for _, differences in compared.values() for change in differences]
        if not changes and None not in found.values():
            self._memory.keep(state, before)
            return []
        self._memory.forget()
        wanted = {words: _wanted_table(state, words) for words in BOTH}
        try:
            nftrun.load(_mending(wanted, found))
        except (nft.UnbridgeableError, RefusedError):
            _LOG.warning("the nftables tables cannot be mended and are replaced; their counters start again")
            nftrun.load("".join(map(nft.replacement, wanted.values())))
        if self._memory.now() <= before + 1:
            self._memory.keep(state, before + 1)
        return changes

    def check(self, plan: Plan) -> None:
        with self._lock:
            state, _ = self._known()
            target = applied(state, plan)
            self._refuse(plan, target)
            plan = overlay.effective_plan(plan, state, target, self._shown, self._up, self._cut)
            shown = applied(self._shown, plan)
            commands = _commands(self._shown, shown, plan)
            if commands:
                self._run(nftrun.check, commands, self._shown, shown)

    def apply(self, plan: Plan, base: int, revision: int) -> None:
        with self._lock:
            state, held = self._known()
            if held != base:
                raise UnreachableError(f"out of sync: the engine holds revision {held}, not {base}")
            target = applied(state, plan)
            self._refuse(plan, target)
            plan = overlay.effective_plan(plan, state, target, self._shown, self._up, self._cut)
            shown = applied(self._shown, plan)
            with self._towards(target):
                self._carry_out(plan, self._shown, shown)
                self._held, self._shown = (target, revision), shown
            if any(step.table == "services" for step in plan):
                self._follow_ftp()

    def use(self, up: overlay.Up, changed: Iterable[str]) -> None:
        """From now on these are the usable servers; those of the pools ``changed`` have changed. Raises RefusedError.

        Raises UnreachableError when the kernel holds something else than was thought.
        """
        with self._lock:
            self._up = up
            if self._held is not None:
                self._show(overlay.flip_plan(self._held[0], self._shown, changed, up, self._cut))

    def ease(self, cut: overlay.Cut, changed: Iterable[int]) -> None:
        """From now on these servers get less; the services ``changed`` have other ones. Raises as ``use`` does."""
        with self._lock:
            self._cut = cut
            if self._held is not None:
                self._show(overlay.cut_plan(self._held[0], self._shown, changed, self._up, cut))

    def _show(self, plan: Plan) -> None:
        """Bring the kernel to what is shown after a plan."""
        if plan:
            shown = applied(self._shown, plan)
            self._carry_out(plan, self._shown, shown)
            self._shown = shown

    def balance(self) -> None:
        """Weigh the services anew that balance by least connections, by the flows there are now.

        Raises RefusedError, and UnreachableError when the kernel holds something else than was thought.
        """
        if not self._weighable():
            return
        load = leastconn.load_of(self.flows(0, NAT_MARK))
        with self._lock:
            if self._held is None:
                return
            numbers = self._weighable() & (load.services | self._uneven)
            even = {one: self._even(self.held.services[one]) for one in numbers}
            self._show(leastconn.plan(even, self._shown.services, load))
            self._uneven = frozenset(one for one in numbers if self._shown.services[one] != even[one])

    def _follow_ftp(self) -> None:
        """Read the control connections of what is held along; that this fails takes nothing back."""
        try:
            self._ftp.follow(ftpwatch.ports_of(self.held.services.values()))
        except RefusedError as error:
            _LOG.warning("FTP is read along on other ports than configured: %s", error)

    def _even(self, service: Service) -> Service:
        return overlay.effective(service, self.held.pools, self._up, self._cut)

    def _weighable(self) -> frozenset[int]:
        """The services that balance by least connections; found anew only when services have changed."""
        services = self._shown.services
        if self._least[0] is not services:
            self._least = (services, leastconn.weighable(services))
        return self._least[1]

    def _refuse(self, plan: Plan, target: SeState) -> None:
        """Raise RefusedError if the kernel would refuse a plan, by its addresses, routes or lack of abilities."""
        found = []
        if _link_steps(plan, "put"):
            with _reading("addresses and routes"):
                around = self._around.now()
            found += refusals(plan, target, around)
        found += abilities.refusals(plan, self._abilities)
        if found:
            raise RefusedError("; ".join(found))

    def _known(self) -> tuple[SeState, int]:
        if self._held is None:
            raise UnreachableError("out of sync: the agent does not know yet what the engine should hold")
        return self._held

    def _carry_out(self, plan: Plan, state: SeState, target: SeState) -> None:
        """Links before, one nftables transaction, links after; all of it or nothing. Raises RefusedError.

        Any other error may have come in the middle of a step: then the next sync has to find out what is there.
        """
        done: list[Step] = []
        commands = _commands(state, target, plan)
        loaded = False
        before = self._memory.now()
        try:
            for step in _link_steps(plan, "put"):
                links.perform(step)
                done.append(step)
            if commands:
                self._run(self._loader.load, commands, state, target)
                loaded = True
            if any(step.table in ("timeouts", "switches") for step in plan):
                _set_kernel(target)
            for step in _link_steps(plan, "drop"):
                links.perform(step)
                done.append(step)
            self._memory.moved(plan, before)
        except (RefusedError, UnreachableError):
            self._memory.forget()
            self._take_back(tuple(done), plan, (target, state), loaded=loaded)
            raise
        except Exception:
            self._memory.forget()
            self._held = None
            raise

    def _take_back(self, done: Plan, plan: Plan, back: tuple[SeState, SeState], *, loaded: bool) -> None:
        """Undo the steps that were done; if that fails too, the next sync has to find out what is there."""
        try:
            undo = reverse(done)
            for step in _link_steps(undo, "put"):
                links.perform(step)
            if loaded:
                self._loader.load(_commands(*back, reverse(plan)))
            for step in _link_steps(undo, "drop"):
                links.perform(step)
        except Exception:  # noqa: BLE001  (whatever it is, the refusal is what the caller is told)
            self._held = None
            _LOG.exception("a refused change could not be taken back; the engine is out of sync")

    def _run(
        self, program: Callable[[nft.Change], None], commands: nft.Change, state: SeState, target: SeState
    ) -> None:
        """Run nft; a refusal is explained. Raises RefusedError, or UnreachableError when others changed the table."""
        try:
            program(commands)
        except RefusedError as error:
            conflicts = ruleset.listener_conflicts(target.services)
            if conflicts:
                raise RefusedError("; ".join(conflicts)) from error
            found = [difference for words in BOTH for difference in _compare(state, words)[1]]
            if found:
                self._held = None
                raise UnreachableError(f"out of sync: {found[0]} ({len(found)} differences)") from error
            raise

    @_reading("state")
    def drift(self) -> list[str]:
        if self._held is None:
            return ["the agent does not know yet what the engine should hold"]
        state = self._shown
        found = [_in_words(step) for step in link_plan(state)]
        found += [difference for words in BOTH for difference in _compare(state, words)[1]]
        found += back.faults(on=state.switches.get("auto_gateway", False))
        found += [f"nftables table {family} {name} is missing" for family, name in self._lost()]
        return found if sysctl.forwards() else [*found, "forwarding is off"]

    @_reading("interfaces")
    def interfaces(self) -> list[Interface]:
        return links.interfaces()

    def flows(self, mark: int, mask: int, match: FlowMatch = EVERY_FLOW) -> Iterator[Row]:
        with _reading("connections"):
            yield from conntrack.flows(mark, mask, match)

    def watch(self) -> None:
        """Begin to count what ends, and to read FTP along; of an agent, which lives as long as the driver.

        Raises OSError, RefusedError.
        """
        self._beside = {
            ("inet", ratecount.TABLE): ratecount.begin,
            ("inet", ftpwatch.TABLE): self._ftp.begin,
            ("arp", facts.ARP_TABLE): facts.count_arp,
        }
        ratecount.begin()
        self._ledger.start()
        self._ftp.start()

    def tell_refused(self, tell: Callable[[Row], None]) -> None:
        """Call ``tell``, from another thread, for every TCP connection that a server refuses."""
        self._ledger.refused = tell

    def facts(self, kind: str) -> Any:
        if kind == "finished":
            return self._ledger.sums()
        if kind == "finished_last":
            return self._ledger.last()
        if kind == "ftp":
            return self._ftp.book.rows()
        with _reading(kind):
            found = facts.read(kind)
        return {**found, **self._abilities} if kind == "capabilities" else found

    def probe(self, kind: str, address: str, port: int = 0) -> Iterator[str]:
        with _reading(f"answer to a {kind}"):
            yield from probe.probe(kind, address, port)

    def forget_flows(self, mark: int, mask: int) -> int:
        with _reading("connections"):
            return conntrack.forget(mark, mask)

    def forget_neighbours(self) -> int:
        with _reading("neighbours"):
            return links.forget_neighbours()

    def forget_bound(self, mark: int, servers: tuple[str, ...]) -> int:
        with _reading("bound clients"):
            return persisted.forget(mark, servers)

    @_reading("counters")
    def counters(self, names: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
        return counters.counters(names)

    @_reading("listeners")
    def listeners(self) -> list[Row]:
        """Read anew only when some table has changed: the controller asks again and again."""
        generation = nftread.generation()
        known = self._listeners
        if known is None or known[0] != generation:
            self._listeners = known = (generation, counters.listeners())
        return known[1]

    @_reading("routes")
    def routes(self) -> list[Row]:
        return links.route_rows()

    @_reading("neighbours")
    def neighbours(self) -> list[Row]:
        return links.neighbour_rows()

    @_reading("addresses")
    def addresses(self) -> list[Row]:
        return links.address_rows()

    @_reading("forwarding")
    def forwarding(self) -> bool:
        listing = nftrun.chain_listing("forward")
        if listing is None or not sysctl.forwards():
            return False
        found = nft.parse(listing).chains.get("forward")
        return found in [ruleset_flows.forward_chain(routing=True, timed=timed) for timed in (True, False)]

    def capture(self, spec: CaptureSpec) -> Capture:
        return capture.KernelCapture(spec)


def _addresses_there() -> list[str]:
    return [row["ip"] for row in links.address_rows()]


def _set_kernel(state: SeState) -> None:
    """What rules cannot say. Raises RefusedError."""
    sysctl.remember_pings(state.timeouts.get("icmp"))
    sysctl.answer_everywhere(everywhere=not state.switches.get("own_interface_only"))
    back.follow(on=state.switches.get("auto_gateway", False))


@_reading("addresses and routes")
def link_plan(wanted: SeState) -> Plan:
    """The steps from the kernel's addresses and routes of ours to those of ``wanted``."""
    steps: list[Step] = []
    addresses = {(address.ip, address.interface): address for address in links.own_addresses()}
    missing = [value for value in wanted.addresses.values() if not addresses.pop((value.ip, value.interface), None)]
    steps += [Step("put", "addresses", value.ip, None, value) for value in missing]
    steps += [Step("drop", "addresses", value.ip, value, None) for value in addresses.values()]
    routes = {route.prefix: route for route in links.own_routes()}
    for value in wanted.routes.values():
        found = routes.pop(value.prefix, None)
        if found is None or found.gateway != value.gateway or value.interface not in ("", found.interface):
            steps.append(Step("put", "routes", value.prefix, found, value))
    steps += [Step("drop", "routes", value.prefix, value, None) for value in routes.values()]
    return tuple(sorted(steps, key=lambda step: step.rank))


def _in_words(step: Step) -> str:
    """What a step of ``link_plan`` says about the kernel."""
    if step.op == "drop":
        return f"{links.name_of(step.old)} does not belong here"
    return f"{links.name_of(step.new)} is missing"


def _attempt(steps: list[Step]) -> list[str]:
    """Carry out what can be; gives the refusals."""
    refused = []
    for step in steps:
        try:
            links.perform(step)
        except RefusedError as error:
            refused.append(str(error))
    return refused


@contextmanager
def _beside(steps: list[Step]) -> Iterator[list[str]]:
    """Carry out what can be while other work is done, where it is worth it; the refusals are there afterwards.

    For thousands of addresses the kernel takes as long as nft for the rules.
    """
    if len(steps) < _WORTH_A_THREAD:
        yield _attempt(steps)
        return
    refused: list[str] = []
    with ThreadPoolExecutor(1) as other:
        found = other.submit(_attempt, steps)
        yield refused
        refused += found.result()


def _link_steps(plan: Plan, op: str) -> list[Step]:
    return [step for step in plan if step.op == op and step.table in _LINK_TABLES]


def _commands(old: SeState, new: SeState, plan: Plan) -> nft.Change:
    """What a plan changes in nftables. Raises RefusedError."""
    if not any(step.table in ruleset.KERNEL_TABLES for step in plan):
        return nft.Change(())
    try:
        return nft.Change(tuple(ruleset.touched(old, new, plan, words) for words in BOTH))
    except ValueError as error:
        raise RefusedError(str(error)) from error


def _wanted_table(state: SeState, words: Words) -> nft.Table:
    try:
        return ruleset.render(state, words)
    except ValueError as error:
        raise RefusedError(str(error)) from error


def _mending(wanted: Mapping[Words, nft.Table], found: Mapping[Words, nft.Table | None]) -> str:
    """The commands to the wanted tables; one that is not there, or not as we write it, is replaced.

    Raises UnbridgeableError.
    """
    parts = []
    for words, table in wanted.items():
        have = found[words]
        parts.append(nft.replacement(table) if have is None else nft.transition(have, table))
    return "\n".join(part for part in parts if part)


def _found_table(family: nft.Family) -> nft.Table | None:
    """The kernel's table; None when there is none. Raises ValueError when it holds what we never write."""
    listing = nftrun.listing(family)
    return None if listing is None else nft.parse(listing)


def _compare(state: SeState, words: Words) -> tuple[nft.Table | None, list[str]]:
    """The kernel's table, None when it is not there or not as we write it, and how it differs from ``state``."""
    name = f"nftables table {words.family} {nft.TABLE}"
    try:
        found = _found_table(words.family)
    except ValueError as error:
        return None, [f"{name} is not as we write it: {error}"]
    if found is None:
        return None, [f"{name} is missing"]
    wanted = _wanted_table(state, words)
    return ruleset.with_time_run(found, wanted), nft.differences(wanted, found)

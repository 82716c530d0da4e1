"""Who of two engines answers: keepalived elects, the kernel's gate obeys it, this tells the neighbours and the peer.

Every pair has a keepalived of its own, which ends with the agent. What it says comes by a FIFO.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from dataplane import announce, drill, failover_rules, gateways, links, nftrun, pairset, siblings, vmac
from dataplane.errors import DataplaneError, RefusedError
from dataplane.failover_model import Pair
from dataplane.mirror import Mirror, ended
from dataplane.model import Address, Row, SeState, version

_LOG = logging.getLogger(__name__)
ELECTION_SECONDS = 3.0
HEAD_START_SECONDS = 1.0
"""Of the preferred engine, when both begin at the same moment."""
RESTART_SECONDS = 0.5
LOOK_SECONDS = 0.25
"""Between two looks at whether an active engine is live in the kernel."""
REPEATS = (0.0, 0.05, 0.2, 1.0, 3.0)
"""Seconds after a takeover at which the neighbours are told."""


class _Member:
    """One pair on this engine. ``role``: "active", "standby", "fault" (a link is down) or "electing"."""

    def __init__(self, number: int, pair: Pair, clock: Callable[[], float]) -> None:
        self.number = number
        self.pair = pair
        self.role = "electing"
        self.since = clock()
        self.process: asyncio.subprocess.Process | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.reader = -1
        self.reason = ""


class Failover:
    """Follows the pairs of a state. ``own``: the socket of the agent, beside which those of the other VRFs are;
    ``changed`` is called, from its thread, with whether any pair is active here.
    """

    def __init__(self, own: Path, changed: Callable[[bool], None], clock: Callable[[], float] = time.time) -> None:
        self._folder = own.with_suffix(".pairs")
        self._siblings = siblings.Siblings(own)
        self._mirror = Mirror(self._folder)
        self._changed = changed
        self._clock = clock
        self._members: dict[int, _Member] = {}
        self._addresses: Mapping[str, Address] = {}
        self._gated = False
        self._gate = threading.RLock()
        """Of whoever writes the gate."""
        self._coming: dict[str, Address] = {}
        """Addresses that are gated though the state does not hold them yet, or does no more."""
        self._elected = threading.Condition()
        self._peers = gateways.Exchange(self._step_down_for, self._well)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="failover", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._go_together(), self._loop)

    # --- from other threads

    def guard(self, state: SeState, more: Iterable[Address] = (), fresh: Iterable[int] = ()) -> None:
        """Gate the addresses of ``state`` (and ``more``, which are about to go) before they are in place.

        ``fresh``: pairs in which the next heartbeat makes this engine live.
        """
        if not state.pairs:
            return
        with self._gate:
            self._coming = {one.ip: one for one in more}
            self._put_gate(state, fresh)

    def _put_gate(self, state: SeState, fresh: Iterable[int] = ()) -> None:
        own = [row["ip"] for row in links.address_rows() if not row["own"]]
        commands = failover_rules.gate(state.pairs, [*self._coming.values(), *state.addresses.values()], own)
        nftrun.load(commands + "".join(map(failover_rules.armed, fresh)))
        self._gated = True

    def restore(self, state: SeState) -> list[str]:
        """Put the gate right when others have changed it; what was wrong, in words. Raises RefusedError."""
        if not state.pairs or not self._gated:
            return []
        active = [number for number in state.pairs if self._role(number) == "active"]
        with self._gate:
            before = nftrun.gate_listing(failover_rules.TABLE)
            self._put_gate(state, [] if before else active)  # who is live went with the table: a heartbeat counts again
            if before == nftrun.gate_listing(failover_rules.TABLE):
                return []
        return [f"nftables table netdev {failover_rules.TABLE} {'was changed' if before else 'is missing'}"]

    def change(self, put: Iterable[Address], dropped: Iterable[Address]) -> None:
        """Gate further addresses, or fewer; for changes that leave the pairs as they are."""
        put, dropped = list(put), list(dropped)
        commands = failover_rules.held(put, dropped)
        with self._gate:
            self._coming |= {one.ip: one for one in put}
            for one in dropped:
                self._coming.pop(one.ip, None)
            if commands:
                nftrun.load(commands)

    def follow(self, state: SeState, *, wait: bool = False) -> None:
        """Elect for the pairs of ``state``; ``wait`` until the preferred engine of a new pair is active, or long."""
        self._addresses = state.addresses
        new = {number for number, pair in state.pairs.items() if number not in self._members and pair.preferred}
        asyncio.run_coroutine_threadsafe(self._follow(state.pairs), self._loop).result()
        with self._gate:
            self._coming = {}  # what was coming is held by now, or was refused
            if not state.pairs and self._gated:
                nftrun.load(failover_rules.removal())
                self._gated = False
        if wait and new:
            with self._elected:
                self._elected.wait_for(lambda: all(self._role(n) == "active" for n in new), ELECTION_SECONDS)

    def leave(self) -> None:
        """End all pairs; neither gate nor files stay. Raises RefusedError."""
        asyncio.run_coroutine_threadsafe(self._follow({}), self._loop).result()
        with self._gate:
            nftrun.load(failover_rules.removal())
            self._gated = False
        shutil.rmtree(self._folder, ignore_errors=True)

    def roles(self) -> list[Row]:
        """See ``dataplane.driver.Driver.roles``."""
        return [self._row(member) for member in list(self._members.values())]

    def step_down(self, number: int) -> None:
        """Hand the addresses of a pair over to the peer. Raises RefusedError when it cannot take them."""
        member = self._members.get(number)
        if member is None or member.role != "active":
            raise RefusedError("this engine is not the active one")
        if not self._peers.alive(member.number):
            raise RefusedError("the other engine does not answer: nobody could take over")
        if member.pair.preempt and member.pair.preferred:
            raise RefusedError(
                "it would take over again at once: auto_redistribute_active_standby_load gives the load back to this "
                "engine; switch that off first (configure serviceenginegroup)"
            )
        asyncio.run_coroutine_threadsafe(self._restart(member, "switched over"), self._loop).result(ELECTION_SECONDS)

    def drill(self, number: int) -> Row:
        """Measure how long nobody answers until this engine takes over. Raises RefusedError; see ``drill.outage``."""
        member = self._members.get(number)
        addresses = [one for one in self._addresses.values() if one.pair == number and version(one.ip) == 4]
        links = {link.interface: link for link in member.pair.links} if member else {}
        place = next((one for one in addresses if one.interface in links), None)
        if place is None:
            raise RefusedError("the pair has no IPv4 address on a common network yet: there is nothing to ask for")
        return drill.outage(links[place.interface], place.ip, lambda: self._role(number) == "active")

    def crash(self, number: int) -> None:
        """Fall silent without a word, as if the engine had died; it comes back as the standby engine."""
        member = self._members.get(number)
        if member is None or member.role != "active":
            raise RefusedError("this engine is not the active one")
        for name in (f"pair{number}.pid", f"pair{number}-vrrp.pid"):
            with suppress(OSError, ValueError):
                os.kill(int((self._folder / name).read_text()), signal.SIGKILL)
        nftrun.load(failover_rules.silenced(number))

    def _role(self, number: int) -> str:
        member = self._members.get(number)
        return member.role if member else ""

    def _row(self, member: _Member) -> Row:
        return {
            "pair": member.number,
            "role": member.role,
            "since": member.since,
            "reason": member.reason or (self._mirror.reason if member.pair.mirror else ""),
            "preferred": member.pair.preferred,
            "peer_alive": self._peers.alive(member.number),
            "gateways": self._peers.gateways(member.number),
            "lacks": self._peers.lacks(member.number),
            "mirror": member.pair.mirror and self._mirror.running,
            "vmac": member.pair.vmac,
        }

    # --- in the loop

    async def _follow(self, pairs: Mapping[int, Pair]) -> None:
        for number, member in list(self._members.items()):
            if pairs.get(number) != member.pair:
                await self._replace(member, pairs.get(number))
        for number, pair in pairs.items():
            if number not in self._members:
                self._members[number] = await self._begin(number, pair)
        await self._mirror.follow(pairs)
        self._tell()

    async def _replace(self, member: _Member, pair: Pair | None) -> None:
        """What does not concern the election changes without one."""
        if pair is not None and _elects_alike(member.pair, pair):
            moved = member.pair.vmac != pair.vmac
            if moved:
                await self._bear(member, here=False)
            member.pair = pair
            if moved and member.role == "active":
                member.tasks.append(self._loop.create_task(self._announce(member)))
            await self._peers.follow(member.number, pair)
            return
        await self._end(member)

    async def _begin(self, number: int, pair: Pair) -> _Member:
        member = _Member(number, pair, self._clock)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        fifo = self._fifo(number)
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo, 0o600)
        member.reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self._loop.add_reader(member.reader, self._heard, member, bytearray())
        (self._folder / f"pair{number}.conf").write_text(failover_rules.keepalived(number, pair, fifo))
        member.tasks.append(self._loop.create_task(self._keep(member)))
        member.tasks.append(self._loop.create_task(self._look(member)))
        await self._peers.follow(number, pair)
        return member

    async def _end(self, member: _Member) -> None:
        del self._members[member.number]
        for task in member.tasks:
            task.cancel()
        await asyncio.gather(*member.tasks, return_exceptions=True)
        self._loop.remove_reader(member.reader)
        os.close(member.reader)
        await self._peers.forget(member.number)
        await self._bear(member, here=False)
        await ended(member.process)
        for path in self._folder.glob(f"pair{member.number}*"):
            path.unlink(missing_ok=True)

    def _fifo(self, number: int) -> Path:
        return self._folder / f"pair{number}.fifo"

    async def _keep(self, member: _Member) -> None:
        """Run keepalived, again whenever it ends."""
        program = shutil.which("keepalived", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        base = self._folder / f"pair{member.number}"
        if not member.pair.preferred:
            await asyncio.sleep(HEAD_START_SECONDS)
        while True:
            if program is None:
                self._set(member, "fault", "keepalived is not installed (apt-get install keepalived)")
                return
            await self._until_fit(member)
            await asyncio.to_thread(_clear, base)
            member.process = await asyncio.create_subprocess_exec(
                "setpriv", "--pdeathsig", "TERM", program, "-n", "-l", "-P", "-f", f"{base}.conf", "-p", f"{base}.pid",
                "-r", f"{base}-vrrp.pid", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            status = await member.process.wait()
            known = member.reason if member.role == "electing" else ""
            self._set(member, "electing", known or f"keepalived ended with status {status}")
            _LOG.warning("pair %d: keepalived ended with status %d and is started again", member.number, status)
            await asyncio.sleep(RESTART_SECONDS)

    async def _until_fit(self, member: _Member) -> None:
        """An engine that takes over again by itself must not do so while the other one has what it lacks."""
        while member.pair.preempt and self._lacks(member.number):  # noqa: ASYNC110  (others say what it waits for)
            await asyncio.sleep(LOOK_SECONDS)

    def _lacks(self, number: int) -> bool:
        lost = self._siblings.fault(number) or self._peers.lacks(number)
        return bool(lost) and self._peers.better(number)

    def _heard(self, member: _Member, rest: bytearray) -> None:
        """What keepalived says: GROUP "pair1" MASTER 0."""
        with suppress(BlockingIOError):
            rest += os.read(member.reader, 65536)
        while b"\n" in rest:
            line, _, left = bytes(rest).partition(b"\n")
            rest[:] = left
            words = line.decode(errors="replace").split()
            if words[:1] == ["GROUP"] and len(words) > 2:
                self._elect(member, words[2])

    def _elect(self, member: _Member, said: str) -> None:
        if said == "MASTER":
            self._set(member, "active", "")
            member.tasks.append(self._loop.create_task(self._announce(member)))
        elif said in ("BACKUP", "FAULT"):
            self._set(member, "standby" if said == "BACKUP" else "fault", "" if said == "BACKUP" else "a link is down")
            self._arm(member)
            member.tasks.append(self._loop.create_task(self._bear(member, here=False)))

    async def _bear(self, member: _Member, *, here: bool) -> None:
        """Take frames for the virtual hardware address, or no longer."""
        member.reason = await asyncio.to_thread(vmac.follow, member.pair, here=here) or member.reason

    def _arm(self, member: _Member) -> None:
        task = self._loop.create_task(asyncio.to_thread(_load, failover_rules.armed(member.number)))
        member.tasks.append(task)

    def _set(self, member: _Member, role: str, reason: str) -> None:
        if role != member.role:
            _LOG.info("pair %d: %s, it was %s%s", member.number, role, member.role, f" ({reason})" if reason else "")
            member.role, member.since = role, self._clock()
        member.reason = reason
        member.tasks = [task for task in member.tasks if not task.done()]
        self._tell()
        with self._elected:
            self._elected.notify_all()

    def _tell(self) -> None:
        self._changed(not self._members or any(member.role == "active" for member in self._members.values()))

    async def _announce(self, member: _Member) -> None:
        """Tell the neighbours of all addresses of the pair, several times: the first may go unheard."""
        await self._bear(member, here=True)
        before = 0.0
        for moment in REPEATS:
            await asyncio.sleep(moment - before)
            before = moment
            if member.role != "active":
                return
            addresses = [one for one in self._addresses.values() if one.pair == member.number]
            try:
                await asyncio.to_thread(announce.everywhere, addresses, member.pair)
            except OSError as error:
                _LOG.warning("pair %d: the neighbours cannot be told: %s", member.number, error)

    async def _look(self, member: _Member) -> None:
        """An active engine that the kernel has silenced (it slept too long) is not the active one any more."""
        strikes = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if member.role != "active" or await asyncio.to_thread(pairset.live, member.number):
                strikes = 0
                continue
            strikes += 1
            if strikes > 1:
                await self._restart(member, "it was silent for too long")
                strikes = 0

    def _well(self, number: int) -> bool:
        """Whether this engine could be active as far as its links and its other VRFs go."""
        return self._role(number) in ("active", "standby") and not self._siblings.fault(number)

    async def _go_together(self) -> None:
        """Hand over what is active here while another VRF of the engine cannot be, or the main one is not."""
        while True:
            await asyncio.sleep(gateways.TELL_SECONDS)
            if not self._members:
                continue
            await asyncio.to_thread(self._siblings.look)
            for number, member in list(self._members.items()):
                if member.role != "active" or not self._peers.better(number):
                    continue
                reason = self._siblings.fault(number)
                if not reason and self._siblings.waits(number):
                    reason = "the other engine is active in the main VRF"
                if reason:
                    await self._restart(member, reason)

    async def _restart(self, member: _Member, reason: str) -> None:
        """End keepalived, which gives the peer the word at once; a new one waits its turn."""
        _LOG.info("pair %d: steps down: %s", member.number, reason)
        self._set(member, "electing", reason)  # at once: an end that takes its time is no silence
        await ended(member.process)

    async def _step_down_for(self, number: int, reason: str) -> None:
        member = self._members.get(number)
        if member is not None and member.role == "active":
            await self._restart(member, reason)


def _elects_alike(old: Pair, new: Pair) -> bool:
    return (old.links, old.preferred, old.heartbeat, old.preempt) == (
        new.links,
        new.preferred,
        new.heartbeat,
        new.preempt,
    )


def _clear(base: Path) -> None:
    """Process numbers of one that was killed would keep the next from starting."""
    for name in (f"{base.name}.pid", f"{base.name}-vrrp.pid"):
        base.with_name(name).unlink(missing_ok=True)


def _load(commands: str) -> None:
    try:
        nftrun.load(commands)
    except DataplaneError as error:
        _LOG.warning("the gate cannot be set: %s", error)

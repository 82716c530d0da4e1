"""What is known of the health of a server: counts, thresholds, times. No IO.

A server is tested by a probe; what several tests of a pool say together makes it up or down.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from dataplane.health_model import Probe, Watch
from dataplane.model import Row
from dataplane.probes import Verdict

QUICK_SECONDS = 0.5
"""Until the next test of a server that is new or recovers."""
QUICK_TESTS = 6
"""So many tests a new server that fails has at that pace."""
REMEMBERED = 3
_MOST = 255


@dataclass
class Test:
    """A probe of one server. ``up`` None: not decided yet, for want of a verdict; ``since`` seconds since the epoch."""

    probe: Probe
    port: int
    up: bool | None = None
    since: float = 0.0
    good: int = 0
    bad: int = 0
    checks: int = 0
    failures: int = 0
    reason: str = "not tested yet"
    code: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    transitions: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    total: float = 0.0
    recent: float = 0.0
    fastest: float = 0.0
    slowest: float = 0.0

    def take(self, verdict: Verdict, now: float) -> bool:
        """Count a verdict; True when it changes whether the server is up by this test."""
        self.checks = self.checks + 1
        if verdict.up:
            self.good, self.bad = min(self.good + 1, _MOST), 0
            self._time(verdict.milliseconds)
        else:
            self.bad, self.good = min(self.bad + 1, _MOST), 0
            self.failures += 1
            self.counts[verdict.code] += 1
        if not self._decided(verdict):
            return False
        self.reason, self.code = verdict.reason, verdict.code
        if verdict.up == self.up:
            return False
        self.up, self.since = verdict.up, now
        self.transitions.append(now)
        return True

    def _decided(self, verdict: Verdict) -> bool:
        """The first test of a new server decides, if it may be quick; and nothing is used before it has passed."""
        if self.up is None:
            return not verdict.up or self.probe.quick or self.good >= self.probe.rise
        if verdict.up:
            return self.up or self.good >= self.probe.rise
        return not self.up or self.bad >= self.probe.fall

    def _time(self, milliseconds: float) -> None:
        passed = self.checks - self.failures
        self.recent = milliseconds
        self.total += milliseconds
        self.fastest = milliseconds if passed == 1 else min(self.fastest, milliseconds)
        self.slowest = max(self.slowest, milliseconds)

    @property
    def wait(self) -> float:
        """Seconds until the next test."""
        new = self.checks == self.failures and self.checks < QUICK_TESTS
        recovering = not self.up and (self.good > 0 or new)
        return min(QUICK_SECONDS, self.probe.interval) if self.probe.quick and recovering else self.probe.interval

    def row(self, key: str) -> Row:
        """See ``dataplane.driver.Driver.health``."""
        passed = self.checks - self.failures
        return {
            "monitor": key,
            "name": self.probe.name,
            "kind": self.probe.kind,
            "port": self.probe.port or self.port,
            "up": self.up,
            "reason": self.reason,
            "code": self.code,
            "since": self.since,
            "transitions": list(self.transitions),
            "rise": self.good,
            "fall": self.bad,
            "checks": self.checks,
            "failed": self.failures,
            "failures": dict(self.counts),
            "recent": self.recent,
            "average": self.total / passed if passed else 0.0,
            "fastest": self.fastest,
            "slowest": self.slowest,
        }


@dataclass
class Health:
    """A server as a pool sees it. ``up`` None: not decided yet. ``trusted``: up until a test says something."""

    up: bool | None = None
    since: float = 0.0
    reason: str = "not tested yet"
    code: str = ""
    transitions: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    trusted: bool = False

    def trust(self, reason: str) -> None:
        """Take it for up; an engine that takes over goes on with it until its first verdict."""
        self.up, self.reason, self.trusted = True, reason, True

    def judge(self, watch: Watch, tests: Iterable[Test], now: float) -> bool:
        """Take in what the tests say; True when the server went up or down by it."""
        every = list(tests)
        needed = watch.needed or len(every)
        passed = sum(test.up is True for test in every)
        undecided = sum(test.up is None for test in every)
        failing = [test for test in every if test.up is False]
        up = True if passed >= needed else None if passed + undecided >= needed and not failing else False
        self.reason = "; ".join(dict.fromkeys(f"{test.probe.name}: {test.reason}" for test in failing if not up))
        self.code = failing[0].code if failing and not up else ""
        if up is None:
            self.reason = "not tested yet"
            if self.trusted:
                return False
        self.trusted = False
        if up == self.up:
            return False
        self.up, self.since = up, now
        self.transitions.append(now)
        return True

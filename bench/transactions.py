"""Transactions on 10,000 virtual services, each with a pool and a VIP: compare, commits, rollback; no kernel.

Run by itself it prints its figures only.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
from pathlib import Path

from figures import Figure, in_turns

from avish.api.request import Request
from avish.config.store import Who
from avish.controller.registration import Member, registration
from avish.server.daemon import build
from avish.server.home import Home
from dataplane.model import Interface

SERVICES = 10_000
TURNS = 15
MANY = 1_000
TARGET = 100
FRONT = Interface("eth1", 2, "02:00:00:00:01:01", 1500, True, ("10.10.10.11/16",))
BACK = Interface("eth2", 3, "02:00:00:00:02:01", 1500, True, ("10.40.0.11/16",))


def name_of(number):
    return f"bench-{number:05d}"


def requests_of(number):
    """A virtual service with all that is its own."""
    name = name_of(number)
    third, fourth = divmod(number, 250)
    vip = {"vip_id": "0", "ip_address": {"addr": f"10.20.{third}.{fourth + 1}", "type": "V4"}}
    servers = [{"ip": {"addr": f"10.40.{third}.{server + 20}", "type": "V4"}, "port": 8080} for server in range(4)]
    profile = "System-L4-Application"
    service = {"name": name, "services": [{"port": 80}], "pool_ref": name, "vsvip_ref": name}
    return [
        {"method": "POST", "path": "/api/vsvip", "body": {"name": name, "vip": [vip]}},
        {"method": "POST", "path": "/api/pool", "body": {"name": name, "servers": servers}},
        {"method": "POST", "path": "/api/virtualservice", "body": {**service, "application_profile_ref": profile}},
    ]


class Filled:
    """A controller without sockets and kernels, its store full."""

    def __enter__(self):
        logging.disable(logging.INFO)
        self._folder = tempfile.TemporaryDirectory(prefix="avish-bench-")
        home = Home(Path(self._folder.name))
        home.prepare()
        self.controller = build(home, [])
        member = Member("se1", "Default-Group", (FRONT, BACK))
        self.controller.committer.commit(lambda head: registration(head, [member]), Who("bench"))
        began = time.perf_counter()
        self.transaction([request for number in range(SERVICES) for request in requests_of(number)])
        self.seconds = time.perf_counter() - began
        self.floor = sqlite3.connect(home.path / "floor.db", isolation_level=None)
        self.floor.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (x)")
        return self

    def __exit__(self, *_):
        self.floor.close()
        self.controller.store.close()
        self._folder.cleanup()
        logging.disable(logging.NOTSET)

    @property
    def revision(self):
        return self.controller.committer.head.config.revision

    def call(self, method, path, body=None, **query):
        answer = self.controller.api.handle(Request(method, path, query, body, "admin", "bench"))
        if answer.status != 200:
            raise SystemExit(f"bench: {method} {path} was refused: {str(answer.body)[:300]}")
        return answer.body

    def transaction(self, requests):
        return self.call("POST", "/api/transaction", {"requests": requests}, brief="1")

    def save(self, number, ratio):
        servers = [{"ip": {"addr": "10.40.0.20", "type": "V4"}, "port": 8080, "ratio": ratio}]
        path = f"/api/pool?name={name_of(number)}"
        self.transaction([{"method": "PATCH", "path": path, "body": {"replace": {"servers": servers}}}])


def timed(act):
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def figures():
    """All figures, one after the other."""
    with Filled() as filled:
        yield _compare(filled)
        yield _commit(filled)
        yield _rollback(filled)
        yield _many(filled)
        value = filled.seconds * 1000
        yield Figure(f"{3 * SERVICES} objects in one transaction", value, 0, "ms", "reported", True, "none")


def _compare(filled):
    """Two revisions that differ by one pool, some commits back."""
    for ratio in range(2, 12):
        filled.save(ratio, ratio)
    query = {"from": str(filled.revision - 5), "to": str(filled.revision - 4)}

    def compared():
        found = filled.call("GET", "/api/compare", **query)
        assert (len(found["objects"]), len(found["kernel"])) == (1, 1)

    value, floor = in_turns(TURNS, lambda: timed(compared), lambda: timed(lambda: _one_row(filled)))
    return _figure("compare of two revisions", value, floor, "1 SQLite row")


def _commit(filled):
    path = f"/api/commits/{filled.revision - 5}"
    value, floor = in_turns(
        TURNS, lambda: timed(lambda: filled.call("GET", path)), lambda: timed(lambda: _one_row(filled))
    )
    return _figure("what one commit changed", value, floor, "1 SQLite row")


def _one_row(filled):
    filled.floor.execute("SELECT * FROM t LIMIT 1").fetchall()


def _rollback(filled):
    turn = iter(range(1_000_000))

    def rolled_back():
        filled.save(7, next(turn) % 2 + 1)
        return timed(lambda: filled.call("POST", "/api/rollback", {"back": 1}))

    value, floor = in_turns(TURNS, rolled_back, lambda: timed(lambda: _writes(filled, 2)))
    return _figure("rollback of one object", value, floor, "2 SQLite commits")


def _writes(filled, count, rows=1):
    for _ in range(count):
        filled.floor.execute("BEGIN")
        filled.floor.executemany("INSERT INTO t VALUES (?)", [("x" * 800,)] * rows)
        filled.floor.execute("COMMIT")


def _many(filled):
    turn = iter(range(1_000_000))

    def saved():
        text = f"turn {next(turn)}"
        body = {"replace": {"description": text}}
        names = map(name_of, range(MANY))
        requests = [{"method": "PATCH", "path": f"/api/pool?name={name}", "body": body} for name in names]
        return timed(lambda: filled.transaction(requests))

    value, floor = in_turns(3, saved, lambda: timed(lambda: _writes(filled, 1, MANY)))
    return Figure(
        f"{MANY} objects in one transaction", value, floor, "ms", "reported", True, f"{MANY} SQLite rows, 1 commit"
    )


def _figure(name, value, floor, floor_name):
    name = f"{name}, {SERVICES} services"
    return Figure(name, value, floor, "ms", f"<= {TARGET} ms", value <= TARGET, floor_name)


def main():
    """Measure and print."""
    for figure in figures():
        floor = f"floor {figure.floor:,.2f} ms, {figure.floor_name}"
        print(f"{figure.name}: {figure.value:,.1f} ms ({floor}): {figure.target}")


if __name__ == "__main__":
    main()

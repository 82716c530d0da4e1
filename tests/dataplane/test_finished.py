"""What is remembered of ended connections is bounded."""

from __future__ import annotations

from dataplane import finished
from dataplane.finished import Ledger


def row(port, mark=7):
    """An ended connection of a service that listens on all ports."""
    ends = {"src": "10.0.0.9", "sport": 4000, "dst": "10.0.0.1", "dport": port, "reply_src": "10.1.0.1"}
    counts = {"packets": 1, "bytes": 60, "reply_packets": 1, "reply_bytes": 60}
    return {"protocol": 6, "mark": mark, "reply_sport": port, "state": "TIME_WAIT", "status": 0, **ends, **counts}


def test_a_service_on_all_ports_is_summed_up_beyond_a_number_of_ports(monkeypatch):
    monkeypatch.setattr(finished, "MOST_PORTS", 3)
    ledger = Ledger()
    ledger._add([row(port) for port in range(1, 11)] + [row(2), row(80, mark=8)], 1.0)
    totals = ledger.sums()["totals"]
    assert [(one["mark"], one["dport"], one["flows"]) for one in totals] == [
        (7, 1, 1), (7, 2, 2), (7, 3, 1), (7, 0, 7), (8, 80, 1),
    ]  # fmt: skip
    assert sum(one["bytes"] for one in totals) == 12 * 60


def test_the_engines_own_connections_are_told_apart_from_routed_ones():
    ledger = Ledger(lambda: ["10.0.0.9"])
    ledger._add([row(80, mark=0), row(81, mark=0) | {"src": "10.5.0.1"}, row(82, mark=0) | {"src": "127.0.0.1"}], 1.0)
    assert [(one["own"], one["flows"]) for one in ledger.sums()["totals"]] == [(True, 2), (False, 1)]


def test_the_engines_addresses_are_read_again_after_a_while():
    there = ["10.0.0.9"]
    ledger = Ledger(lambda: there)
    ledger._add([row(80, mark=0)], 1.0)
    there.clear()
    ledger._add([row(80, mark=0)], 2.0)
    ledger._add([row(80, mark=0)], 60.0)
    assert [(one["own"], one["flows"]) for one in ledger.sums()["totals"]] == [(True, 2), (False, 1)]

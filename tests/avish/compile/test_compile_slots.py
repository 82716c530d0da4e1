"""Slots: turns by ratio, and a hash table in which servers keep their slots."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avish.compile.slots import Weighted, hashed, table_size, turns


def named(**ratios):
    return [Weighted(name, 80, ratio) for name, ratio in ratios.items()]


@pytest.mark.parametrize(
    ("ratios", "order"),
    [
        ({}, ""),
        ({"a": 7}, "a"),
        ({"a": 1, "b": 1}, "ab"),
        ({"a": 2, "b": 2, "c": 4}, "cabc"),
        ({"a": 3, "b": 1}, "aaba"),
        ({"a": 10, "b": 20}, "bab"),
    ],
)
def test_turns(ratios, order):
    assert "".join(ip for ip, _ in turns(named(**ratios))) == order


servers = st.lists(st.integers(1, 20), min_size=1, max_size=8).map(
    lambda ratios: [Weighted(f"10.0.0.{n}", 80, ratio) for n, ratio in enumerate(ratios)]
)


@given(servers)
def test_shares_are_exact(pool):
    share = Counter(ip for ip, _ in turns(pool))
    total = sum(server.ratio for server in pool)
    for server in pool:
        assert share[server.ip] * total == server.ratio * sum(share.values())


@given(servers, st.data())
def test_a_server_that_goes_moves_only_its_own_slots(pool, data):
    gone = data.draw(st.sampled_from(pool))
    table = table_size(len(pool))
    before, after = hashed(pool, table), hashed([server for server in pool if server != gone], table)
    for old, new in zip(before, after, strict=False):
        assert old == new or old[0] == gone.ip


def test_hash_spreads_by_ratio():
    pool = [Weighted(f"10.0.0.{n}", 80, 1 + 2 * (n == 0)) for n in range(8)]
    share = Counter(ip for ip, _ in hashed(pool, 4096))
    assert share.keys() == {server.ip for server in pool}
    assert 0.2 < share["10.0.0.0"] / 4096 < 0.4
    assert all(0.05 < share[server.ip] / 4096 < 0.16 for server in pool[1:])


@pytest.mark.parametrize(("servers", "size"), [(0, 64), (1, 64), (4, 64), (5, 128), (100, 2048)])
def test_table_size(servers, size):
    assert table_size(servers) == size


def test_no_servers():
    assert hashed([], 64) == ()

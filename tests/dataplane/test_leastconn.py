from __future__ import annotations

from collections import Counter
from dataclasses import replace

from dataplane import leastconn
from dataplane.leastconn import Load
from dataplane.model import Branch, Leaving, Listener, Match, ServerLimits, Service

A, B = ("10.1.0.1", 80), ("10.1.0.2", 80)
LEAST = Service(7, (Listener("10.0.0.1", "tcp", 80, 80),), "least_connections", (A, B))


def load(fresh=0, **counts):
    servers = {"a": A, "b": B}
    return Load(Counter({(7, *servers[name]): count for name, count in counts.items()}), Counter({7: fresh}))


def weighed(service, found):
    steps = leastconn.plan({service.id: service}, {service.id: service}, found)
    return steps[0].new if steps else service


def row(ip, state="ESTABLISHED", mark=7, age=5):
    return {"mark": mark, "reply_src": ip, "reply_sport": 80, "state": state, "age": age}


def test_a_server_that_lags_gets_the_next_connections():
    assert weighed(LEAST, load(a=6)).slots == (B, B)


def test_no_more_are_dealt_than_it_lags():
    assert Counter(weighed(LEAST, load(fresh=8, a=4)).slots) == {A: 2, B: 6}


def test_an_even_load_leaves_the_turns():
    assert weighed(LEAST, load()).slots == (A, B)
    assert weighed(LEAST, load(a=3, b=3)).slots == (A, B)


def test_a_ratio_is_a_share_of_the_connections():
    assert Counter(weighed(replace(LEAST, slots=(A, A, B)), load(fresh=30, a=20, b=10)).slots) == {A: 20, B: 10}


def test_a_branch_is_weighed_too_and_another_picker_is_not():
    branch = Branch(Match(), "least_connections", (A, B))
    found = weighed(replace(LEAST, picker="round_robin", branches=(branch,)), load(a=2))
    assert (found.slots, found.branches[0].slots) == ((A, B), (B, B))


def test_the_port_does_not_count_where_the_clients_is_kept():
    kept = replace(LEAST, keep_port=True, slots=(("10.1.0.1", 0), ("10.1.0.2", 0)))
    found = leastconn.load_of([row("10.1.0.1")] * 3)
    assert weighed(kept, found).slots == (("10.1.0.2", 0),) * 2


def test_what_is_open_counts_and_what_is_new():
    rows = [row("10.1.0.1", age=0), row("10.1.0.1", "TIME_WAIT"), row("10.1.0.1", "", age=None), row("x", mark=0)]
    found = leastconn.load_of(rows)
    assert found.open[7, "10.1.0.1", 80] == 2
    assert found.fresh == {7: 1}
    assert found.services == {7}


def test_ip_versions_are_dealt_apart():
    six = ("fd00::1", 80)
    assert weighed(replace(LEAST, slots=(A, B, six)), load(a=9)).slots == (B, B, B, six)


def test_only_services_with_a_choice_are_weighed():
    services = {7: LEAST, 8: replace(LEAST, slots=(A, A)), 9: replace(LEAST, picker="random")}
    assert leastconn.weighable(services) == {7}


FULL = replace(LEAST, picker="round_robin", server_limits=ServerLimits(3))


def test_a_full_server_is_left_out_and_keeps_what_it_has():
    found = weighed(FULL, load(a=3))
    assert (found.slots, found.leaving) == ((B,), (Leaving(*A, -1),))
    assert weighed(FULL, load(a=2)) == FULL


def test_where_all_are_full_nobody_is_chosen():
    assert weighed(FULL, load(a=3, b=4)).slots == ()
    assert weighed(replace(FULL, close_when_down=True), load(a=3, b=4)).slots == (A, B)
    alone = replace(FULL, slots=(A,))
    assert leastconn.weighable({7: alone}) == frozenset()
    assert weighed(alone, load(a=3)) == alone


def test_who_is_hashed_stays_when_another_server_is_full():
    hashed = replace(FULL, picker="source_hash", slots=(A, B, A, B))
    assert weighed(hashed, load(a=3)).slots == (B, B, B, B)
    assert leastconn.weighable({7: hashed}) == {7}


def test_a_connection_is_fresh_for_a_second():
    """Ages are whole seconds: one of 1 may be nearly two."""
    rows = [{"mark": 1, "reply_src": "10.1.0.1", "reply_sport": 80, "state": "", "age": age} for age in (0, 1, None)]
    assert leastconn.load_of(rows).fresh[1] == 1

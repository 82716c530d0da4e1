"""Health on top of the configuration."""

from dataclasses import replace

import pytest

from dataplane import overlay
from dataplane.diff import applied, diff
from dataplane.health_model import Watch
from dataplane.model import Branch, Leaving, Listener, Match, Persistence, Service, SeState

A, B, C = ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)
WATCH = Watch((A, B, C), ("m",))
SERVICE = Service(1, (Listener("10.9.0.1", "tcp", 80, 80),), "round_robin", (A, B, A, C), pools=("p",))
STATE = SeState(services={1: SERVICE, 2: replace(SERVICE, id=2, pools=())}, pools={"p": WATCH})


def up(*servers):
    return {"p": frozenset(servers)}


def test_all_up_changes_nothing():
    assert overlay.effective(SERVICE, STATE.pools, up(A, B, C)) is SERVICE


def test_a_server_that_is_down_gets_nothing_new_and_keeps_what_it_has():
    found = overlay.effective(SERVICE, STATE.pools, up(A, C))
    assert found.slots == (A, A, C)
    assert found.leaving == (Leaving(*B, -1),)


def test_a_pool_nothing_is_known_of_is_not_used():
    assert overlay.effective(SERVICE, STATE.pools, {}).slots == ()


def test_what_is_not_watched_is_used():
    assert overlay.effective_state(STATE, {}).services[2] is STATE.services[2]


@pytest.mark.parametrize("picker", ["source_hash", "source_port_hash"])
def test_the_other_slots_of_a_hash_stay(picker):
    service = replace(SERVICE, picker=picker, slots=(A, B, C) * 20)
    found = overlay.effective(service, STATE.pools, up(A, C)).slots
    assert len(found) == 60
    assert all(now == before for before, now in zip(service.slots, found, strict=True) if before != B)
    stands_in = {now for before, now in zip(service.slots, found, strict=True) if before == B}
    assert stands_in == {A, C}


def test_a_flip_touches_the_services_of_the_pool_only():
    shown = overlay.effective_state(STATE, up(A, B, C))
    plan = overlay.flip_plan(STATE, shown, {"p"}, up(A, B))
    assert [(step.op, step.table, step.key) for step in plan] == [("put", "services", 1)]
    assert applied(shown, plan) == overlay.effective_state(STATE, up(A, B))


@pytest.mark.parametrize(
    "target",
    [
        replace(STATE, services={1: replace(SERVICE, slots=(A, B))}),
        replace(STATE, pools={}),
        replace(STATE, pools={"p": replace(WATCH, servers=(A, B))}),
        SeState(),
    ],
)
def test_a_plan_leads_from_what_is_shown_to_what_is_to_be_shown(target):
    known = up(A, C)
    shown = overlay.effective_state(STATE, known)
    plan = overlay.effective_plan(diff(STATE, target), STATE, target, shown, known)
    assert applied(shown, plan) == overlay.effective_state(target, known)


D, E = ("10.0.0.4", 80), ("10.0.0.5", 80)


def test_the_reserve_is_used_when_all_before_it_are_down():
    tiers = replace(SERVICE, reserve=((D,), (E,)), pools=("p", "q"))
    pools = {"p": WATCH, "q": Watch((D, E), ("m",))}
    found = overlay.effective(tiers, pools, {"p": frozenset(), "q": frozenset({E})})
    assert found.slots == (E,)
    assert found.leaving == tuple(Leaving(*one, -1) for one in (A, B, C, D))
    assert overlay.effective(tiers, pools, {"p": frozenset({A}), "q": frozenset({E})}).slots == (A, A)


def test_a_branch_is_served_likewise():
    service = replace(SERVICE, branches=(Branch(Match(), "round_robin", (B, C)),))
    found = overlay.effective(service, STATE.pools, up(A, B))
    assert found.branches[0].slots == (B,)
    assert found.branches[0].leaving == (Leaving(*C, -1),)


def test_persistent_clients_may_insist():
    service = replace(SERVICE, persistence=Persistence(32, 60, "insist"))
    assert overlay.effective(service, STATE.pools, up(A, C)).leaving == (Leaving(*B, -1, returning=True),)


def shares(slots):
    return {server: slots.count(server) / len(slots) for server in set(slots)}


def test_a_server_that_fails_connections_gets_a_quarter_of_its_share():
    service = replace(SERVICE, slots=(A, B, C))
    found = overlay.effective(service, {}, {}, {1: {B: overlay.REDUCED}}).slots
    assert shares(found) == {A: 4 / 9, B: 1 / 9, C: 4 / 9}
    assert found.index(B) not in (0, len(found) - 1), "its turn is in the middle, not at an end"


def test_a_hash_moves_three_quarters_of_its_clients_and_no_others():
    service = replace(SERVICE, picker="source_hash", slots=(A, B) * 32)
    found = overlay.effective(service, {}, {}, {1: {B: overlay.REDUCED}}).slots
    assert [one for one in found[::2] if one != A] == []
    assert found.count(B) == 8


def test_one_that_goes_on_failing_gets_none_while_there_is_another_one():
    service = replace(SERVICE, slots=(A, B))
    assert set(overlay.effective(service, {}, {}, {1: {B: overlay.OUT}}).slots) == {A}
    both = {1: {A: overlay.OUT, B: overlay.OUT}}
    assert set(overlay.effective(service, {}, {}, both).slots) == {A, B}
    assert overlay.effective(service, {}, {}, {2: {B: overlay.OUT}}) is service

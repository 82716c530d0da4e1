from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from states import SERVERS, SERVICES, every_construct, states

from dataplane import nft, ruleset
from dataplane.diff import diff
from dataplane.errors import RefusedError
from dataplane.model import AddressMatch, Listener, NatRule, PortMatch, ProtocolMatch, Service, SeState
from dataplane.rulewords import BOTH

HTTP = Service(7, (Listener("10.0.0.1", "tcp", 80, 80),), "round_robin", SERVERS)


def services(*all_of_them):
    return SeState(services={service.id: service for service in all_of_them})


def rules_of(rule):
    return ruleset.render(SeState(nat={rule.id: rule})).chains[f"nat_{rule.id}"].rules


def test_a_service_is_looked_up_counted_marked_and_balanced():
    table = ruleset.render(services(HTTP))
    assert table.sets["services"].elements == {"10.0.0.1 . 6 . 80": "goto service_7"}
    assert table.chains["service_7"].rules == (
        'counter name "service_7"',
        "ct mark set 0x00000007",
        "meta mark set numgen inc mod 2",
        "goto balance",
    )
    assert table.sets["slots"].elements == {
        "0x00000007 . 0x00000000": "10.1.0.1 . 21",
        "0x00000007 . 0x00000001": "10.1.0.2 . 2121",
    }
    assert "service_7" in table.counters


def test_a_source_hash_does_not_change_when_the_chain_is_loaded_again():
    table = ruleset.render(services(replace(HTTP, picker="source_hash")))
    assert "meta mark set jhash ip saddr mod 2 seed 0x1" in table.chains["service_7"].rules


def test_without_servers_new_connections_are_refused():
    table = ruleset.render(services(replace(HTTP, slots=())))
    assert table.chains["service_7"].rules == ("reject with tcp reset", "reject")
    assert "service_7" in table.counters


def test_the_port_is_kept_and_the_source_translated_on_request():
    table = ruleset.render(services(replace(HTTP, keep_port=True, snat=True)))
    assert table.sets["slots"].elements == {}
    assert table.sets["slots_keep_port"].elements["0x00000007 . 0x00000000"] == "10.1.0.1"
    assert table.sets["snat_services"].elements == {"0x00000007": ""}


def test_only_service_flows_pass_unless_routing_is_on():
    closed = ruleset.render(SeState()).chains["forward"]
    assert closed.hook.endswith("policy drop;")
    assert closed.rules == ("ct mark 0x00000001-0x7fffffff goto service_flows",)
    assert ruleset.render(SeState(switches={"routing": True})).chains["forward"].rules[-1] == "accept"


def test_the_founding_rule():
    rule = NatRule(
        3, ("ftp", 1), ("10.10.10.50",), source=AddressMatch(("10.10.40.0/24",)), source_port=PortMatch((20,))
    )
    assert rules_of(rule) == (
        'counter name "nat_3_evaluated"',
        "ip saddr != 10.10.40.0/24 return",
        "meta l4proto != { 6, 17 } return",
        "th sport != 20 return",
        'counter name "nat_3_hits"',
        "ct mark set 0x80000003",
        "snat to 10.10.10.50",
    )


@pytest.mark.parametrize(
    ("parts", "guards"),
    [
        ({}, ()),
        ({"source": AddressMatch(("1.1.1.1",), negate=True)}, ("ip saddr 1.1.1.1 return",)),
        ({"destination": AddressMatch(("0.0.0.0/0",))}, ()),
        ({"destination": AddressMatch((), negate=True)}, ()),
        ({"protocol": ProtocolMatch("icmp")}, ("meta l4proto != 1 return",)),
        ({"protocol": ProtocolMatch("icmp", negate=True)}, ("meta l4proto 1 return",)),
        (
            {"protocol": ProtocolMatch("tcp", negate=True), "destination_port": PortMatch((53, 53))},
            ("meta l4proto != 17 return", "th dport != 53 return"),
        ),
        (
            {"source_port": PortMatch((22, 21), negate=True)},
            ("meta l4proto != { 6, 17 } return", "th sport { 21, 22 } return"),
        ),
    ],
)
def test_each_condition_is_a_line_that_leaves(parts, guards):
    rules = rules_of(NatRule(1, ("p", 1), ("10.9.0.1",), **parts))
    assert rules == (
        'counter name "nat_1_evaluated"',
        *guards,
        'counter name "nat_1_hits"',
        "ct mark set 0x80000001",
        "snat to 10.9.0.1",
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"source": AddressMatch(())},
        {"source": AddressMatch(("0.0.0.0/0",), negate=True)},
        {"source_port": PortMatch(())},
        {"source_port": PortMatch((20,)), "protocol": ProtocolMatch("icmp")},
    ],
)
def test_what_cannot_match_is_evaluated_only(parts):
    assert rules_of(NatRule(1, ("p", 1), ("10.9.0.1",), **parts)) == ('counter name "nat_1_evaluated"',)


def test_of_several_pool_entries_one_is_chosen_by_source():
    chains = ruleset.render(SeState(nat={1: NatRule(1, ("p", 1), ("10.9.0.1", "10.9.0.4-10.9.0.6"))})).chains
    assert chains["nat_1"].rules[-2:] == ("meta mark set jhash ip saddr mod 2 seed 0x1", "goto nat_1_pool")
    assert chains["nat_1_pool"].rules == (
        "meta mark 0x00000000 snat to 10.9.0.1",
        "meta mark 0x00000001 snat to 10.9.0.4-10.9.0.6 persistent",
    )


def test_rules_are_tried_by_policy_and_index():
    orders = {5: ("a", 2), 6: ("b", 1), 7: ("a", 10)}
    state = SeState(nat={number: NatRule(number, order, ("10.9.0.1",)) for number, order in orders.items()})
    assert ruleset.render(state).chains["nat"].rules == ("jump nat_5", "jump nat_7", "jump nat_6")


def test_a_disabled_rule_is_not_tried_and_keeps_its_counters():
    table = ruleset.render(SeState(nat={1: NatRule(1, ("p", 1), ("10.9.0.1",), enabled=False)}))
    assert table.chains["nat"].rules == ()
    assert table.counters == {"nat_1_evaluated", "nat_1_hits"}


def test_two_services_on_one_listener_are_refused_by_name():
    state = services(HTTP, replace(HTTP, id=8))
    with pytest.raises(RefusedError, match=r"10\.0\.0\.1 tcp port 80"):
        ruleset.render(state)
    assert ruleset.listener_conflicts(state.services) == [
        "10.0.0.1 tcp port 80 is taken by service 7 and wanted by service 8"
    ]


def test_ranges_that_overlap_are_a_conflict_and_a_port_before_a_range_is_none():
    wide = replace(HTTP, id=8, listeners=(Listener("10.0.0.1", "tcp", 1, 1000),))
    late = replace(HTTP, id=9, listeners=(Listener("10.0.0.1", "tcp", 900, 2000),))
    assert ruleset.listener_conflicts(services(HTTP, wide).services) == []
    assert ruleset.listener_conflicts(services(wide, late).services) == [
        "10.0.0.1 tcp ports 900-1000 is taken by service 8 and wanted by service 9"
    ]


def test_a_change_of_one_service_renders_nothing_of_the_others():
    old = every_construct()
    new = replace(old, services={**old.services, 1: replace(SERVICES[0], slots=(("10.1.0.7", 1),))})
    commands = nft.transition(*ruleset.touched(old, new, diff(old, new)))
    assert "service_1" in commands
    assert "service_2" not in commands
    assert "nat_" not in commands


@settings(max_examples=40)
@given(states(), states(), st.sampled_from(BOTH))
def test_what_a_plan_touches_is_all_that_differs(old, new, words):
    before, after = ruleset.touched(old, new, diff(old, new), words)
    whole_before, whole_after = _entries(ruleset.render(old, words)), _entries(ruleset.render(new, words))
    assert _entries(before) <= whole_before
    assert _entries(after) <= whole_after
    assert whole_before - _entries(before) == whole_after - _entries(after)


def _entries(table):
    elements = {(name, *pair) for name, wanted in table.sets.items() for pair in wanted.elements.items()}
    return table.counters | elements | set(table.chains.items())

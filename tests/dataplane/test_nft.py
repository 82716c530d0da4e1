from __future__ import annotations

import pytest
from hypothesis import given, settings
from states import every_construct, states

from dataplane import nft, ruleset
from dataplane.model import SeState
from dataplane.nft import Chain, ElementSet, Table

LISTING = """table ip avish {
\tcounter service_1 {
\t}

\tmap services {
\t\ttype ipv4_addr . inet_proto . inet_service : verdict
\t\telements = { 10.0.0.50 . 6 . 21 : goto service_1,
\t\t\t     10.0.0.50 . 17 . 53 : goto service_1 }
\t}

\tset snat_services {
\t\ttype mark
\t\tflags interval
\t}

\tchain service_1 {
\t\tcounter name "service_1"
\t\tgoto balance
\t}

\tchain forward {
\t\ttype filter hook forward priority 0; policy drop;
\t}
}
"""


def test_a_listing_is_read():
    assert nft.parse(LISTING) == Table(
        frozenset({"service_1"}),
        {
            "services": ElementSet(
                "map",
                "ipv4_addr . inet_proto . inet_service : verdict",
                "",
                {"10.0.0.50 . 6 . 21": "goto service_1", "10.0.0.50 . 17 . 53": "goto service_1"},
            ),
            "snat_services": ElementSet("set", "mark", "interval"),
        },
        {
            "service_1": Chain(('counter name "service_1"', "goto balance")),
            "forward": Chain((), "type filter hook forward priority 0; policy drop;"),
        },
    )


@pytest.mark.parametrize(
    "listing",
    [
        "",
        "table inet avish {\n}",
        "table ip avish {",
        "table ip avish {\n\tflowtable f {\n\t}\n}",
        "table ip avish {\n\tset s {\n\t\ttype mark\n\t\tauto-merge\n\t}\n}",
        "table ip avish {\n\tchain c {\n",
        "table ip avish {\n\tset s {\n\t\ttype mark\n\t\telements = { 1 }\n\t\tcomment\n\t}\n}",
    ],
)
def test_what_we_never_write_is_refused(listing):
    with pytest.raises(ValueError):
        nft.parse(listing)


@settings(max_examples=40)
@given(states())
def test_equal_tables_need_no_commands(state):
    table = ruleset.render(state)
    assert nft.transition(table, table) == ""
    assert nft.differences(table, table) == []


def test_a_transition_takes_away_before_it_adds():
    old = Table(
        frozenset({"a", "b"}),
        {"m": ElementSet("map", "mark : verdict", "", {"1": "goto x", "2": "goto y"})},
        {"x": Chain(("accept",)), "y": Chain(("drop",))},
    )
    new = Table(
        frozenset({"b", "c"}),
        {"m": ElementSet("map", "mark : verdict", "", {"1": "goto z", "3": "goto z"})},
        {"z": Chain(("accept",)), "y": Chain(("accept",))},
    )
    assert nft.transition(old, new).splitlines() == [
        "delete element ip avish m { 1 : goto x, 2 : goto y }",
        "flush chain ip avish x",
        "flush chain ip avish y",
        "delete chain ip avish x",
        "delete counter ip avish a",
        "table ip avish {",
        "counter c { }",
        "map m {",
        "type mark : verdict;",
        "elements = { 1 : goto z, 3 : goto z }",
        "}",
        "chain z {",
        "accept",
        "}",
        "chain y {",
        "accept",
        "}",
        "}",
    ]


@pytest.mark.parametrize(
    "new",
    [
        Table(sets={"s": ElementSet("set", "ipv4_addr")}),
        Table(sets={"s": ElementSet("set", "mark", "interval")}),
        Table(chains={"c": Chain((), "type nat hook postrouting priority 100; policy accept;")}),
    ],
)
def test_another_nature_cannot_be_bridged(new):
    old = Table(
        sets={"s": ElementSet("set", "mark")},
        chains={"c": Chain((), "type filter hook forward priority 0; policy drop;")},
    )
    with pytest.raises(nft.UnbridgeableError):
        nft.transition(old, new)


def test_differences_are_told_in_words():
    wanted, found = ruleset.render(every_construct()), ruleset.render(SeState())
    words = nft.differences(wanted, found)
    assert "nftables counter service_1 is missing" in words
    assert "nftables map services: 10.0.0.50 . 6 . 21 : goto service_1 is missing" in words
    assert "nftables chain forward has other rules" in words
    assert "nftables chain service_1 does not belong here" in nft.differences(found, wanted)

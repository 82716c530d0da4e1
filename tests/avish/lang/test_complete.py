"""What TAB and ``?`` offer, with the help and the hints for values."""

from __future__ import annotations

import pytest
from language import TREE, tab

from avish.lang.tail import PIPES

POOL = ("configure pool p",)
OFFERED = {word for word, step in TREE.root.words.items() if not step.hidden}
RULE = ("configure natpolicy n", "rules index 1")


def texts(before, *lines):
    return [suggestion.text for suggestion in tab(before, *lines)]


@pytest.mark.parametrize(
    ("before", "lines", "expected"),
    [
        ("co", (), ["commit", "compare", "configure", "convert", "copy"]),
        ("configure po", (), ["pool", "poolgroup"]),
        ("configure pool ", (), ["NAME", "p1", '"p 2"']),
        ("configure pool p", (), ["p1", '"p 2"']),
        ('configure pool "p', (), ["p1", '"p 2"']),
        ('configure pool "p 2', (), ['"p 2"']),
        ("configure pool zz", (), ["NAME"]),
        ("delete pool p1", (), ["p1"]),
        ("debug ", (), ["controller", "serviceengine", "virtualservice"]),
        ("debug serviceengine ", (), ["NAME", "se1"]),
        ("show debug serviceengine ", (), ["NAME", "se1", "<cr>"]),
        (
            "show pool p1 ",
            (),
            ["summary", "server", "detail", "hmon", "algo", "vs", "persistence", "internal", "debug", "<cr>"],
        ),
        ("show pool p1 server ", (), ["summary", "detail", "internal", "hmonstat", "rate"]),
        ("show pool p1 summary ", (), ["<cr>"]),
        ("show serviceengine se1 nat", (), ["natpolicystat", "natpolicystats", "nat-flows", "natstat"]),
        ("do show po", POOL, ["pool", "poolgroup"]),
        ("default_s", POOL, ["default_server_port"]),
        ("default_server_port ", POOL, ["<1-65535>"]),
        ("lb_algorithm lb_algorithm_r", POOL, ["lb_algorithm_round_robin", "lb_algorithm_random"]),
        ("lb_algorithm LB_ALGORITHM_R", POOL, ["lb_algorithm_round_robin", "lb_algorithm_random"]),
        ("lb_algorithm x", POOL, []),
        ("health_monitor_refs ", POOL, ["NAME", "System-TCP", "System-UDP"]),
        ("health_monitor_refs System-T", POOL, ["System-TCP"]),
        ("application_persistence_profile_ref ", POOL, ["NAME"]),
        ("description ", POOL, ["WORD"]),
        ('description "a b', POOL, ["WORD"]),
        ("servers ip ", POOL, ["<x.x.x.x>"]),
        ("servers index ", POOL, ["<1-2147483648>"]),
        ("servers i", POOL, ["ip", "index", "<x.x.x.x>"]),
        ("no servers i", POOL, ["ip", "index", "<x.x.x.x>"]),
        ("no health_monitor_refs ", POOL, ["NAME", "System-TCP", "System-UDP"]),
        ("no lb_algorithm ", POOL[:0], []),
        ("nat_ip_range ", (*RULE, "action", "nat_info"), ["begin", "end", "no", "<x.x.x.x>-<x.x.x.x>", "<cr>"]),
        ("match_criteria ", (*RULE, "match", "source_ip"), ["WORD", "is_in", "is_not_in"]),
        ("prefixes ", (*RULE, "match", "source_ip"), ["<x.x.x.x/x>"]),
        ("nonsense ", (), []),
        ("default_server_port x ", POOL, []),
        ("\x1b", (), []),
        ("x" * 70_000, (), []),
    ],
)
def test_offered(before, lines, expected):
    assert texts(before, *lines) == expected


def test_at_the_top_all_verbs_are_offered():
    offered = texts("")
    assert offered == sorted(offered)
    assert set(offered) == OFFERED
    assert {"attach", "configure", "debug", "exit", "history", "show", "switchto", "terminal", "watch"} < set(offered)


def test_do_shows_and_does_nothing_else():
    assert texts("do ", *POOL) == texts("do ") == ["show"]


def test_inside_a_mode_verbs_and_fields_are_offered():
    offered = texts("", *POOL)
    assert offered[:4] == ["cancel", "exit", "save", "where"]
    assert {"compare", "do", "show", "watch", "name", "servers", "enabled", "no"} < set(offered)
    assert not {"uuid", "url", "_last_modified", "configure"} & set(offered)


def test_behind_a_boolean_values_come_before_the_fields():
    offered = texts("enabled ", *POOL)
    assert offered[:2] == ["True", "False"]
    assert "description" in offered
    assert "true" not in offered


def test_a_list_with_its_own_index_has_no_other():
    assert "index" in texts("servers ", *POOL)
    assert texts("rules ind", RULE[0]) == ["index"]
    assert [s.help for s in tab("rules ind", RULE[0])] == [
        TREE.schema.object("natpolicy").fields["rules"].nested.fields["index"].help
    ]


@pytest.mark.parametrize(
    ("before", "lines", "text", "part"),
    [
        ("sa", (), "save", "Keep this level"),
        ("configure na", (), "natpolicy", "Source NAT rules"),
        ("default_server_port ", POOL, "<1-65535>", "(whole number (1-65535); default 80)"),
        ("graceful_disable_timeout ", POOL, "<1-7200>", "(whole number (1-7200 or 0 or -1), in min; default 1 min)"),
        ("servers ip ", POOL, "<x.x.x.x>", "Address of the server (IP4 address x.x.x.x or IP6 address x:x::x)"),
        ("health_monitor_refs ", POOL, "NAME", "(name of a healthmonitor)"),
        ("description ", POOL, "WORD", "(text; quote it when it has blanks)"),
        ("configure pool p1 enabled ", (), "False", "Switch off"),
        ("show pool | ", (), "grep", PIPES["grep"]),
    ],
)
def test_help_says_form_range_unit_and_default(before, lines, text, part):
    found = {s.text: s.help for s in tab(before, *lines)}
    assert part in found[text]


def test_every_offer_has_help():
    for lines in [(), POOL, RULE, (*RULE, "action")]:
        assert all(s.help for s in tab("", *lines))


@pytest.mark.parametrize(
    ("before", "start"),
    [("configure po", 10), ("configure ", 10), ('configure pool "p', 15), ("", 0), ("  sa", 2), ("show pool | gr", 12)],
)
def test_where_the_offer_stands(before, start):
    assert {s.start for s in tab(before)} == {start}


def test_hints_are_not_to_be_inserted():
    literal = {s.text: s.literal for s in tab("configure pool ")}
    assert literal == {"NAME": False, "p1": True, '"p 2"': True}
    assert [s.literal for s in tab("save ")] == [False]


class TestPipes:
    @pytest.mark.parametrize("before", ["show pool | ", "show pool |", "show pool | grep x |"])
    def test_all_are_offered(self, before):
        assert texts(before) == list(PIPES)

    def test_one_is_completed(self):
        assert texts("show pool | g") == ["grep"]

    def test_what_to_look_for_is_the_users(self):
        assert texts("show pool | grep ") == ["WORD"]

    @pytest.mark.parametrize("before", ["show pool | x", "show pool | grep x"])
    def test_its_arguments_are_not(self, before):
        assert texts(before) == []

    def test_a_quoted_pipe_is_none(self):
        assert texts('description "|"', *POOL) == ["WORD"]
        assert texts('description "|" lb_algorithm_h', *POOL) == ["lb_algorithm_hash"]


def test_names_are_asked_for_only_when_needed():
    asked = []

    def names(kind):
        asked.append(kind)
        return []

    tab("configure po", names=names)
    tab("lb_algorithm ", *POOL, names=names)
    assert asked == []
    tab("pool_ref ", "configure virtualservice v", names=names)
    assert asked == ["pool"]

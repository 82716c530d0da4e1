"""The walk: lines to operations, and the errors it tells."""

from __future__ import annotations

import pytest
from language import TREE, inside, ops, walked

from avish.errors import ParseError

POOL = ("configure pool p",)
RULE = ("configure natpolicy n", "rules index 1")
SE = ("debug serviceengine se1",)
TYPE = "nat_policy_action_type_dynamic_ip_port"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("configure pool p1", [("open", "pool", "p1")]),
        ('configure pool "a b"', [("open", "pool", "a b")]),
        ("debug serviceengine se1", [("open", "debugserviceengine", "se1")]),
        ("show pool", [("list", "pool")]),
        ("show pool p1", [("show", "pool", "p1")]),
        ("show debug serviceengine se1", [("show", "debugserviceengine", "se1")]),
        ("show pool p1 summary", [("show", "pool", "p1"), ("run", "show pool <pool> summary")]),
        (
            "show serviceengine se1 interface summary",
            [("show", "serviceengine", "se1"), ("run", "show serviceengine <serviceengine> interface summary")],
        ),
        ("do show pool", [("list", "pool")]),
        ("delete pool p1", [("delete", "pool", "p1")]),
        ("save", [("save",)]),
        ("exit", [("exit",)]),
        ("cancel", [("cancel",)]),
        ("where", [("where",)]),
        ("configure pool p1 no enabled", [("open", "pool", "p1"), ("set", "enabled", False)]),
        (
            "configure pool p1 servers ip 10.1.1.1 port 80",
            [("open", "pool", "p1"), ("enter", "servers"), ("set", "ip", "10.1.1.1"), ("set", "port", 80)],
        ),
    ],
)
def test_top_level(line, expected):
    assert ops(line) == expected


@pytest.mark.parametrize(
    ("line", "modes", "expected"),
    [
        ("default_server_port 21", POOL, [("set", "default_server_port", 21)]),
        ("lb_algorithm LB_ALGORITHM_ROUND_ROBIN", POOL, [("set", "lb_algorithm", "LB_ALGORITHM_ROUND_ROBIN")]),
        ('description "a b"', POOL, [("set", "description", "a b")]),
        ("description save", POOL, [("set", "description", "save")]),
        (
            "default_server_port 21 description x enabled",
            POOL,
            [("set", "default_server_port", 21), ("set", "description", "x"), ("set", "enabled", True)],
        ),
        (
            "health_monitor_refs a health_monitor_refs b",
            POOL,
            [("set", "health_monitor_refs", "a"), ("set", "health_monitor_refs", "b")],
        ),
        ("save", POOL, [("save",)]),
        ("exit", POOL, [("exit",)]),
        ("cancel", POOL, [("cancel",)]),
        ("where", POOL, [("where",)]),
        ("do show pool p", POOL, [("show", "pool", "p")]),
    ],
)
def test_fields(line, modes, expected):
    assert ops(line, *modes) == expected


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("enabled", True),
        ("enabled True", True),
        ("enabled true", True),
        ("enabled 1", True),
        ("enabled False", False),
        ("enabled false", False),
        ("enabled 0", False),
        ("no enabled", False),
    ],
)
def test_all_forms_of_a_boolean(line, value):
    assert ops(line, *POOL) == [("set", "enabled", value)]


def test_a_boolean_in_the_middle_of_a_line():
    assert ops("enabled description x", *POOL) == [("set", "enabled", True), ("set", "description", "x")]
    assert ops("enabled 0 description x", *POOL) == [("set", "enabled", False), ("set", "description", "x")]
    assert ops("no enabled description x", *POOL) == [("set", "enabled", False), ("set", "description", "x")]


@pytest.mark.parametrize(
    ("line", "modes", "expected"),
    [
        ("no description", POOL, [("unset", "description")]),
        ("no fail_action", POOL, [("unset", "fail_action")]),
        ("no health_monitor_refs a", POOL, [("discard", "health_monitor_refs", "a")]),
        ("no servers index 2", POOL, [("remove", "servers"), ("index", 2)]),
        (
            "no servers ip 10.1.1.1 port 80",
            POOL,
            [("remove", "servers"), ("match", "ip", "10.1.1.1"), ("match", "port", 80)],
        ),
        ("no servers 10.1.1.1", POOL, [("remove", "servers"), ("match", "ip", "10.1.1.1")]),
        (
            "no servers 10.1.1.1 port 80",
            POOL,
            [("remove", "servers"), ("match", "ip", "10.1.1.1"), ("match", "port", 80)],
        ),
        ("no rules index 1", RULE[:1], [("remove", "rules"), ("match", "index", 1)]),
        (
            "no ranges 10.0.0.1-10.0.0.9",
            ("configure ipaddrgroup g",),
            [("remove", "ranges"), ("range", "10.0.0.1-10.0.0.9")],
        ),
        ("no addrs 10.0.0.1", ("configure ipaddrgroup g",), [("discard", "addrs", "10.0.0.1")]),
        ("no flags flag debug_pcap_nat", SE, [("remove", "flags"), ("match", "flag", "DEBUG_PCAP_NAT")]),
        ("no flags debug_pcap_nat", SE, [("remove", "flags"), ("match", "flag", "DEBUG_PCAP_NAT")]),
        (
            "servers index 2 no ratio port 81",
            POOL,
            [("enter", "servers"), ("index", 2), ("unset", "ratio"), ("set", "port", 81)],
        ),
    ],
)
def test_all_forms_of_no(line, modes, expected):
    assert ops(line, *modes) == expected


@pytest.mark.parametrize(
    ("line", "modes", "expected", "left_in"),
    [
        ("servers", POOL, [("enter", "servers")], 2),
        ("servers ip 10.1.1.1 port 80", POOL, [("enter", "servers"), ("set", "ip", "10.1.1.1"), ("set", "port", 80)], 2),
        ("servers index 2 ratio 3", POOL, [("enter", "servers"), ("index", 2), ("set", "ratio", 3)], 2),
        ("rules index 2 name x", RULE[:1], [("enter", "rules"), ("set", "index", 2), ("set", "name", "x")], 2),
        ("gateway_mon 10.0.0.9", ("configure vrfcontext global",), [("enter", "gateway_mon"), ("set", "gateway_ip", "10.0.0.9")], 2),
        ("servers 10.1.1.1", POOL, [("enter", "servers"), ("set", "ip", "10.1.1.1")], 2),
        ("services 80 port_range_end 90", ("configure virtualservice v",),
         [("enter", "services"), ("set", "port", 80), ("set", "port_range_end", 90)], 2),
        ("capture_params num_pkts 1000", SE, [("enter", "capture_params"), ("set", "num_pkts", 1000)], 2),
        ("debug_ip addrs 10.0.0.1 addrs 10.0.0.2", SE,
         [("enter", "debug_ip"), ("set", "addrs", "10.0.0.1"), ("set", "addrs", "10.0.0.2")], 2),
    ],
)  # fmt: skip
def test_nested_messages(line, modes, expected, left_in):
    assert ops(line, *modes) == expected
    assert len(walked(line, *modes).frames) == left_in


class TestTheOnlyFieldOfAMessage:
    def test_its_entry_on_one_line_does_not_enter(self):
        entry = [("enter", "flags"), ("set", "flag", "DEBUG_PCAP_NAT"), ("save",)]
        assert ops("flags flag debug_pcap_nat", *SE) == entry
        assert ops("flags debug_pcap_nat", *SE) == entry
        assert ops("debug serviceengine se1 flags flag debug_pcap_nat") == [
            ("open", "debugserviceengine", "se1"),
            *entry,
        ]

    def test_several_on_one_line(self):
        line = "flags flag debug_pcap_nat flags flag debug_pcap_rx"
        assert [op[0] for op in ops(line, *SE)] == ["enter", "set", "save", "enter", "set", "save"]

    def test_its_name_alone_enters_and_stays(self):
        assert len(inside(*SE, "flags")) == 2
        assert len(inside(*SE, "flags", "flag debug_pcap_nat")) == 2

    def test_a_message_of_several_fields_enters(self):
        assert len(inside(*POOL, "fail_action type fail_action_close_conn")) == 2


class TestRanges:
    NAT_INFO = (*RULE, "action", "nat_info")

    def test_both_ends_at_once(self):
        taken = [("enter", "nat_ip_range"), ("range", "10.0.0.1-10.0.0.9"), ("save",)]
        assert ops("nat_ip_range 10.0.0.1-10.0.0.9", *self.NAT_INFO) == taken
        assert len(walked("nat_ip_range 10.0.0.1-10.0.0.9", *self.NAT_INFO).frames) == 4

    def test_a_sub_mode_with_begin_and_end(self):
        line = "nat_ip_range begin 10.0.0.1 end 10.0.0.9"
        assert ops(line, *self.NAT_INFO) == [
            ("enter", "nat_ip_range"),
            ("set", "begin", "10.0.0.1"),
            ("set", "end", "10.0.0.9"),
        ]
        assert len(inside(*self.NAT_INFO, "nat_ip_range", "begin 10.0.0.1", "end 10.0.0.9")) == 5

    def test_the_line_goes_on_behind_a_range(self):
        line = "ranges 10.0.0.1-10.0.0.9 ranges 10.0.1.1-10.0.1.9 addrs 10.0.2.1"
        kinds = [op[0] for op in ops(line, "configure ipaddrgroup g")]
        assert kinds == ["enter", "range", "save", "enter", "range", "save", "set"]

    def test_one_address_is_no_range(self):
        with pytest.raises(ParseError, match=r"'10\.0\.0\.1' is not a range: FIRST-LAST, or begin"):
            walked("nat_ip_range 10.0.0.1", *self.NAT_INFO)


class TestClimbing:
    """A field of an outer message, typed inside an inner one, saves the inner one first."""

    def test_on_a_line_of_its_own(self):
        modes = (*POOL, "servers ip 10.1.1.1 port 80")
        assert ops("lb_algorithm lb_algorithm_round_robin", *modes)[0] == ("save",)
        assert len(walked("lb_algorithm lb_algorithm_round_robin", *modes).frames) == 1

    def test_on_the_same_line(self):
        kinds = [op[0] for op in ops("servers ip 10.1.1.1 servers ip 10.1.1.2 created_by x", *POOL)]
        assert kinds == ["enter", "set", "save", "enter", "set", "save", "set"]

    def test_over_several_levels(self):
        modes = (*RULE, "match", "services", "source_port", "match_criteria is_in", "ports 20")
        assert ops("action type " + TYPE, *modes) == [
            ("save",), ("save",), ("save",), ("enter", "action"), ("set", "type", TYPE.upper()),
        ]  # fmt: skip
        assert len(inside(*modes, "description x")) == 1

    def test_the_nearest_one_that_has_the_field(self):
        """``name`` is a field of the rule and of the policy."""
        assert len(inside(*RULE, "match", "name x")) == 2
        assert len(inside(*RULE, "name x")) == 2

    def test_a_boolean_left_open_is_set_before(self):
        line = "servers ip 10.1.1.1 enabled description x"
        assert [op[0] for op in ops(line, *POOL)] == ["enter", "set", "set", "set"]
        line = "servers ip 10.1.1.1 enabled lb_algorithm lb_algorithm_round_robin"
        assert [op[0] for op in ops(line, *POOL)] == ["enter", "set", "set", "save", "set"]

    def test_a_whole_rule_on_one_line(self):
        line = (
            "rules index 1 name r enable match source_ip match_criteria is_in prefixes 10.0.0.0/8 "
            f"services source_port match_criteria is_in ports 20 action type {TYPE} nat_info nat_ip 10.1.1.1"
        )
        walk = walked(line, RULE[0])
        assert [frame.name for frame in walk.frames] == ["natpolicy", "rules", "action", "nat_info"]
        assert sum(op[0] == "save" for op in walk.ops) == 4

    def test_no_climbs_with_its_field(self):
        walk = walked("no lb_algorithm", *POOL, "servers")
        assert [op[0] for op in walk.ops] == ["save", "unset"]

    def test_the_one_field_rule_holds_after_climbing(self):
        walk = walked("analytics_policy enable_realtime_metrics", *POOL, "servers")
        assert [frame.name for frame in walk.frames] == ["pool"]


ERRORS = [
    ("confgure pool x", (), "unknown word 'confgure'", "confgure", "configure"),
    ("configure pol x", (), "unknown word 'pol'", "pol", "pool"),
    ("show serviceengine se1 vshsh", (), "unknown word 'vshsh'", "vshsh", "vshash"),
    ("default_server_prt 9", POOL, "unknown field 'default_server_prt'", "default_server_prt", "default_server_port"),
    ("description x lb_algoritm y", POOL, "unknown field 'lb_algoritm'", "lb_algoritm", "lb_algorithm"),
    ("default_server_port 99999", POOL, "default_server_port: 99999 is out of range (1-65535)", "99999", ""),
    ("default_server_port x", POOL, "default_server_port: 'x' is not a whole number (1-65535)", "x", ""),
    ("servers ip 10.1.1", POOL, "ip: '10.1.1' is not an IP address", "10.1.1", ""),
    ("servers 10.1.1", POOL, "ip: '10.1.1' is not an IP address", "10.1.1", ""),
    ("lb_algorithm lb_algorithm_round_robbin", POOL, "lb_algorithm: 'lb_algorithm_round_robbin' is not one of its values",
     "lb_algorithm_round_robbin", "lb_algorithm_round_robin"),
    ("enabled maybe", POOL, "'maybe' is neither True nor False, nor a field that could follow", "maybe", None),
    ("uuid pool-1", POOL, "uuid cannot be set: identifier given at creation; never changes", "uuid", None),
    ("delete pool p", POOL, "'delete' is not possible inside a mode (save or cancel first)", "delete", ""),
    ("configure pool x", POOL, "'configure' is not possible inside a mode (save or cancel first)", "configure", ""),
    ("do configure pool x", POOL, "unknown word 'configure'", "configure", ""),
    ("do delete pool x", POOL, "unknown word 'delete'", "delete", ""),
    ("save now", POOL, "the command ends before 'now'", "now", ""),
    ("delete pool p x", (), "the command ends before 'x'", "x", ""),
    ("configure pool ü", (), "a name cannot hold 'ü': letters, digits, blanks and . @ + - _ are allowed", "ü", ""),
    ("configure pool a'|'b", (), "a name cannot hold '|': letters, digits, blanks and . @ + - _ are allowed", "a'|'b", ""),
    ('"configure" pool a', (), "no text is expected here: 'configure'", '"configure"', None),
    ("servers index 0", POOL, "0 is out of range (1-2147483648)", "0", ""),
    ("configure pool p | grep x", (), "| goes with a show command", "|", ""),
    ("save --json", (), "--json goes with a show command", "--json", ""),
]  # fmt: skip


@pytest.mark.parametrize(("line", "modes", "text", "marked", "nearest"), ERRORS)
def test_an_error_marks_the_word_and_names_the_nearest(line, modes, text, marked, nearest):
    with pytest.raises(ParseError) as caught:
        walked(line, *modes)
    error = caught.value
    assert error.text == text
    assert error.line == line
    assert line[error.start : error.end] == marked
    if nearest is not None:
        assert error.nearest == nearest


@pytest.mark.parametrize(
    ("line", "modes", "text", "expected"),
    [
        ("configure pool", (), "Usage: 'configure pool <name>'. You must enter the object name.", "name, up to 255"),
        ("debug serviceengine", (), "Usage: 'debug serviceengine <name>'. You must enter the object name.", "name, up"),
        ("delete pool", (), "Usage: 'delete pool <name>'. You must enter the object name.", "name, up to 255"),
        ("configure", (), "the line ends too early: an object type is missing", "alertconfig"),
        ("show", (), "the line ends too early: what to show is missing", "alertconfig"),
        ("do", (), "the line ends too early: show is missing", "show"),
        (
            "show pool p1 server",
            (),
            "the line ends too early: the rest of the command is missing",
            "summary",
        ),
        (
            "default_server_port",
            POOL,
            "the line ends too early: a value: whole number (1-65535) is missing",
            "whole number",
        ),
        ("no", POOL, "the line ends too early: a field to unset is missing", "name"),
        (
            "no health_monitor_refs",
            POOL,
            "the line ends too early: the value to remove is missing",
            "name of a healthmonitor",
        ),
        ("no servers", POOL, "which one (index N, or its fields)", "IP4 address"),
        ("servers index", POOL, "the line ends too early: a number is missing", "whole number"),
    ],
)
def test_a_line_that_ends_too_early_says_what_is_missing(line, modes, text, expected):
    with pytest.raises(ParseError) as caught:
        walked(line, *modes)
    assert text in caught.value.text
    assert caught.value.start == len(line)
    assert caught.value.expected[0].startswith(expected)


def test_expected_words_of_a_boolean_come_first():
    with pytest.raises(ParseError) as caught:
        walked("enabled maybe", *POOL)
    assert caught.value.expected[:2] == ("True", "False")


def test_expected_are_words_without_hidden_spellings():
    with pytest.raises(ParseError) as caught:
        walked("servers enabled maybe", *POOL)
    assert "true" not in caught.value.expected


class TestPipes:
    def test_words_of_each(self):
        walk = walked("show pool | grep -i 'a b' | grep -v x")
        assert walk.pipes == [["grep", "-i", "a b"], ["grep", "-v", "x"]]
        assert walk.ops == [("list", "pool")]

    def test_where_has_output(self):
        assert walked("where | grep ip", *POOL).pipes == [["grep", "ip"]]

    @pytest.mark.parametrize("line", ["show pool |", "show pool | | grep x", "show pool | grep x |"])
    def test_nothing_behind_a_pipe(self, line):
        with pytest.raises(ParseError, match=r"a pipe needs a command behind it: \| grep WORD"):
            walked(line)

    def test_nothing_before_a_pipe(self):
        with pytest.raises(ParseError, match="goes with a show"):
            walked("| grep x")

    def test_a_quoted_pipe_is_text(self):
        assert ops("description '|'", *POOL) == [("set", "description", "|")]


class TestJson:
    def test_it_ends_the_command(self):
        walk = walked("show pool p --json | grep x")
        assert walk.form == "json"
        assert walk.ops == [("show", "pool", "p")]
        assert walk.pipes == [["grep", "x"]]

    def test_without_it(self):
        assert not walked("show pool").form


class TestAbbreviations:
    def test_on_a_terminal_only(self):
        assert ops("conf pool p1", abbreviate=True) == [("open", "pool", "p1")]
        with pytest.raises(ParseError):
            walked("conf pool p1")

    def test_a_whole_word_wins_over_longer_ones(self):
        assert ops("show serviceengine", abbreviate=True) == [("list", "serviceengine")]

    def test_ambiguous_ones_are_told(self):
        with pytest.raises(ParseError) as caught:
            walked("d pool p1", abbreviate=True)
        assert caught.value.text == "'d' is ambiguous: debug, delete, do, drill"
        assert (caught.value.start, caught.value.end) == (0, 1)

    def test_values_are_not_abbreviated(self):
        assert ops("show pool s", abbreviate=True) == [("show", "pool", "s")]

    def test_quoted_words_are_no_keywords(self):
        with pytest.raises(ParseError):
            walked("'conf' pool p1", abbreviate=True)


@pytest.mark.parametrize("line", ["servers ip 10.1.1.1 port 80", "no enabled", "description x", "save", "x y"])
def test_blanks_mean_nothing(line):
    def outcome(text):
        try:
            return ops(text, *POOL)
        except ParseError as error:
            return error.text

    assert outcome(f"\t  {line.replace(' ', '   ')}  ") == outcome(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("scaleout virtualservice v to_new_se", "one engine is active"),
        ("show pool p httpcache filter resource_name x.js", "layer 7 is not carried here"),
        ("clear pool p httpcache", "layer 7 is not carried here"),
        ("show placement vip detail", "nothing is placed here"),
        ("exec cloud Default-Cloud gc force", "no cloud connector"),
        ("test alerttestemail a", "sends no e-mail"),
    ],
)
def test_what_cannot_make_sense_here_says_why_whatever_stands_behind(line, reason):
    assert reason in walked(line).ops[-1][1].refused


def test_a_word_that_is_only_refused_makes_no_abbreviation_ambiguous():
    assert [op[0] for op in walked("conf pool p", abbreviate=True).ops] == ["open"]
    assert TREE.root.words["convert"].vain
    assert not TREE.root.words["configure"].vain


class TestTails:
    """What stands behind an object that is given whole."""

    PATH = "configure pool p --servers.1.ip 10.1.1.1"

    @pytest.mark.parametrize("tail", ["| json", "| count", "| grep x", "--json"])
    def test_pipes_go_with_a_show_command(self, tail):
        with pytest.raises(ParseError, match="goes with a show command") as found:
            walked(f"{self.PATH} {tail}")
        assert found.value.line[found.value.start :].startswith(tail.split()[0])

    def test_the_calls_of_an_object_on_one_line_are_told(self):
        assert walked(f"{self.PATH} --api-detail").api_detail

    @pytest.mark.parametrize("tail", ["| json", "--json"])
    def test_nor_do_they_go_with_a_block(self, tail):
        with pytest.raises(ParseError, match="goes with a show command"):
            walked(f"configure pool p {tail} << END", block="enabled: true")
        assert walked("configure pool p << END", block="enabled: true").ops[-1] == ("save",)

    def test_what_begins_like_configure_is_no_object(self):
        assert ops("show running_config --obj_type pool")[-1] == ("run", "show running_config")

    def test_an_abbreviated_debug_object_takes_paths(self):
        made = walked("deb serviceengine se1 --capture True", abbreviate=True)
        assert [op[0] for op in made.ops] == ["open", "body", "save"]

    def test_an_object_without_its_name_lacks_that(self):
        with pytest.raises(ParseError, match="You must enter the object name"):
            walked("configure pool --servers.1.ip 10.1.1.1")

"""Leaf types: what each takes, shows, refuses and says about itself."""

from __future__ import annotations

import pytest

from avish.lang.tree import RANGE
from avish.schema.types import (
    Bool,
    Enum,
    HostPrefix,
    Ip,
    Mac,
    Name,
    Number,
    Prefix,
    Ref,
    Secret,
    Text,
    ref_name,
)

V4 = {"addr": "10.0.0.1", "type": "V4"}
PORT = Number(low=1, high=65535)
TIMEOUT = Number(low=5, high=14400, extra=(0,), unit="sec")
DSCP = Number(low=0, high=63, extra=("MAX",))
MODE = Enum(("HA_MODE_SHARED", "HA_MODE_SHARED_PAIR"))


@pytest.mark.parametrize(
    ("kind", "typed", "value", "shown"),
    [
        (Text(), "any old text", "any old text", "any old text"),
        (Name(), "a b.c@d+e-f_1", "a b.c@d+e-f_1", "a b.c@d+e-f_1"),
        (Name(), "x" * 255, "x" * 255, "x" * 255),
        (Secret(), "s3cret", "s3cret", "<sensitive>"),
        (Mac(), "AA:bb:0C:00:11:22", "aa:bb:0c:00:11:22", "aa:bb:0c:00:11:22"),
        (Bool(), "true", True, "True"),
        (Bool(), "FALSE", False, "False"),
        (Bool(), "1", True, "True"),
        (PORT, "80", 80, "80"),
        (PORT, "0080", 80, "80"),
        (TIMEOUT, "5", 5, "5 sec"),
        (TIMEOUT, "0", 0, "0 sec"),
        (Number(low=1, high=7200, extra=(0, -1), unit="min"), "-1", -1, "-1 min"),
        (Number(allowed=(10, 20)), "20", 20, "20"),
        (Number(real=True), "20", 20.0, "20.0"),
        (Number(real=True, low=0.0, high=1.0), "0.5", 0.5, "0.5"),
        (Number(real=True), "1e3", 1000.0, "1000.0"),
        (DSCP, "MAX", "MAX", "MAX"),
        (DSCP, "max", "MAX", "MAX"),
        (DSCP, "63", 63, "63"),
        (MODE, "ha_mode_shared", "HA_MODE_SHARED", "HA_MODE_SHARED"),
        (MODE, "HA_MODE_SHARED", "HA_MODE_SHARED", "HA_MODE_SHARED"),
        (MODE, "Ha_Mode_Shared", "HA_MODE_SHARED", "HA_MODE_SHARED"),
        (Ip(), "10.0.0.1", V4, "10.0.0.1"),
        (Ip(), "2001:DB8:0::1", {"addr": "2001:db8::1", "type": "V6"}, "2001:db8::1"),
        (Prefix(), "10.0.0.9/24", {"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24}, "10.0.0.0/24"),
        (Prefix(), "0.0.0.0/0", {"ip_addr": {"addr": "0.0.0.0", "type": "V4"}, "mask": 0}, "0.0.0.0/0"),
        (Prefix(), "10.0.0.1/32", {"ip_addr": V4, "mask": 32}, "10.0.0.1/32"),
        (Prefix(), "2001:db8::1/64", {"ip_addr": {"addr": "2001:db8::", "type": "V6"}, "mask": 64}, "2001:db8::/64"),
        (HostPrefix(), "10.0.0.1/24", {"ip_addr": V4, "mask": 24}, "10.0.0.1/24"),
        (Ref("pool"), "p 1", "p 1", "p 1"),
        (Ref("pool"), "/api/pool/pool-1#p1", "/api/pool/pool-1#p1", "p1"),
    ],
)
def test_parse_and_format(kind, typed, value, shown):
    assert kind.parse(typed) == value
    assert type(kind.parse(typed)) is type(value)
    assert kind.format(value) == shown


@pytest.mark.parametrize(
    ("kind", "typed", "reason"),
    [
        (Name(), "x" * 256, "a name of 256 characters is too long: at most 255"),
        (Name(), "", "a name cannot be empty"),
        (Name(), " a", "a name cannot hold 'a blank at its end'"),
        (Name(), "a/b", "a name cannot hold '/'"),
        (Name(), 'a"b', "a name cannot hold '\"'"),
        (Name(), "pöl", "a name cannot hold 'ö'"),
        (Mac(), "aa:bb:cc:dd:ee", "is not an Ethernet address aa:bb:cc:dd:ee:ff"),
        (Mac(), "aa-bb-cc-dd-ee-ff", "is not an Ethernet address"),
        (Bool(), "maybe", "'maybe' is neither True nor False"),
        (PORT, "0", "0 is out of range (1-65535)"),
        (PORT, "65536", "65536 is out of range (1-65535)"),
        (PORT, "-1", "-1 is out of range (1-65535)"),
        (PORT, "eighty", "'eighty' is not a whole number (1-65535)"),
        (PORT, "8.0", "'8.0' is not a whole number"),
        (PORT, "1_000", "'1_000' is not a whole number"),
        (PORT, " 80", "' 80' is not a whole number"),
        (PORT, "٨٠", "'٨٠' is not a whole number"),
        (PORT, "9" * 5000, "is not a whole number"),
        (TIMEOUT, "4", "4 is out of range (5-14400 or 0)"),
        (Number(allowed=(10, 20)), "15", "15 is not one of 10, 20"),
        (Number(real=True), "nan", "'nan' is not a number"),
        (Number(real=True), "inf", "'inf' is not a number"),
        (Number(real=True), "1e999", "inf is out of range"),
        (DSCP, "MIN", "'MIN' is not a whole number (0-63 or MAX)"),
        (DSCP, "64", "64 is out of range (0-63 or MAX)"),
        (MODE, "ha_mode_best", "'ha_mode_best' is not one of its values"),
        (Ip(), "10.0.0.256", "'10.0.0.256' is not an IP address"),
        (Ip(), "10.0.0", "is not an IP address"),
        (Ip(), "10.0.0.1/24", "is not an IP address"),
        (Ip(), "é", "is not an IP address"),
        (Ip(), "10.0.0.1\x00", "is not an IP address"),
        (Prefix(), "10.0.0.0", "is not a prefix: the mask length is missing (10.0.0.0/24)"),
        (Prefix(), "10.0.0.0/33", "is not a prefix: the mask length must be 0-32"),
        (Prefix(), "10.0.0.0/", "the mask length must be 0-32"),
        (Prefix(), "10.0.0.0/٨", "the mask length must be 0-32"),
        (Prefix(), "2001:db8::/129", "the mask length must be 0-128"),
        (Prefix(), "10.0.0.0/255.255.255.0", "the mask length must be 0-32"),
        (Ref("pool"), "a|b", "a name cannot hold '|'"),
        (RANGE, "10.0.0.1", "is not a range: FIRST-LAST"),
        (RANGE, "10.0.0.1-b", "'b' is not an IP address"),
    ],
)
def test_refused_with_a_reason(kind, typed, reason):
    with pytest.raises(ValueError) as caught:
        kind.parse(typed)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (Text(), "x", "x"),
        (Bool(), True, True),
        (PORT, 80, 80),
        (PORT, "80", 80),
        (Number(real=True), 2, 2),
        (DSCP, "MAX", "MAX"),
        (MODE, "ha_mode_shared", "HA_MODE_SHARED"),
        (Ip(), V4, V4),
        (Ip(), {"addr": "10.0.0.1"}, V4),
        (Ip(), "10.0.0.1", V4),
        (Prefix(), {"ip_addr": {"addr": "10.0.0.1", "type": "V4"}, "mask": 8}, Prefix().parse("10.0.0.0/8")),
        (Prefix(), "10.0.0.0/8", Prefix().parse("10.0.0.0/8")),
        (HostPrefix(), {"ip_addr": V4, "mask": 8}, {"ip_addr": V4, "mask": 8}),
        (HostPrefix(), "10.0.0.1/8", {"ip_addr": V4, "mask": 8}),
        (Mac(), "AA:BB:CC:DD:EE:FF", "aa:bb:cc:dd:ee:ff"),
        (Ref("pool"), "https://c/api/pool/pool-1#p", "https://c/api/pool/pool-1#p"),
    ],
)
def test_check_takes_what_rest_sends(kind, given, value):
    assert kind.check(given) == value


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        (Text(), 5, "5 is not a text"),
        (Text(), None, "None is not a text"),
        (Bool(), "true", "'true' is neither true nor false"),
        (Bool(), 1, "1 is neither true nor false"),
        (PORT, True, "True is not a whole number"),
        (PORT, 80.0, "80.0 is not a whole number"),
        (PORT, None, "None is not a whole number"),
        (PORT, [80], "[80] is not a whole number"),
        (PORT, 0, "out of range"),
        (Number(real=True), float("nan"), "out of range"),
        (Number(real=True), float("inf"), "out of range"),
        (MODE, 1, "1 is not a text"),
        (Ip(), {"type": "V4"}, "is not an address such as"),
        (Ip(), {"addr": 1}, "is not an address such as"),
        (Ip(), 7, "is not an address such as"),
        (Prefix(), {"mask": 8}, "is not a prefix such as"),
        (Prefix(), {"ip_addr": {}, "mask": 8}, "is not an IP address"),
        (Prefix(), {"ip_addr": V4}, "the mask length must be"),
        (Prefix(), 8, "is not a prefix such as"),
        (HostPrefix(), {"ip_addr": V4, "mask": 99}, "the mask length must be"),
        (Name(), {}, "{} is not a text"),
    ],
)
def test_check_refuses(kind, given, reason):
    with pytest.raises(ValueError) as caught:
        kind.check(given)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "label", "description"),
    [
        (Text(), "WORD", "text; quote it when it has blanks"),
        (Name(), "NAME", "name, up to 255 letters, digits, blanks and . @ + - _"),
        (Mac(), "aa:bb:cc:dd:ee:ff", "Ethernet address aa:bb:cc:dd:ee:ff"),
        (Bool(), "True|False", "the word alone sets True, 'no' before it False"),
        (PORT, "<1-65535>", "whole number (1-65535)"),
        (TIMEOUT, "<5-14400>", "whole number (5-14400 or 0), in sec"),
        (Number(low=-5, high=5), "<-5..5>", "whole number (-5..5)"),
        (Number(allowed=(10, 20)), "<10|20>", "whole number (10|20)"),
        (Number(), "<number>", "whole number"),
        (Number(real=True, unit="percent"), "<number>", "number, in percent"),
        (DSCP, "<0-63>", "whole number (0-63 or MAX)"),
        (MODE, "WORD", "one of ha_mode_shared, ha_mode_shared_pair"),
        (Enum(("A", "B", "C", "D", "E")), "WORD", "one of a, b, c, d, ..."),
        (Ip(), "<x.x.x.x>", "IP4 address x.x.x.x or IP6 address x:x::x"),
        (Prefix(), "<x.x.x.x/x>", "IP4 prefix x.x.x.x/x or IP6 prefix x:x::/x"),
        (Ref("pool"), "NAME", "name of a pool"),
    ],
)
def test_help_of_a_value(kind, label, description):
    assert (kind.label, kind.describe()) == (label, description)


def test_words_of_an_enumeration_are_lower_case():
    assert MODE.words() == ("ha_mode_shared", "ha_mode_shared_pair")


def test_an_empty_secret_shows_nothing():
    assert Secret().format("") == ""


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("https://c/api/pool/pool-1#a b", "a b"),
        ("/api/pool/?name=p1", "p1"),
        ("/api/pool?name=p1", "p1"),
        ("/api/pool/pool-1", "pool-1"),
        ("p1", "p1"),
    ],
)
def test_name_of_a_reference(ref, name):
    assert ref_name(ref) == name


def test_the_published_words():
    kinds = [Text(), Name(), Secret(), Bool(), PORT, Number(real=True), MODE, Ip(), Prefix(), HostPrefix(), Ref("pool")]
    words = ["string", "string", "string", "bool", "int", "float", "enum", "ip", "prefix", "prefix", "ref"]
    assert [kind.name for kind in kinds] == words

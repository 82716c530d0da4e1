"""NAT policies as the outside sees them: which address a server calls from."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.root
POLICY = "configure natpolicy {name}\n{rules}save\n"
RULE = """
rules index {index} name r{index} enable
match
{match}
save
action type nat_policy_action_type_dynamic_ip_port
nat_info {to}
save
save
save
"""
SOURCE = "source_ip match_criteria is_in {what}\nsave"


@pytest.fixture
def policy(plain):
    """Put a policy in force; take it out again after the test."""

    def enforce(*rules):
        texts = [RULE.format(index=i, match=match, to=to) for i, match, to in rules]
        plain.do(POLICY.format(name="p", rules="".join(texts)))
        plain.do("configure networkservice routing\nrouting_service nat_policy_ref p\nsave\nsave\n")

    yield enforce
    plain.do("configure networkservice routing\nrouting_service\nno nat_policy_ref\nsave\nsave\ndelete natpolicy p\n")


def caller(plain, server, port=22, source_port=0):
    """Who the client sees when ``server`` calls it: address, port."""
    (answer,) = plain.call(server, "tcp", "10.77.1.100", port, 1, "", str(source_port))
    return tuple(answer.split()[1:])


def stats(plain):
    done = plain.shell("show serviceengine se1 natpolicystat", "--json")
    (found,) = json.loads(done.stdout)["nat_policy"]
    return [(rule["evaluated"], rule["hits"]) for rule in found["rule_stats"]]


def test_source_and_port_are_translated_and_the_port_is_kept(plain, policy):
    match = (
        SOURCE.format(what="prefixes 10.77.2.0/24")
        + "\nservices\nsource_port match_criteria is_in ports 4020\nsave\nsave"
    )
    policy((1, match, "nat_ip 10.77.1.60"))
    assert caller(plain, "s1", source_port=4020) == ("10.77.1.60", "4020")
    assert caller(plain, "s1", source_port=4021) == ("10.77.2.101", "4021")
    assert stats(plain) == [(2, 1)]


def test_first_match_by_index(plain, policy):
    policy(
        (20, SOURCE.format(what="prefixes 10.77.2.0/24"), "nat_ip 10.77.1.62"),
        (10, SOURCE.format(what="addrs 10.77.2.101"), "nat_ip 10.77.1.61"),
    )
    assert caller(plain, "s1")[0] == "10.77.1.61"
    assert caller(plain, "s2")[0] == "10.77.1.62"
    assert stats(plain) == [(2, 1), (1, 1)]


def test_not_in_and_ranges_and_groups(plain, policy):
    plain.do("configure ipaddrgroup g\nranges 10.77.2.102-10.77.2.110\nsave\n")
    policy((1, "source_ip match_criteria is_not_in group_refs g\nsave", "nat_ip 10.77.1.63"))
    assert caller(plain, "s1")[0] == "10.77.1.63"
    assert caller(plain, "s2")[0] == "10.77.2.102"


def test_destination_port_and_protocol(plain, policy):
    services = "services\nprotocol match_criteria is_in protocol protocol_tcp\nsave\ndestination_port match_criteria is_in ports 81\nsave\nsave"
    policy((1, f"destination_ip match_criteria is_in addrs 10.77.1.100\nsave\n{services}", "nat_ip 10.77.1.64"))
    assert caller(plain, "s1", port=81)[0] == "10.77.1.64"
    assert caller(plain, "s1", port=80)[0] == "10.77.2.101"
    (answer,) = plain.call("s1", "udp", "10.77.1.100", 81)
    assert answer.split()[1] == "10.77.2.101"


def test_a_pool_is_stable_per_source(plain, policy):
    policy((1, SOURCE.format(what="prefixes 10.77.2.0/24"), "nat_ip_range 10.77.1.70-10.77.1.79"))
    first = {caller(plain, "s1")[0] for _ in range(4)}
    assert len(first) == 1
    assert first.pop().startswith("10.77.1.7")


def test_udp_and_pings_are_translated_too(plain, policy):
    policy((1, SOURCE.format(what="prefixes 10.77.2.0/24"), "nat_ip 10.77.1.67"))
    (answer,) = plain.call("s1", "udp", "10.77.1.100", 81)
    assert answer.split()[1] == "10.77.1.67"
    assert plain.inside("s1", "ping", "-c", "1", "-W", "3", "10.77.1.100").returncode == 0
    pings = plain.inside("se1", "conntrack", "-L", "-p", "icmp").stdout
    assert "src=10.77.2.101 dst=10.77.1.100" in pings
    assert "src=10.77.1.100 dst=10.77.1.67" in pings
    assert stats(plain) == [(2, 2)]


def test_several_addresses_and_ranges_are_one_pool(plain, policy):
    policy(
        (
            1,
            SOURCE.format(what="prefixes 10.77.2.0/24"),
            "nat_ip 10.77.1.80\nsave\nnat_info nat_ip_range 10.77.1.82-10.77.1.83",
        )
    )
    for number in range(110, 122):
        plain.inside("s1", "ip", "addr", "add", f"10.77.2.{number}/24", "dev", "eth0")
    chosen = {
        source: {answer.split()[1] for answer in plain.call("s1", "tcp", "10.77.1.100", 22, 3, source)}
        for source in (f"10.77.2.{number}" for number in range(110, 122))
    }
    assert all(len(found) == 1 for found in chosen.values())
    every = set().union(*chosen.values())
    assert every <= {"10.77.1.80", "10.77.1.82", "10.77.1.83"}
    assert len(every) > 1


def test_the_port_is_preserved_by_the_other_action(plain, policy):
    policy((1, SOURCE.format(what="prefixes 10.77.2.0/24"), "nat_ip 10.77.1.68"))
    plain.do(
        "configure natpolicy p\nrules index 1\naction type nat_policy_action_type_dynamic_ip_preserve_port\nsave\nsave\nsave\n"
    )
    assert caller(plain, "s1", source_port=4030) == ("10.77.1.68", "4030")


PROFILE = """
configure networkservice routing
routing_service
flowtable_profile tcp_idle_timeout 77 tcp_closed_timeout 6 udp_idle_timeout 33 icmp_idle_timeout 44
save
save
save
"""


def test_routed_flows_are_remembered_as_long_as_the_profile_says(plain):
    plain.do(PROFILE)
    plain.inside("s2", "ping", "-c", "1", "-W", "3", "10.77.1.100")
    plain.call("s2", "udp", "10.77.1.100", 81)
    plain.call("s2", "tcp", "10.77.1.100", 81)
    left = {
        words[1]: int(plain.inside("se1", "conntrack", "-L", *words, "--src", "10.77.2.102").stdout.split()[2])
        for words in (("-p", "icmp"), ("-p", "udp", "--dport", "81"), ("-p", "tcp", "--dport", "81"))
    }
    assert 30 < left["icmp"] <= 44
    assert 15 < left["udp"] <= 33
    assert 0 < left["tcp"] <= 6  # closed by both
    assert plain.avishd("check").returncode == 0
    plain.do("configure networkservice routing\nrouting_service\nno flowtable_profile\nsave\nsave\n")


def test_what_a_service_took_is_not_looked_at(plain, policy):
    policy((1, SOURCE.format(what="prefixes 10.77.0.0/16"), "nat_ip 10.77.1.65"))
    plain.do(
        "configure pool n\nservers ip 10.77.2.101 port 80\nsave\nsave\n"
        "configure vsvip n\nvip vip_id 1 ip_address 10.77.1.66\nsave\nsave\n"
        "configure virtualservice n\nservices port 80\nsave\napplication_profile_ref keep\n"
        "network_profile_ref System-TCP-Fast-Path\nvsvip_ref n\npool_ref n\nsave\n"
    )
    (answer,) = plain.call("c1", "tcp", "10.77.1.66", 80)
    assert answer.split()[1] == "10.77.1.100"
    assert stats(plain) == [(0, 0)]

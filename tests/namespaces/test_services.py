"""Virtual services as clients and servers see them: packets, not rules."""

from __future__ import annotations

from collections import Counter

import pytest

pytestmark = pytest.mark.root
SERVICE = """
configure pool {name}
servers ip 10.77.2.101 port {server_port} {first}
save
servers ip 10.77.2.102 port {server_port} {second}
save
lb_algorithm {algorithm}
{pool}
save
configure vsvip {name}
vip vip_id 1 ip_address {vip}
save
save
configure virtualservice {name}
services port {port} {service}
save
application_profile_ref {profile}
network_profile_ref {network}
vsvip_ref {name}
pool_ref {name}
save
"""
DEFAULTS = {
    "server_port": 80,
    "first": "",
    "second": "",
    "algorithm": "lb_algorithm_round_robin",
    "pool": "",
    "service": "",
    "profile": "keep",
    "network": "System-TCP-Fast-Path",
    "port": 80,
}


def service(site, name, vip, **given):
    site.do(SERVICE.format(**{**DEFAULTS, "name": name, "vip": vip, **given}))
    return vip


def names(answers):
    return Counter(answer.split()[0] for answer in answers)


def callers(answers):
    return {answer.split()[1] for answer in answers}


def test_the_client_address_is_preserved_and_round_robin_is_exact(plain):
    vip = service(plain, "rr", "10.77.1.50")
    answers = plain.call("c1", "tcp", vip, 80, 6)
    assert names(answers) == {"s1": 3, "s2": 3}
    assert callers(answers) == {"10.77.1.100"}


def test_without_preserving_the_engine_is_the_source(plain):
    vip = service(plain, "snat", "10.77.1.51", profile="System-L4-Application")
    assert callers(plain.call("c1", "tcp", vip, 80, 2)) == {"10.77.2.11"}


def test_ratios_are_kept(plain):
    vip = service(plain, "ratio", "10.77.1.52", first="ratio 3")
    assert names(plain.call("c1", "tcp", vip, 80, 8)) == {"s1": 6, "s2": 2}


def test_the_source_address_chooses_the_server(plain):
    vip = service(plain, "hash", "10.77.1.53", algorithm="lb_algorithm_consistent_hash")
    chosen = {}
    for last in range(110, 122):
        address = f"10.77.1.{last}"
        plain.inside("c1", "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        (chosen[address],) = names(plain.call("c1", "tcp", vip, 80, 2, address))
    assert set(chosen.values()) == {"s1", "s2"}


def test_a_range_of_ports(plain):
    vip = service(plain, "range", "10.77.1.54", port=8000, service="port_range_end 8010")
    assert names(plain.call("c1", "tcp", vip, 8000, 2) + plain.call("c1", "tcp", vip, 8010, 2)) == {"s1": 2, "s2": 2}
    assert plain.call("c1", "tcp", vip, 8011) == ["ConnectionRefusedError"]


def test_a_range_of_ports_with_the_clients_port(plain):
    vip = service(plain, "same", "10.77.1.55", port=8000, service="port_range_end 8010", pool="use_service_port")
    assert names(plain.call("c1", "tcp", vip, 8005, 2)) == {"s1": 1, "s2": 1}


def test_udp(plain):
    vip = service(plain, "udp", "10.77.1.56", network="System-UDP-Fast-Path", profile="System-L4-Application")
    assert names(plain.call("c1", "udp", vip, 80, 4)) == {"s1": 2, "s2": 2}


def test_disabled_servers_and_services_get_nothing(plain):
    vip = service(plain, "off", "10.77.1.57", first="no enabled")
    assert names(plain.call("c1", "tcp", vip, 80, 4)) == {"s2": 4}
    plain.do("configure pool off\nservers ip 10.77.2.102 port 80\nno enabled\nsave\nsave\n")
    assert plain.call("c1", "tcp", vip, 80) == ["ConnectionRefusedError"]
    plain.do("configure pool off\nservers index 1\nenabled\nsave\nsave\n")
    assert names(plain.call("c1", "tcp", vip, 80)) == {"s1": 1}
    plain.do("configure virtualservice off no enabled\nsave\n")
    assert "s1" not in names(plain.call("c1", "tcp", vip, 80))


def test_only_one_engine_answers_for_an_address(plain):
    vip = service(plain, "held", "10.77.1.58")
    assert names(plain.call("c1", "tcp", vip, 80, 2)) == {"s1": 1, "s2": 1}
    macs = {se: plain.inside(se, "cat", "/sys/class/net/eth1/address").stdout.strip() for se in ("se1", "se2")}
    known = plain.inside("c1", "ip", "neigh", "show", vip).stdout
    assert [se for se, mac in macs.items() if mac in known] == ["se1"]


def test_a_deleted_service_is_gone(plain):
    vip = service(plain, "gone", "10.77.1.59")
    assert names(plain.call("c1", "tcp", vip, 80)) == {"s1": 1}
    plain.do("delete virtualservice gone\ndelete vsvip gone\ndelete pool gone\n")
    assert "s1" not in names(plain.call("c1", "tcp", vip, 80))
    assert "10.77.1.59" not in plain.inside("se1", "ip", "-br", "addr").stdout

"""Objects in, entries of the state out; and what is compiled step by step equals what is compiled at once."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avish.compile.compiler import Compiler, needed_ids
from avish.config.config import Change
from avish.config.transaction import Delete, Put
from dataplane.diff import diff
from dataplane.failover_model import Gateway, Link, Pair
from dataplane.model import Address, AddressMatch, Listener, NatRule, PortMatch, ProtocolMatch, Route

RULE = {
    "index": 2,
    "name": "r",
    "enable": True,
    "match": {},
    "action": {"type": "NAT_POLICY_ACTION_TYPE_DYNAMIC_IP_PORT", "nat_info": [{"nat_ip": "10.10.10.50"}]},
}


def service(world):
    (found,) = world.states()["se1"].services.values()
    return found


@pytest.mark.parametrize(
    ("fields", "listeners"),
    [
        ({"services": [{"port": 21}, {"port": 50, "port_range_end": 60}]}, [("tcp", 21, 21), ("tcp", 50, 60)]),
        ({"network_profile_ref": "System-UDP-Fast-Path"}, [("udp", 21, 21)]),
        (
            {"services": [{"port": 53}, {"port": 53, "override_network_profile_ref": "System-UDP-Fast-Path"}]},
            [("tcp", 53, 53), ("udp", 53, 53)],
        ),
    ],
)
def test_listeners(ftp, fields, listeners):
    ftp.put("virtualservice", name="ftp-vs", **fields)
    assert service(ftp).listeners == tuple(Listener("10.10.10.50", *listener) for listener in listeners)


@pytest.mark.parametrize(
    ("kind", "fields", "snat"),
    [
        ("applicationprofile", {"name": "L4-preserve-client-ip"}, False),
        ("applicationprofile", {"name": "L4-preserve-client-ip", "preserve_client_ip": False}, True),
        ("virtualservice", {"name": "ftp-vs", "application_profile_ref": "System-L4-Application"}, True),
        (
            "virtualservice",
            {
                "name": "ftp-vs",
                "application_profile_ref": "System-L4-Application",
                "network_profile_ref": "System-UDP-No-SNAT",
            },
            False,
        ),
    ],
)
def test_source_address_towards_servers(ftp, kind, fields, snat):
    ftp.states()
    ftp.put(kind, **fields)
    assert service(ftp).snat is snat


@pytest.mark.parametrize(
    ("fields", "slots"),
    [
        (
            {"servers": [{"ip": "10.0.0.1", "ratio": 2}, {"ip": "10.0.0.2", "port": 99}]},
            [("10.0.0.1", 21), ("10.0.0.2", 99), ("10.0.0.1", 21)],
        ),
        (
            {"servers": [{"ip": "10.0.0.1", "enabled": False}, {"ip": "10.0.0.2", "port": 0}, {"ip": "fd00::1"}]},
            [("10.0.0.2", 21), ("fd00::1", 21)],
        ),
        ({"enabled": False}, []),
    ],
)
def test_slots_of_a_pool(ftp, fields, slots):
    ftp.put("pool", name="ftp-pool", **fields)
    assert service(ftp).slots == tuple(slots)


def test_pickers_and_ports(ftp):
    assert (service(ftp).picker, service(ftp).keep_port) == ("round_robin", False)
    ftp.put("pool", name="ftp-pool", lb_algorithm="LB_ALGORITHM_CONSISTENT_HASH", use_service_port=True)
    assert (service(ftp).picker, service(ftp).keep_port, len(service(ftp).slots)) == ("source_hash", True, 64)


def test_off_and_on(ftp):
    before = ftp.states()["se1"]
    ftp.put("virtualservice", name="ftp-vs", enabled=False)
    off = ftp.states()["se1"]
    assert off.services == {}
    assert off.addresses["10.10.10.50"].kind == "nat"  # the NAT rule still needs it
    ftp.put("virtualservice", name="ftp-vs", enabled=True)
    assert diff(before, ftp.states()["se1"]) == ()
    ftp.put("vsvip", name="ftp-vip", vip=[{"vip_id": "1", "ip_address": "10.10.10.50", "enabled": False}])
    assert ftp.states()["se1"].services == {}


def test_an_address_outside_the_networks(ftp):
    ftp.put("vsvip", name="ftp-vip", vip=[{"vip_id": "1", "ip_address": "192.0.2.1"}])
    addresses = ftp.states()["se1"].addresses
    assert addresses["192.0.2.1"] == Address("192.0.2.1", "", "vip", 1)
    assert addresses["10.10.10.50"] == Address("10.10.10.50", "eth1", "nat", 1)


def test_only_global_is_forwarded(ftp):
    ftp.put("vrfcontext", name="blue", static_routes=[{"prefix": "10.7.0.0/16", "next_hop": "10.10.10.254"}])
    ftp.delete("virtualservice", "ftp-vs")
    ftp.delete("networkservice", "ftp-routing")
    ftp.put("vsvip", name="ftp-vip", vrf_context_ref="blue")
    ftp.put("pool", name="ftp-pool", vrf_ref="blue")
    ftp.put(
        "virtualservice",
        name="blue-vs",
        vrf_context_ref="blue",
        vsvip_ref="ftp-vip",
        pool_ref="ftp-pool",
        services=[{"port": 1}],
        application_profile_ref="System-L4-Application",
    )
    state = ftp.states()["se1"]
    assert (state.services, state.addresses, state.switches) == ({}, {}, {"routing": False})
    assert set(state.routes) == {"10.10.20.0/24"}


def test_routes(ftp):
    ftp.engine("se3", eth1="10.10.10.13/24", eth3="172.16.0.13/24")
    ftp.put(
        "vrfcontext",
        name="global",
        static_routes=[
            {"prefix": "0.0.0.0/0", "next_hop": "172.16.0.1", "if_name": "eth3"},
            {"prefix": "10.5.0.0/16", "next_hop": "10.10.10.254"},
            {"prefix": "10.5.0.0/16", "next_hop": "10.10.10.253"},
            {"prefix": "fd00::/64", "next_hop": "fd00::1"},
        ],
    )
    states = ftp.states()
    shared = {"10.5.0.0/16": Route("10.5.0.0/16", "10.10.10.254")}
    assert states["se1"].routes == shared
    assert states["se3"].routes == {"0.0.0.0/0": Route("0.0.0.0/0", "172.16.0.1", "eth3"), **shared}


def test_a_nat_rule_with_everything(ftp):
    ftp.put(
        "ipaddrgroup",
        name="g",
        addrs=["10.9.0.1"],
        ranges=[{"begin": "10.9.1.1", "end": "10.9.1.9"}],
        prefixes=["10.9.2.0/24"],
    )
    ftp.put(
        "natpolicy",
        name="ftp-nat",
        rules=[
            {
                **RULE,
                "match": {
                    "source_ip": {
                        "match_criteria": "IS_NOT_IN",
                        "addrs": ["10.1.0.1", "10.9.0.1", "fd00::1"],
                        "group_refs": ["g"],
                    },
                    "destination_ip": {"match_criteria": "IS_IN", "prefixes": ["10.2.0.0/16"]},
                    "services": {
                        "destination_port": {"match_criteria": "IS_NOT_IN", "ports": [25, 80, 25]},
                        "protocol": {"match_criteria": "IS_IN", "protocol": "PROTOCOL_TCP"},
                    },
                },
                "action": {
                    **RULE["action"],
                    "nat_info": [
                        {"nat_ip": "10.10.10.60"},
                        {"nat_ip_range": {"begin": "10.10.10.70", "end": "10.10.10.72"}},
                    ],
                },
            }
        ],
    )
    state = ftp.states()["se1"]
    assert list(state.nat.values()) == [
        NatRule(
            id=2,
            order=("ftp-nat", 2),
            pool=("10.10.10.60", "10.10.10.70-10.10.10.72"),
            source=AddressMatch(("10.1.0.1", "10.9.0.1", "10.9.1.1-10.9.1.9", "10.9.2.0/24"), negate=True),
            destination=AddressMatch(("10.2.0.0/16",)),
            destination_port=PortMatch((25, 80), negate=True),
            protocol=ProtocolMatch("tcp"),
        )
    ]
    assert [ip for ip, address in state.addresses.items() if address.kind == "nat"] == sorted(
        ["10.10.10.60", "10.10.10.70", "10.10.10.71", "10.10.10.72"], key=list(state.addresses).index
    )


def test_a_rule_that_matches_all_and_one_that_is_off(ftp):
    ftp.put("natpolicy", name="ftp-nat", rules=[RULE, {**RULE, "index": 3, "enable": False}])
    assert list(ftp.states()["se1"].nat.values()) == [
        NatRule(id=2, order=("ftp-nat", 2), pool=("10.10.10.50",)),
        NatRule(id=3, order=("ftp-nat", 3), pool=("10.10.10.50",), enabled=False),
    ]


def test_a_group_that_changes(ftp):
    group = ftp.put("ipaddrgroup", name="g", addrs=["10.9.0.1"])
    match = {"source_ip": {"match_criteria": "IS_IN", "group_refs": [group["uuid"]]}}
    ftp.put("natpolicy", name="ftp-nat", rules=[{**RULE, "match": match}])
    ftp.states()
    ftp.put("ipaddrgroup", name="g", addrs=["10.9.0.2"])
    (rule,) = ftp.states()["se2"].nat.values()
    assert rule.source == AddressMatch(("10.9.0.2",))


def test_groups_keep_to_their_own_engines(ftp):
    ftp.put("serviceenginegroup", name="other")
    ftp.engine("se9", group="other", eth1="10.10.10.19/24")
    state = ftp.states()["se9"]
    assert (state.services, state.nat, state.addresses, state.switches) == ({}, {}, {}, {"routing": False})
    ftp.put("virtualservice", name="ftp-vs", se_group_ref="other")
    states = ftp.states()
    assert (states["se1"].services, states["se2"].services) == ({}, {})
    assert set(states["se9"].addresses) == {"10.10.10.50"}
    assert len(states["se9"].services) == 1


def test_ids_that_are_needed(ftp):
    policy = ftp.config.named("natpolicy", "ftp-nat")
    kinds = ("serviceengine", "virtualservice", "natpolicy", "pool")
    changes = [Change(kind, body["uuid"], body) for kind in kinds for body in ftp.config.all(kind)]
    names = [(kind, key.partition("-")[0]) for kind, key in needed_ids(changes)]
    assert names == [("engine", "serviceengine")] * 2 + [("service", "virtualservice"), ("nat_rule", "natpolicy")]
    assert needed_ids([Change("natpolicy", policy["uuid"], None)]) == []


def test_what_did_not_change_is_the_same_object(ftp):
    before = ftp.states()["se1"]
    ftp.put("pool", name="ftp-pool", description="new")
    after = ftp.states()["se1"]
    for table in ("addresses", "routes", "services", "nat", "switches"):
        assert getattr(after, table) is getattr(before, table)


toggles = st.sampled_from(
    [
        ("virtualservice", "ftp-vs", "enabled", [True, False]),
        ("virtualservice", "ftp-vs", "services", [[{"port": 21}], [{"port": 22}]]),
        ("virtualservice", "ftp-vs", "application_profile_ref", ["System-L4-Application", "L4-preserve-client-ip"]),
        ("pool", "ftp-pool", "enabled", [True, False]),
        ("pool", "ftp-pool", "servers", [[], [{"ip": "10.10.40.101"}]]),
        ("applicationprofile", "L4-preserve-client-ip", "preserve_client_ip", [True, False]),
        ("vsvip", "ftp-vip", "vip", [[{"vip_id": "1", "ip_address": ip}] for ip in ("10.10.10.50", "10.10.10.51")]),
        ("natpolicy", "ftp-nat", "rules", [[], [RULE], [{**RULE, "enable": False}]]),
        (
            "networkservice",
            "ftp-routing",
            "routing_service",
            [{"enable_routing": True, "nat_policy_ref": "ftp-nat"}, {"floating_intf_ip": ["10.10.40.1"]}, {}],
        ),
        ("vrfcontext", "global", "static_routes", [[], [{"prefix": "10.8.0.0/16", "next_hop": "10.10.40.9"}]]),
        ("serviceengine", "se1", "se_group_ref", ["Default-Group", "spare"]),
        ("second", "", "", [True, False]),
    ]
).flatmap(lambda item: st.tuples(st.just(item[:3]), st.sampled_from(item[3])))


def _second(world, *, there):
    """A second virtual service on the same VIP comes or goes."""
    uuid = world.config.uuid_of("virtualservice", "second")
    if there and not uuid:
        return Put(
            "virtualservice",
            None,
            {
                "name": "second",
                "vsvip_ref": "ftp-vip",
                "pool_ref": "ftp-pool",
                "services": [{"port": 8080}],
                "application_profile_ref": "System-L4-Application",
            },
        )
    return Delete("virtualservice", uuid) if uuid and not there else None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(toggles, st.booleans()), max_size=8))
def test_step_by_step_equals_at_once(ftp, steps):
    """``kept`` False: only a dry run, compiled and thrown away."""
    config, ids = ftp.config, ftp.ids
    compiler = Compiler()
    if not config.uuid_of("serviceenginegroup", "spare"):
        ftp.put("serviceenginegroup", name="spare")
        config = ftp.config
    for ((kind, name, field), value), kept in steps:
        ftp.config, ftp.ids = config, ids
        prepared = ftp.try_put(kind, name=name, **{field: value}) if name else None
        if prepared is None:
            request = _second(ftp, there=value)
            prepared = ftp.prepare(*([request] if request else []))
        if prepared.errors:
            continue
        more = ids.with_keys(needed_ids(prepared.changes))
        assert compiler.compile(prepared.config, more) == Compiler().compile(prepared.config, more)
        if kept:
            config, ids = prepared.config, more
    assert compiler.compile(config, ids) == Compiler().compile(config, ids)


HOP = Gateway("10.10.10.254", 1.0, 10, 15)


def pairs(ftp, name):
    return ftp.states()[name].pairs


def test_a_pair_of_legacy_ha(ftp):
    assert pairs(ftp, "se1") == {
        1: Pair(
            (Link("eth1", "10.10.10.11", "10.10.10.12"), Link("eth2", "10.10.40.11", "10.10.40.12")),
            True,
            0.08,
            gateways=(HOP,),
        )
    }
    assert pairs(ftp, "se2")[1].preferred is False


@pytest.mark.parametrize(
    ("fields", "heartbeat"),
    [
        ({}, 0.08),
        ({"aggressive_failure_detection": True}, 0.03),
        ({"dp_hb_frequency": 200}, 0.67),
        ({"dp_hb_timeout_count": 3}, 0.1),
        ({"dp_hb_timeout_count": 3, "aggressive_failure_detection": True}, 0.03),
        (
            {
                "dp_aggressive_hb_frequency": 20,
                "dp_aggressive_hb_timeout_count": 3,
                "aggressive_failure_detection": True,
            },
            0.02,
        ),
        ({"dp_hb_frequency": 1, "dp_hb_timeout_count": 1}, 0.01),
    ],
)
def test_the_timers_of_a_pair(ftp, fields, heartbeat):
    ftp.put("serviceenginegroup", name="Default-Group", **fields)
    assert pairs(ftp, "se1")[1].heartbeat == heartbeat


def test_the_load_of_a_pair_distributed_by_tags(ftp):
    ftp.put("networkservice", name="ftp-routing", routing_service={"enable_routing": False})
    ftp.put("serviceenginegroup", name="Default-Group", distribute_load_active_standby=True)
    second = {"enable_routing": False, "floating_intf_ip_se_2": ["10.10.40.2"]}
    ftp.put("networkservice", name="ftp-routing", routing_service=second)
    ftp.put("virtualservice", name="ftp-vs", active_standby_se_tag="ACTIVE_STANDBY_SE_2")
    addresses = ftp.states()["se2"].addresses
    assert {ip: one.pair for ip, one in addresses.items()} == {"10.10.10.50": 2, "10.10.40.2": 2}
    assert {number: pair.preferred for number, pair in pairs(ftp, "se2").items()} == {1: False, 2: True}


def test_no_pair_without_legacy_ha(ftp):
    ftp.delete("networkservice", "ftp-routing")
    ftp.put("serviceenginegroup", name="Default-Group", ha_mode="HA_MODE_SHARED")
    assert pairs(ftp, "se1") == {}
    assert ftp.states()["se2"].addresses == {}
    assert ftp.states()["se1"].addresses["10.10.10.50"].pair == 0


@pytest.mark.parametrize(
    ("fields", "watched"),
    [
        ({"gateway_mon": [{"gateway_ip": "10.10.10.254", "gateway_monitor_interval": 200}]}, [(0.2, 10, 15)]),
        ({"internal_gateway_monitor": {"gateway_monitor_failure_threshold": 4}}, [(1.0, 4, 15)]),
        ({"internal_gateway_monitor": {"disable_gateway_monitor": True}}, []),
    ],
)
def test_next_hops_are_watched_as_the_vrf_says(ftp, fields, watched):
    ftp.put("vrfcontext", name="global", **fields)
    assert [(one.interval, one.fall, one.rise) for one in pairs(ftp, "se1")[1].gateways] == watched


def test_a_next_hop_may_be_left_unwatched(ftp):
    (route,) = ftp.config.named("vrfcontext", "global")["static_routes"]
    ftp.put("vrfcontext", name="global", static_routes=[{**route, "disable_gateway_monitor": True}])
    assert pairs(ftp, "se1")[1].gateways == ()

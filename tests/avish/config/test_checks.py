"""What contradicts itself is refused with the reason and the remedy, also when a later change is what breaks it."""

import pytest

from avish.config.checks import CHECKS, require_checks
from avish.config.config import Change, Config
from avish.config.transaction import Delete, Put
from avish.config.validate import validate
from avish.errors import SchemaError
from avish.schema.grammar import compile_grammar

ROUTING = {"enable_routing": True, "floating_intf_ip": ["10.10.40.1", "10.10.10.1"]}


def has(errors, *parts):
    assert any(all(part in error for part in parts) for error in errors), errors
    return True


def test_the_grammar_names_only_known_checks(world):
    require_checks(world.schema)
    assert {name for kind in world.schema.objects() for name in kind.checks} == set(CHECKS)


def test_an_unknown_check_is_refused():
    text = b"object: thing\nclass: Thing\nhelp: A thing\nchecks: [nonsense]\nfields:\n  name: {type: name, help: Its name}\n"
    with pytest.raises(SchemaError, match=r"objects/thing.yaml: checks: unknown check 'nonsense'"):
        require_checks(compile_grammar({"objects/thing.yaml": text}))


def test_nat_needs_routing(ftp):
    errors = ftp.errors("networkservice", name="ftp-routing", routing_service={"nat_policy_ref": "ftp-nat"})
    assert has(
        errors, "networkservice ftp-routing routing_service.nat_policy_ref", "set enable_routing", "no nat_policy_ref"
    )


def test_nat_does_not_go_with_the_linux_ipstack(ftp):
    service = {**ROUTING, "nat_policy_ref": "ftp-nat", "routing_by_linux_ipstack": True}
    assert has(ftp.errors("networkservice", name="ftp-routing", routing_service=service), "routing_by_linux_ipstack")


@pytest.mark.parametrize("field", ["advertise_backend_networks", "routing_by_linux_ipstack"])
def test_what_routing_does_not_do_is_said_at_save(ftp, field):
    service = {**ROUTING, field: True}
    warnings = ftp.warnings("networkservice", name="ftp-routing", routing_service=service)
    assert has(warnings, f"networkservice ftp-routing routing_service.{field}", "is kept;")


def test_routing_needs_legacy_ha(world):
    world.two_engines()
    errors = world.errors(
        "networkservice",
        name="ns",
        se_group_ref="Default-Group",
        service_type="ROUTING_SERVICE",
        routing_service=ROUTING,
    )
    assert has(
        errors,
        "networkservice ns routing_service.enable_routing",
        "HA_MODE_SHARED",
        "configure serviceenginegroup Default-Group, ha_mode ha_mode_legacy_active_standby",
    )


def test_ha_mode_changed_back_under_a_network_service(ftp):
    errors = ftp.errors("serviceenginegroup", name="Default-Group", ha_mode="HA_MODE_SHARED")
    assert has(errors, "networkservice ftp-routing routing_service.enable_routing", "has HA_MODE_SHARED")


@pytest.mark.parametrize(
    "info",
    [
        [{"nat_ip": "10.10.10.12"}],
        [{"nat_ip_range": {"begin": "10.10.10.5", "end": "10.10.10.20"}}],
    ],
)
def test_nat_ip_that_is_an_interface_ip(ftp, info):
    assert has(
        ftp.errors("natpolicy", **nat(ftp, info)),
        "natpolicy ftp-nat rules[1].action.nat_info[1]",
        "is the address of interface se2 eth1",
    )


def test_nat_ip_that_is_a_floating_ip(ftp):
    assert has(
        ftp.errors("natpolicy", **nat(ftp, [{"nat_ip": "10.10.10.1"}])),
        "networkservice ftp-routing routing_service",
        "10.10.10.1 is a floating_intf_ip",
        "natpolicy ftp-nat",
    )


def test_floating_ip_that_becomes_a_nat_ip(ftp):
    service = {**ROUTING, "floating_intf_ip": ["10.10.40.1", "10.10.10.7"], "nat_policy_ref": "ftp-nat"}
    ftp.put("natpolicy", **nat(ftp, [{"nat_ip": "10.10.10.7"}]))
    assert has(
        ftp.errors("networkservice", name="ftp-routing", routing_service=service), "10.10.10.7 is a floating_intf_ip"
    )


def test_an_engine_that_takes_a_nat_ip_or_vip(ftp):
    vnics = [
        {
            "if_name": "eth1",
            "mac_address": "02:00:00:00:00:01",
            "vnic_networks": [{"ip": "10.10.10.50/24", "mode": "STATIC"}],
        }
    ]
    errors = ftp.errors("serviceengine", name="se3", se_group_ref="Default-Group", data_vnics=vnics)
    assert has(errors, "natpolicy ftp-nat", "interface se3 eth1")
    assert has(errors, "vsvip ftp-vip", "interface se3 eth1")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("10.99.0.1", ["floating_intf_ip[1]", "in no network of the engines (10.10.10.0/24, 10.10.40.0/24)"]),
        ("10.10.10.12", ["is the address of interface se2 eth1"]),
        ("10.10.10.50", ["is a VIP (vsvip ftp-vip)"]),
    ],
)
def test_floating_ip(ftp, address, parts):
    service = {**ROUTING, "floating_intf_ip": [address]}
    assert has(ftp.errors("networkservice", name="ftp-routing", routing_service=service), *parts)


def test_engines_that_leave_their_network(ftp):
    def moved(name):
        vnics = [
            {
                "if_name": "eth1",
                "mac_address": "02:00:00:00:00:01",
                "vnic_networks": [{"ip": "10.10.10.11/24", "mode": "STATIC"}],
            }
        ]
        return Put(
            "serviceengine",
            ftp.config.uuid_of("serviceengine", name),
            {"name": name, "se_group_ref": "Default-Group", "data_vnics": vnics},
        )

    errors = [str(issue) for issue in ftp.prepare(moved("se1"), moved("se2")).errors]
    assert has(errors, "networkservice ftp-routing", "10.10.40.1 is in no network of the engines")


def test_one_network_service_per_group_and_vrf(ftp):
    errors = ftp.errors("networkservice", name="second", se_group_ref="Default-Group", service_type="ROUTING_SERVICE")
    assert has(errors, "networkservice ftp-routing has the same service engine group and VRF")


def nat(world, info, **match):
    rule = {**world.config.named("natpolicy", "ftp-nat")["rules"][0], **({"match": match} if match else {})}
    return {"name": "ftp-nat", "rules": [{**rule, "action": {**rule["action"], "nat_info": info}}]}


VIP = [{"nat_ip": "10.10.10.50"}]


@pytest.mark.parametrize(
    ("info", "match", "text"),
    [
        ([], {}, "natpolicy ftp-nat rules[1].action: nat_info is missing (nat_info, then nat_ip ADDRESS)"),
        ([{}], {}, "natpolicy ftp-nat rules[1].action.nat_info[1]: give either nat_ip ADDRESS or nat_ip_range"),
        ([{"nat_ip": "fd00::1"}], {}, "IPv6 flows are not translated"),
        ([{"nat_ip_range": {"begin": "10.0.0.1", "end": "10.9.0.1"}}], {}, "at most 1024"),
        (
            [{"nat_ip_range": {"begin": "10.0.0.9", "end": "10.0.0.1"}}],
            {},
            "10.0.0.9-10.0.0.1 runs backwards; exchange begin and end",
        ),
        (VIP, {"source_ip": {"match_criteria": "IS_IN"}}, "rules[1].match.source_ip: no addresses given"),
        (VIP, {"services": {"source_port": {"match_criteria": "IS_IN"}}}, "services.source_port: no ports given"),
        (
            VIP,
            {
                "services": {
                    "source_port": {"match_criteria": "IS_IN", "ports": [20]},
                    "protocol": {"match_criteria": "IS_IN", "protocol": "PROTOCOL_ICMP"},
                }
            },
            "only TCP and UDP have ports",
        ),
    ],
)
def test_incomplete_nat_rules(ftp, info, match, text):
    assert has(ftp.errors("natpolicy", **nat(ftp, info, **match)), text)


def test_index_below_zero_and_twice(ftp):
    rule = ftp.config.named("natpolicy", "ftp-nat")["rules"][0]
    assert has(ftp.errors("natpolicy", name="n", rules=[{**rule, "index": -1}]), "rules[1].index", "-1 is below 0")
    assert has(ftp.errors("natpolicy", name="n", rules=[rule, rule]), "rules[2]: index 1 stands in entry 1 already")


def service(world, name, **fields):
    whole = {
        "services": [{"port": 21}],
        "vsvip_ref": "ftp-vip",
        "pool_ref": "ftp-pool",
        "application_profile_ref": "System-L4-Application",
        "network_profile_ref": "System-TCP-Fast-Path",
    }
    return {"name": name, **whole, **fields}


@pytest.mark.parametrize(
    ("services", "clash"),
    [
        ([{"port": 21}], True),
        ([{"port": 20, "port_range_end": 22}], True),
        ([{"port": 1, "port_range_end": 65535}], True),
        ([{"port": 22}], False),
        ([{"port": 21, "override_network_profile_ref": "System-UDP-Fast-Path"}], False),
    ],
)
def test_vip_and_port_once(ftp, services, clash):
    errors = ftp.errors("virtualservice", **service(ftp, "second", services=services))
    text = (
        "virtualservice second services: virtualservice ftp-vs has VIP 10.10.10.50 tcp port 21 already; "
        "use another port or another VIP"
    )
    assert errors == ([text] if clash else [])


def test_vip_and_port_once_over_two_vsvips(ftp):
    ftp.put("vsvip", name="other", vip=[{"ip_address": "10.10.10.51"}])
    ftp.put("virtualservice", **service(ftp, "second", vsvip_ref="other"))
    errors = ftp.errors("vsvip", name="other", vip=[{"ip_address": "10.10.10.50"}])
    assert has(
        errors, "vsvip other vip[1].ip_address", "virtualservices ", "would both have VIP 10.10.10.50 tcp port 21"
    )


def test_a_network_profile_that_changes_its_protocol(ftp):
    for name, kind in (("mine", "PROTOCOL_TYPE_UDP_FAST_PATH"), ("tcp", "PROTOCOL_TYPE_TCP_FAST_PATH")):
        ftp.put("networkprofile", name=name, profile={"type": kind})
    ftp.put("virtualservice", **service(ftp, "second", network_profile_ref="mine"))
    errors = ftp.errors("networkprofile", name="mine", profile={"type": "PROTOCOL_TYPE_TCP_FAST_PATH"})
    assert has(errors, "virtualservice second services: virtualservice ftp-vs has VIP 10.10.10.50 tcp port 21")


def test_ports_of_one_service_once(ftp):
    errors = ftp.errors(
        "virtualservice", **service(ftp, "second", services=[{"port": 80, "port_range_end": 90}, {"port": 85}])
    )
    assert has(errors, "tcp port 80-90 and tcp port 85 overlap")


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        (
            {"application_profile_ref": "System-HTTP"},
            ["application_profile_ref", "HTTP profile; only layer 4", "System-L4-Application"],
        ),
        ({"network_profile_ref": "System-SCTP-Proxy"}, ["network_profile_ref", "only TCP and UDP"]),
        ({"services": [{"port": 443, "enable_ssl": True}]}, ["services[1].enable_ssl", "TLS is not terminated"]),
        ({"services": [{"port": 0}]}, ["services[1].port", "give 1-65535"]),
        ({"services": [{"port": 90, "port_range_end": 80}]}, ["port_range_end 80 is below port 90"]),
        ({"services": []}, ["services are missing"]),
        ({"vsvip_ref": None}, ["vsvip_ref is missing"]),
        ({"type": "VS_TYPE_VH_PARENT"}, ["layer 7"]),
    ],
)
def test_virtual_services_that_cannot_be_forwarded(ftp, fields, parts):
    assert has(ftp.errors("virtualservice", **service(ftp, "second", **{"services": [{"port": 80}], **fields})), *parts)


@pytest.mark.parametrize("field", [{"snat_ip": ["10.10.40.5"]}, {"use_vip_as_snat": True}])
def test_preserve_client_ip_with_snat(ftp, field):
    errors = ftp.errors("virtualservice", name="ftp-vs", **field)
    name = next(iter(field))
    assert has(errors, f"virtualservice ftp-vs {name}", "applicationprofile L4-preserve-client-ip", f"no {name}")


def test_preserve_client_ip_switched_on_under_snat(ftp):
    ftp.put("applicationprofile", name="plain", type="APPLICATION_PROFILE_TYPE_L4")
    ftp.put("virtualservice", name="ftp-vs", application_profile_ref="plain", snat_ip=["10.10.40.5"])
    assert has(ftp.errors("applicationprofile", name="plain", preserve_client_ip=True), "virtualservice ftp-vs snat_ip")


@pytest.mark.parametrize(
    ("vip", "text"),
    [
        ({}, "ip_address is missing"),
        ({"ip_address": "10.10.10.11"}, "is the address of interface se1 eth1"),
        ({"ip_address": "10.10.10.1"}, "is a floating_intf_ip of networkservice ftp-routing"),
        ({"ip_address": "0.0.0.0"}, "is no address a client can connect to"),
        ({"ip_address": "224.0.0.1"}, "is no address a client can connect to"),
        ({"ip_address": "10.10.10.99", "prefix_length": 24}, "is not the first address of its /24"),
    ],
)
def test_vip_addresses(ftp, vip, text):
    assert has(ftp.errors("vsvip", name="v", vip=[vip]), "vsvip v vip[1]", text)


def test_vrfs_that_differ(ftp):
    ftp.put("vrfcontext", name="blue")
    ftp.put("pool", name="far", vrf_ref="blue")
    assert has(
        ftp.errors("virtualservice", name="ftp-vs", pool_ref="far"), "VRF Context for ftp-vs and pool far different"
    )


def test_servers_once(world):
    servers = [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1", "port": 80}]
    assert has(
        world.errors("pool", name="p", servers=servers), "pool p servers[2]", "10.0.0.1 port 80 is server 1 already"
    )


DENY = {
    "index": 1,
    "name": "r",
    "enable": True,
    "match": {},
    "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY",
}
RATE = {"action": {"type": "RL_ACTION_LOCAL_RSP"}, "rate_limiter": {"count": 1, "period": 1}}


@pytest.mark.parametrize(
    ("kind", "fields", "texts"),
    [
        (
            "pool",
            {"name": "p", "lb_algorithm": "LB_ALGORITHM_FASTEST_RESPONSE"},
            ("lb_algorithm:", "choose lb_algorithm_least_connections"),
        ),
        (
            "pool",
            {
                "name": "p",
                "lb_algorithm": "LB_ALGORITHM_CONSISTENT_HASH",
                "lb_algorithm_hash": "LB_ALGORITHM_CONSISTENT_HASH_URI",
            },
            ("lb_algorithm_hash:", "needs layer 7"),
        ),
        ("virtualservice", {"name": "ftp-vs", "connections_rate_limit": RATE}, ("answers HTTP", "rl_action_drop_conn")),
        (
            "networksecuritypolicy",
            {
                "name": "n",
                "rules": [
                    {
                        **DENY,
                        "match": {
                            "geo_matches": [
                                {"attribute": "ATTRIBUTE_AS_NAME", "match_operation": "IS_IN", "values": ["x"]}
                            ]
                        },
                    }
                ],
            },
            ("rules[1].match.geo_matches", "compare addresses instead"),
        ),
        (
            "virtualservice",
            {"name": "ftp-vs", "services": [{"port": 21}, {"port": 20, "is_active_ftp_data_port": True}]},
            ("services[2].is_active_ftp_data_port", "application_profile_ref System-FTP"),
        ),
        (
            "serviceengine",
            {
                "name": "se9",
                "data_vnics": [
                    {
                        "if_name": "eth1",
                        "mac_address": "02:00:00:00:00:01",
                        "vlan_interfaces": [{"if_name": "eth1.5", "vlan_id": 5}],
                    }
                ],
            },
            ("data_vnics[1].vlan_interfaces", "name them in the topology"),
        ),
    ],
)
def test_what_the_kernel_cannot_say_is_refused_with_the_remedy(ftp, kind, fields, texts):
    assert has(ftp.errors(kind, **fields), *texts)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("pool", {"name": "p", "max_conn_rate_per_server": {"action": {}}}, "RL_ACTION_NONE limits nothing"),
        ("virtualservice", {"name": "ftp-vs", "performance_limits": {"max_throughput": 9}}, "bytes are not limited"),
        ("networksecuritypolicy", {"name": "n", "rules": [{**DENY, "age": 5}]}, "the rule stays until"),
        ("virtualservice", {"name": "ftp-vs", "network_profile_ref": "System-TCP-Proxy"}, "carried as TCP fast path"),
        ("virtualservice", {"name": "ftp-vs", "pool_ref": None}, "there is no pool_ref: every connection is refused"),
        ("vsvip", {"name": "v", "vip": [{"ip_address": "10.4.0.0", "prefix_length": 16}]}, "routers must send"),
        (
            "vrfcontext",
            {"name": "global", "static_routes": [{"prefix": "10.5.0.0/16", "next_hop": "10.99.0.1"}]},
            "next_hop 10.99.0.1 is in no network of any engine",
        ),
        (
            "serviceenginegroup",
            {"name": "Default-Group", "enable_routing": True},
            "set enable_routing in the routing_service",
        ),
    ],
)
def test_warnings_say_what_happens_instead(ftp, kind, fields, text):
    assert has(ftp.warnings(kind, **fields), text)


def test_the_founding_configuration_has_nothing_to_warn_of(ftp):
    issues = validate(
        ftp.schema,
        Config(),
        ftp.config,
        [Change(kind, body["uuid"], body) for kind in ftp.config.types() for body in ftp.config.all(kind)],
    )
    assert issues == []


def test_delete_of_a_referenced_object(ftp):
    assert [str(issue) for issue in ftp.try_delete("pool", "ftp-pool").errors] == [
        "Cannot delete, object is referred by: ['VirtualService ftp-vs']"
    ]
    assert [str(issue) for issue in ftp.try_delete("natpolicy", "ftp-nat").errors] == [
        "Cannot delete, object is referred by: ['NetworkService ftp-routing']"
    ]


def test_delete_together_with_what_refers(ftp):
    requests = [
        Delete(kind, ftp.config.uuid_of(kind, name))
        for kind, name in (("pool", "ftp-pool"), ("virtualservice", "ftp-vs"), ("vsvip", "ftp-vip"))
    ]
    assert ftp.prepare(*requests).errors == []


def test_system_defaults_stay(world):
    assert has([str(issue) for issue in world.try_delete("healthmonitor", "System-UDP").errors], "system default")
    vrf = world.config.named("vrfcontext", "management")
    renamed = world.prepare(Put("vrfcontext", vrf["uuid"], {**vrf, "name": "other"}))
    assert has([str(issue) for issue in renamed.errors], "is a system default and keeps its name")


def test_debug_objects_need_their_namesake(ftp):
    assert has(ftp.errors("debugserviceengine", name="se9"), "there is no serviceengine 'se9'")
    assert ftp.put("debugserviceengine", name="se1", flags=[{"flag": "DEBUG_PCAP_NAT"}])["name"] == "se1"


def test_the_last_engine_of_a_group_with_floating_addresses_stays(ftp):
    ftp.put("serviceenginegroup", name="g2")
    ftp.put("serviceengine", name="se1", se_group_ref="g2")
    (issue,) = ftp.errors("serviceengine", name="se2", se_group_ref="g2")
    assert "it is the last engine of Default-Group" in str(issue)

"""What the vendor documents of NAT, routing, high availability, profiles and monitors: refused with reason and remedy."""

import pytest

LEGACY = "HA_MODE_LEGACY_ACTIVE_STANDBY"
ROUTING = {"enable_routing": True, "floating_intf_ip": ["10.10.40.1", "10.10.10.1"]}


def has(issues, *parts):
    assert any(all(part in issue for part in parts) for issue in issues), issues
    return True


# --- engines and their groups


def test_legacy_ha_is_for_two_engines(world):
    world.two_engines()
    assert world.errors("serviceenginegroup", name="Default-Group", ha_mode=LEGACY) == []
    world.engine("se3", eth1="10.10.10.13/24")
    errors = world.errors("serviceenginegroup", name="Default-Group", ha_mode=LEGACY)
    assert has(errors, "serviceenginegroup Default-Group ha_mode", "has 3 (se1, se2, se3)", "configure serviceengine")


def test_legacy_ha_is_active_standby(world):
    group = world.put("serviceenginegroup", name="g", ha_mode=LEGACY)
    assert group["active_standby"] is True
    assert world.put("serviceenginegroup", name="h")["active_standby"] is False


def test_the_second_floating_address_needs_a_distributed_load(ftp):
    service = {"floating_intf_ip_se_2": ["10.10.40.2"]}
    errors = ftp.errors("networkservice", name="ftp-routing", routing_service=service)
    assert has(errors, "routing_service.floating_intf_ip_se_2", "needs distribute_load_active_standby")
    ftp.put("networkservice", name="ftp-routing", routing_service={})
    ftp.put("serviceenginegroup", name="Default-Group", distribute_load_active_standby=True)
    ftp.put("networkservice", name="ftp-routing", routing_service=service)
    errors = ftp.errors("serviceenginegroup", name="Default-Group", distribute_load_active_standby=False)
    assert has(errors, "networkservice ftp-routing", "floating_intf_ip_se_2")


def test_preserved_addresses_outside_legacy_ha(world):
    world.put("applicationprofile", name="keep", type="APPLICATION_PROFILE_TYPE_L4", preserve_client_ip=True)
    world.put("vsvip", name="v", vip=[{"ip_address": "10.0.0.5"}])
    warnings = world.warnings(
        "virtualservice", name="vs", vsvip_ref="v", services=[{"port": 80}], application_profile_ref="keep"
    )
    assert has(warnings, "virtualservice vs application_profile_ref", "not legacy active/standby", "ha_mode")


# --- rules


def test_a_nat_rule_for_ipv6_alone(ftp):
    rule = ftp.config.named("natpolicy", "ftp-nat")["rules"][0]
    source = {"match_criteria": "IS_IN", "addrs": [], "prefixes": ["fd00::/8"]}
    errors = ftp.errors("natpolicy", name="ftp-nat", rules=[{**rule, "match": {"source_ip": source}}])
    assert has(errors, "rules[1].match.source_ip: IPv6 flows are not translated; give IPv4 addresses")
    mixed = {**source, "prefixes": ["fd00::/8", "10.0.0.0/8"]}
    assert ftp.errors("natpolicy", name="ftp-nat", rules=[{**rule, "match": {"source_ip": mixed}}]) == []


def l4_policy(pool):
    rule = {"index": 1, "name": "r", "action": {"select_pool": {"action_type": "L4_RULE_ACTION_SELECT_POOL"}}}
    rule["action"]["select_pool"]["pool_ref"] = pool
    return {"name": "p", "l4_connection_policy": {"rules": [rule]}}


def test_pools_that_rules_select_are_in_the_same_vrf(ftp):
    ftp.put("vrfcontext", name="blue")
    ftp.put("pool", name="far", vrf_ref="blue")
    ftp.put("l4policyset", **l4_policy("far"))
    errors = ftp.errors("virtualservice", name="ftp", l4_policies=[{"index": 1, "l4_policy_set_ref": "p"}])
    assert has(errors, "l4_policies[1]: VRF Context for", "pool far (l4policyset p) different")


def test_pools_and_rules_that_change_later(ftp):
    name = ftp.config.all("virtualservice")[0]["name"]
    ftp.put("vrfcontext", name="blue")
    ftp.put("pool", name="near")
    ftp.put("pool", name="far", vrf_ref="blue")
    ftp.put("l4policyset", **l4_policy("near"))
    ftp.put("virtualservice", name=name, l4_policies=[{"index": 1, "l4_policy_set_ref": "p"}])
    assert has(ftp.errors("l4policyset", **l4_policy("far")), f"virtualservice {name} l4_policies[1]")
    assert has(ftp.errors("pool", name="near", vrf_ref="blue"), f"virtualservice {name} l4_policies[1]")


@pytest.mark.parametrize(
    ("match", "text"),
    [
        ({"client_ip": {"match_criteria": "IS_IN"}}, "rules[1].match.client_ip: no addresses given"),
        ({"vs_port": {"match_criteria": "IS_IN"}}, "rules[1].match.vs_port: no ports given"),
        ({"client_port": {"match_criteria": "IS_IN"}}, "rules[1].match.client_port: no ports given"),
        (
            {"client_port": {"match_criteria": "IS_IN", "ranges": [{"start": 9, "end": 3}]}},
            "rules[1].match.client_port.ranges[1]: 9-3 runs backwards; exchange start and end",
        ),
    ],
)
def test_security_rules_that_say_nothing(world, match, text):
    rule = {
        "index": 1,
        "name": "r",
        "enable": True,
        "match": match,
        "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY",
    }
    assert has(world.errors("networksecuritypolicy", name="n", rules=[rule]), text)


def test_a_rate_limit_says_how_much(world):
    rule = {"index": 1, "name": "r", "enable": True, "match": {}}
    rule["action"] = "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT"
    assert has(world.errors("networksecuritypolicy", name="n", rules=[rule]), "rl_param: is missing", "max_rate")
    assert world.errors("networksecuritypolicy", name="n", rules=[{**rule, "rl_param": {"max_rate": 5}}]) == []


def test_a_rule_that_selects_nothing(world):
    policy = l4_policy("none")
    del policy["l4_connection_policy"]["rules"][0]["action"]["select_pool"]["pool_ref"]
    assert has(world.errors("l4policyset", **policy), "select_pool: pool_ref is missing")


# --- profiles


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"tcp_app_profile": {"ftp_profile": {"deactivate_active": True, "deactivate_passive": True}}},
            "tcp_app_profile.ftp_profile: active and passive FTP are both deactivated",
        ),
        (
            {"type": "APPLICATION_PROFILE_TYPE_HTTP", "preserve_dest_ip_port": True},
            "preserve_dest_ip_port: needs a layer 4 profile",
        ),
    ],
)
def test_application_profiles(world, fields, text):
    assert has(
        world.errors("applicationprofile", **{"name": "a", "type": "APPLICATION_PROFILE_TYPE_L4", **fields}), text
    )


def test_a_port_is_preserved_beside_the_address(world):
    fields = {"name": "a", "type": "APPLICATION_PROFILE_TYPE_L4", "preserve_client_port": True}
    assert has(world.warnings("applicationprofile", **fields), "preserve_client_port: is without effect")
    assert world.warnings("applicationprofile", **fields, preserve_client_ip=True) == []


@pytest.mark.parametrize(
    ("kind", "more", "text"),
    [
        ("PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER", {}, "hdr_persistence_profile: prst_hdr_name is missing"),
        ("PERSISTENCE_TYPE_APP_COOKIE", {}, "app_cookie_persistence_profile: prst_hdr_name is missing"),
        (
            "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS",
            {"ip_persistence_profile": {"ip_mask": 64}},
            "ip_persistence_profile.ip_mask: 64 bits are more than an IPv4 address has",
        ),
    ],
)
def test_persistence_profiles(world, kind, more, text):
    assert has(world.errors("applicationpersistenceprofile", name="p", persistence_type=kind, **more), text)


def test_cookies_are_not_seen_at_layer_4(ftp):
    cookie = "System-Persistence-Http-Cookie"
    name = next(iter(ftp.config.all("pool")))["name"]
    errors = ftp.errors("pool", name=name, application_persistence_profile_ref=cookie)
    assert has(errors, "keeps clients by PERSISTENCE_TYPE_HTTP_COOKIE", "System-Persistence-Client-IP")
    assert ftp.errors("pool", name=name, application_persistence_profile_ref="System-Persistence-Client-IP") == []


# --- monitors


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"type": "HEALTH_MONITOR_EXTERNAL"}, "external_monitor: is missing: type is HEALTH_MONITOR_EXTERNAL"),
        (
            {"type": "HEALTH_MONITOR_FTP"},
            "ftp_monitor: is missing: type is HEALTH_MONITOR_FTP (ftp_monitor, then filename PATH)",
        ),
        ({"type": "HEALTH_MONITOR_TCP", "receive_timeout": 10}, "receive_timeout: 10 sec must be below send_interval"),
    ],
)
def test_monitors(world, fields, text):
    assert has(world.errors("healthmonitor", name="m", **fields), text)


def test_monitors_that_are_worth_a_word(world):
    ping = {"name": "m", "type": "HEALTH_MONITOR_PING"}
    assert has(world.warnings("healthmonitor", **ping, failed_checks=1), "failed_checks: 1 takes a server out")
    other = {"tcp_monitor": {"tcp_request": "hello"}}
    assert has(world.warnings("healthmonitor", **ping, **other), "tcp_monitor: is kept without effect")
    assert world.warnings("healthmonitor", **ping) == []


# --- the system


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (
            "alertconfig",
            {"name": "a", "source": "METRICS", "alert_rule": {}},
            "alertconfig a alert_rule.metrics_rule: is missing: source is METRICS",
        ),
        (
            "alertconfig",
            {"name": "a", "source": "EVENT_LOGS", "alert_rule": {"conn_app_log_rule": {"filter_string": "x"}}},
            "alert_rule.conn_app_log_rule: does not go with source EVENT_LOGS",
        ),
        (
            "scheduler",
            {"name": "s", "backup_config_ref": "Backup-Configuration", "run_mode": "RUN_MODE_PERIODIC"},
            "frequency: is missing",
        ),
        (
            "scheduler",
            {"name": "s", "backup_config_ref": "Backup-Configuration", "run_mode": "RUN_MODE_AT"},
            "start_date_time: is missing",
        ),
        (
            "scheduler",
            {"name": "s", "backup_config_ref": "Backup-Configuration", "start_date_time": "soon"},
            "'soon' is no time",
        ),
        ("scheduler", {"name": "s"}, "backup_config_ref: is missing"),
        ("scheduler", {"name": "s", "scheduler_action": "SCHEDULER_ACTION_RUN_A_SCRIPT"}, "run_script_ref: is missing"),
        (
            "backupconfiguration",
            {"name": "b", "upload_to_remote_host": True, "remote_hostname": "h"},
            "upload_to_remote_host: remote_directory and ssh_user_ref missing: give them",
        ),
        ("serverautoscalepolicy", {"name": "s", "min_size": 5, "max_size": 3}, "min_size: 5 is above max_size 3"),
        (
            "cluster",
            {"nodes": [{"name": "a", "ip": "10.0.0.1"}, {"name": "b", "ip": "10.0.0.2"}]},
            "2 controllers form no cluster",
        ),
        ("cluster", {"nodes": [{"name": "a"}]}, "nodes[1].ip: is missing"),
        (
            "cluster",
            {"nodes": [{"name": n, "ip": "10.0.0.1"} for n in "abc"]},
            "nodes[2].ip: 10.0.0.1 is the address of a already",
        ),
        (
            "systemconfiguration",
            {"ntp_configuration": {"ntp_servers": [{"server": "ntp.example.com", "key_number": 3}]}},
            "systemconfiguration ntp_configuration.ntp_servers[1].key_number: there is no key 3",
        ),
        (
            "systemconfiguration",
            {"ntp_configuration": {"ntp_servers": ["not a name"]}},
            "ntp_servers[1]: a message is expected",
        ),
        (
            "systemconfiguration",
            {"ntp_configuration": {"ntp_servers": [{"server": "not a name"}]}},
            "'not a name' is neither an IP address nor a host name",
        ),
        ("controllerproperties", {"ssl_certificate_expiry_warning_days": [30, 7]}, "2 are too few"),
    ],
)
def test_settings_of_the_system(world, kind, fields, text):
    assert has(world.errors(kind, **fields), text)

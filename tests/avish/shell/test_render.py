"""Tables as the original prints them: order, units, indentation, lists, wrapping."""

from __future__ import annotations

import pytest
from shelltools import TREE, ip, prefix

from avish.shell import render

OBJECT = TREE.schema.object


def rows(kind, body):
    return list(render.object_rows(OBJECT(kind), body))


def test_a_pool_being_made():
    body = {"name": "Test", "servers": [{"ip": ip("10.1.1.100"), "port": 80}, {"ip": ip("10.1.1.101"), "port": 80}]}
    assert (
        render.object_table(OBJECT("pool"), body)
        == """\
+------------+------------+
| Field      | Value      |
+------------+------------+
| name       | Test       |
| servers[1] |            |
|   ip       | 10.1.1.100 |
|   port     | 80         |
| servers[2] |            |
|   ip       | 10.1.1.101 |
|   port     | 80         |
+------------+------------+"""
    )


def test_a_network_three_levels_deep():
    subnet = {
        "prefix": prefix("192.168.7.0/24"),
        "static_ip_ranges": [
            {"range": {"begin": ip("192.168.7.50"), "end": ip("192.168.7.100")}, "type": "STATIC_IPS_FOR_VIP_AND_SE"}
        ],
    }
    body = {
        "cloud_ref": "https://c/api/cloud/cloud-1#Default-Cloud",
        "tenant_ref": "https://c/api/tenant/admin#admin",
        "name": "front",
        "uuid": "network-b66a7edc",
        "url": "https://c/api/network/network-b66a7edc#front",
        "_last_modified": "1700000000000000",
        "dhcp_enabled": True,
        "exclude_discovered_subnets": False,
        "configured_subnets": [subnet, {"prefix": prefix("10.0.0.0/8")}],
        "vrf_context_ref": "/api/vrfcontext/?name=global",
    }
    assert (
        render.object_table(OBJECT("network"), body)
        == """\
+----------------------------+---------------------------+
| Field                      | Value                     |
+----------------------------+---------------------------+
| uuid                       | network-b66a7edc          |
| name                       | front                     |
| dhcp_enabled               | True                      |
| exclude_discovered_subnets | False                     |
| configured_subnets[1]      |                           |
|   prefix                   | 192.168.7.0/24            |
|   static_ip_ranges[1]      |                           |
|     range                  |                           |
|       begin                | 192.168.7.50              |
|       end                  | 192.168.7.100             |
|     type                   | STATIC_IPS_FOR_VIP_AND_SE |
| configured_subnets[2]      |                           |
|   prefix                   | 10.0.0.0/8                |
| vrf_context_ref            | global                    |
| tenant_ref                 | admin                     |
| cloud_ref                  | Default-Cloud             |
+----------------------------+---------------------------+"""
    )


@pytest.mark.parametrize(
    ("kind", "field", "value", "shown"),
    [
        ("serviceenginegroup", "se_deprovision_delay", 120, "120 min"),
        ("serviceenginegroup", "disk_per_se", 15, "15 gb"),
        ("serviceenginegroup", "max_cpu_usage", 80, "80 percent"),
        ("serviceenginegroup", "auto_rebalance_interval", 300, "300 sec"),
        ("serviceenginegroup", "max_vs_per_se", 10, "10"),
        ("serviceenginegroup", "extra_config_multiplier", 0, "0.0"),
        ("serviceenginegroup", "ha_mode", "HA_MODE_SHARED", "HA_MODE_SHARED"),
        ("pool", "enabled", False, "False"),
        ("pool", "health_monitor_refs", ["https://c/api/healthmonitor/h-1#System TCP"], "System TCP"),
        ("pool", "analytics_profile_ref", "System-Analytics-Profile", "System-Analytics-Profile"),
        ("ipaddrgroup", "prefixes", [prefix("10.0.0.0/8")], "10.0.0.0/8"),
    ],
)
def test_values(kind, field, value, shown):
    ((label, text),) = rows(kind, {field: value})
    assert (label, text) == (f"{field}[1]" if isinstance(value, list) else field, shown)


def test_lists_are_numbered_from_one_in_their_own_parent():
    body = {
        "rules": [
            {"index": 4, "action": {"nat_info": [{"nat_ip": ip("10.0.0.1")}]}},
            {"index": 9, "action": {"nat_info": [{}]}},
        ]
    }
    assert [label for label, _ in rows("natpolicy", body)] == [
        "rules[1]", "  index", "  action", "    nat_info[1]", "      nat_ip",
        "rules[2]", "  index", "  action", "    nat_info[1]",
    ]  # fmt: skip


def test_rows_are_in_the_order_of_the_grammar():
    fields = list(OBJECT("virtualservice").fields.values())
    body = {f.name: "x" for f in reversed(fields) if f.message is None and not f.list and f.name not in render.HIDDEN}
    assert [label for label, _ in rows("virtualservice", body)] == [f.name for f in fields if f.name in body]


def test_what_the_grammar_does_not_know_comes_last():
    body = {"later_field": {"a": 1, "b": [1, 2]}, "name": "p"}
    assert rows("pool", body) == [
        ("name", "p"), ("later_field", ""), ("  a", "1"), ("  b[1]", "1"), ("  b[2]", "2"),
    ]  # fmt: skip


def test_secrets_are_never_shown():
    body = {"bgp_profile": {"peers": [{"peer_ip": ip("10.0.0.1"), "md5_secret": "abcd"}]}}
    assert ("    md5_secret", "<sensitive>") in rows("vrfcontext", body)


class TestWrapping:
    def test_at_eighty_characters(self):
        table = render.object_table(OBJECT("pool"), {"name": "p", "service_metadata": "x" * 80 + "y" * 5})
        lines = table.splitlines()
        assert lines[4] == f"| service_metadata | {'x' * 80} |"
        assert lines[5] == f"|                  | yyyyy{' ' * 75} |"
        assert len({len(line) for line in lines}) == 1

    @pytest.mark.parametrize(
        ("text", "wrapped"),
        [
            ("", ""),
            ("x" * 80, "x" * 80),
            ("x" * 81, "x" * 80 + "\nx"),
            ("x" * 240, "\n".join(["x" * 80] * 3)),
            ("a\nb", "a\nb"),
            ("a\n\nb", "a\n\nb"),
        ],
    )
    def test_of_a_text(self, text, wrapped):
        assert render.wrapped(text) == wrapped

    def test_what_a_terminal_would_act_on_is_not_passed_through(self):
        """Text may come over REST; a name cannot hold it, a description can."""
        assert render.wrapped("a\x1b[2Jb\tc\rd\x00") == "a?[2Jb    c?d?"


class TestLists:
    def test_name_and_uuid(self):
        table = render.list_table(
            OBJECT("pool"), [{"name": "p", "uuid": "pool-1", "cloud_ref": "/api/cloud/c-1#Default-Cloud"}]
        )
        assert (
            table
            == """\
+------+--------+---------------+
| Name | UUID   | Cloud         |
+------+--------+---------------+
| p    | pool-1 | Default-Cloud |
+------+--------+---------------+"""
        )

    def test_virtual_services(self):
        vs = {
            "name": "shop",
            "vsvip_ref_data": {"vip": [{"ip_address": ip("10.0.0.5")}, {"ip_address": ip("10.0.0.6")}]},
            "services": [{"port": 80}, {"port": 443}],
            "cloud_ref": "/api/cloud/c-1#Default-Cloud",
            "type": "VS_TYPE_NORMAL",
            "runtime": {"oper_status": {"state": "OPER_UP"}},
        }
        assert (
            render.list_table(OBJECT("virtualservice"), [vs, {"name": "empty"}])
            == """\
+-------+-------------------+-------------+----------+---------------+------------+----------------+--------+
| Name  | IP Address        | IP6 Address | Services | Cloud         | Oper State | Type           | Parent |
+-------+-------------------+-------------+----------+---------------+------------+----------------+--------+
| shop  | 10.0.0.5,10.0.0.6 | -           | 80,443   | Default-Cloud | OPER_UP    | VS_TYPE_NORMAL | -      |
| empty | -                 | -           | -        | -             | -          | -              | -      |
+-------+-------------------+-------------+----------+---------------+------------+----------------+--------+"""
        )

    def test_an_empty_list_has_its_header(self):
        assert render.list_table(OBJECT("natpolicy"), []).splitlines()[1] == "| Name | UUID |"


class TestRunTimeTables:
    def test_rows_in_the_order_they_come(self):
        answer = {
            "se_ref": "se1:se-1",
            "natflow": [
                {"protocol": "TCP", "original_flow": {"src_ip": ip("10.0.0.1"), "src_port": 20}, "age": "5 sec"},
                {"protocol": "UDP", "original_flow": {}, "seen": None},
            ],
            "ref": "https://c/api/pool/pool-1#p",
            "net": prefix("10.0.0.0/8"),
        }
        assert list(render.plain_rows(answer)) == [
            ("se_ref", "se1:se-1"),
            ("natflow[1]", ""), ("  protocol", "TCP"), ("  original_flow", ""), ("    src_ip", "10.0.0.1"),
            ("    src_port", "20"), ("  age", "5 sec"),
            ("natflow[2]", ""), ("  protocol", "UDP"), ("  original_flow", ""), ("  seen", ""),
            ("ref", "p"),
            ("net", "10.0.0.0/8"),
        ]  # fmt: skip

    def test_several_answers_are_several_tables(self):
        assert render.plain_table([{"a": 1}, {"b": 2}]).count("| Field | Value |") == 2
        assert render.plain_table({"a": 1}).count("| Field | Value |") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "True"),
        (5, "5"),
        (ip("10.0.0.1"), "10.0.0.1"),
        (prefix("10.0.0.0/8"), "10.0.0.0/8"),
        ("https://c/api/pool/pool-1#a b", "a b"),
        ("path/with/slashes", "path/with/slashes"),
        ({"a": 1, "b": ip("10.0.0.1")}, "a 1, b 10.0.0.1"),
    ],
)
def test_one_value(value, text):
    assert render.cell(value) == text

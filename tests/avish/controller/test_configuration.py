"""The configuration as a file in the vendor's shape: out, in again, and everything that cannot be taken."""

import json
import re
from pathlib import Path

import pytest
import yaml
from rig import Rig

from avish.config.checks import CHECKS
from avish.config.imported import DEEPEST
from avish.controller.configuration import NOT_CARRIED
from avish.schema.load import schema
from avish.schema.types import SENSITIVE

FACTS = Path(__file__).parents[4] / "shared" / "reference" / "schema" / "system_defaults.yaml"
ADMIN = "/api/tenant/?name=admin"
CLOUD = "/api/cloud/?tenant=admin&name=Default-Cloud"
L4 = "/api/applicationprofile/?tenant=admin&name=System-L4-Application"


def ref(kind, name, cloud="Default-Cloud"):
    return f"/api/{kind}/?tenant=admin&name={name}&cloud={cloud}"


def vip(name, address):
    return {"name": name, "vip": [{"vip_id": "1", "ip_address": {"addr": address, "type": "V4"}}]}


def service(name, **fields):
    return {
        "name": name,
        "services": [{"port": 80}],
        "application_profile_ref": L4,
        "network_profile_ref": "/api/networkprofile/?tenant=admin&name=System-TCP-Fast-Path",
        **fields,
    }


def take(rig, document, **query):
    return rig.call("POST", "/api/configuration/import", json.loads(json.dumps(document)), **query)


def taken(rig, document, **query):
    answer = take(rig, document, **query)
    assert answer.status == 200, answer.body
    return answer.body


def refused(rig, document, **query):
    """(path, text) of what is said; nothing has changed."""
    before = rig.head
    answer = take(rig, document, **query)
    assert answer.status == 400, answer.body
    assert rig.head is before
    return [(issue["path"], issue["text"]) for issue in answer.body["issues"]]


def left(body):
    return {(one["type"], one["count"]): one["reason"] for one in body["left_out"]}


def without_uuids(document):
    return {
        title: [{name: value for name, value in one.items() if name not in ("uuid", "url")} for one in objects]
        for title, objects in document.items()
        if title != "META"
    }


# --- out


def test_references_are_by_name_and_types_by_title(ftp_rig):
    found = ftp_rig.get("/api/configuration/export")
    one = found["VirtualService"][0]
    assert one["pool_ref"] == ref("pool", "ftp-pool")
    assert one["tenant_ref"] == ADMIN
    assert one["application_profile_ref"] == "/api/applicationprofile/?tenant=admin&name=L4-preserve-client-ip"
    assert one["url"] == f"/api/virtualservice/{one['uuid']}"
    assert found["META"]["order"] == [title for title in found if title != "META"]


def test_secrets_are_hidden(rig):
    proxy = {"host": "proxy", "port": 3128, "username": "u", "password": "hunter2"}
    rig.change("cloud", "Default-Cloud", proxy_configuration=proxy)
    found = rig.get("/api/configuration/export")
    assert "hunter2" not in json.dumps(found)
    assert found["Cloud"][0]["proxy_configuration"]["password"] == SENSITIVE
    assert taken(rig, found)["fields_left_out"] == []
    assert rig.head.config.named("cloud", "Default-Cloud")["proxy_configuration"]["password"] == "hunter2"


def test_one_service_brings_what_it_refers_to(ftp_rig):
    found = ftp_rig.get("/api/configuration/export", virtualservice="ftp-vs")
    names = {title: [one["name"] for one in objects] for title, objects in found.items() if title != "META"}
    assert names == {
        "ApplicationProfile": ["L4-preserve-client-ip"],
        "HealthMonitor": ["System-TCP"],
        "NetworkProfile": ["System-TCP-Fast-Path"],
        "Pool": ["ftp-pool"],
        "VirtualService": ["ftp-vs"],
        "VsVip": ["ftp-vip"],
    } | {title: names[title] for title in names if title == "AnalyticsProfile"}
    assert ftp_rig.call("GET", "/api/configuration/export", virtualservice="nobody").status == 404


# --- out and in again


def test_what_goes_out_comes_in_without_a_change(ftp_rig):
    before = ftp_rig.head
    told = taken(ftp_rig, ftp_rig.get("/api/configuration/export"))
    assert (told["created"], told["updated"], told["left_out"], told["fields_left_out"]) == ({}, {}, [], [])
    assert ftp_rig.head is before


@pytest.mark.parametrize("keep", ["", "1"])
def test_a_fresh_controller_becomes_the_same(ftp_rig, tmp_path_factory, keep):
    found = ftp_rig.get("/api/configuration/export")
    other = Rig(tmp_path_factory.mktemp("other"))
    before = other.head.config.revision
    told = taken(other, found, keep_uuid=keep)
    again = other.get("/api/configuration/export")
    addresses = other.drivers["se1"].addresses()
    other.close()
    assert told["created"]["VirtualService"] == 1
    assert told["revision"] == before + 1
    assert without_uuids(again) == without_uuids(found)
    assert (again["Pool"] == found["Pool"]) == bool(keep)
    assert sorted(map(str, addresses)) == sorted(map(str, ftp_rig.drivers["se1"].addresses()))


def test_names_that_tear_a_query_apart(rig):
    name = "a+b @c. d"
    rig.post("healthmonitor", name=name, type="HEALTH_MONITOR_TCP")
    rig.post("pool", name="p", health_monitor_refs=[name])
    found = rig.get("/api/configuration/export")
    rig.call("DELETE", "/api/pool", name="p")
    rig.call("DELETE", "/api/healthmonitor", name=name)
    assert taken(rig, found)["created"] == {"HealthMonitor": 1, "Pool": 1}
    assert rig.one("pool", "p")["health_monitor_refs"][0].endswith(f"#{name}")


def test_the_file_may_be_wrapped_as_the_vendors_clients_do(rig):
    body = {"configuration": {"Pool": [{"name": "p", "uuid": "pool-7"}]}, "keep_uuid": True}
    assert taken(rig, body)["created"] == {"Pool": 1}
    assert rig.one("pool", "p")["uuid"] == "pool-7"


@pytest.mark.parametrize("given", ["pool-\x1b[2Jx", "pool-a b", "pool-" + "x" * 101, "pool-", "pool-a/b", "vsvip-1"])
def test_what_could_not_be_posted_as_a_uuid_is_none_in_a_file(rig, given):
    assert taken(rig, {"Pool": [{"name": "p", "uuid": given}]}, keep_uuid="1")["created"] == {"Pool": 1}
    assert re.fullmatch(r"pool-[0-9a-f-]{36}", rig.one("pool", "p")["uuid"])


# --- what comes from another controller


FOREIGN = {
    "META": {"version": {"Version": "20.1.6"}, "encrypted_sensitive_fields": True},
    "VirtualService": [
        service("l4", pool_ref=ref("pool", "web pool"), vsvip_ref=ref("vsvip", "v1")),
        service(
            "l7",
            pool_ref=ref("pool", "web pool"),
            vsvip_ref=ref("vsvip", "v2"),
            application_profile_ref="/api/applicationprofile/?tenant=admin&name=System-HTTP",
        ),
        service("child", type="VS_TYPE_VH_CHILD"),
        service("unplaced", vsvip_ref=ref("vsvip", "allocated")),
    ],
    "Pool": [
        {
            "name": "web pool",
            "uuid": "pool-1",
            "url": "/api/pool/pool-1",
            "cloud_ref": CLOUD,
            "tenant_ref": ADMIN,
            "servers": [{"ip": {"addr": "10.10.40.55", "type": "V4"}, "port": 80, "from_the_future": 3}],
            "health_monitor_refs": ["/api/healthmonitor/?tenant=admin&name=hm"],
            "ssl_profile_ref": "/api/sslprofile/sslprofile-9",
        }
    ],
    "HealthMonitor": [{"name": "hm", "type": "HEALTH_MONITOR_TCP"}],
    "VsVip": [
        vip("v1", "10.10.10.60"),
        vip("v2", "10.10.10.61"),
        {"name": "allocated", "vip": [{"vip_id": "1", "auto_allocate_ip": True}]},
    ],
    "SSLProfile": [{"name": "System-Standard", "uuid": "sslprofile-9"}],
    "WafPolicy": [{"name": "a"}, {"name": "b"}],
    "VIMgrVMRuntime": [{"name": "vm"}],
    "ServiceEngine": [{"name": "10.1.1.1", "uuid": "se-1"}],
    "Cloud": [
        {
            "name": "Default-Cloud",
            "vtype": "CLOUD_NONE",
            "proxy_configuration": {"host": "p", "port": 1, "password": '{"str":"x","iv":"y"}'},
        }
    ],
}


def test_what_is_held_is_taken_and_the_rest_is_told(ftp_rig):
    beforehand = taken(ftp_rig, FOREIGN, dryrun="1")
    assert ftp_rig.call("GET", "/api/pool", name="web pool").body["count"] == 0
    before = ftp_rig.head.config.revision
    told = taken(ftp_rig, FOREIGN)
    assert told["revision"] == before + 1
    assert {name: told[name] for name in ("created", "updated", "left_out", "fields_left_out")} == {
        name: beforehand[name] for name in ("created", "updated", "left_out", "fields_left_out")
    }
    assert told["created"] == {"HealthMonitor": 1, "Pool": 1, "VsVip": 2, "VirtualService": 1}
    assert told["updated"] == {"Cloud": 1}
    assert beforehand["kernel"]["se1"]
    reasons = left(told)
    assert set(reasons) == {
        ("WafPolicy", 2),
        ("SSLProfile", 1),
        ("VIMgrVMRuntime", 1),
        ("ServiceEngine", 1),
        ("VsVip", 1),
        ("VirtualService", 1),
    }
    assert sum(one["count"] for one in told["left_out"] if one["type"] == "VirtualService") == 3
    assert {(one["type"], one["field"], one["count"]) for one in told["fields_left_out"]} == {
        ("Pool", "servers.from_the_future", 1),
        ("Cloud", "proxy_configuration.password", 1),
    }
    assert ftp_rig.one("pool", "web pool")["ssl_profile_ref"] == "System-Standard"


def test_the_checks_whose_objects_are_left_out_exist():
    assert set(NOT_CARRIED) <= set(CHECKS)


def test_names_of_two_clouds(rig):
    document = {
        "Pool": [
            {"name": "p", "cloud_ref": "/api/cloud/?tenant=admin&name=other", "default_server_port": 1},
            {"name": "p", "cloud_ref": CLOUD, "default_server_port": 2},
        ],
        "PoolGroup": [],
    }
    told = taken(rig, document)
    assert told["created"] == {"Pool": 1}
    assert rig.one("pool", "p")["default_server_port"] == 2
    assert left(told) == {("Pool", 1): "has the name of one in cloud Default-Cloud: here a name is there once"}


def spelled(title, body):
    """The facts write an element of which one field says all as its value alone."""
    kind = next((kind for kind in schema().objects() if kind.title == title), None)
    return _spelled(kind, body) if kind else body


def _spelled(message, value):
    if not isinstance(value, dict):
        return {message.bare or "event_id": value}
    return {name: _whole(message.fields.get(name), one) for name, one in value.items()}


def _whole(field, value):
    if field is None or field.message is None:
        return value
    return [_spelled(field.message, one) for one in value] if field.list else _spelled(field.message, value)


def test_the_defaults_of_a_real_controller(rig):
    """The facts were read off a real export: written back as one, it is taken as it is."""
    if not FACTS.exists():
        pytest.skip("../shared is not here")
    facts = yaml.safe_load(FACTS.read_text())
    document = {
        title: [spelled(title, one) for one in objects if "name" in one and "external_monitor" not in one]  # no scripts
        for title, objects in facts.items()
        if isinstance(objects, list) and title != "later_releases"
    }
    told = taken(rig, document)
    counted = sum(sum(told[word].values()) for word in ("created", "updated", "unchanged"))
    counted += sum(one["count"] for one in told["left_out"])
    assert counted == sum(map(len, document.values()))


# --- refused as a whole


def test_wrong_types_each_with_its_path(rig):
    found = refused(
        rig,
        {
            "Pool": [
                {"name": "a", "servers": "none"},
                {"name": "b", "default_server_port": 99999},
                "nonsense",
                {"default_server_port": 1},
                {"name": 5},
            ],
            "VsVip": {"name": "v"},
            "HealthMonitor": [{"name": "h", "type": "HEALTH_MONITOR_TCP", "send_interval": {"a": 1}}],
        },
    )
    assert [path for path, _ in found] == [
        "pool a servers",
        "pool b default_server_port",
        "healthmonitor h send_interval",
        "Pool[3]",
        "Pool[4]",
        "Pool[5]",
        "VsVip",
    ]


@pytest.mark.parametrize("document", [None, [], {}, "text", 5, {"META": {}}])
def test_what_is_no_configuration(rig, document):
    assert "types as keys" in refused(rig, document)[0][1]


def test_a_reference_to_nothing(rig):
    ((path, text),) = refused(rig, {"Pool": [{"name": "p", "health_monitor_refs": [ref("healthmonitor", "nobody")]}]})
    assert (path, text.split(" (")[0]) == ("pool p health_monitor_refs[1]", "there is no healthmonitor 'nobody'")


def test_references_in_a_circle(rig):
    document = {
        "VirtualService": [
            service(name, vsvip_ref=ref("vsvip", name), vh_parent_vs_ref=ref("virtualservice", parent))
            for name, parent in (("a", "b"), ("b", "c"), ("c", "a"))
        ],
        "VsVip": [vip(name, f"10.10.10.{number}") for number, name in enumerate("abc", 70)],
    }
    ((path, text),) = refused(rig, document)
    assert path.startswith("VirtualService[")
    assert path.endswith("vh_parent_vs_ref")
    assert text.startswith("cyclic references: VirtualService[")


def test_a_reference_to_itself(rig):
    found = refused(rig, {"VirtualService": [service("a", vh_parent_vs_ref=ref("virtualservice", "a"))]})
    assert ("VirtualService[1] vh_parent_vs_ref", "a refers to itself") in found


@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]])
def test_a_deep_document(rig, wrap):
    value = 1
    for _ in range(400):
        value = wrap(value)
    ((path, text),) = refused(rig, {"Pool": [{"name": "p", "markers": value}]})
    assert path.startswith("Pool[1].markers")
    assert f"more than {DEEPEST} levels" in text


def test_a_name_twice(rig):
    ((path, text),) = refused(rig, {"Pool": [{"name": "p"}, {"name": "q"}, {"name": "p"}]})
    assert (path, text) == ("Pool[3]", "there is a pool p in the file already: Pool[1]")


def test_errors_of_checks_refuse_all(ftp_rig):
    document = {"VsVip": [vip("x", "10.10.10.11")], "Pool": [{"name": "fine"}]}
    assert "interface se1 eth1" in refused(ftp_rig, document)[0][1]


def test_a_dry_run_goes_on_from_another(rig):
    first = taken(rig, {"HealthMonitor": [{"name": "h", "type": "HEALTH_MONITOR_TCP"}]}, dryrun="1")
    document = {"Pool": [{"name": "p", "health_monitor_refs": [ref("healthmonitor", "h")]}]}
    second = taken(rig, document, dryrun="1", after=first["token"])
    found = rig.get("/api/compare", **{"from": "running", "to": second["token"]})
    assert [(one["action"], one["name"]) for one in found["objects"]] == [("create", "h"), ("create", "p")]


def test_a_message_that_needs_a_hidden_secret_is_left_out_and_told(rig, tmp_path_factory):
    rig.post(
        "healthmonitor",
        name="asks",
        type="HEALTH_MONITOR_HTTP",
        authentication={"username": "u", "password": "hunter2"},
    )
    rig.post("user", name="anna", username="anna", password="hunter2-and-more")
    found = rig.get("/api/configuration/export")
    other = Rig(tmp_path_factory.mktemp("other"))
    try:
        told = taken(other, found)
        fields = {(one["type"], one["field"]): one["names"] for one in told["fields_left_out"]}
        assert fields["HealthMonitor", "authentication"] == ["asks"]
        assert fields["HealthMonitor", "authentication.password"] == ["asks"]
        assert "authentication" not in other.one("healthmonitor", "asks")
    finally:
        other.close()
    assert taken(rig, found)["fields_left_out"] == []
    assert rig.head.config.named("healthmonitor", "asks")["authentication"]["password"] == "hunter2"


def test_of_an_encrypted_file_the_secret_there_is_stays(rig):
    rig.post(
        "healthmonitor",
        name="asks",
        type="HEALTH_MONITOR_HTTP",
        authentication={"username": "u", "password": "hunter2"},
    )
    found = rig.get("/api/configuration/export")
    found["META"]["encrypted_sensitive_fields"] = True
    found["HealthMonitor"][-1]["authentication"]["password"] = "x9a8b7"
    told = taken(rig, {"META": found["META"], "HealthMonitor": found["HealthMonitor"]})
    assert [one["field"] for one in told["fields_left_out"]] == ["authentication.password"]
    assert rig.head.config.named("healthmonitor", "asks")["authentication"]["password"] == "hunter2"

"""What ``avishd schema --json`` says against the vendor's object model as facts, where those are at hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml

from avish.config.config import Config
from avish.config.defaults import system_defaults
from avish.schema import types
from avish.schema.load import schema
from avish.server.schema_json import schema_document

PLACES = [parent / "shared" / "reference" / "schema" for parent in Path(__file__).parents[4:]]
"""Beside the checkout, or beside the folder that holds it."""
FACTS = next((place for place in PLACES if place.is_dir()), PLACES[0])
pytestmark = pytest.mark.skipif(not FACTS.is_dir(), reason=f"the facts are not here: {FACTS}")

SECRETS = {
    "applicationpersistenceprofile.app_cookie_persistence_profile.encryption_key",
    "applicationpersistenceprofile.http_cookie_persistence_profile.encryption_key",
    "applicationpersistenceprofile.http_cookie_persistence_profile.key.aes_key",
    "applicationpersistenceprofile.http_cookie_persistence_profile.key.hmac_key",
    "backupconfiguration.aws_secret_access",
    "backupconfiguration.backup_passphrase",
    "cloud.ntp_configuration.ntp_authentication_keys.key",
    "cloud.proxy_configuration.password",
    "cluster.nodes.password",
    "controllerproperties.portal_token",
    "healthmonitor.authentication.password",
    "healthmonitor.radius_monitor.password",
    "healthmonitor.radius_monitor.shared_secret",
    "snmptrapprofile.trap_servers.community",
    "snmptrapprofile.trap_servers.user.auth_passphrase",
    "snmptrapprofile.trap_servers.user.priv_passphrase",
    "systemconfiguration.email_configuration.auth_password",
    "systemconfiguration.ntp_configuration.ntp_authentication_keys.key",
    "systemconfiguration.proxy_configuration.password",
    "systemconfiguration.snmp_configuration.community",
    "systemconfiguration.snmp_configuration.snmp_v3_config.user.auth_passphrase",
    "systemconfiguration.snmp_configuration.snmp_v3_config.user.priv_passphrase",
    "user.password",
    "user.recovery_token",
    "user.unix_crypt_password",
    "virtualservice.oauth_vs_config.key.aes_key",
    "virtualservice.oauth_vs_config.key.hmac_key",
    "virtualservice.oauth_vs_config.oauth_settings.app_settings.client_secret",
    "virtualservice.oauth_vs_config.oauth_settings.resource_server.opaque_token_params.server_secret",
    "virtualservice.saml_sp_config.key.aes_key",
    "virtualservice.saml_sp_config.key.hmac_key",
    "vrfcontext.bgp_profile.peers.md5_secret",
}
"""Fields that are never shown; the facts know them as text."""

CONTROLLERS_OWN = ("uuid", "url", "_last_modified")
"""The loader adds these to every object; they are read only here."""

CLOUD = "belongs to a foreign cloud or orchestrator (AWS, Azure, NSX-T, OpenStack, Marathon)"
INVENTORY = "points into the inventory of a vCenter"
LEFT_OUT: dict[tuple[str, str], str] = {
    ("*", "configpb_attributes"): "bookkeeping of the vendor's controller, which nobody sets",
    ("CaptureTCPFilter", "tcpflags"): "one source's name of tcpflag; the newest models no longer have it",
    ("IPNetworkSubnet", "subnet6_uuid"): CLOUD,
    ("IPNetworkSubnet", "subnet_uuid"): CLOUD,
    ("IpAddrGroup", "marathon_app_name"): CLOUD,
    ("IpAddrGroup", "marathon_service_port"): CLOUD,
    ("Network", "vimgrnw_ref"): INVENTORY,
    ("Pool", "autoscale_launch_config_ref"): CLOUD,
    ("Pool", "autoscale_networks"): CLOUD,
    ("Pool", "external_autoscale_groups"): CLOUD,
    ("Pool", "networks"): INVENTORY,
    ("Pool", "nsx_securitygroup"): CLOUD,
    ("Pool", "tier1_lr"): CLOUD,
    ("Server", "autoscaling_group_name"): CLOUD,
    ("Server", "nw_ref"): INVENTORY,
    ("Server", "vm_ref"): INVENTORY,
    ("ServiceEngine", "host_ref"): INVENTORY,
    ("ServiceEngineGroup", "availability_zone_refs"): CLOUD,
    ("ServiceEngineGroup", "instance_flavor_info"): CLOUD,
    ("ServiceEngineGroup", "vip_asg"): CLOUD,
    ("Vip", "availability_zone"): CLOUD,
    ("Vip", "floating_subnet6_uuid"): CLOUD,
    ("Vip", "floating_subnet_uuid"): CLOUD,
    ("Vip", "port_uuid"): CLOUD,
    ("Vip", "subnet6_uuid"): CLOUD,
    ("Vip", "subnet_uuid"): CLOUD,
    ("VirtualService", "azure_availability_set"): CLOUD,
    ("VirtualService", "nsx_securitygroup"): CLOUD,
    ("VirtualService", "test_se_datastore_level_1_ref"): "a test object of the vendor's own",
    (
        "VirtualService",
        "vip",
    ): "addresses are in the vsvip object; a body that brings its own is refused with that hint",
    ("VsVip", "tier1_lr"): CLOUD,
    ("VsVip", "use_standard_alb"): CLOUD,
}
"""(message, field) of the facts that is not built: why. ``*``: any message."""

OLDER = "a field of older releases that public runbooks still set"
MOVED = "an operator's old runbook names it; it is kept and a check says where it went"
REFERENCE = "the models state no defaults of references; this is what a controller fills in"
INTENDED: dict[tuple[str, str], str] = {
    ("backup.name", "unknown"): "the CLI shows a backup by its name, which the models leave to its file",
    ("natpolicy.name", "required"): "an object without a name cannot be typed on the CLI",
    ("networksecuritypolicy.name", "required"): "an object without a name cannot be typed on the CLI",
    ("networkservice.vrf_ref", "default"): "as in the documented runbooks, which leave it out",
    ("pool.analytics_profile_ref", "default"): REFERENCE,
    ("pool.cloud_ref", "default"): REFERENCE,
    ("pool.vrf_ref", "default"): REFERENCE,
    ("user.user_profile_ref", "default"): REFERENCE,
    ("virtualservice.analytics_profile_ref", "default"): REFERENCE,
    ("virtualservice.application_profile_ref", "default"): REFERENCE,
    ("virtualservice.cloud_ref", "default"): REFERENCE,
    ("virtualservice.network_profile_ref", "default"): REFERENCE,
    ("virtualservice.se_group_ref", "default"): REFERENCE,
    ("virtualservice.vrf_context_ref", "default"): REFERENCE,
    ("vsvip.cloud_ref", "default"): REFERENCE,
    ("vsvip.vrf_context_ref", "default"): REFERENCE,
    ("pool.server_count", "unknown"): "the controller of the documented sessions counts the servers",
    ("virtualservice.address", "unknown"): OLDER,
    ("serviceenginegroup.advertise_backend_networks", "unknown"): MOVED,
    ("serviceenginegroup.enable_routing", "unknown"): MOVED,
    ("serviceenginegroup.enable_vmac", "unknown"): MOVED,
    ("serviceenginegroup.floating_intf_ip", "unknown"): MOVED,
    ("serviceenginegroup.floating_intf_ip_se_2", "unknown"): MOVED,
}
"""(field, what differs): why."""

OTHER_ORDER = {
    "ApplicationProfile": "two profiles of the export, each with other fields",
    "DiscoveredNetwork": "written by a discovery, in the order of the alphabet",
    "HealthMonitor": "the export moves what it filters by to the front",
    "Pool": "the export moves what it filters by to the front",
    "ServiceEngine": "written by the engine, in the order of the alphabet",
    "vNIC": "written by the engine, in the order of the alphabet",
    "vNICNetwork": "written by the engine, in the order of the alphabet",
}
"""Messages whose order in the export is not the declared one: why."""
EXPORTED_FIRST = ("url", "uuid", "name", "tenant_ref", "cloud_ref")


@cache
def messages():
    return yaml.safe_load((FACTS / "messages.yaml").read_text())


@cache
def newer():
    return yaml.safe_load((FACTS / "newer_fields.yaml").read_text())


@cache
def facts_of(title):
    """The fields of an object, those of newer releases among them."""
    fields = yaml.safe_load((FACTS / f"{title}.yaml").read_text())["fields"]
    return {**fields, **(newer()["new_fields"] or {}).get(title, {})}


@cache
def document():
    return schema_document(schema())["objects"]


@cache
def titles():
    """Every object of the facts."""
    return [path.stem for path in sorted(FACTS.glob("*.yaml")) if path.stem[0].isupper()]


def walk(place, title, fields, facts, above):
    """(place, message, name, built, fact) of every field that is built or stated; None where it is not."""
    for name in {**fields, **facts}:
        built, fact = fields.get(name), facts.get(name)
        yield f"{place}.{name}", title, name, built, fact
        if built and fact and "fields" in built and fact["message"] not in above:
            inner = messages()[fact["message"]]["fields"]
            yield from walk(f"{place}.{name}", fact["message"], built["fields"], inner, (*above, fact["message"]))


def pairs():
    for name, built in document().items():
        yield from walk(name, built["class"], built["fields"], facts_of(built["class"]), (built["class"],))


def bodies():
    """(place, message, fields as built) of every message."""
    for name, built in document().items():
        yield name, built["class"], built["fields"]
    for place, _, _, built, fact in pairs():
        if built and fact and "fields" in built:
            yield place, fact["message"], built["fields"]


def differences(title, name, built, fact):
    """What differs: (built, fact)."""
    more = ((newer()["new_enum_values"] or {}).get(title) or {}).get(name, [])
    kind = {"ip": "ip", "prefix": "prefix"}.get(fact["type"], fact["type"])
    stated = {
        "type": kind,
        "list": fact.get("list", False),
        "enum": fact.get("enum", []) + more,
        "required": fact.get("required", False),
        "default": fact.get("default"),
        "min_items": fact.get("min_items", 0),
        "max_items": fact.get("max_items", 0),
        "read_only": fact.get("read_only", False),
        "deprecated": str(fact.get("deprecated", "")),
        "since": fact["since"][0] if fact.get("since") else "",
        "to": fact.get("to", "").lower(),
        "range": fact.get("range"),
        "special": fact.get("special", []),
        "allowed": fact.get("allowed", []),
        "unit": fact.get("unit", "").lower(),
    }
    empty = {what: type(value)() if value is not None else None for what, value in stated.items()}
    found = {what: built.get(what, empty[what]) for what in stated}
    if isinstance(found["default"], dict):
        found["default"] = types.Ip().format(found["default"])
    return {what: (found[what], value) for what, value in stated.items() if found[what] != value}


def test_every_object_of_the_facts_is_built():
    assert {built["class"] for built in document().values()} == set(titles())


def test_singletons_are_those_of_the_facts():
    stated = {title for title in titles() if yaml.safe_load((FACTS / f"{title}.yaml").read_text()).get("singleton")}
    assert {built["class"] for built in document().values() if built["singleton"]} == stated


def test_the_cli_words_are_those_of_the_facts():
    nouns = yaml.safe_load((FACTS / "cli_nouns.yaml").read_text())
    for built in document().values():
        key = "" if built["singleton"] else " <key>"
        line = f"{built['verb']} {built['word']}{key}"
        only_shown = not any(command.startswith(("configure", "debug")) for command in nouns[built["class"]])
        assert only_shown or line in nouns[built["class"]], line


def test_every_other_noun_is_answered_in_words():
    nouns = yaml.safe_load((FACTS / "cli_nouns.yaml").read_text())
    taken = {command.path[1] for command in schema().commands if command.path[0] == "show"}
    taken |= {built["word"].split()[0] for built in document().values()} | schema().outside.keys()
    lines = [line.split() for title in nouns if title not in titles() for line in nouns[title]]
    shown = {words[1] for words in lines if words[0] in ("configure", "debug", "delete", "show")}
    assert shown - taken - {"configuration"} == set()


def test_no_field_is_missing():
    missing = {(title, name): place for place, title, name, built, _ in pairs() if built is None}
    unsaid = {key: place for key, place in missing.items() if key not in LEFT_OUT and ("*", key[1]) not in LEFT_OUT}
    assert unsaid == {}
    assert [k for k in LEFT_OUT if k not in missing and k[0] != "*"] == [], "built by now: take them off the list"


def test_every_built_field_agrees_with_the_facts():
    found = {}
    for place, title, name, built, fact in pairs():
        if fact is None:
            found[place, "unknown"] = (name, None)
        elif built and name not in CONTROLLERS_OWN:
            found.update({(place, what): values for what, values in differences(title, name, built, fact).items()})
    assert {key: values for key, values in found.items() if key not in INTENDED} == {}
    assert [key for key in INTENDED if key not in found] == [], "no longer differ: take them off the list"


@pytest.mark.parametrize("source", ["cli_show", "export_20.1.6"])
def test_rows_stand_in_the_observed_order(source):
    observed = yaml.safe_load((FACTS / "field_order.yaml").read_text())[source]
    tops = {built["class"] for built in document().values()}
    wrong = {}
    for place, title, fields in bodies():
        order = [name for name in observed.get(title, []) if name in fields]
        if source != "cli_show":
            if title in OTHER_ORDER:
                continue
            if title in tops:  # the export moves these to the front and references to the end
                order = [n for n in order if n not in EXPORTED_FIRST and not n.endswith(("_ref", "_refs"))]
        built = [name for name in fields if name in order]
        if built != order:
            wrong[place] = next((a, b) for a, b in zip(order, built, strict=True) if a != b)
    assert wrong == {}


def test_what_the_newest_models_dropped_is_not_built():
    dropped = {(title, name) for title, names in newer()["no_longer_there"].items() for name in names}
    assert dropped <= LEFT_OUT.keys()


def grown():
    """Every message as the loader made it, with the facts' fields of it."""
    for object_type in schema().objects():
        yield from _grown(object_type.name, object_type, facts_of(object_type.title), ())


def _grown(place, message, facts, above):
    for field in message.fields.values():
        fact = facts.get(field.name)
        if fact and field.message is not None and fact["message"] not in above:
            inner = messages()[fact["message"]]["fields"]
            yield f"{place}.{field.name}", field.message, inner
            yield from _grown(f"{place}.{field.name}", field.message, inner, (*above, fact["message"]))


def typed():
    """(place, type) of every leaf that the facts know."""
    for object_type in schema().objects():
        yield from ((f"{object_type.name}.{f.name}", f.type) for f in object_type.fields.values() if f.type)
    for place, message, _ in grown():
        yield from ((f"{place}.{f.name}", f.type) for f in message.fields.values() if f.type)


def test_secrets_are_those_of_the_list():
    assert {place for place, kind in typed() if isinstance(kind, types.Secret)} == SECRETS


def test_text_that_is_more_than_text():
    named = {f"{o.name}.name" for o in schema().objects() if not o.singleton}
    assert {place for place, kind in typed() if isinstance(kind, types.Name)} == named
    macs = {place.rpartition(".")[2] for place, kind in typed() if isinstance(kind, types.Mac)}
    assert macs == {"mac", "mac_address"}


def test_a_message_is_partial_when_the_facts_have_more_fields():
    wrong = {
        place: set(stated) - set(m.fields)
        for place, m, stated in grown()
        if m.partial != (not stated.keys() <= m.fields.keys())
    }
    assert wrong == {}


def test_messages_of_one_field_take_a_one_line_entry():
    """Judged by the facts: ``flags flag debug_pcap_nat`` needs no sub-mode, ``servers ip 10.1.1.1`` has one."""
    assert {p: m.only_field for p, m, stated in grown() if bool(m.only_field) != (len(stated) == 1)} == {}
    assert any(m.only_field == "flag" for _, m, _ in grown())


def test_a_bare_value_sets_the_one_required_field():
    for place, message, _ in grown():
        needed = [f.name for f in message.fields.values() if f.required and not f.auto and f.default is None]
        if message.bare == "range":
            assert needed == ["begin", "end"], place
        elif len(needed) == 1 and message.fields[needed[0]].message is None:
            assert message.bare == needed[0], place
        else:
            assert message.bare == "", place


def test_an_index_is_the_key():
    for place, message, _ in grown():
        if "index" in message.fields and message.key:
            assert message.key == ("index",), place


def test_reference_defaults_are_those_of_a_fresh_controller():
    stated = yaml.safe_load((FACTS / "system_defaults.yaml").read_text())["default_references"]
    for title, references in stated.items():
        for object_type in schema().objects():
            if object_type.title == title:
                for name, value in references.items():
                    assert object_type.fields[name].default in (value, None), (title, name)


@cache
def fresh():
    """The configuration of a fresh store."""
    return Config().with_changes(system_defaults(schema(), 1), 1)


def system_bodies():
    """(type, body as stated, body as stored) of every system object of the facts whose type is built."""
    stated = yaml.safe_load((FACTS / "system_defaults.yaml").read_text())
    by_title = {kind.title: kind for kind in schema().objects()}
    for title in by_title.keys() & stated.keys():
        kind = by_title[title]
        for body in stated[title]:
            found = fresh().get(kind.name, kind.name) if kind.singleton else fresh().named(kind.name, body["name"])
            yield kind, {**body, **body.get("effective", {})}, found
    for name, bodies in stated["later_releases"].items():
        for body in bodies:
            if not body.get("is_federated"):
                yield by_title[name], body, fresh().named(by_title[name].name, body["name"])


def differing(message, stated, stored, path):
    """(path, stated, stored) of what a stored body says differently; names of references, texts of addresses."""
    for name, value in stated.items():
        field, found = message.fields[name], stored.get(name)
        place = f"{path}.{name}"
        if field.message is not None:
            bare = field.message.bare
            pairs = zip(value, found or [], strict=False) if field.list else [(value, found or {})]
            if field.list and len(value) != len(found or []):
                yield place, len(value), len(found or [])
            for one, other in pairs:
                yield from differing(field.message, one if isinstance(one, dict) else {bare: one}, other, place)
        else:
            shown = [_told(field, one) for one in (found or [])] if field.list else _told(field, found)
            if shown != value and (found or value):
                yield place, value, shown


def _told(field, value):
    if isinstance(field.type, types.Ref):
        target = fresh().target(value)
        return target["name"] if target else value
    return field.leaf.format(value) if isinstance(value, dict) else value


OTHERWISE = {
    "name": "singletons have none",
    "since": "about the object, no field of it",
    "effective": "said field by field",
    "privileges_by_access": "compared on its own",
    "external_monitor": "scripts are our own, and left out of the facts",
}


def test_system_objects_are_those_of_a_fresh_controller():
    missing, wrong = [], []
    for kind, stated, stored in system_bodies():
        if stored is None:
            missing.append((kind.name, stated["name"]))
            continue
        said = {name: value for name, value in stated.items() if name not in OTHERWISE}
        rule = said.get("alert_rule")
        if rule:
            said["alert_rule"] = {**rule, "sys_event_rule": [{"event_id": e} for e in rule["sys_event_rule"]]}
        wrong += differing(kind, said, stored, f"{kind.name} {stated['name']}")
    assert missing == []
    assert wrong == []


def test_system_roles_are_those_of_a_fresh_controller():
    stated = yaml.safe_load((FACTS / "system_defaults.yaml").read_text())["Role"]
    for role in stated:
        found = {}
        for one in fresh().named("role", role["name"])["privileges"]:
            found.setdefault(one["type"], set()).add(one["resource"])
        assert found == {kind: set(names) for kind, names in role["privileges_by_access"].items()}, role["name"]


def test_users_are_those_of_a_fresh_controller():
    stated = yaml.safe_load((FACTS / "system_defaults.yaml").read_text())["names_only"]["User"]
    assert {body["name"] for body in fresh().all("user")} == set(stated)

"""The built grammar against the vendor's object model as facts, where those are at hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml

from avish.schema import types
from avish.schema.load import schema
from avish.schema.model import Field

FACTS = Path(__file__).parents[4] / "shared" / "reference" / "schema"
pytestmark = pytest.mark.skipif(not FACTS.is_dir(), reason=f"the facts are not here: {FACTS}")

KINDS = {
    types.Text: "string",
    types.Name: "string",
    types.Secret: "string",
    types.Mac: "string",
    types.Bool: "bool",
    types.Ip: "ip",
    types.Prefix: "prefix",
    types.HostPrefix: "prefix",
    types.Enum: "enum",
    types.Ref: "ref",
}

SECRETS = {
    "cloud.ntp_configuration.ntp_authentication_keys.key",
    "cloud.proxy_configuration.password",
    "healthmonitor.authentication.password",
    "healthmonitor.radius_monitor.password",
    "healthmonitor.radius_monitor.shared_secret",
    "vrfcontext.bgp_profile.peers.md5_secret",
}
"""Fields that are never shown; the facts know them as text."""

CONTROLLERS_OWN = ("uuid", "url", "_last_modified")
"""The loader adds these to every object; they are read only here."""

OLDER = "a field of older releases that public runbooks still set"
MOVED = "an operator's old runbook names it; it is kept and a check says where it went"
REFERENCE = "the models state no defaults of references; this is what a controller fills in"
INTENDED: dict[tuple[str, str], str] = {
    ("natpolicy.name", "required"): "an object without a name cannot be typed on the CLI",
    ("networkservice.vrf_ref", "default"): "as in the documented runbooks, which leave it out",
    ("pool.analytics_profile_ref", "default"): REFERENCE,
    ("pool.cloud_ref", "default"): REFERENCE,
    ("pool.vrf_ref", "default"): REFERENCE,
    ("virtualservice.analytics_profile_ref", "default"): REFERENCE,
    ("virtualservice.application_profile_ref", "default"): REFERENCE,
    ("virtualservice.cloud_ref", "default"): REFERENCE,
    ("virtualservice.network_profile_ref", "default"): REFERENCE,
    ("virtualservice.se_group_ref", "default"): REFERENCE,
    ("virtualservice.vrf_context_ref", "default"): REFERENCE,
    ("vsvip.cloud_ref", "default"): REFERENCE,
    ("vsvip.vrf_context_ref", "default"): REFERENCE,
    ("virtualservice.address", "unknown"): OLDER,
    ("serviceenginegroup.advertise_backend_networks", "unknown"): MOVED,
    ("serviceenginegroup.enable_routing", "unknown"): MOVED,
    ("serviceenginegroup.enable_vmac", "unknown"): MOVED,
    ("serviceenginegroup.floating_intf_ip", "unknown"): MOVED,
    ("serviceenginegroup.floating_intf_ip_se_2", "unknown"): MOVED,
}
"""(field, what differs): why."""


@cache
def messages():
    return yaml.safe_load((FACTS / "messages.yaml").read_text())


@cache
def facts_of(title):
    return yaml.safe_load((FACTS / f"{title}.yaml").read_text())["fields"]


def pairs():
    """Every built field with the facts about it: (place, field, fact); fact None where there is none."""
    for object_type in schema().objects():
        yield from walk(object_type.name, object_type, facts_of(object_type.title), set())


def walk(place, message, facts, seen):
    for field in message.fields.values():
        here = f"{place}.{field.name}"
        fact = facts.get(field.name)
        yield here, field, fact
        if fact is None or field.message is None or (field.name, id(field.message)) in seen:
            continue
        seen.add((field.name, id(field.message)))
        yield from walk(here, field.message, messages()[fact["message"]]["fields"], seen)


def nested():
    """Every built message with the facts' fields of it."""
    for place, field, fact in pairs():
        if field.message is not None and fact is not None:
            yield place, field.message, messages()[fact["message"]]["fields"]


def kind(field: Field) -> str:
    if field.message is not None:
        return "message"
    if isinstance(field.leaf, types.Number):
        return field.leaf.name
    return KINDS[type(field.leaf)]


def numbers(field: Field) -> dict[str, object]:
    leaf = field.type
    if not isinstance(leaf, types.Number):
        return {"range": None, "special": [], "allowed": [], "unit": ""}
    low_high = None if leaf.low is None else [leaf.low, leaf.high]
    return {"range": low_high, "special": list(leaf.extra), "allowed": list(leaf.allowed), "unit": leaf.unit}


def default_of(field: Field):
    if field.default is None or field.message is not None:
        return None
    if field.list:
        return field.default
    if isinstance(field.leaf, (types.Ip, types.Prefix)):
        return field.leaf.format(field.default)
    return field.default


def differences(field: Field, fact: dict) -> dict[str, tuple[object, object]]:
    """What differs: (built, fact)."""
    built = {
        "type": kind(field),
        "list": field.list,
        "enum": list(field.leaf.values) if isinstance(field.type, types.Enum) else [],
        "required": field.required,
        "default": default_of(field),
        "min_items": field.min_items,
        "max_items": field.max_items,
        "read_only": field.read_only,
        "deprecated": bool(field.deprecated),
        "to": field.type.to if isinstance(field.type, types.Ref) else "",
        **numbers(field),
    }
    stated = {
        "type": fact["type"],
        "list": fact.get("list", False),
        "enum": fact.get("enum", []),
        "required": fact.get("required", False),
        "default": fact.get("default"),
        "min_items": fact.get("min_items", 0),
        "max_items": fact.get("max_items", 0),
        "read_only": fact.get("read_only", False),
        "deprecated": bool(fact.get("deprecated")),
        "to": fact.get("to", "").lower(),
        "range": fact.get("range"),
        "special": fact.get("special", []),
        "allowed": fact.get("allowed", []),
        "unit": fact.get("unit", "").lower(),
    }
    return {what: (built[what], stated[what]) for what in built if built[what] != stated[what]}


def test_every_built_field_agrees_with_the_facts():
    found = {}
    for place, field, fact in pairs():
        if fact is None:
            found[place, "unknown"] = (field.name, None)
        elif field.name not in CONTROLLERS_OWN:
            found.update({(place, what): values for what, values in differences(field, fact).items()})
    assert {key: values for key, values in found.items() if key not in INTENDED} == {}
    assert [key for key in INTENDED if key not in found] == [], "no longer differ: take them off the list"


def test_secrets_are_those_of_the_list():
    built = {place for place, field, _ in pairs() if isinstance(field.type, types.Secret)}
    assert built == SECRETS


def test_text_that_is_more_than_text():
    names = {p for p, f, _ in pairs() if isinstance(f.type, types.Name)}
    assert names == {f"{o.name}.name" for o in schema().objects()}
    assert {p.rpartition(".")[2] for p, f, _ in pairs() if isinstance(f.type, types.Mac)} == {"mac_address"}


def test_a_message_is_partial_when_the_facts_have_more_fields():
    wrong = {
        place: set(stated) - set(m.fields)
        for place, m, stated in nested()
        if m.partial != bool(set(stated) - set(m.fields))
    }
    assert wrong == {}


def test_messages_of_one_field_take_a_one_line_entry():
    """Judged by the facts: ``flags flag debug_pcap_nat`` needs no sub-mode, ``servers ip 10.1.1.1`` has one."""
    assert {p: m.only_field for p, m, stated in nested() if bool(m.only_field) != (len(stated) == 1)} == {}
    assert any(m.only_field == "flag" for _, m, _ in nested())


def test_a_bare_value_sets_the_one_required_field():
    for place, message, _ in nested():
        needed = [f.name for f in message.fields.values() if f.required and not f.auto and f.default is None]
        if message.bare == "range":
            assert needed == ["begin", "end"], place
        elif len(needed) == 1 and message.fields[needed[0]].message is None:
            assert message.bare == needed[0], place
        else:
            assert message.bare == "", place


def test_own_index_and_required_fields_are_keys():
    for place, message, _ in nested():
        if "index" in message.fields and message.key:
            assert message.key == ("index",), place


def test_reference_defaults_are_those_of_a_fresh_controller():
    stated = yaml.safe_load((FACTS / "system_defaults.yaml").read_text())["default_references"]
    for title, references in stated.items():
        for object_type in schema().objects():
            if object_type.title == title:
                for name, value in references.items():
                    assert object_type.fields[name].default in (value, None), (title, name)

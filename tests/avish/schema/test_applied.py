"""The published schema says which fields change forwarding: those that the compiler reads."""

import ast
from pathlib import Path

import avish.compile
import avish.config.services
from avish.schema.load import schema
from avish.server.schema_json import schema_document

FILES = [*Path(avish.compile.__file__).parent.glob("*.py"), Path(avish.config.services.__file__)]
ONLY_NAMES = {"name", "uuid"}
"""Read to tell objects apart; what they are called changes nothing."""
NO_FIELDS = {"codes", "ip_addr", "pool", "udp"}
"""Words of the compiler's own, or parts of a value, that some field elsewhere is called by chance."""


def read_by_the_compiler():
    """Every text in the compiler's code that could be the name of a field, and where."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, file.name


def marked(fields, path):
    """(name, path, applied) of every field."""
    for name, about in fields.items():
        yield name, f"{path}.{name}", about["applied"]
        yield from marked(about.get("fields", {}), f"{path}.{name}")


def test_what_the_compiler_reads_is_marked():
    places = {}
    for kind, about in schema_document(schema())["objects"].items():
        for name, path, applied in marked(about["fields"], kind):
            places.setdefault(name, []).append((path, applied))
    unmarked = {
        name: (file, [path for path, _ in places[name]][:3])
        for name, file in read_by_the_compiler()
        if name in places.keys() - ONLY_NAMES - NO_FIELDS and all(applied == "stored" for _, applied in places[name])
    }
    assert unmarked == {}, "mark them in the grammar (applied: dataplane), their parents too"


def test_a_field_acts_only_where_its_parents_do():
    rules = schema_document(schema())["objects"]["l4policyset"]["fields"]["l4_connection_policy"]["fields"]["rules"]
    assert rules["fields"]["match"]["fields"]["client_ip"]["fields"]["addrs"]["applied"] == "dataplane"
    alert = schema_document(schema())["objects"]["virtualservice"]["fields"]["analytics_policy"]["fields"]
    assert alert["client_log_filters"]["fields"]["client_ip"]["fields"]["addrs"]["applied"] == "stored"

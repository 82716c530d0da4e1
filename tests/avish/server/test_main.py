from __future__ import annotations

import json

import pytest

from avish.errors import ApplyError, ValidationError
from avish.schema.load import schema
from avish.server import main as module
from avish.server.main import main
from avish.server.schema_json import schema_document
from dataplane.errors import LabError, UnreachableError


def test_schema_names_types_and_commands(capsys):
    assert main(["schema", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rules = document["objects"]["natpolicy"]["fields"]["rules"]
    assert (rules["type"], rules["list"]) == ("message", True)
    assert rules["fields"]["index"]["type"] == "int"
    assert rules["fields"]["index"]["required"] is True
    assert document["objects"]["natpolicy"]["verb"] == "configure"
    paths = {command["path"] for command in document["commands"]}
    assert {
        "configure pool <pool>",
        "show pool",
        "show pool <pool>",
        "delete pool <pool>",
        "debug serviceengine <serviceengine>",
        "show debug serviceengine <serviceengine>",
        "show serviceengine <serviceengine> vshash",
    } <= paths
    assert "delete debug serviceengine <serviceengine>" not in paths


def test_every_field_of_the_schema_is_described():
    def walk(fields):
        for field in fields.values():
            yield field
            yield from walk(field.get("fields", {}))

    known = {"string", "int", "float", "bool", "ip", "prefix", "ref", "enum", "message"}
    for kind in schema_document(schema())["objects"].values():
        for field in walk(kind["fields"]):
            assert field["type"] in known
            assert field["help"]
            assert field["applied"] in ("dataplane", "stored")
            assert field["type"] != "enum" or all(word == word.upper() for word in field["enum"])
            assert field["type"] != "ref" or field["to"]


@pytest.mark.parametrize("words", [[], ["fly"], ["up"], ["status", "--colour"], ["serve", "--ready-fd", "x"]])
def test_bad_options_are_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "check"])
def test_no_controller_is_69_and_one_line(command, tmp_path, capsys):
    assert main([command, "--home", str(tmp_path)]) == 69
    text = capsys.readouterr().err
    assert text.startswith("avishd: ")
    assert len(text.splitlines()) == 1
    assert "avishd serve" in text


def test_nothing_to_take_down(tmp_path, capsys):
    assert main(["down", "--home", str(tmp_path / "x")]) == 0
    assert "nothing to take down" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValidationError("no"), 1),
        (ApplyError("no"), 1),
        (LabError("t.yaml: networks: no"), 1),
        (UnreachableError("no"), 69),
        (KeyboardInterrupt(), 130),
    ],
)
def test_refusals_are_one_line(error, status, monkeypatch, capsys, tmp_path):
    def refuse(*args):
        raise error

    monkeypatch.setattr(module.lifecycle, "up", refuse)
    assert main(["up", "t.yaml", "--home", str(tmp_path)]) == status
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_is_70_with_a_reference(monkeypatch, capsys, tmp_path):
    (tmp_path / "log").mkdir()
    monkeypatch.setattr(module.lifecycle, "up", lambda *args: 1 / 0)
    assert main(["up", "t.yaml", "--home", str(tmp_path)]) == 70
    text = capsys.readouterr().err
    assert "Traceback" not in text
    (report,) = (tmp_path / "log").iterdir()
    assert str(report) in text
    assert "ZeroDivisionError" in report.read_text()


def test_a_topology_that_is_not_there(tmp_path, capsys):
    assert main(["up", str(tmp_path / "no.yaml"), "--home", str(tmp_path / "h")]) == 1
    assert "no.yaml" in capsys.readouterr().err
    assert not (tmp_path / "h").exists()

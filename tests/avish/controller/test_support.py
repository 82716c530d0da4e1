"""The archive for support opens, holds what it should, and no secret."""

from __future__ import annotations

import tarfile

import pytest

from avish.controller.support import cleaned, headers_of
from avish.schema.load import schema
from avish.schema.types import Secret

CANARY = 'canary-9f"3'


def fields_of(message, path=()):
    for item in message.fields.values():
        if isinstance(item.type, Secret):
            yield (*path, item.name)
        elif item.message is not None and len(path) < 5:
            yield from fields_of(item.message, (*path, item.name))


def test_secrets_in_every_place_of_the_grammar_are_found():
    """Whatever the grammar calls a secret is taken out, at any depth."""
    from avish.controller.support import _secrets

    grammar = schema()
    places = 0
    for kind in grammar.objects():
        for path in fields_of(kind):
            body, message = {}, kind
            inner = body
            for name in path[:-1]:
                item = message.fields[name]
                inner[name] = [{}] if item.list else {}
                inner, message = (inner[name][0] if item.list else inner[name]), item.message
            inner[path[-1]] = CANARY
            assert list(_secrets(kind, body)) == [CANARY], (kind.name, path)
            places += 1
    assert places > 3


def archive(rig):
    answer = rig.call("POST", "/api/tech-support")
    assert answer.status == 200, answer.body
    with tarfile.open(answer.body["file"]) as found:
        return {one.name.partition("/")[2]: found.extractfile(one).read() for one in found.getmembers()}


@pytest.mark.parametrize("canary", [CANARY, "geheimé-7"])
def test_planted_canaries_are_in_no_file(ftp_rig, canary):
    ftp_rig.drivers["se1"].fact_values["texts"] = {"x": f"a line with {canary}"}
    (ftp_rig.home.log / "avishd.log").write_text(f"somebody typed {canary}\n")
    monitor = {
        "name": "hm",
        "type": "HEALTH_MONITOR_EXTERNAL",
        "external_monitor": {
            "command_code": "true",
            "command_variables": f"USER=joe PASSWORD={canary.replace(chr(34), '')}",
        },
    }
    assert ftp_rig.call("POST", "/api/healthmonitor", monitor).status == 201
    planted = {"name": "backup", "backup_passphrase": canary}
    assert ftp_rig.call("POST", "/api/backupconfiguration", planted).status in (200, 201)
    files = archive(ftp_rig)
    for name, data in files.items():
        assert canary.encode() not in data, name
        assert canary.replace('"', "").encode() not in data, name
        assert canary.replace('"', '\\"').encode() not in data, name
    assert b"somebody typed <sensitive>" in files["log/avishd.log"]


def test_what_is_in_it(ftp_rig):
    ftp_rig.home.captures.joinpath("c.pcapng").write_bytes(b"\x0a\x0d\x0d\x0a" + (12).to_bytes(4, "little") + b"\0" * 4)
    files = archive(ftp_rig)
    for name in ("versions.json", "configuration.json", "commits.json", "events.json", "engines/se1/kernel.txt",
                 "engines/se2/flows.json", "captures/c.pcapng"):  # fmt: skip
        assert name in files, sorted(files)
    assert b"ftp-pool" in files["configuration.json"]


def test_an_engine_that_does_not_answer_is_named(ftp_rig):
    ftp_rig.drivers["se2"].reachable = False
    answer = ftp_rig.call("POST", "/api/tech-support")
    assert any("engines/se2" in one for one in answer.body["missing"])


def test_captures_give_only_their_headers(tmp_path):
    block = lambda kind, size: kind.to_bytes(4, "little") + size.to_bytes(4, "little") + b"x" * (size - 8)
    path = tmp_path / "c.pcapng"
    path.write_bytes(block(0x0A0D0D0A, 28) + block(1, 20) + block(6, 60))
    assert len(headers_of(path)) == 48
    path.write_bytes(b"garbage")
    assert headers_of(path) == b""


def test_secrets_are_found_as_json_writes_them():
    assert cleaned(b'{"a": "x\\"y\\u00e9"}', ['x"yé']) == b'{"a": "<sensitive>"}'

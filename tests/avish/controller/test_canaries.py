"""Secrets that are set, and looked for in everything that is ever answered, logged or written."""

from __future__ import annotations

import json

import pytest

from avish.controller.openapi import OpenApi
from avish.schema.load import schema

CANARY = "Canary-4711-horse"


@pytest.fixture
def nest(rig):
    """A monitor, a passphrase, a user and a token, each with the canary, and each changed once more."""
    login = {"username": "u", "password": CANARY}
    web = {"http_response_code": ["HTTP_2XX"]}
    rig.post("healthmonitor", name="hm", type="HEALTH_MONITOR_HTTP", http_monitor=web, authentication=login)
    rig.change("healthmonitor", "hm", description="x", authentication={**login, "password": f"{CANARY}-2"})
    rig.change("backupconfiguration", "Backup-Configuration", backup_passphrase=CANARY)
    rig.post("user", name="anna", password=CANARY, is_superuser=True)
    rig.call("PUT", "/api/useraccount", {"old_password": CANARY, "password": f"{CANARY}-3"}, user="anna")
    rig.call("POST", "/login", {"username": "anna", "password": f"{CANARY}-wrong"})
    rig.call("POST", "/api/healthmonitor", {"name": "bad", "type": "NO_SUCH", "authentication": login})
    rig.call("PATCH", "/api/pool/none", {"add": {"password": CANARY}})
    return rig


def answers(rig):
    """Every GET that the description knows, those of single objects for each object there is."""
    for path, item in OpenApi(schema(), "1").document()["paths"].items():
        if "get" not in item or path.endswith(("/notices", "/capture")):
            continue
        kind = path.split("/")[2]
        uuids = [""]
        if "{uuid}" in path:
            uuids = [str(body["uuid"]) for body in rig.head.config.all(kind)]
        for uuid in uuids:
            answer = rig.call("GET", path.replace("{uuid}", uuid))
            if answer.stream is None:
                yield path, answer
    for path, query in (
        ("/api/compare", {"from": "1"}), ("/api/configuration/export", {}), ("/api/audit", {}), ("/api/events", {}),
        ("/api/healthmonitor", {"fields": "authentication"}), ("/api/healthmonitor", {"skip_default": "1"}),
    ):  # fmt: skip
        yield path, rig.call("GET", path, None, **query)
    for number in range(1, rig.head.config.revision + 1):
        yield f"/api/commits/{number}", rig.call("GET", f"/api/commits/{number}")


def test_no_answer_tells_a_secret(nest):
    count = 0
    for path, answer in answers(nest):
        count += answer.status == 200
        assert "Canary" not in json.dumps(answer.body) + answer.text + json.dumps(dict(answer.headers)), path
    assert count > 150


def test_nothing_is_written_in_clear(nest, caplog):
    nest.close()
    written = [path for path in nest.home.path.rglob("*") if path.is_file() and "keys" not in path.parts]
    assert nest.home.store in written
    assert nest.home.audit in written
    for path in written:
        assert b"Canary" not in path.read_bytes(), path
    assert "Canary" not in caplog.text
    nest.start()
    assert nest.head.config.named("healthmonitor", "hm")["authentication"]["password"] == f"{CANARY}-2"

from __future__ import annotations

import stat

import pytest

pytest.importorskip("cryptography")
from avish.config.sealing import KeySealer, read_keys, write_keys
from avish.schema.load import schema
from avish.server.credentials import rotate_key

CANARY = "Canary-b91e77"
MONITOR = {
    "name": "hm",
    "type": "HEALTH_MONITOR_HTTP",
    "http_monitor": {"http_response_code": ["HTTP_2XX"]},
    "authentication": {"username": "u", "password": CANARY},
}


def test_what_is_sealed_comes_back(tmp_path):
    sealer = KeySealer(read_keys(tmp_path / "keys"), schema())
    body = {"uuid": "x", "authentication": {"username": "u", "password": CANARY}, "description": "sealed:not-really"}
    text = sealer.encode("healthmonitor", body)
    assert CANARY not in text
    assert sealer.decode(text) == body
    assert sealer.encode("healthmonitor", body) == text
    assert stat.S_IMODE((tmp_path / "keys" / "secrets.key").stat().st_mode) == 0o600


def on_disk(rig, word):
    return [path for path in rig.home.path.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_a_secret_is_nowhere_in_clear(rig):
    made = rig.post("healthmonitor", **MONITOR)
    assert made["authentication"]["password"] == "<sensitive>"
    rig.change("healthmonitor", "hm", description="again")
    before = rig.head.config.revision
    rig.change("healthmonitor", "hm", authentication=MONITOR["authentication"])
    assert rig.head.config.revision == before
    said = [
        rig.get("/api/healthmonitor"),
        rig.get(f"/api/healthmonitor/{made['uuid']}"),
        rig.get("/api/configuration/export"),
        rig.get("/api/compare", **{"from": "1"}),
        *(rig.get(f"/api/commits/{n}") for n in range(1, before + 1)),
        rig.get("/api/audit"),
        rig.call("PUT", f"/api/healthmonitor/{made['uuid']}", {**MONITOR, "authentication": {"password": CANARY}}).body,
        rig.call("POST", "/api/healthmonitor", {**MONITOR, "name": "other"}, dryrun="1").body,
    ]
    assert not [one for one in said if CANARY in str(one)]
    rig.restart()
    assert rig.head.config.named("healthmonitor", "hm")["authentication"]["password"] == CANARY
    rig.controller.store.close()
    assert on_disk(rig, CANARY) == []


def test_the_key_is_changed(rig):
    rig.post("healthmonitor", **MONITOR)
    rig.change("healthmonitor", "hm", description="again")
    rig.close()
    old = read_keys(rig.home.keys)
    assert rotate_key(rig.home) >= 2
    new = read_keys(rig.home.keys)
    assert len(new) == 1
    assert new != old
    rig.start()
    assert rig.head.config.named("healthmonitor", "hm")["authentication"]["password"] == CANARY


def test_with_another_key_a_secret_stays_sealed(rig):
    rig.post("healthmonitor", **MONITOR)
    rig.close()
    write_keys(rig.home.keys, [b"x" * 64])
    rig.start()
    assert rig.head.config.named("healthmonitor", "hm")["authentication"]["password"].startswith("sealed:")

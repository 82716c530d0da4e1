"""Captures and exports by name: whose they are, how much, and where links do not lead."""

from __future__ import annotations

import json

import pytest

from avish.controller import files


@pytest.fixture
def people(rig):
    """Tenant blue; anna and bert administer applications there, carl the controller."""
    rig.post("tenant", name="blue")
    for name in ("anna", "bert"):
        rig.post("user", name=name, access=[{"role_ref": "Tenant-Admin", "tenant_ref": "blue"}])
    rig.post("user", name="carl", access=[{"role_ref": "System-Admin", "all_tenants": True}])
    return rig


def ask(rig, user, method, name, body=None, **query):
    return rig.call(method, f"/api/files/{name}".rstrip("/"), body, user=user, **query)


def listed(rig, user, folder="exports"):
    return [one["name"] for one in ask(rig, user, "GET", "").body[folder]]


def test_an_export_is_its_authors(people):
    assert ask(people, "anna", "PUT", "exports/x", {"text": "anna's"}).status == 200
    assert ask(people, "bert", "PUT", "exports/x", {"text": "bert's"}).status == 200
    assert ask(people, "anna", "GET", "exports/x", text="1").body == {"text": "anna's"}
    assert listed(people, "bert") == ["x"]
    assert listed(people, "carl") == []
    assert ask(people, "anna", "DELETE", "exports/x").status == 204
    assert ask(people, "anna", "GET", "exports/x").status == 404
    assert ask(people, "bert", "GET", "exports/x", text="1").body == {"text": "bert's"}


def test_what_the_controller_made_is_for_who_may_read_it(people):
    folder = people.home.path / "exports"
    folder.mkdir(exist_ok=True)
    (folder / "tech-support.tar.gz").write_bytes(b"all of it")
    assert ask(people, "anna", "GET", "exports/tech-support.tar.gz").status == 404
    assert listed(people, "anna") == []
    assert listed(people, "carl") == ["tech-support.tar.gz"]
    assert ask(people, "carl", "GET", "exports/tech-support.tar.gz", offset="0", size="3").body == {"data": "616c6c"}
    assert ask(people, "anna", "PUT", "exports/tech-support.tar.gz", {"text": "forged"}).status == 200
    assert (folder / "tech-support.tar.gz").read_bytes() == b"all of it"


def test_nobody_writes_without_end(people, monkeypatch):
    monkeypatch.setattr(files, "QUOTA", 10)
    assert ask(people, "anna", "PUT", "exports/a", {"text": "123456"}).status == 200
    refused = ask(people, "anna", "PUT", "exports/b", {"text": "123456"})
    assert (refused.status, "purge file" in refused.body["error"]) == (413, True)
    assert ask(people, "anna", "PUT", "exports/a", {"text": "1234567890"}).status == 200
    assert ask(people, "bert", "PUT", "exports/b", {"text": "123456"}).status == 200


def test_what_is_too_large_is_refused_not_cut(people, monkeypatch):
    monkeypatch.setattr(files, "TEXT_LIMIT", 10)
    assert ask(people, "anna", "PUT", "exports/a", {"text": "x" * 11}).status == 413
    folder = people.home.path / "exports" / "of-anna"
    folder.mkdir(parents=True)
    (folder / "a").write_text("x" * 11)
    assert ask(people, "anna", "GET", "exports/a", text="1").status == 413


@pytest.mark.parametrize("data", ["no base 64!", "QUJD\nREVG", "QUJ"])
def test_data_is_base_64_and_nothing_else(people, data):
    assert ask(people, "anna", "PUT", "exports/a", {"data": data}).status == 400


def test_a_capture_is_for_who_captures_in_its_tenant(people):
    folder = people.controller.captures.folder
    folder.prepare()
    for stem, tenant in (("one", "admin"), ("two", "blue")):
        (folder.path / f"{stem}.pcapng").write_bytes(b"packets")
        about = {"stem": stem, "key": ["debugvirtualservice", stem], "name": stem, "tenant": tenant, "started": 1.0}
        (folder.path / f"{stem}.json").write_text(json.dumps({**about, "files": [f"{stem}.pcapng"]}))
    (folder.path / "stray.pcapng").write_bytes(b"packets")
    assert listed(people, "anna", "captures") == ["two.pcapng"]
    assert ask(people, "anna", "GET", "captures/one.pcapng").status == 404
    assert ask(people, "anna", "GET", "captures/stray.pcapng").status == 404
    assert ask(people, "anna", "GET", "captures/two.pcapng").status == 200
    assert {"one.pcapng", "two.pcapng", "stray.pcapng"} <= set(listed(people, "carl", "captures"))


def test_links_lead_nowhere(people, tmp_path):
    target = tmp_path / "target"
    target.write_text("untouched")
    folder = people.home.path / "exports" / "of-anna"
    folder.mkdir(parents=True)
    (folder / "x").symlink_to(target)
    assert ask(people, "anna", "GET", "exports/x", text="1").status == 404
    assert ask(people, "anna", "PUT", "exports/x", {"text": "mine"}).status == 200
    assert target.read_text() == "untouched"

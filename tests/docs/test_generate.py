"""The reference manual: complete, and its freshness check tells stale files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from avish.schema.load import schema

FILE = Path(__file__).resolve().parents[2] / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_object_type_and_command_has_its_place(generate):
    made = generate.pages(schema())
    assert set(made) == {f"{name}.md" for name in schema().index} | {"index.md", "commands.md"}
    for command in schema().commands:
        assert f"`{' '.join(command.path)}`" in made["commands.md"]


def test_a_field_shows_type_range_unit_default_and_effect(generate):
    page = generate.pages(schema())["pool.md"]
    assert "| `default_server_port` | whole number (1-65535) | `80` | yes |" in page
    assert "| `graceful_disable_timeout` | whole number (1-7200 or 0 or -1), in min | `1 min` | yes |" in page
    assert "| `connection_ramp_duration` | whole number (1-300 or 0), in min | `10 min` | no |" in page
    assert "`lb_algorithm_round_robin`" in page
    assert "name of a [healthmonitor](healthmonitor.md)" in page


def test_changed_missing_and_surplus_files_are_stale(generate, tmp_path):
    made = {"a.md": "a", "b.md": "b"}
    assert generate.write(made, tmp_path) == ["a.md", "b.md"]
    assert generate.stale(made, tmp_path) == []
    (tmp_path / "a.md").write_text("changed")
    (tmp_path / "b.md").unlink()
    (tmp_path / "c.md").write_text("c")
    assert generate.stale(made, tmp_path) == ["a.md", "b.md", "c.md"]
    generate.write(made, tmp_path)
    assert generate.stale(made, tmp_path) == []

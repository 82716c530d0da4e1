"""The dashboard asks for metrics that there are, and the page names every one."""

from __future__ import annotations

import json
import re
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from avish.controller.metrics import Collector, Timings
from avish.controller.rings import Rates

DOCS = Path(__file__).parents[2] / "docs"
SUFFIXES = re.compile(r"_(total|bucket|count|sum)$")


class Nothing:
    """A controller with nothing in it."""

    config = type("Config", (), {"revision": 1, "get": staticmethod(lambda *_: None)})()
    ids = None
    head = property(lambda self: self)

    def jobs(self):
        return []


def families():
    nothing = Nothing()
    collector = Collector(
        committer=nothing, engines={}, captures=nothing, rates=Rates(), commits=Timings(), requests=Timings()
    )
    return {family.name for family in collector.collect()}


def named(text):
    return {SUFFIXES.sub("", name) for name in re.findall(r"\bavish_\w+", text)}


def test_the_dashboard_is_one_and_asks_for_what_there_is():
    board = json.loads((DOCS / "grafana-avish.json").read_text())
    assert {"title", "panels", "schemaVersion", "__inputs", "time"} <= set(board)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    exprs = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert named(" ".join(exprs)) <= families()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24


def test_the_page_lists_every_metric():
    text = (DOCS / "metrics.md").read_text()
    listed = named(text)
    for base in re.findall(r"`(avish_\w+)_packets_total`, `_bytes_total`", text):
        listed.add(f"{base}_bytes")
    assert families() <= listed
    assert listed - families() <= {"avish_rates", "avish_arp"}


def lost(ours, theirs, path="board"):
    """What of ``ours`` is missing or another in ``theirs``."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from lost(value, theirs[name], f"{path}.{name}") if name in theirs else [f"{path}.{name}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield path


def test_grafanas_own_model_knows_every_field_of_the_dashboard():
    """Read and written by Grafana's library, nothing of it is lost; inputs are asked for when it is imported."""
    register_default_plugins()
    board = json.loads((DOCS / "grafana-avish.json").read_text())
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert set(lost(board, again)) == {"board.__inputs", "board.__requires"}
    assert list(lost({**board, "pannels": []}, again))[-1] == "board.pannels"

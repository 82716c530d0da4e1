"""What every folder of tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_lab import Site, running


@pytest.fixture
def founding(tmp_path: Path) -> Iterator[Site]:
    """The founding topology in a lab of its own, nothing configured."""
    topology = Path(__file__).parents[1] / "fixtures/topologies/active-ftp.yaml"
    with running(topology, tmp_path, f"t{os.getpid()}f") as site:
        yield site

"""What every folder of tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from site_lab import Site, running

settings.register_profile("patient", deadline=None)  # other work on the machine must not fail a property
settings.load_profile("patient")


@pytest.fixture
def founding(tmp_path: Path) -> Iterator[Site]:
    """The founding topology in a lab of its own, nothing configured."""
    topology = Path(__file__).parents[1] / "fixtures/topologies/active-ftp.yaml"
    with running(topology, tmp_path, f"t{os.getpid()}f") as site:
        yield site

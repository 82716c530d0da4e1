"""make bench: how fast it is, each figure beside the floor that was measured in the same run.

Builds a lab of its own (root is needed) and leaves nothing behind. Exit 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import captures
import engine
import failover
import figures
import kernel
import network
import operations
import people
import probing
import scale
import traffic
import transactions
import vips
from lab import Lab

HEADER = ("figure", "measured", "floor", "ratio", "target", "verdict", "what the floor is")


def measure(bin_dir):
    """All figures, one after the other."""
    python = str(bin_dir / "python")
    with Lab(bin_dir) as lab:
        shell = [str(bin_dir / "avish"), "--home", str(lab.home)]
        yield figures.prompt(python, shell)
        yield figures.one_show(python, shell)
        yield figures.imports(python, shell)
        yield from figures.keys(python, shell)
        yield figures.parse_only(python, shell, lab.home)
        yield figures.save(lab)
        yield from operations.figures(lab)
    yield from kernel.figures()
    yield from traffic.figures()
    yield from engine.figures(bin_dir)
    yield from scale.figures(bin_dir)
    yield from transactions.figures()
    yield from network.figures(bin_dir)
    yield from people.figures(bin_dir)
    yield from captures.figures(bin_dir)
    yield from failover.figures(bin_dir)
    yield from vips.figures(bin_dir)
    yield from probing.figures()


def row(figure):
    """The cells of a figure."""
    return (
        figure.name,
        f"{figure.value:,.1f} {figure.unit}" if figure.unit == "ms" else f"{figure.value:,.0f} {figure.unit}",
        f"{figure.floor:,.1f} {figure.unit}" if figure.unit == "ms" else f"{figure.floor:,.0f} {figure.unit}",
        f"{figure.ratio:.2f}",
        figure.target,
        "met" if figure.met else "MISSED",
        figure.floor_name,
    )


def table(rows):
    """Rows in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows
    )


def _interrupted(*_):
    raise KeyboardInterrupt


def main():
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="also write the results to this file")
    options = parser.parse_args()
    if os.geteuid():
        print("bench: root is needed: the figures are taken on a lab of network namespaces", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupted)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the second start finds byte code, as it does for a user
    taken = []
    for figure in measure(Path(sys.executable).parent):
        taken.append(figure)
        print("measured: " + "  ".join(cell for cell in row(figure) if cell), file=sys.stderr)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {load}, Python {platform.python_version()}\n")
    print(table([HEADER, *(row(figure) for figure in taken)]))
    if options.json:
        results = [{**asdict(figure), "ratio": figure.ratio} for figure in taken]
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(figure.met for figure in taken) else 1


if __name__ == "__main__":
    sys.exit(main())

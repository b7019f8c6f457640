"""Where a benchmark writes what it measured, and what stands beside every figure."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headsight import __version__
from headsight.files import write_atomic

RESULTS = Path(__file__).parent / "results" / __version__


def write_report(
    row: str,
    values: Mapping[str, Any],
    *,
    packages: Sequence[str] = (),
    device: str = "cpu",
    options: str = "",
) -> Path:
    """The results file of `benchmarks/<row>.py`, with versions, load and machine.

    `options` are those of the command beside --json, from a blank on.
    """
    path = RESULTS / f"{row}--{platform.node()}--{device}.json"
    report = {
        "schema": "headsight.benchmark/1",
        "row": row,
        "command": f"python benchmarks/{row}.py --json{options}",
        **values,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }
    write_atomic(path, json.dumps(report, indent=1).encode() + b"\n")
    return path

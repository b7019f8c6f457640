"""CPU seconds and peak anonymous memory of a command and all its children (Linux)."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Used", "median_of", "run_measured"]

_APART = 0.01
"""Seconds between two looks at the memory."""


class Used(NamedTuple):
    """What a command used."""

    cpu_s: float
    wall_s: float
    anon_mb: float
    """Highest sum of RssAnon over the tree: what files in the page cache do not count into."""


def run_measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Used:
    """Run to the end; a command that fails ends the benchmark with what it said."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    peak = 0.0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, _anon_mb(process.pid))
        time.sleep(_APART)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{said[-2000:]}")
    return Used(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, peak)


def median_of(runs: Sequence[Used]) -> Used:
    """Field by field."""
    return Used(*(statistics.median(values) for values in zip(*runs, strict=True)))


def _anon_mb(pid: int) -> float:
    total = 0.0
    for number in _tree(pid):
        try:
            text = Path(f"/proc/{number}/status").read_text()
        except OSError:
            continue  # it ended meanwhile
        if found := re.search(r"RssAnon:\s+(\d+) kB", text):
            total += int(found[1]) * 1024 / 1e6
    return total


def _tree(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return [pid]
    return [pid, *(number for child in text.split() for number in _tree(int(child)))]

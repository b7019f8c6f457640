"""CPU seconds and peak anonymous memory of a command and all its children (Linux)."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Used", "median_of", "run_measured"]

_APART = 0.01
"""Seconds between two looks at the memory."""


ONE_THREAD = {n: "1" for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


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


def run_in_turns(
    commands: Mapping[str, Sequence[str]], folder: Path, repeats: int
) -> dict[str, list[Used]]:
    """So many runs of each command by its name, one after the other, on one thread each.

    Each writes the folder `folder / name`, which is taken away before. A first turn, which fills
    the page cache, does not count.
    """
    runs: dict[str, list[Used]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            shutil.rmtree(folder / name, ignore_errors=True)
            used = run_measured(command, ONE_THREAD)
            if turn:
                runs[name].append(used)
    return runs


def compare_runs(ours: Sequence[Used], peer: Sequence[Used]) -> dict[str, float]:
    """Ratios ours / peer: of the medians, and the lowest and highest of the pairs' times."""
    mine, theirs = median_of(ours), median_of(peer)
    ratios = sorted(a.cpu_s / b.cpu_s for a, b in zip(ours, peer, strict=True))
    return {
        "time_ratio": mine.cpu_s / theirs.cpu_s,
        "time_low": ratios[0],
        "time_high": ratios[-1],
        "memory_ratio": mine.anon_mb / theirs.anon_mb,
    }


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

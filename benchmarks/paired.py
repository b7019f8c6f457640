"""Ours and a peer in turns in one process: times or rates, and their ratio pair by pair.

The times are those of the processor, all threads together, so that other programs do not count;
rates are of the clock on the wall.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

LEAST_SECONDS = 0.02
"""A measurement is repeated until it lasts at least this long."""


def compare(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Median milliseconds of each and the median, lowest and highest ratio (peer / ours)."""
    calls = _calls(ours), _calls(peer)  # also the warm-up
    pairs = [(_seconds(ours, calls[0]), _seconds(peer, calls[1])) for _ in range(repeats)]
    ratios = sorted(theirs / mine for mine, theirs in pairs)
    return {
        "ours_ms": 1000 * statistics.median(mine for mine, _ in pairs),
        "peer_ms": 1000 * statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "repeats": repeats,
    }


def compare_rates(
    ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, seconds: float
) -> dict[str, Any]:
    """Median calls a second of each and the median, lowest and highest ratio (ours / peer)."""
    pairs = [(_per_second(ours, seconds), _per_second(peer, seconds)) for _ in range(repeats)]
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    return {
        "ours_per_s": statistics.median(mine for mine, _ in pairs),
        "peer_per_s": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "repeats": repeats,
    }


def show(name: str, row: dict[str, Any]) -> None:
    """One line of a table."""
    print(
        f"{name}: ours {row['ours_ms']:.3f} ms, peer {row['peer_ms']:.3f} ms, ratio"
        f" {row['ratio']:.1f} ({row['ratio_low']:.1f} to {row['ratio_high']:.1f})"
    )


def _calls(function: Callable[[], Any]) -> int:
    function()
    return max(round(LEAST_SECONDS / max(_seconds(function, 1), 1e-9)), 1)


def _seconds(function: Callable[[], Any], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - began) / calls


def _per_second(function: Callable[[], Any], seconds: float) -> float:
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            function()
        done += 10
    return done / (time.perf_counter() - start)

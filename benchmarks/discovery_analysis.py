"""Discovery of localization heads, one example: ours against a Python loop over the heads.

1024 heads (32 x 32) on a 24 x 24 grid: attention sum, elbow, spatial entropy. The loop is written
from a description of the official code of arXiv 2503.06287: head by head, `scipy.ndimage.label`,
then a mask for each component. It cuts at the same value as ours, so that the answers are equal.
Three rows: entropies of all heads by both; of those past the elbow by both; and, as each would be
written, ours past the elbow (all that the method uses) beside the loop over all heads.

The maps are simulated: heads of which a few look at a place (as in the paper's figures), and noise
only, the worst case, with some 23 components a map.

    python benchmarks/discovery_analysis.py            prints the table
    python benchmarks/discovery_analysis.py --json     also writes benchmarks/results/<version>/...
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
from paired import compare, show
from reporting import write_report
from scipy import ndimage

from headsight.attention.localization import elbow_threshold
from headsight.attention.selection import PRESETS, HeadStatistics, head_statistics
from headsight.attention.selection_counts import SelectionCounts

LAYERS, HEADS, SIDE = 32, 32, 24
EIGHT = np.ones((3, 3))
RULE = replace(PRESETS["paper"], skip_layers=0, sum_filter="per_sample")
EVERY_HEAD = np.ones((LAYERS, HEADS), bool)
CUT = np.float32(1 + 8 * np.finfo(np.float32).eps)
"""Ours leaves this much room for rounding above the mean."""
LOOKING = 0.16
"""Share of heads that pass the elbow."""


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    rows = []
    for kind, make in {"heads": simulated_heads, "noise": noise}.items():
        maps = make(np.random.default_rng(options.seed))
        for mine, theirs in (("all", "all"), ("elbow", "elbow"), ("elbow", "all")):
            rows.append(_row(kind, mine, theirs, maps, options.repeats))
            show(f"{kind:>6}, entropies by ours of {mine:>5}, by the loop of {theirs:>5}", rows[-1])
    memory = _memory(options.seed)
    print(
        f"counts grew by {memory['kib_20']:.0f} KiB in 20 examples and by"
        f" {memory['kib_220']:.0f} KiB in 220"
    )
    if options.json:
        values = {"rows": rows, "memory": memory, "seed": options.seed}
        path = write_report("discovery_analysis", values, packages=["numpy", "scipy"])
        print(f"written: {path}", file=sys.stderr)
    return 0


def noise(generator: np.random.Generator) -> np.ndarray:
    """Exponential noise in every map; some heads give the picture more."""
    maps = generator.standard_exponential((LAYERS * HEADS, SIDE, SIDE), np.float32)
    return _scaled(maps, generator)


def simulated_heads(generator: np.random.Generator) -> np.ndarray:
    """Maps smoothed a little, as patches overlap in meaning, a third of them with a place."""
    shape = (LAYERS * HEADS, SIDE, SIDE)
    maps = np.exp(1.5 * generator.standard_normal(shape, np.float32))
    maps = ndimage.gaussian_filter(maps, (0, 0.6, 0.6))
    for heat in maps[::3]:
        y, x = generator.integers(0, SIDE - 6, 2)
        heat[y : y + 6, x : x + 5] += 20
    return _scaled(maps, generator)


def loop(maps: np.ndarray, *, every: bool) -> tuple[list[float], float, list[float]]:
    """Sums, threshold and entropies, head by head."""
    sums = [float(heat.sum()) for layer in maps for heat in layer]
    ordered = sorted(sums)
    n = len(ordered)
    chord = [ordered[0] + (ordered[-1] - ordered[0]) * i / (n - 1) for i in range(n)]
    place = max(range(n), key=lambda i: chord[i] - ordered[i])
    tau = (ordered[place] + ordered[place + 1]) / 2
    entropies = []
    for total, heat in zip(sums, maps.reshape(-1, *maps.shape[-2:]), strict=True):
        if not every and total < tau:
            entropies.append(np.nan)
            continue
        mask = heat > heat.mean() * CUT
        labels, count = ndimage.label(mask, EIGHT)
        sizes = [int((labels == i).sum()) for i in range(1, count + 1)]
        whole = sum(sizes)
        shares = [size / whole for size in sizes]
        entropies.append(-sum(p * np.log(p) for p in shares) if shares else np.inf)
    return sums, tau, entropies


def _ours(maps: np.ndarray, wanted: Any) -> tuple[HeadStatistics, float]:
    found = head_statistics(maps, RULE, wanted=wanted)
    return found, float(elbow_threshold(found.sums.reshape(-1)))


def _row(kind: str, mine: str, theirs: str, maps: np.ndarray, repeats: int) -> dict[str, Any]:
    wanted, every = (EVERY_HEAD if mine == "all" else None), theirs == "all"
    found, tau = _ours(maps, wanted)
    sums, their_tau, entropies = loop(maps, every=every)
    np.testing.assert_allclose(found.sums.reshape(-1), sums, rtol=1e-6)
    np.testing.assert_allclose(tau, their_tau, rtol=1e-6)
    flat = found.entropies.reshape(-1)
    looked_at = np.isfinite(flat)
    np.testing.assert_allclose(flat[looked_at], np.array(entropies)[looked_at], atol=1e-9)
    measured = compare(lambda: _ours(maps, wanted), lambda: loop(maps, every=every), repeats)
    entropy_of = {"ours": mine, "loop": theirs, "ours_number": int(looked_at.sum())}
    return {"maps": kind, "entropies_of": entropy_of, **measured}


def _memory(seed: int) -> dict[str, float]:
    """What the streaming counts hold; the order of the heads is kept for 10 examples only."""
    generator = np.random.default_rng(seed)
    few = [noise(generator) for _ in range(4)]
    counts = SelectionCounts(LAYERS, HEADS, replace(PRESETS["paper"], settle_after=10))
    tracemalloc.start()
    kib = {}
    for i in range(220):
        counts.add(few[i % 4])
        if i + 1 in (20, 220):
            kib[f"kib_{i + 1}"] = tracemalloc.get_traced_memory()[0] / 1024
    tracemalloc.stop()
    return kib


def _scaled(maps: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Sums of which a share of `LOOKING` lies far above the rest."""
    looks = generator.random(len(maps)) < LOOKING
    totals = np.where(
        looks, generator.uniform(0.3, 0.8, len(maps)), 0.1 * generator.random(len(maps))
    )
    scale = totals / maps.sum((1, 2))
    return (maps * scale[:, None, None]).astype(np.float32).reshape(LAYERS, HEADS, SIDE, SIDE)


if __name__ == "__main__":
    sys.exit(main())

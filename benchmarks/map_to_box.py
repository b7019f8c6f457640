"""Heat map to box: `headsight.geometry.heatmaps.map_to_box` against scikit-image.

Both cut a smoothed 24 x 24 map at its mean, label 8-neighbour components and give the box of the
one with the largest convex hull. scikit-image's `area_convex` counts pixels of a drawn hull where
ours is exact, so that a few maps of two nearly equal hulls may differ; the share is printed. Beside
it, its cheapest form (`area`, no hull).

    python benchmarks/map_to_box.py            prints the table
    python benchmarks/map_to_box.py --json     also writes benchmarks/results/<version>/...json
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from paired import compare, show
from reporting import write_report
from skimage.measure import label, regionprops

from headsight.geometry.heatmaps import gaussian_smooth, map_to_box

SIDE, MAPS = 24, 40
Box = tuple[int, int, int, int]


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-image on hulls of a line
    maps = make_maps(np.random.default_rng(options.seed))
    rows = []
    for measure in ("area_convex", "area"):
        peer = _peer(measure)
        same = float(np.mean([_ours(heat) == peer(heat) for heat in maps]))
        timed = compare(
            lambda: [_ours(heat) for heat in maps],
            lambda peer=peer: [peer(heat) for heat in maps],
            options.repeats,
        )
        per_map = {k: v / MAPS if k.endswith("_ms") else v for k, v in timed.items()}
        rows.append({"peer": f"label, regionprops, {measure}", "same_boxes": same, **per_map})
        show(f"{rows[-1]['peer']:>32} (same boxes {same:.0%})", rows[-1])
    if rows[0]["same_boxes"] < 0.95:
        raise SystemExit("The boxes differ: the comparison is void.")
    if options.json:
        packages = ["numpy", "scipy", "scikit-image"]
        values = {"rows": rows, "seed": options.seed}
        print(f"written: {write_report('map_to_box', values, packages=packages)}", file=sys.stderr)
    return 0


def make_maps(generator: np.random.Generator) -> np.ndarray:
    """Sums of three smoothed heads: a box with most of the attention, and noise."""
    maps = generator.standard_exponential((MAPS, SIDE, SIDE)) ** 2
    maps *= 0.3 / maps.sum((1, 2), keepdims=True)
    for heat in maps:
        x, y = generator.integers(0, SIDE - 8, 2)
        width, height = generator.integers(4, 9, 2)
        heat[y : y + height, x : x + width] += 0.7 / (width * height)
    return gaussian_smooth(maps)


def _ours(heat: np.ndarray) -> Box | None:
    return map_to_box(heat, (0, 0, SIDE, SIDE)).cells


def _peer(measure: str) -> Callable[[Any], Box | None]:
    def box(heat: np.ndarray) -> Box | None:
        regions = regionprops(label(heat > heat.mean(), connectivity=2))
        if not regions:
            return None
        y0, x0, y1, x1 = max(regions, key=lambda region: getattr(region, measure)).bbox
        return x0, y0, x1, y1

    return box


if __name__ == "__main__":
    sys.exit(main())

"""Non-maximum suppression: `headsight.geometry.nms.nms` against supervision and OpenCV.

Crowds (some 30 boxes an object, as a detector's raw output) and boxes spread evenly, in float32 as
detectors give them and in float64; all three keep the same boxes, which is checked.

    python benchmarks/nms.py            prints the table
    python benchmarks/nms.py --json     also writes benchmarks/results/<version>/...json
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from paired import compare, show
from reporting import write_report

from headsight.geometry.nms import nms

THRESHOLD = 0.5
Boxes = tuple[np.ndarray, np.ndarray]


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 4000])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for count in options.counts:
        for layout, make in {"crowds": crowds, "spread": spread}.items():
            for dtype in (np.float32, np.float64):
                boxes, scores = make(count, np.random.default_rng(options.seed))
                given = boxes.astype(dtype), scores.astype(dtype)
                for name, peer in _peers(*given).items():
                    row = _row(peer, *given, options.repeats)
                    rows.append({"peer": name, "boxes": count, "layout": layout, **row})
                    show(f"{name:>22}, {count} boxes, {layout}, {row['dtype']}", rows[-1])
    if options.json:
        packages = ["numpy", "supervision", "opencv-python-headless"]
        values = {"rows": rows, "seed": options.seed}
        print(f"written: {write_report('nms', values, packages=packages)}", file=sys.stderr)
    return 0


def crowds(count: int, generator: np.random.Generator) -> Boxes:
    """Some 30 boxes around each object."""
    objects = max(count // 30, 1)
    sides, middles = (
        generator.uniform(20, 120, (objects, 2)),
        generator.uniform(0, 1000, (objects, 2)),
    )
    of = generator.integers(0, objects, count)
    wh = sides[of] * generator.normal(1, 0.1, (count, 2)).clip(0.5)
    middle = middles[of] + sides[of] * generator.normal(0, 0.1, (count, 2))
    return np.concatenate((middle - wh / 2, middle + wh / 2), 1), generator.random(count)


def spread(count: int, generator: np.random.Generator) -> Boxes:
    """Boxes anywhere, of which most stay."""
    corner = generator.uniform(0, 1000, (count, 2))
    wh = generator.uniform(10, 60, (count, 2))
    return np.concatenate((corner, corner + wh), 1), generator.random(count)


def _peers(boxes: np.ndarray, scores: np.ndarray) -> dict[str, Callable[[], Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision's notes about optional packages
        from supervision.detection.utils.iou_and_nms import box_non_max_suppression
    table = np.concatenate((boxes, scores[:, None]), 1)
    xywh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
    as_lists, as_list = xywh.tolist(), scores.tolist()
    return {
        "supervision": lambda: np.flatnonzero(box_non_max_suppression(table, THRESHOLD)),
        "OpenCV, given lists": lambda: cv2.dnn.NMSBoxes(as_lists, as_list, 0.0, THRESHOLD),
        "OpenCV, given arrays": lambda: cv2.dnn.NMSBoxes(xywh, scores, 0.0, THRESHOLD),
    }


def _row(
    peer: Callable[[], Any], boxes: np.ndarray, scores: np.ndarray, repeats: int
) -> dict[str, Any]:
    kept = nms(boxes, scores, THRESHOLD)
    np.testing.assert_array_equal(np.sort(np.asarray(peer()).reshape(-1)), np.sort(kept))
    timed = compare(lambda: nms(boxes, scores, THRESHOLD), peer, repeats)
    return {"dtype": boxes.dtype.name, "kept": len(kept), **timed}


if __name__ == "__main__":
    sys.exit(main())

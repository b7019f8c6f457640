"""How many pictures of objects with keypoints does one core render and write a second?

256 px, the default mix of one and two objects, every seen category in turn; CPU seconds a picture
in one process, JPEG and journal included.

Run: python benchmarks/objects_rate.py --json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from reporting import write_report

from headsight.data.synth.objects import ObjectsConfig, names_of, render_objects, write_objects

TARGET_PER_S = 10


def cpu_seconds(config: ObjectsConfig, repeats: int, count: int) -> list[float]:
    """CPU seconds a picture in this process, one figure per folder of `count` pictures."""
    for index in range(4):
        render_objects(99, index, config)  # schemas are read from here on
    figures = []
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            write_objects(Path(folder) / "set", config, count, seed=seed)
            figures.append((time.process_time() - start) / count)
    return figures


def main() -> None:
    """Print the figures, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="also write a results file")
    args = parser.parse_args()
    count = 3 * len(names_of("seen"))
    figures = cpu_seconds(ObjectsConfig(image_wh=(256, 256)), args.repeats, count)
    report: dict[str, Any] = {
        "image_wh": [256, 256],
        "pictures": count,
        "cpu_s_per_picture": round(median(figures), 4),
        "cpu_s_spread": [round(min(figures), 4), round(max(figures), 4)],
        "pictures_per_cpu_s": round(1 / median(figures), 2),
        "target_per_s": TARGET_PER_S,
    }
    print(json.dumps(report))
    if args.json:
        print("written:", write_report("objects_rate", report))


if __name__ == "__main__":
    main()

"""How many labelled scenes a second does this machine render?

256 px pictures with 1 to 4 people, plain and with an assets folder: by worker processes, and CPU
seconds a scene in one process (a busy machine changes that less).

Run: python benchmarks/scenes_rate.py --workers 2 --assets ../shared/data/assets3d_makehuman --json
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from reporting import write_report

from headsight.data.synth import SceneConfig, iterate_scenes, render_scene

TARGET_PER_S = 8


def cpu_seconds(config: SceneConfig, repeats: int, block: int) -> list[float]:
    """CPU seconds a scene in this process, one figure per block of scenes."""
    for index in range(4):
        render_scene(99, index, config)  # textures and fitted meshes are kept from here on
    figures = []
    for repeat in range(repeats):
        start = time.process_time()
        for index in range(repeat * block, (repeat + 1) * block):
            render_scene(1, index, config)
        figures.append((time.process_time() - start) / block)
    return figures


def wall_rate(config: SceneConfig, count: int, workers: int) -> float:
    """Scenes a second with `workers` processes, without their start."""
    scenes = iterate_scenes(config, count, workers=workers, seed=1)
    warm_up = max(8 * workers, 1)
    start, done = 0.0, 0
    for number, _ in enumerate(scenes, 1):
        if number == warm_up:
            start = time.perf_counter()
        done = number
    return (done - warm_up) / (time.perf_counter() - start)


def main() -> None:
    """Print the figures, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--assets", type=Path, default=None)
    parser.add_argument("--json", action="store_true", help="also write a results file")
    args = parser.parse_args()
    plain = SceneConfig(image_wh=(256, 256), people=(1, 4))
    cases = {"plain": plain}
    if args.assets:
        cases["assets"] = replace(plain, assets=args.assets)
    report: dict[str, Any] = {
        "image_wh": [256, 256],
        "people": [1, 4],
        "workers": args.workers,
        "target_per_s": TARGET_PER_S,
    }
    for name, config in cases.items():
        figures = cpu_seconds(config, args.repeats, 6)
        report[name] = {
            "cpu_s_per_scene": round(median(figures), 4),
            "cpu_s_spread": [round(min(figures), 4), round(max(figures), 4)],
            "scenes_per_s": round(wall_rate(config, args.scenes, args.workers), 2),
        }
        print(f"{name}: {json.dumps(report[name])}; target {TARGET_PER_S} scenes a second")
    if args.json:
        options = " --assets ASSETS" if args.assets else ""
        print("written:", write_report("scenes_rate", report, options=options))


if __name__ == "__main__":
    main()

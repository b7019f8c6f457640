"""How far a taught model carries: occlusion, viewpoint and scale, swept one at a time.

    python reproductions/capellm/sweeps.py --model runs/capellm/seeds/0/dynamic/model --out runs/s

Every value of a sweep renders its own objects of the seen categories, all else as in training, and
is scored by PCK@0.2. Writes results/sweeps.json and a curve for each sweep beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from headsight.cli.reproduce import run_headsight
from headsight.data.synth.objects import ObjectsConfig, write_objects
from headsight.files import write_atomic
from headsight.teach.curves import Curve, draw_curves

HERE = Path(__file__).parent
COMMON: dict[str, Any] = {"image_wh": (224, 224), "second_share": 0.0, "cut_share": 0.0}
SWEEPS: dict[str, dict[float, dict[str, Any]]] = {
    "occlusion": {share: {"occluder_share": share} for share in (0.0, 0.25, 0.5, 0.75, 1.0)},
    "azimuth": {
        float(deg): {"azimuth_deg": (deg - 7.5, deg + 7.5), "occluder_share": 0.0}
        for deg in (0, 45, 90, 135, 180)
    },
    "elevation": {
        float(deg): {"elevation_deg": (deg - 3.0, deg + 3.0), "occluder_share": 0.0}
        for deg in (0, 15, 30, 45, 60)
    },
    "size": {
        share: {"size_share": (share, share + 0.02), "occluder_share": 0.0}
        for share in (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
    },
}
"""By sweep and value: share of covered pictures; degrees; longer side of the object in pictures."""
PICTURES = 136
"""Of a value: four of each seen category."""


def main() -> None:
    """Render, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="name or folder of a taught model")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rendered objects")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "sweeps.json")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    of_model = str(options.model).strip("./").replace("/", "-")
    for name, values in SWEEPS.items():
        for value, settings in values.items():
            folder = options.out / f"{name}-{value:g}"
            if not (folder / "annotations.json").exists():
                config = ObjectsConfig(**{**COMMON, **settings})
                write_objects(folder, config, options.pictures, seed=77, resume=True)
            path = options.out / "figures" / of_model / f"{folder.name}.json"
            if not path.exists():
                words = ("eval", "keypoints", "--gt", str(folder), "--model", options.model)
                run_headsight(
                    *words,
                    "--output",
                    str(path),
                    "--quiet",
                    "--mode",
                    "cumulative",
                    "--window",
                    "7",
                )
            figures = json.loads(path.read_text("utf-8"))["figures"]["all"]
            found.setdefault(name, {})[f"{value:g}"] = figures["pck@0.2"]
            print(f"{name} {value:g}: PCK@0.2 {figures['pck@0.2']:.3f}", flush=True)
    record = {"schema": "headsight.sweeps/1", "pictures": options.pictures, "pck20": found}
    write_atomic(options.results, json.dumps(record, indent=1).encode() + b"\n")
    for name, row in found.items():
        curve = Curve(name, tuple((float(value), pck) for value, pck in row.items()))
        path = options.results.with_name(f"sweep-{name}.svg")
        write_atomic(path, draw_curves([curve], x_name=name).encode())


if __name__ == "__main__":
    main()

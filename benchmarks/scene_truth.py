"""Does a pose network trained on real faces agree with the truth of rendered ones?

FSA-Net (two ONNX models, averaged) reads the pose of rendered frontal heads (|yaw| < 60) from crops
made with the projected landmarks. Signs must agree and the mean difference be small: it catches
sign errors and measures realism. The same network runs on the AFLW2000 sample photographs, so that
its own bias is known.

Run: python benchmarks/scene_truth.py --assets ../shared/data/assets3d_makehuman --json
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headsight.data.synth import LANDMARKS, SceneConfig, render_scene
from headsight.geometry.rotations import matrix_to_ypr, wrap_deg

DATA = Path(os.environ.get("HEADSIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
FACE_MARKS = [i for i, name in enumerate(LANDMARKS) if not name.endswith("_ear") or "jaw" in name]
MARGIN = 0.3
"""Share of the larger side added around the landmark box; FSA-Net reads AFLW2000 best near this."""


class FsaNet:
    """The average of the two published networks."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.sessions = [
            ort.InferenceSession(str(folder / name), options)
            for name in ("fsanet-1x1.onnx", "fsanet-var.onnx")
        ]

    def __call__(
        self, image: NDArray[np.uint8], landmark_box: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Yaw, pitch, roll in degrees (AFLW2000 signs, which are ours)."""
        x1, y1, x2, y2 = landmark_box
        side = max(x2 - x1, y2 - y1) * (1 + 2 * MARGIN) / 2
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        box = [round(float(v)) for v in (cx - side, cy - side, cx + side, cy + side)]
        crop = Image.fromarray(image).crop(box).resize((64, 64), Image.Resampling.BILINEAR)
        pixels = np.asarray(crop, np.float32)[..., ::-1]
        batch = np.ascontiguousarray(((pixels - 127.5) / 128).transpose(2, 0, 1)[None])
        answers = [s.run(None, {"input": batch})[0][0] for s in self.sessions]
        result: NDArray[np.float64] = np.mean(answers, 0).astype(np.float64)
        return result


def rendered(config: SceneConfig, seed: int, count: int, net: FsaNet) -> NDArray[np.float64]:
    """(N, 2, 3) truth and answer of `count` frontal heads, 48 px or more and nearly all visible."""
    rows: list[NDArray[np.float64]] = []
    index = 0
    while len(rows) < count:
        scene = render_scene(seed, index, config)
        index += 1
        truth = matrix_to_ypr(scene.rotations)[0]
        for k, ypr in enumerate(truth):
            height = scene.boxes_full[k, 3] - scene.boxes_full[k, 1]
            if abs(ypr[0]) >= 60 or scene.visible[k] < 0.9 or height < 48:
                continue
            marks = scene.landmarks[k, FACE_MARKS, :2]
            box = np.concatenate((marks.min(0), marks.max(0)))
            rows.append(np.stack((ypr, net(scene.image, box))))
    return np.array(rows[:count])


def photographs(net: FsaNet) -> NDArray[np.float64] | None:
    """(N, 2, 3) truth and answer on the AFLW2000 sample, None where it is absent."""
    folder = DATA / "aflw2000_sample"
    if not folder.is_dir():
        return None
    rows = []
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            with Image.open(folder / row["image"]) as opened:
                image = np.asarray(opened.convert("RGB"))
            box = np.array([float(row[k]) for k in ("lm_x0", "lm_y0", "lm_x1", "lm_y1")])
            truth = np.array([float(row[k]) for k in ("yaw_deg", "pitch_deg", "roll_deg")])
            rows.append(np.stack((truth, net(image, box))))
    return np.array(rows)


def summary(pairs: NDArray[np.float64]) -> dict[str, Any]:
    """Mean difference, bias and sign agreement of (N, 2, 3) truth and answer: yaw, pitch, roll."""
    difference = wrap_deg(pairs[:, 1] - pairs[:, 0])
    result: dict[str, Any] = {"heads": len(pairs)}
    result["mae_deg"] = [round(float(v), 2) for v in np.abs(difference).mean(0)]
    result["mae_mean_deg"] = round(float(np.abs(difference).mean()), 2)
    result["bias_deg"] = [round(float(v), 2) for v in difference.mean(0)]
    result["correlation"] = [
        round(float(np.corrcoef(pairs[:, 0, k], pairs[:, 1, k])[0, 1]), 3) for k in range(3)
    ]
    clear = np.abs(pairs[:, 0]) > 15
    agree = np.sign(pairs[:, 0]) == np.sign(pairs[:, 1])
    result["sign_agreement_beyond_15_deg"] = [
        round(float(agree[clear[:, k], k].mean()), 3) if clear[:, k].any() else None
        for k in range(3)
    ]
    return result


def main() -> int:
    """Print the table, or one JSON document with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--assets", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folder = DATA / "models" / "fsanet"
    if not folder.is_dir():
        print(f"skipped: {folder} is absent (set HEADSIGHT_DATA)", file=sys.stderr)
        return 0
    net = FsaNet(folder)
    start = time.perf_counter()
    config = SceneConfig(
        image_wh=(320, 320),
        assets=args.assets,
        portrait_share=0.6,
        people=(1, 3),
        head_px=(60, 200),
    )
    pairs = rendered(config, args.seed, args.heads, net)
    small = np.abs(pairs[:, 0]).max(1) < 30
    report: dict[str, Any] = {
        "schema": "headsight.benchmark/1",
        "benchmark": "scene_truth",
        "seed": args.seed,
        "assets": args.assets is not None,
        "peer": "FSA-Net (mean of two ONNX)",
        "order": ["yaw", "pitch", "roll"],
        "rendered_yaw_below_60": summary(pairs),
        "rendered_all_angles_below_30": summary(pairs[small]),
        "seconds": round(time.perf_counter() - start, 1),
    }
    real = photographs(net)
    if real is not None:
        report["aflw2000_sample"] = summary(real)
    if args.json:
        print(json.dumps(report))
    else:
        for name in ("rendered_yaw_below_60", "rendered_all_angles_below_30", "aflw2000_sample"):
            print(name, report.get(name))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

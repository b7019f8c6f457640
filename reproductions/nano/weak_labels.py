"""The label files of nano's photographs: exact hard-hat boxes, and weak labels for the rest.

Teachers: FSA-Net (front poses), WHENet (back views), Ultra-Light RFB-320 (bare heads); see
`README.md`.

    python reproductions/nano/weak_labels.py --data-root ../shared/data --out runs/labels

Writes `hardhat_fit.jsonl`, `hardhat_held_out.jsonl` (the first 150 pictures), `people.jsonl` and
`no_people.jsonl`, in the form of `headsight.train.labels`. A journal beside each file makes the
job resumable.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from headsight.data.heads import READERS
from headsight.files import Journal, write_atomic
from headsight.geometry.boxes import box_iou
from headsight.geometry.rotations import geodesic_deg, matrix_to_ypr

Array = NDArray[np.float64]

HELD_OUT = 150
"""Pictures of hardhat_train kept for looking at progress."""
KEYPOINT_SETS = ("300w", "wflw", "aflw", "cofw", "coco", "crowdpose", "mpii", "aic", "posetrack18")
"""Folders of keypoint_samples that show people."""
AGREE_DEG = 15.0
"""Crops and mirrored crops of a face may differ by this much."""
AGREE_ALONE_DEG = 7.0
"""The same where no face was found in the box: stricter, and only within `FRONT_YAW_DEG`."""
FRONT_YAW_DEG = 70.0
BACK_YAW_DEG = 100.0
"""From this yaw on a view is from behind, and a box with a found face cannot be one."""
TEACHERS_DEG = 30.0
"""Where no face was found, FSA-Net may differ from WHENet by this much."""
AGREE_WHENET_DEG = 12.0
"""WHENet's crops may differ by this much where FSA-Net is unsure of a front or side view."""
FRONT_WEIGHT, BACK_WEIGHT, SIDE_WEIGHT = 0.7, 0.5, 0.4
FACE_SCORE = 0.85
"""From this face score on a bare head is learned; from `MIN_SCORE` on the place is ignored."""
MIN_SCORE, FACE_IN_HAT_SCORE = 0.3, 0.6
MIN_FACE_SIDE = 8.0
CONFIRM_SCORE = 0.7
"""MTCNN must see the face too, with this score, or the place is ignored."""


@dataclass(frozen=True)
class Task:
    """One picture to label."""

    image: Path
    hard_hats: Array = field(default_factory=lambda: np.zeros((0, 4)))
    """Exact boxes of heads with a hard hat."""
    people: Array = field(default_factory=lambda: np.zeros((0, 4)))
    """Known whole people: a head without a label is somewhere in their upper part."""
    has_people: bool = True
    """False: nobody is there, and what looks like a face is not learned as one."""


def main() -> int:
    """Label every picture that is not yet in the journal, then write the label files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for the label files")
    parser.add_argument("--limit", type=int, help="only so many pictures of each file")
    parser.add_argument("--only", action="append", help="only these files (without .jsonl)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # small crops: more threads are no faster
    os.environ["HEADSIGHT_DATA"] = str(
        options.data_root.resolve()
    )  # where the teachers' weights lie
    files = _files(options.data_root.resolve())
    for name in options.only or files:
        tasks = files[name][: options.limit]
        records = _label_all(tasks, options.out / f"{name}.jsonl.journal", name)
        lines = "".join(json.dumps(r) + "\n" for r in records)
        write_atomic(options.out / f"{name}.jsonl", lines.encode())
        heads = [h for r in records for h in r["heads"]]
        posed = sum(h["ypr_deg"] is not None for h in heads)
        print(
            f"{name}: {len(records)} pictures, {len(heads)} heads, {posed} with a pose",
            file=sys.stderr,
        )
    return 0


def label(task: Task) -> dict[str, Any]:
    """The label record of one picture."""
    from peers import mtcnn, ultra_light

    with Image.open(task.image) as file:
        image = file.convert("RGB")
    faces, scores = ultra_light.faces(image, min_score=MIN_SCORE, look="tiles")
    grown = ultra_light.head_boxes(faces, image.size)
    middles = (faces[:, :2] + faces[:, 2:]) / 2
    heads, ignore = [], []
    for box in task.hard_hats:
        inside = ((middles > box[:2]) & (middles < box[2:])).all(1)
        has_face = bool((scores[inside] > FACE_IN_HAT_SCORE).any())
        heads.append(
            {
                "box": _plain(box),
                "hard_hat": True,
                "hat": "hardhat",
                **hat_pose(image, box, has_face),
            }
        )
    taken = _is_taken(grown, middles, task.hard_hats)
    for face, head, score in zip(faces[~taken], grown[~taken], scores[~taken], strict=True):
        is_clear = score >= FACE_SCORE and min(face[2:] - face[:2]) > MIN_FACE_SIDE
        if task.has_people and is_clear and mtcnn.confirm(image, head) > CONFIRM_SCORE:
            row = {"box": _plain(head), "hard_hat": False, **face_pose(image, head)}
            heads.append(row | {"score": round(float(score), 4)})
        else:
            ignore.append(_plain(head))
    ignore += [_plain(top) for top in _tops_without_head(task.people, heads)]
    return {"image": str(task.image), "wh": list(image.size), "heads": heads, "ignore": ignore}


def face_pose(image: Image.Image, box: Array) -> dict[str, Any]:
    """Pose of a head whose face was found: FSA-Net's, where its crops agree."""
    from peers import fsanet

    rotation, spread = fsanet.pose(image, box)
    return _pose(rotation, FRONT_WEIGHT, "fsanet") if spread < AGREE_DEG else _no_pose()


def hat_pose(image: Image.Image, box: Array, has_face: bool) -> dict[str, Any]:
    """Pose of a head with a hard hat: FSA-Net's in front, WHENet's elsewhere."""
    from peers import fsanet, whenet

    front, front_spread = fsanet.pose(image, box, scales=(1.0, 1.15))
    if has_face and front_spread < AGREE_DEG:
        return _pose(front, FRONT_WEIGHT, "fsanet")
    around, spread = whenet.pose(image, box, scales=(1.05,))
    yaw, yaw_around = (abs(float(matrix_to_ypr(r)[0][0])) for r in (front, around))
    if yaw_around > BACK_YAW_DEG and spread < AGREE_DEG and not has_face:
        return _pose(around, BACK_WEIGHT, "whenet")
    is_sure = front_spread < AGREE_ALONE_DEG and yaw < FRONT_YAW_DEG
    if is_sure and float(geodesic_deg(front, around)) < TEACHERS_DEG:
        return _pose(front, FRONT_WEIGHT, "fsanet")
    if yaw_around <= BACK_YAW_DEG and spread < AGREE_WHENET_DEG:
        return _pose(around, SIDE_WEIGHT, "whenet")
    return _no_pose()


def _pose(rotation: Array, weight: float, source: str) -> dict[str, Any]:
    ypr = matrix_to_ypr(rotation)[0]
    return {"ypr_deg": _plain(ypr), "pose_weight": weight, "pose_source": source}


def _no_pose() -> dict[str, Any]:
    return {"ypr_deg": None, "pose_weight": 0.0, "pose_source": None}


def _is_taken(grown: Array, middles: Array, hats: Array) -> NDArray[np.bool_]:
    """Faces that belong to a labelled hard hat."""
    if not len(hats):
        return np.zeros(len(grown), bool)
    inside = (middles[:, None] > hats[:, :2]) & (middles[:, None] < hats[:, 2:])
    overlaps = np.asarray(box_iou(grown, hats)) > 0.2
    return np.asarray((inside.all(-1) | overlaps).any(1))


def _tops_without_head(people: Array, heads: list[dict[str, Any]]) -> Iterator[Array]:
    """The upper part of every person in whom no head was labelled."""
    boxes = np.array([h["box"] for h in heads]).reshape(-1, 4)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for x1, y1, x2, y2 in people:
        width, height = x2 - x1, y2 - y1
        top = np.array([x1, y1 - 0.03 * height, x2, y1 + min(0.5 * height, 1.2 * width)])
        if not ((middles > top[:2]) & (middles < top[2:])).all(1).any():
            yield top


def _label_all(tasks: list[Task], path: Path, name: str) -> list[dict[str, Any]]:
    journal = Journal(path)
    done = {r["image"]: r for r in journal.records}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        for task in progress.track(tasks, description=name):
            if str(task.image) not in done:
                record = label(task)
                done[record["image"]] = record
                journal.add(record)
    journal.close()
    return [done[str(t.image)] for t in tasks]


def _files(root: Path) -> dict[str, list[Task]]:
    hats = [Task(s.image, s.boxes) for s in READERS["hardhat_train"](root / "hardhat_train")]
    with_people, without = _coco(root / "coco128")
    for folder in KEYPOINT_SETS:
        pictures = sorted((root / "keypoint_samples" / folder).rglob("*"))
        endings = (".jpg", ".jpeg", ".png")
        with_people += [Task(p) for p in pictures if p.suffix.lower() in endings]
    return {
        "hardhat_fit": hats[HELD_OUT:],
        "hardhat_held_out": hats[:HELD_OUT],
        "people": with_people,
        "no_people": without,
    }


def _coco(root: Path) -> tuple[list[Task], list[Task]]:
    """Pictures with and without a person."""
    path = next(iter(sorted((root / "annotations").glob("*.json"))))
    whole = json.loads(path.read_text("utf-8"))
    found = {p.name: p for p in (root / "images").rglob("*") if p.is_file()}
    people: dict[Any, list[list[float]]] = {}
    for annotation in whole["annotations"]:
        if annotation["category_id"] == 1:
            people.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    tasks = []
    for image in whole["images"]:
        boxes = np.array(people.get(image["id"], []), np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        path = found[Path(image["file_name"]).name]
        tasks.append(Task(path, people=boxes, has_people=len(boxes) > 0))
    return [t for t in tasks if t.has_people], [t for t in tasks if not t.has_people]


def _plain(values: Array) -> list[float]:
    return [round(float(v), 3) for v in values]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))  # the teachers
    sys.exit(main())

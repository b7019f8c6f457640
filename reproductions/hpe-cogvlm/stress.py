"""Questions that are not as they should be: no box, a broken one, one of nobody, one of two heads.

The paper names these as its next checks. The pictures are the probe scenes; a model is asked for
poses only, so that every other answer counts as invalid. Errors are to the head that is meant:
where no box is given or it is broken, the picture's only head; of two heads the larger, and the
smaller.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.heads import read_heads
from headsight.eval.vlm_headpose import evaluate
from headsight.files import write_atomic
from headsight.geometry.boxes import box_iou
from headsight.geometry.rotations import matrix_to_ypr
from headsight.grounder import Grounder
from headsight.language import prompts
from headsight.language.codec import encode
from headsight.language.spec import CodecSpec
from headsight.models.base import load_vlm
from headsight.picture import open_picture
from headsight.teach.probing import Probe, probe
from headsight.teach.samples import read_source
from headsight.train.labels import read_labels

BOXES, POSE = CodecSpec("boxes"), CodecSpec("pose")
MIN_PIXELS = 14
NO_BOX = "What are the yaw, pitch and roll of the head?"
CASES = {
    "as it should be": "one head, its box",
    "no box": "one head, the question names no box",
    "three numbers": "one head, its box without the last number",
    "corners exchanged": "one head, its box from the lower right to the upper left",
    "one edge far off": "one head, the right edge of its box at the border of the picture",
    "nobody there": "a box that touches no head",
    "two heads, the larger": "the box around two heads; errors to the larger one",
    "two heads, the smaller": "the same answers; errors to the smaller one",
}
"""Besides "own boxes": every head, in the box that the model finds; "not strict" are missed ones
too."""
FIGURES = ("questions", "strict_invalid", "mae", "mae_penalised", "geodesic_median")


def stress_questions(scenes: Path, folder: Path, *, limit: int | None = None) -> dict[str, Path]:
    """An instruct file a case."""
    lines: dict[str, list[str]] = {case: [] for case in CASES}
    document = json.loads((scenes / "annotations.json").read_text("utf-8"))
    for record, picture in zip(document["images"], read_labels(scenes), strict=True):
        image = (scenes / record["file_name"]).absolute()
        wh = open_picture(image).image_wh
        for case, question, answer in _asked(picture, wh):
            line = {"image": str(image), "question": question, "answer": answer, "kind": "pose"}
            lines[case].append(json.dumps(line) + "\n")
    paths = {}
    for number, (case, own) in enumerate(lines.items()):
        paths[case] = folder / f"{number}.jsonl"
        write_atomic(paths[case], "".join(own[:limit]).encode())
    return paths


def _asked(picture, wh: tuple[int, int]) -> Iterator[tuple[str, str, str]]:
    """Case, question, answer."""
    boxes = picture.boxes.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    poses = [encode(matrix_to_ypr(r.astype(np.float64))[0], POSE) for r in picture.rotations]
    if len(boxes) == 1 and sides.min() >= MIN_PIXELS:
        numbers = encode(boxes, BOXES, image_wh=wh)[2:-2].split(",")
        x0, y0, x1, y1 = numbers
        for case, own in {
            "as it should be": numbers,
            "three numbers": numbers[:3],
            "corners exchanged": [x1, y1, x0, y0],
            "one edge far off": [x0, y0, "999", y1],
        }.items():
            yield case, prompts.head_pose(f"[[{','.join(own)}]]"), poses[0]
        yield "no box", NO_BOX, poses[0]
    if len(boxes) and (empty := _empty_place(boxes, wh)) is not None:
        yield "nobody there", prompts.head_pose(encode(empty[None], BOXES, image_wh=wh)), poses[0]
    large = np.flatnonzero(sides.min(1, initial=np.inf) >= MIN_PIXELS)
    if len(large) >= 2:
        first, second = sorted(large, key=lambda i: -sides[i].prod())[:2]
        both = np.concatenate(
            [boxes[[first, second], :2].min(0), boxes[[first, second], 2:].max(0)]
        )
        question = prompts.head_pose(encode(both[None], BOXES, image_wh=wh))
        yield "two heads, the larger", question, poses[first]
        yield "two heads, the smaller", question, poses[second]


def _empty_place(boxes, wh):
    """A box of the first head's size away from all; None where a few tries find none."""
    rng = np.random.default_rng(int(boxes.sum()))
    size = boxes[0, 2:] - boxes[0, :2]
    for _ in range(20):
        corner = rng.uniform(0, np.maximum(np.array(wh) - size, 1))
        place = np.concatenate([corner, corner + size])
        if not np.asarray(box_iou(place[None], boxes)).any():
            return place
    return None


def stress(
    model: Path, questions: dict[str, Path], scenes: Path, *, limit: int | None = None
) -> dict[str, dict[str, Any]]:
    """Figures of every case, and of poses asked in the boxes that the model finds itself."""
    vlm = load_vlm(str(model))
    found = {}
    for case, path in questions.items():
        if not path.read_text("utf-8"):
            continue
        source = read_source(path)
        samples = tuple(source.draw(index, None) for index in range(len(source)))
        figures = probe(vlm, Probe(case, samples)).figures
        found[case] = {name: figures[name] for name in FIGURES}
    samples = read_heads(str(scenes))[:limit]
    pose = evaluate(Grounder(vlm), samples, boxes="own", resamples=0)["pose"]
    found["own boxes"] = {
        "questions": pose["heads"],
        "strict_invalid": (pose["missed"] + pose["unread"]) / max(pose["heads"], 1),
        **{name: pose["full"][name] for name in FIGURES[2:]},
    }
    return found

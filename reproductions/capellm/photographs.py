"""Real pictures: a taught model on the labelled samples of public data sets.

Faces (300W, AFLW, WFLW, COFW) are asked for the five points of `face-5`, which all of them label,
and the first two also in their own labelling; people, animals, garments and hands in theirs. Of
photographs `nano-keypoints` was taught the five points of faces (faces.py), none of these pictures;
every other point of a real thing is asked by what rendered ones taught.

    HEADSIGHT_DATA=DATA python reproductions/capellm/photographs.py --model nano-keypoints --out runs/photographs

Writes results/photographs.json, the table of the README, and a sheet of drawn answers into --out.
"""  # noqa: E501 - a command stands on one line

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scoring import figures, middles

from headsight.cut_out import cut_out
from headsight.data.face_five import face_five
from headsight.data.keypoint_files import read_keypoints
from headsight.data.keypoints import KeypointInstance
from headsight.data.synth.objects.sheet import contact_sheet, drawn
from headsight.eval.tables import fill_table
from headsight.files import write_atomic
from headsight.geometry.keypoints import crop_of
from headsight.language.schema import KeypointSchema
from headsight.language.schema_library import schema
from headsight.models.base import VLM, load_vlm
from headsight.picture import open_picture
from headsight.tasks.keypoint_asking import asking_of
from headsight.tasks.keypoints import find_keypoints

HERE = Path(__file__).parent
SETS: dict[str, tuple[str, dict[str, str]]] = {
    "faces, five points": (
        "face-5", {"300w": "face", "aflw": "face", "wflw": "face", "cofw": "face"}
    ),
    "faces, 68 points": ("face-68", {"300w": "face"}),
    "faces, 19 points": ("face-19", {"aflw": "face"}),
    "people": ("person-17", {"coco": "person"}),
    "animals": ("animal-17", {"ap10k": "animal"}),
    "macaques": ("macaque-17", {"macaque": "macaque"}),
    "flies": ("fly-32", {"fly": "fly"}),
    "hands": ("hand-21", {"onehand10k": "hand", "panoptic": "hand"}),
    "a dress": ("long-sleeved-dress-37", {"deepfashion2": "dress"}),
}  # fmt: skip
"""Schema, and the samples with the word for what they show."""
THRESHOLDS = ("0.05", "0.1", "0.15", "0.2")
CELL = 360
SHOWN = 3
"""Objects of a set on the sheet."""


def main() -> None:
    """Ask, score, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano-keypoints", help="name or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheet")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "photographs.json")
    options = parser.parse_args()
    vlm = load_vlm(options.model)
    rows, cells = {}, []
    for name, (schema_name, samples) in SETS.items():
        points = schema(schema_name)
        objects = objects_of(schema_name, samples)
        found = [answer(vlm, one, points, word) for one, word in objects]
        truth = [one for one, _ in objects]
        rows[name] = {"objects": len(truth), "schema": schema_name}
        rows[name] |= {"model": figures(truth, found), "middle": middles(truth)}
        cells += [cell(one, said, points) for one, said in zip(truth, found, strict=True)][:SHOWN]
        print(f"{name}: PCK@0.2 {rows[name]['model']['pck@0.2']:.3f}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(cells).save(options.out / "photographs.jpg", quality=88)
    print(f"The drawn answers are {options.out / 'photographs.jpg'}")
    record = {"schema": "headsight.photographs/1", "model": options.model, "sets": rows}
    write_atomic(options.results, json.dumps(record, indent=1).encode() + b"\n")
    readme = HERE / "README.md"
    if options.results.parent == HERE / "results":
        text = fill_table(readme.read_text("utf-8"), "photographs", table_of(rows))
        write_atomic(readme, text.encode())


def objects_of(schema_name: str, samples: dict[str, str]) -> list[tuple[KeypointInstance, str]]:
    """Labelled objects that can be scored, each with the word for it."""
    found = []
    for sample, word in samples.items():
        for one in read_keypoints(sample).instances:
            instance = face_five(one) if schema_name == "face-5" else one
            if instance.visible.any():
                found.append((instance, word))
    return found


def answer(vlm: VLM, one: KeypointInstance, points: KeypointSchema, word: str) -> Any:
    """Points (K, 2) in px; NaN where the answer was none."""
    box = np.asarray(one.box, np.float64)[None]
    asking = asking_of(vlm)
    found = find_keypoints(vlm, open_picture(one.image), box, points, category=word, asking=asking)
    return found.points[0]


def cell(one: KeypointInstance, said: Any, points: KeypointSchema) -> Any:
    """The object's box with the answers drawn in it."""
    crop = crop_of(np.asarray(one.box, np.float64), one.image_wh)
    image = cut_out(open_picture(one.image).image, crop, side=CELL)
    at = crop.to_crop(said) * CELL
    shown = np.isfinite(at).all(1)
    return drawn(image, [(points, np.column_stack([np.nan_to_num(at), shown]))])


def table_of(rows: dict[str, dict[str, Any]]) -> str:
    """Of every set the model's PCK, and that of the middle of the box."""
    head = " | ".join(f"PCK@{float(t):.2f}" for t in THRESHOLDS)
    lines = [
        f"| pictures of | schema | objects | {head} | middle of the box, PCK@0.20 |",
        "| --- | --- | ---: |" + " ---: |" * (len(THRESHOLDS) + 1),
    ]
    for name, row in rows.items():
        values = [row["model"][f"pck@{t}"] for t in THRESHOLDS] + [row["middle"]["pck@0.2"]]
        cells = " | ".join(f"{100 * value:.1f}" for value in values)
        lines.append(f"| {name} | `{row['schema']}` | {row['objects']} | {cells} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

"""A folder of rendered objects: pictures, COCO keypoints, schemas, a contact sheet, a journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headsight.data.synth.backdrop import list_pictures
from headsight.data.synth.journalled import (
    open_folder,
    save_picture,
    settings_hash,
    write_scenes_of,
    write_text,
)
from headsight.data.synth.objects.categories import CATEGORIES
from headsight.data.synth.objects.category import object_schema
from headsight.data.synth.objects.config import ObjectScene, ObjectsConfig
from headsight.data.synth.objects.scene import render_objects
from headsight.data.synth.objects.sheet import contact_sheet, drawn
from headsight.data.synth.parallel import render_numbered

__all__ = ["write_objects"]

SHEET_CELLS = 36
_IDS = {name: k + 1 for k, name in enumerate(CATEGORIES)}
"""Category ids are the same in every folder."""


def write_objects(
    folder: Path,
    config: ObjectsConfig,
    n: int,
    *,
    seed: int = 0,
    workers: int = 0,
    quality: int = 92,
    overwrite: bool = False,
    resume: bool = False,
    on_scene: Callable[[int], None] | None = None,
) -> Path:
    """Write `n` pictures of objects and return the path of `annotations.json` (COCO keypoints).

    `schemas.json` beside it holds the schemas, by category; `contact_sheet.jpg` shows the first
    pictures with their points. Each picture is finished before its line goes into the journal, so
    a killed job goes on where it stopped. `on_scene` is called with the number of pictures there.

    Raises:
        InputError: the folder holds something and neither `overwrite` nor `resume` is given.
        ResumeError: the folder's journal was written with other settings.
    """
    list_pictures(config.backgrounds)  # fail before anything is written
    header = {
        "schema": "headsight.objects/1",
        "seed": seed,
        "config": settings_hash(config, seed, quality),
    }
    done = open_folder(folder, header, overwrite=overwrite, resume=resume)
    finished = {record["index"] for record in done}
    render = partial(_render, seed, config)
    scenes = render_numbered(render, n, workers=workers, skip=finished)
    records = write_scenes_of(scenes, folder, done, _record, quality=quality, on_scene=on_scene)
    kept = [record for record in records if record["index"] < n]
    used = [name for name, category in CATEGORIES.items() if category.split == config.split]
    if config.categories:
        used = [name for name in used if name in config.categories]
    write_text(folder / "schemas.json", _schemas(used))
    target = folder / "annotations.json"
    write_text(target, json.dumps(_document(kept, used, header | {"split": config.split})))
    cells = [_cell(folder, record) for record in kept[:SHEET_CELLS]]
    save_picture(contact_sheet(cells), folder / "contact_sheet.jpg", 88)
    return target


def _render(seed: int, config: ObjectsConfig, index: int) -> ObjectScene:
    return render_objects(seed, index, config)


def _record(scene: ObjectScene) -> dict[str, Any]:
    h, w = scene.image.shape[:2]
    annotations = []
    for label in scene.labels:
        x1, y1, x2, y2 = label.box
        seen = label.keypoints[:, 2] > 0
        points = np.round(np.where(seen[:, None], label.keypoints, 0), 2)  # COCO: 0, 0, 0
        annotations.append(
            {
                "category_id": _IDS[label.category],
                "iscrowd": 0,
                "bbox": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                "area": label.area,
                "keypoints": points.ravel().tolist(),
                "num_keypoints": int(seen.sum()),
                "visible": round(label.visible, 3),
                "view_deg": [round(angle, 1) for angle in label.view_deg],
            }
        )
    return {"width": w, "height": h, "annotations": annotations}


def _document(
    records: list[dict[str, Any]], used: list[str], header: dict[str, Any]
) -> dict[str, Any]:
    images = [
        {
            "id": record["index"],
            "file_name": record["file_name"],
            "width": record["width"],
            "height": record["height"],
        }
        for record in records
    ]
    annotations: list[dict[str, Any]] = []
    for record in records:
        for annotation in record["annotations"]:
            entry = {"id": len(annotations) + 1, "image_id": record["index"], **annotation}
            annotations.append(entry)
    categories = []
    for name in used:
        schema = object_schema(CATEGORIES[name].schema)
        categories.append(
            {
                "id": _IDS[name],
                "name": name,
                "supercategory": CATEGORIES[name].split,
                "schema": schema.name,
                "keypoints": list(schema.names),
                "skeleton": [[a + 1, b + 1] for a, b in schema.skeleton],
            }
        )
    info = {"description": "Objects rendered by headsight", **header}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def _schemas(used: list[str]) -> str:
    schemas = {name: object_schema(CATEGORIES[name].schema) for name in used}
    document = {
        "schema": "headsight.keypoint-schemas/1",
        "categories": {name: schema.name for name, schema in schemas.items()},
        "schemas": [s.to_dict() for s in {s.name: s for s in schemas.values()}.values()],
    }
    return json.dumps(document, indent=1)


def _cell(folder: Path, record: dict[str, Any]) -> Image.Image:
    names = list(CATEGORIES)
    objects = [
        (
            object_schema(CATEGORIES[names[a["category_id"] - 1]].schema),
            np.array(a["keypoints"]).reshape(-1, 3),
        )
        for a in record["annotations"]
    ]
    with Image.open(folder / record["file_name"]) as image:
        return drawn(image.convert("RGB"), objects)

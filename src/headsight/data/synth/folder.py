"""A folder of scenes: pictures, COCO annotations, a contact sheet, a journal to resume by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headsight.data.synth.assets import load_assets
from headsight.data.synth.backdrop import list_pictures
from headsight.data.synth.config import Scene, SceneConfig
from headsight.data.synth.iterate import iterate_scenes
from headsight.data.synth.journalled import (
    open_folder,
    save_picture,
    settings_hash,
    write_scenes_of,
    write_text,
)
from headsight.data.synth.landmarks import LANDMARKS
from headsight.geometry.rotations import matrix_to_ypr

__all__ = ["coco_annotations", "write_scenes"]

LEAST_VISIBLE = 0.2
"""A head of which less is seen is written with `ignore` set: it counts neither way."""
SHEET_COLUMNS, SHEET_ROWS, SHEET_CELL = 6, 4, 240


def write_scenes(
    folder: Path,
    config: SceneConfig,
    n: int,
    *,
    seed: int = 0,
    workers: int = 0,
    quality: int = 90,
    overwrite: bool = False,
    resume: bool = False,
    on_scene: Callable[[int], None] | None = None,
) -> Path:
    """Write `n` scenes and return the path of `annotations.json`.

    Each picture is finished before its line goes into the journal, so a killed job goes on where it
    stopped. `on_scene` is called with the number of scenes that are there.

    Raises:
        InputError: the folder holds something and neither `overwrite` nor `resume` is given.
        ResumeError: the folder's journal was written with other settings.
    """
    if config.assets:
        load_assets(config.assets)  # fail before anything is written
    list_pictures(config.backgrounds)
    header = {
        "schema": "headsight.scenes/2",
        "seed": seed,
        "config": settings_hash(config, seed, quality),
    }
    done = open_folder(folder, header, overwrite=overwrite, resume=resume)
    finished = {record["index"] for record in done}
    scenes = iterate_scenes(config, n, workers=workers, seed=seed, skip=finished)
    records = write_scenes_of(
        scenes, folder, done, coco_annotations, quality=quality, on_scene=on_scene
    )
    kept = [record for record in records if record["index"] < n]
    target = folder / "annotations.json"
    write_text(target, json.dumps(_document(kept, header)))
    _contact_sheet([folder / r["file_name"] for r in kept], folder / "contact_sheet.jpg")
    return target


def coco_annotations(scene: Scene) -> dict[str, Any]:
    """Size and annotations (without ids) of one scene, JSON-ready."""
    ypr = matrix_to_ypr(scene.rotations)[0]
    annotations = []
    for k, head in enumerate(scene.to_dict()["heads"]):
        x1, y1, x2, y2 = scene.boxes[k]
        marks = np.round(scene.landmarks[k], 2)
        annotations.append(
            {
                "category_id": 1,
                "iscrowd": 0,
                "ignore": int(head["visible"] < LEAST_VISIBLE),
                "bbox": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                "area": round(float((x2 - x1) * (y2 - y1)), 2),
                "head_pose": {
                    name: round(float(v), 3)
                    for name, v in zip(("yaw_deg", "pitch_deg", "roll_deg"), ypr[k], strict=True)
                },
                "rotation": np.round(scene.rotations[k], 6).tolist(),
                "camera_rotation": np.round(scene.camera_rotations[k], 6).tolist(),
                "keypoints": marks.ravel().tolist(),
                "num_keypoints": int((marks[:, 2] > 0).sum()),
                "visible": head["visible"],
                "bbox_full": head["box_full"],
                "person_box": head["person_box"],
                "attributes": {
                    name: head[name]
                    for name in (
                        "hat", "hat_color", "hard_hat", "hair", "hair_color", "glasses",
                        "clothes_color", "gender", "beard", "distance",
                    )
                },
            }
        )  # fmt: skip
    h, w = scene.image.shape[:2]
    return {
        "width": w,
        "height": h,
        "kind": scene.kind,
        "focal_px": round(scene.focal_px, 3),
        "annotations": annotations,
    }


def _document(records: list[dict[str, Any]], header: dict[str, Any]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        images.append(
            {
                "id": record["index"],
                "file_name": record["file_name"],
                "width": record["width"],
                "height": record["height"],
                "kind": record["kind"],
                "focal_px": record["focal_px"],
            }
        )
        for annotation in record["annotations"]:
            entry = {"id": len(annotations) + 1, "image_id": record["index"], **annotation}
            annotations.append(entry)
    category = {"id": 1, "name": "head", "keypoints": list(LANDMARKS), "skeleton": []}
    info = {
        "description": "Scenes rendered by headsight",
        "pose_convention": "cv",
        "pose_frame": "allocentric",
        **header,
    }
    return {
        "info": info,
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }


def _contact_sheet(pictures: list[Path], path: Path) -> None:
    shown = pictures[: SHEET_COLUMNS * SHEET_ROWS]
    rows = max(1, -(-len(shown) // SHEET_COLUMNS))
    sheet = Image.new("RGB", (SHEET_COLUMNS * SHEET_CELL, rows * SHEET_CELL), (30, 30, 30))
    for k, picture in enumerate(shown):
        with Image.open(picture) as image:
            image.thumbnail((SHEET_CELL, SHEET_CELL))
            at = (k % SHEET_COLUMNS * SHEET_CELL, k // SHEET_COLUMNS * SHEET_CELL)
            sheet.paste(image, at)
    save_picture(sheet, path, 88)

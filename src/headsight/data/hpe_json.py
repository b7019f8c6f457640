"""AGORA-HPE and CMU-HPE (DirectMHP, arXiv:2302.01110): COCO files with head boxes and angles.

Of each annotation `bbox` is x, y, width, height px of a ball around the head and `euler_angles`
pitch, yaw, roll in degrees, with signs as ours.
"""

from __future__ import annotations

__all__ = ["read_agora_hpe", "read_cmu_hpe"]

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.head_folder import HeadFolder, Item, label_files, picture_index
from headsight.data.heads import HeadSample
from headsight.errors import AnnotationError
from headsight.geometry.boxes import xywh_to_xyxy
from headsight.geometry.rotations import ypr_from, ypr_to_matrix


def read_agora_hpe(folder: Path) -> HeadFolder:
    """The heads of coco_style_train.json and coco_style_validation.json.

    Raises:
        AnnotationError: they are not there, or of another form.
    """
    return _read(folder, "agora_hpe", "coco_style_[tv]*.json")


def read_cmu_hpe(folder: Path) -> HeadFolder:
    """The heads of coco_style_sampled_train.json and coco_style_sampled_val.json.

    Raises:
        AnnotationError: they are not there, or of another form.
    """
    return _read(folder, "cmu_hpe", "coco_style_sampled_*.json")


def _read(folder: Path, kind: str, pattern: str) -> HeadFolder:
    items: dict[str, list[Item]] = {}
    pictures = picture_index(folder)
    for path in label_files(folder, pattern, f"annotations/{pattern} of {kind}"):
        heads, images = _load(path)
        make = partial(_sample, path=path, pictures=pictures)
        items[path.stem.rpartition("_")[2]] = [
            (str(i["file_name"]), partial(make, image=i, heads=heads.get(i["id"], [])))
            for i in images
        ]
    return HeadFolder(kind, folder, items)


def _load(path: Path) -> tuple[dict[Any, list[Mapping[str, Any]]], list[Mapping[str, Any]]]:
    """Annotations by picture, without their face points, and the pictures."""
    try:
        whole = json.loads(path.read_text("utf-8"))
        heads: dict[Any, list[Mapping[str, Any]]] = {}
        for a in whole["annotations"]:
            row = {"bbox": a.get("bbox", a.get("head_bbox")), "euler_angles": a["euler_angles"]}
            heads.setdefault(a["image_id"], []).append(row)
        return heads, [dict(i) for i in whole["images"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected COCO's images and"
            " annotations with bbox and euler_angles; build it again."
        ) from error


def _sample(
    *,
    path: Path,
    pictures: Mapping[str, Path],
    image: Mapping[str, Any],
    heads: list[Mapping[str, Any]],
) -> HeadSample:
    stem = Path(image["file_name"]).stem
    if stem not in pictures:
        raise AnnotationError(
            f"The picture {image['file_name']} of {path.name} is missing. It belongs into"
            " images/train or images/val beside annotations."
        )
    boxes = np.array([h["bbox"] for h in heads], np.float64).reshape(-1, 4)
    pyr = np.array([h["euler_angles"] for h in heads], np.float64).reshape(-1, 3)
    camera = image.get("intrinsics")  # of sets that headsight built
    if not (np.isfinite(boxes).all() and np.isfinite(pyr).all()):
        raise AnnotationError(f"{image['file_name']} has a box or an angle that is no number.")
    return HeadSample(
        pictures[stem],
        (int(image["width"]), int(image["height"])),
        np.asarray(xywh_to_xyxy(boxes)),
        np.asarray(ypr_to_matrix(ypr_from(pyr[:, [1, 0, 2]], "agora_hpe"))),
        box_kind="around",
        intrinsics=None if camera is None else np.array(camera, np.float64).reshape(3, 3),
    )

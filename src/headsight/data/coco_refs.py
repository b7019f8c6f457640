"""COCO instances as expressions: the name of a category of which a picture holds just one.

No published protocol: a way to find localization heads on labels that people have. Where a picture
shows one dog, "dog" is an expression with one right answer; crowds and doubles name nothing.
"""

from __future__ import annotations

__all__ = ["read_coco_refs"]

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.ref_sample import RefSample, RefSet, regions_of, sift
from headsight.errors import AnnotationError
from headsight.geometry.boxes import xywh_to_xyxy

_FOLDERS = (".", "images", "{stem}", "../{stem}", "../images", "../images/{stem}")


def read_coco_refs(path: Path, *, images: Path | None = None) -> RefSet:
    """Names of the categories that a picture holds once; pictures are looked for near the file.

    Args:
        path: an instances file, such as annotations/instances_val2017.json.
        images: folder of the pictures, if not beside it, in `images` or in val2017.

    Raises:
        AnnotationError: the file is of another form, no picture is there, or no picture holds just
            one of anything.
    """
    try:
        whole = json.loads(path.read_text("utf-8"))
        pictures = {i["id"]: i for i in whole["images"]}
        names = {c["id"]: str(c["name"]) for c in whole["categories"]}
        groups: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
        for a in whole["annotations"]:
            groups.setdefault((a["image_id"], a["category_id"]), []).append(a)
        single = {key: group[0] for key, group in groups.items() if len(group) == 1}
        kept = {key: a for key, a in single.items() if not (a.get("iscrowd") or a.get("ignore"))}
        folder = images or _folder(path, [str(i["file_name"]) for i in whole["images"][:50]])
        items = [
            (
                f"{image}/{names[category]}",
                partial(_sample, image=pictures[image], a=a, name=names[category], folder=folder),
            )
            for (image, category), a in kept.items()
        ]
    except (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected COCO's images,"
            " annotations and categories."
        ) from error
    if not items:
        raise AnnotationError(
            f"No picture of {path} holds just one thing of a category, so a category's name points"
            " at nothing. Give referring expressions instead."
        )
    return sift(items, name=path.name)


def _sample(
    key: str, *, image: Mapping[str, Any], a: Mapping[str, Any], name: str, folder: Path
) -> RefSample:
    box = np.array(a["bbox"], np.float64).reshape(1, 4)
    return RefSample(
        key,
        folder / str(image["file_name"]),
        (int(image["width"]), int(image["height"])),
        name,
        np.asarray(xywh_to_xyxy(box)),
        regions_of(a.get("segmentation")),
        category=name,
        ids={"image_id": image["id"]},
    )


def _folder(path: Path, names: list[str]) -> Path:
    """The folder that holds any of the first pictures; beside the file where none does."""
    stem = path.stem.removeprefix("instances_")
    places = [path.parent / place.format(stem=stem) for place in _FOLDERS]
    return next((p for p in places if any((p / n).is_file() for n in names)), path.parent)

"""Labelled head pictures for evaluation: named sets and COCO files, all as the same small records.

Names stand for the folders of the data directory (environment variable HEADSIGHT_DATA); nothing is
downloaded.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from headsight.errors import AnnotationError, InputError
from headsight.geometry.boxes import xywh_to_xyxy
from headsight.geometry.rotations import ypr_from, ypr_to_matrix

__all__ = [
    "HEAD_OF_LANDMARKS",
    "READERS",
    "HeadSample",
    "picture_name",
    "read_heads",
    "whole_heads",
]

ANGLES = ("yaw", "pitch", "roll")
HEAD_OF_LANDMARKS = np.array([-0.1, -0.35, 0.1, 0.05])
"""What a whole head has more than the box of its 68 landmarks, in heights of that box."""


@dataclass(frozen=True)
class HeadSample:
    """One picture and the truth about its heads (N)."""

    image: Path
    image_wh: tuple[int, int]
    boxes: Float[NDArray[Any], "n 4"]
    """xyxy px."""
    rotations: Float[NDArray[Any], "n 3 3"]
    """Head to camera; NaN where the pose is not labelled."""
    ignore: Float[NDArray[Any], "m 4"] = field(default_factory=lambda: np.zeros((0, 4)))
    """Places where a detection counts neither way."""
    box_kind: str = "head"
    """`head`; `landmarks`, `face`: the box of the facial landmarks or of the face, which lies
    inside the head's; `around`: a wide box in which the head lies."""
    words: str | None = None
    """What the boxes are of, where it is not every head."""
    head_boxes: Float[NDArray[Any], "n 4"] | None = None
    """Boxes of the whole heads, estimated from the labels, where `boxes` are not of heads."""
    intrinsics: Float[NDArray[Any], "3 3"] | None = None
    """Camera matrix in px, where it is known."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Labels of the picture that are not used at all, counted by reason."""


def read_heads(name: str) -> list[HeadSample]:
    """The pictures of a named set, a COCO file with head boxes, or a folder.

    A folder is one of `headsight scenes`, or a data set in its published layout (`KINDS` of
    `headsight.data.head_kinds`), of which the `val` or `validation` part is read where it has one.

    Raises:
        InputError: no such set, file or folder.
        AnnotationError: the labels are not in their format.
    """
    path = Path(name).expanduser()
    if name in READERS:
        folder = data_folder(name)
        try:
            return READERS[name](folder)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise AnnotationError(
                f"{folder} does not hold the data set {name}: {type(error).__name__} {error}."
                " Fetch it again."
            ) from error
    if path.is_dir():
        if not (path / "annotations.json").is_file():
            return _published(path)
        path = path / "annotations.json"
    if path.is_file():
        return read_coco(path)
    raise InputError(
        f"'{name}' is no data set, file or folder. Known sets: {', '.join(READERS)}; or pass a COCO"
        " file, or a folder with annotations.json."
    )


def _published(folder: Path) -> list[HeadSample]:
    from headsight.data.head_kinds import KINDS, find_kind, open_heads

    try:
        kind = find_kind(folder)
    except InputError as error:
        raise InputError(
            f"{folder} has no annotations.json and is no published data set of heads"
            f" ({', '.join(KINDS)}). Check the folder; docs/data.md tells what each one holds."
        ) from error
    found = open_heads(folder, kind)
    return found.only(next((s for s in ("val", "validation") if s in found.items), None)).samples()


def picture_name(sample: HeadSample) -> str:
    """File and the two folders above it: the same wherever the data set lies."""
    return "/".join(sample.image.parts[-3:])


def whole_heads(sample: HeadSample) -> Float[NDArray[Any], "n 4"]:
    """The true boxes as boxes of whole heads, for a model that is given them.

    Those of landmarks are made larger, perhaps beyond the picture; wide ones around a head stay as
    they are.
    """
    boxes = np.asarray(sample.boxes, np.float64).reshape(-1, 4)
    if sample.box_kind == "landmarks":
        boxes = boxes + (boxes[:, 3:] - boxes[:, 1:2]) * HEAD_OF_LANDMARKS
    return boxes


def data_folder(name: str) -> Path:
    """The folder of a named set.

    Raises:
        InputError: it is not there.
    """
    beside = Path(__file__).parents[3].parent / "shared" / "data"
    root = Path(os.environ.get("HEADSIGHT_DATA", beside))
    folder = root / name
    if not folder.is_dir():
        raise InputError(
            f"The data set {name} is not at {folder}."
            " Set HEADSIGHT_DATA to the folder that holds it."
        )
    return folder


def read_coco(path: Path) -> list[HeadSample]:
    """Head boxes of a COCO file, with poses where it has them.

    Poses come from `head_pose` {yaw_deg, pitch_deg, roll_deg} or `rotation`; crowds are ignored.

    Raises:
        AnnotationError: not the COCO form.
    """
    try:
        whole = json.loads(path.read_text("utf-8"))
        by_image: dict[Any, list[dict[str, Any]]] = {}
        for annotation in whole["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        return [_coco_sample(path, i, by_image.get(i["id"], [])) for i in whole["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} is not a COCO file with head boxes: {type(error).__name__} {error}. Expected"
            " 'images' (id, file_name, width, height) and 'annotations' (image_id, bbox, optionally"
            " head_pose)."
        ) from error


def _coco_sample(
    path: Path, image: dict[str, Any], annotations: list[dict[str, Any]]
) -> HeadSample:
    crowd = [a for a in annotations if a.get("iscrowd") or a.get("ignore")]
    heads = [a for a in annotations if not (a.get("iscrowd") or a.get("ignore"))]
    return HeadSample(
        path.parent / image["file_name"],
        (int(image["width"]), int(image["height"])),
        _xyxy([a["bbox"] for a in heads]),
        np.stack([_rotation(a) for a in heads]) if heads else np.zeros((0, 3, 3)),
        _xyxy([a["bbox"] for a in crowd]),
    )


def _rotation(annotation: dict[str, Any]) -> NDArray[np.float64]:
    if annotation.get("rotation") is not None:
        return np.asarray(annotation["rotation"], np.float64).reshape(3, 3)
    if annotation.get("head_pose"):
        pose = annotation["head_pose"]
        return ypr_to_matrix(np.array([pose[f"{n}_deg"] for n in ANGLES], np.float64))
    return np.full((3, 3), np.nan)


def _xyxy(boxes: Sequence[Sequence[int | float]]) -> NDArray[np.float64]:
    return np.asarray(xywh_to_xyxy(np.array(boxes, np.float64).reshape(-1, 4)))


def _aflw2000(folder: Path) -> list[HeadSample]:
    """Fifteen portraits; boxes are of the landmarks; signs as ours (300W-LP)."""
    samples = []
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            ypr = np.array([float(row[f"{n}_deg"]) for n in ANGLES])
            box = np.array([[float(row[f"lm_{n}"]) for n in ("x0", "y0", "x1", "y1")]])
            path = folder / row["image"]
            rotation = ypr_to_matrix(ypr_from(ypr, "300wlp"))[None]
            samples.append(HeadSample(path, _size(path), box, rotation, box_kind="landmarks"))
    return samples


def _panoptic(folder: Path) -> list[HeadSample]:
    """Two frames of one instant, front and back; signs of the repository opal23_headpose."""
    samples = []
    for row in json.loads((folder / "labels.json").read_text("utf-8")):
        ypr = np.array([row[f"{n}_deg"] for n in ANGLES], np.float64)
        path = folder / row["image"]
        rotation = ypr_to_matrix(ypr_from(ypr, "opal23"))[None]
        box = _xyxy([row["box_xywh"]])
        samples.append(HeadSample(path, _size(path), box, rotation, box_kind="around"))
    return samples


def _hardhat(folder: Path) -> list[HeadSample]:
    """Heads with a hard hat, seen from any side; bare heads are not labelled."""
    samples = []
    for row in json.loads((folder / "boxes.json").read_text("utf-8"))["images"]:
        path = folder / row["image"]
        width, height = _size(path)
        center = np.array(row["boxes_cxcywh_norm"], np.float64).reshape(-1, 4)
        middle, half = center[:, :2], center[:, 2:] / 2
        boxes = np.concatenate([middle - half, middle + half], 1) * [width, height, width, height]
        unknown = np.full((len(boxes), 3, 3), np.nan)
        samples.append(
            HeadSample(path, (width, height), boxes, unknown, words="every head with a hard hat")
        )
    return samples


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


READERS: dict[str, Callable[[Path], list[HeadSample]]] = {
    "aflw2000_sample": _aflw2000,
    "panoptic_sample": _panoptic,
    "hardhat_workers": _hardhat,
    "hardhat_train": _hardhat,
}
"""Reader of each named set; called with its folder."""

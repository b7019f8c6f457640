"""Labelled pictures for training, read from JSON-lines files or folders of rendered scenes.

A label file holds one picture a line:
`{"image": path, "wh": [w, h], "heads": [{"box": [x1, y1, x2, y2],
"ypr_deg": [yaw, pitch, roll] or null, ...attributes}], "ignore": [[x1, y1, x2, y2], ...]}`;
paths are relative to the file. Weakly labelled photographs have this form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.errors import AnnotationError
from headsight.geometry.rotations import ypr_to_matrix

__all__ = ["LabelledPicture", "read_labels"]


@dataclass(frozen=True)
class LabelledPicture:
    """One picture still encoded, and what is known of its heads (N of them)."""

    encoded: bytes
    boxes: NDArray[np.float32]
    """(N, 4) xyxy px."""
    rotations: NDArray[np.float32]
    """(N, 3, 3); NaN where the pose is not known."""
    pose_weights: NDArray[np.float32]
    """(N,) trust in the pose, in [0, 1]."""
    attributes: tuple[dict[str, Any], ...]
    ignore: NDArray[np.float32]
    """(M, 4) xyxy px: places where nothing may be learned."""
    landmarks: NDArray[np.float32] | None = None
    """(N, P, 3) x, y px and visibility 0, 1 or 2; None where they are not labelled."""


def read_labels(path: Path, *, limit: int | None = None) -> list[LabelledPicture]:
    """The labelled pictures, encoded bytes in memory.

    Args:
        path: a `.jsonl` file, whose last line may be torn; or a folder of `headsight scenes`.
        limit: read only the first so many.

    Raises:
        AnnotationError: the labels are not of the form in this module's head.
    """
    if path.is_dir() or path.suffix == ".json":
        return _read_coco(path / "annotations.json" if path.is_dir() else path, limit)
    result = []
    lines = path.read_text("utf-8").splitlines()[:limit]
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            result.append(_labelled(record, path.parent))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, OSError) as error:
            if number == len(lines) and isinstance(error, json.JSONDecodeError):
                break  # torn
            raise AnnotationError(
                f"{path} line {number} cannot be read: {error}. Expected one JSON object with"
                " 'image', 'wh', 'heads' a line."
            ) from error
    return result


def _read_coco(path: Path, limit: int | None) -> list[LabelledPicture]:
    try:
        document = json.loads(path.read_text("utf-8"))
        heads: dict[int, list[dict[str, Any]]] = {}
        for annotation in document["annotations"]:
            heads.setdefault(annotation["image_id"], []).append(annotation)
        return [
            _labelled(_record(image, heads.get(image["id"], [])), path.parent)
            for image in document["images"][:limit]
        ]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, OSError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected the"
            " annotations.json of `headsight scenes`."
        ) from error


def _record(image: dict[str, Any], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {"image": image["file_name"], "heads": [], "ignore": []}
    for annotation in annotations:
        x, y, width, height = annotation["bbox"]
        box = [x, y, x + width, y + height]
        if annotation.get("ignore") or annotation.get("iscrowd"):
            record["ignore"].append(box)
            continue
        pose = annotation["head_pose"]
        ypr = [pose["yaw_deg"], pose["pitch_deg"], pose["roll_deg"]]
        head = {"box": box, "ypr_deg": ypr, **annotation["attributes"]}
        if "keypoints" in annotation:
            head["landmarks"] = np.reshape(annotation["keypoints"], (-1, 3))
        record["heads"].append(head)
    return record


def _labelled(record: dict[str, Any], folder: Path) -> LabelledPicture:
    heads = record["heads"]
    ypr = np.array([h.get("ypr_deg") or [np.nan] * 3 for h in heads], np.float64).reshape(-1, 3)
    return LabelledPicture(
        encoded=(folder / record["image"]).read_bytes(),
        boxes=np.array([h["box"] for h in heads], np.float32).reshape(-1, 4),
        rotations=np.asarray(ypr_to_matrix(ypr), np.float32),
        pose_weights=np.array([h.get("pose_weight", 1.0) for h in heads], np.float32),
        attributes=tuple(traits(h) for h in heads),
        ignore=np.array(record.get("ignore", []), np.float32).reshape(-1, 4),
        landmarks=np.array([h["landmarks"] for h in heads], np.float32)
        if heads and all("landmarks" in h for h in heads)
        else None,
    )


_HAIR = {"dark brown": "brown", "blonde": "yellow", "blond": "yellow", "none": None}
_GENDER = {"man": "male", "woman": "female", "male": "male", "female": "female"}


def traits(head: dict[str, Any]) -> dict[str, Any]:
    """What a label says of a head, in one vocabulary; what it does not say is left out."""
    said = {k: head[k] for k in ("hard_hat", "hat", "clothes_color") if head.get(k) is not None}
    if "glasses" in head:
        said["glasses"] = head["glasses"] not in (None, False, "none")
    if (gender := _GENDER.get(str(head.get("gender")))) is not None:
        said["gender"] = gender
    if (hat := head.get("hat_color")) not in (None, "none"):
        said["hat_color"] = hat
    if (hair := _HAIR.get(str(head.get("hair_color")), head.get("hair_color"))) is not None:
        said["hair_color"] = hair
    return said

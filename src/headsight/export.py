"""Detections as other programs want them: plain dicts, COCO results, supervision; and back."""

from __future__ import annotations

__all__ = [
    "detections_from_dict",
    "detections_from_json",
    "detections_to_coco",
    "detections_to_dict",
    "detections_to_supervision",
    "mask_to_rle",
    "rle_to_mask",
]

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.detections import SCHEMA, Detections, Exchange
from headsight.errors import AnnotationError, require
from headsight.geometry.boxes import xyxy_to_xywh
from headsight.geometry.masks import mask_to_rle, rle_to_mask
from headsight.geometry.rotations import ypr_to_matrix

CONVENTION = "yaw-left,pitch-up,roll-clockwise"

_ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
_PLACE = ("box", "score", "label", "pose", "keypoints", "mask")


def detections_to_dict(detections: Detections) -> dict[str, Any]:
    """Plain values for JSON: boxes to 0.001 px, angles to 0.01 degrees, scores to 0.0001."""
    picture = detections.picture
    return {
        "schema": SCHEMA,
        "source": None if picture is None else picture.source,
        "image_wh": list(detections.image_wh),
        "convention": CONVENTION,
        "label_names": list(detections.label_names),
        "places": _places(detections),
        "exchanges": [_plain(exchange.to_dict()) for exchange in detections.exchanges],
    }


def detections_from_dict(document: Mapping[str, Any]) -> Detections:
    """What `detections_to_dict` wrote, as far as its digits go, without the picture.

    Of no places it is not known whether poses were asked for: `rotations` is then None.

    Raises:
        AnnotationError: another schema, or a place that is not what the schema says.
    """
    schema = document.get("schema")
    if schema != SCHEMA:
        raise AnnotationError(
            f"The document has the schema {schema!r}, but {SCHEMA!r} is read. Write it with"
            " Detections.to_dict or to_json."
        )
    try:
        return _detections(document)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(
            f"The document says {SCHEMA}, but does not keep to it"
            f" ({type(error).__name__}: {error}). Write it with Detections.to_dict or to_json."
        ) from error


def detections_from_json(text: str) -> Detections:
    """`detections_from_dict` of JSON text.

    Raises:
        AnnotationError: no JSON, another schema, or a place that is not what the schema says.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise AnnotationError(f"The text is no JSON: {error}. Write it with to_json.") from error
    return detections_from_dict(document if isinstance(document, dict) else {})


def detections_to_coco(detections: Detections, *, image_id: int = 0) -> list[dict[str, Any]]:
    """COCO results; see `Detections.to_coco`."""
    results: list[dict[str, Any]] = []
    poses = _poses(detections)
    sides = xyxy_to_xywh(detections.boxes)
    for i, score in enumerate(detections.scores):
        result: dict[str, Any] = {
            "image_id": image_id,
            "category_id": int(detections.labels[i]) + 1,
            "bbox": sides[i].tolist(),
            "score": float(score),
        }
        if detections.rotations is not None and poses[i] is not None:
            result["head_pose"] = poses[i]
            result["rotation"] = detections.rotations[i].tolist()
        if detections.keypoints is not None:
            result["keypoints"] = detections.keypoints[i].ravel().tolist()
        if detections.masks is not None:
            result["segmentation"] = mask_to_rle(detections.masks[i], as_text=True)
            result["area"] = int(detections.masks[i].sum())
        if "mask_kind" in detections.attributes:
            result["mask_kind"] = detections.attributes["mask_kind"][i]
        results.append(result)
    return results


def detections_to_supervision(detections: Detections) -> Any:
    """A `supervision.Detections`; see `Detections.to_supervision`.

    Raises:
        MissingExtraError: supervision is not installed.
    """
    supervision = require("supervision")
    return supervision.Detections(
        xyxy=detections.boxes.astype(np.float32),
        mask=None if detections.masks is None else detections.masks.copy(),
        confidence=detections.scores.astype(np.float32),
        class_id=detections.labels.astype(int),
        data={
            **_columns(detections),
            "class_name": np.array(detections.names, dtype=str),
            "ypr_deg": detections.poses,
        },
    )


def _columns(detections: Detections) -> dict[str, NDArray[Any]]:
    """Each attribute as an array of objects, whatever its values are."""
    columns = {name: np.empty(len(detections), object) for name in detections.attributes}
    for name, column in columns.items():
        column[:] = [_plain(value) for value in detections.attributes[name]]
    return columns


def _places(detections: Detections) -> list[dict[str, Any]]:
    places: list[dict[str, Any]] = []
    poses = _poses(detections)
    for i, name in enumerate(detections.names):
        place: dict[str, Any] = {
            "box": [round(float(v), 3) for v in detections.boxes[i]],
            "score": round(float(detections.scores[i]), 4),
            "label": name,
        }
        if detections.rotations is not None:
            place["pose"] = poses[i]
        if detections.keypoints is not None:
            place["keypoints"] = detections.keypoints[i].round(3).tolist()
        if detections.masks is not None:
            place["mask"] = mask_to_rle(detections.masks[i], as_text=True)
        places.append(place | {k: _plain(v[i]) for k, v in detections.attributes.items()})
    return places


def _poses(detections: Detections) -> list[dict[str, float] | None]:
    """Angles by name, None where not read."""
    return [
        # + 0.0: no negative zeros
        {name: round(float(v), 2) + 0.0 for name, v in zip(_ANGLES, angles, strict=True)}
        if np.isfinite(angles).all()
        else None
        for angles in detections.poses
    ]


def _plain(value: Any) -> Any:
    """`value` as JSON knows it: numpy unwrapped, tuples as lists, NaN and infinity as null."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _detections(document: Mapping[str, Any]) -> Detections:
    places = document["places"]
    names = tuple(document["label_names"])
    has = {key: any(key in place for place in places) for key in _PLACE}
    extra = list(dict.fromkeys(chain.from_iterable(places)))
    width, height = document["image_wh"]
    return Detections(
        np.array([place["box"] for place in places], np.float64).reshape(-1, 4),
        np.array([place["score"] for place in places], np.float64),
        np.array([names.index(place["label"]) for place in places], np.int64),
        names,
        (int(width), int(height)),
        rotations=np.stack([_rotation(p.get("pose")) for p in places]) if has["pose"] else None,
        keypoints=np.array([p["keypoints"] for p in places], np.float64)
        if has["keypoints"]
        else None,
        masks=np.stack([rle_to_mask(p["mask"]) for p in places]) if has["mask"] else None,
        attributes={
            name: tuple(place.get(name) for place in places) for name in extra if name not in _PLACE
        },
        exchanges=tuple(Exchange(**exchange) for exchange in document["exchanges"]),
    )


def _rotation(pose: Mapping[str, float] | None) -> NDArray[Any]:
    if pose is None:
        return np.full((3, 3), np.nan)
    return np.asarray(ypr_to_matrix(np.array([pose[name] for name in _ANGLES], np.float64)))

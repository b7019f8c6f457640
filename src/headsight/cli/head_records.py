"""What is kept of the heads found in a picture, so that a resumed run need not ask again."""

from __future__ import annotations

__all__ = ["pack_asked", "pack_heads", "unpack_asked", "unpack_heads"]

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headsight.detections import Detections
    from headsight.eval.vlm_headpose import HeadsAsked


def pack_heads(found: Detections) -> dict[str, Any]:
    """What was found, JSON-ready."""
    rotations = None if found.rotations is None else found.rotations.tolist()
    return {
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "rotations": rotations,
        "exchanges": [e.to_dict() for e in found.exchanges],
    }


def unpack_heads(record: dict[str, Any], image_wh: tuple[int, int]) -> Detections:
    """The detections of `pack_heads`."""
    import numpy as np

    from headsight.detections import Detections, Exchange

    number = len(record["boxes"])
    rotations = record["rotations"]
    return Detections(
        np.array(record["boxes"], np.float64).reshape(-1, 4),
        np.array(record["scores"], np.float64),
        np.zeros(number, np.int64),
        ("head",),
        image_wh,
        rotations=None if rotations is None else np.array(rotations, np.float64).reshape(-1, 3, 3),
        exchanges=tuple(Exchange(**e) for e in record["exchanges"]),
    )


def pack_asked(asked: HeadsAsked) -> dict[str, Any]:
    """Both answers about a picture; poses in own boxes are those of the boxes."""
    is_one = asked.poses is asked.boxes
    return {
        "heads": None if asked.boxes is None else pack_heads(asked.boxes),
        "poses": None if asked.poses is None or is_one else pack_heads(asked.poses),
        "is_one": is_one,
    }


def unpack_asked(record: dict[str, Any], image_wh: tuple[int, int]) -> HeadsAsked:
    """The answers of `pack_asked`."""
    from headsight.eval.vlm_headpose import HeadsAsked

    heads, poses = (
        None if record[name] is None else unpack_heads(record[name], image_wh)
        for name in ("heads", "poses")
    )
    return HeadsAsked(heads, heads if record["is_one"] else poses)

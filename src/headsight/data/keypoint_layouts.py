"""Keypoint files of other layouts, brought into COCO's before they are read.

Each entry of `LAYOUTS` tells by the content whether a file is of its kind, and rewrites it.
"""

from __future__ import annotations

__all__ = ["DEEPFASHION2_SLOTS", "LAYOUTS", "Layout", "as_coco"]

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from headsight.data.ref_sample import picture_wh

Whole = Mapping[str, Any]

DEEPFASHION2_SLOTS: dict[int, tuple[str, int]] = {
    1: ("short_sleeved_shirt", 25),
    2: ("long_sleeved_shirt", 33),
    3: ("short_sleeved_outwear", 31),
    4: ("long_sleeved_outwear", 39),
    5: ("vest", 15),
    6: ("sling", 15),
    7: ("shorts", 10),
    8: ("trousers", 14),
    9: ("skirt", 8),
    10: ("short_sleeved_dress", 29),
    11: ("long_sleeved_dress", 37),
    12: ("vest_dress", 19),
    13: ("sling_dress", 19),
}
"""Garment and number of points by category id; the slots of all lie one after the other."""
_MPII_NAMES = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis",
    "thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder",
    "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip
_MPII_HEIGHT_PX = 200.0
"""Height of a person of scale 1."""
_BODY = 17
_EXTRA_PARTS = {
    "foot": ("foot_kpts", 6),
    "face": ("face_kpts", 68),
    "left_hand": ("lefthand_kpts", 21),
    "right_hand": ("righthand_kpts", 21),
}
"""What COCO-WholeBody adds to the body, in its order."""
_FEET = (
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip


class Layout(NamedTuple):
    """A kind of file."""

    is_it: Callable[[Any], bool]
    to_coco: Callable[[Any, Path], Whole]


def as_coco(whole: Any, path: Path) -> Any:
    """The content of a keypoint file in COCO's layout; as it is where no other is recognised."""
    layout = next((each for each in LAYOUTS.values() if each.is_it(whole)), None)
    return whole if layout is None else layout.to_coco(whole, path)


def _first(whole: Any) -> Mapping[str, Any]:
    annotations = whole.get("annotations") if isinstance(whole, dict) else None
    first = annotations[0] if isinstance(annotations, list) and annotations else {}
    return first if isinstance(first, dict) else {}


def _is_mpii(whole: Any) -> bool:
    return (
        isinstance(whole, list)
        and bool(whole)
        and isinstance(whole[0], dict)
        and {"joints", "joints_vis", "center", "scale"} <= set(whole[0])
    )


def _mpii(whole: Any, path: Path) -> Whole:
    """One record a person; pixels count from 1, the box is a square of the person's height."""
    images: dict[str, dict[str, Any]] = {}
    annotations = []
    for number, record in enumerate(whole):
        name = str(record["image"])
        if name not in images:
            picture = path.parent / name
            wh = picture_wh(picture) if picture.is_file() else (0, 0)
            images[name] = {"id": name, "file_name": name, "width": wh[0], "height": wh[1]}
        side = _MPII_HEIGHT_PX * record["scale"]
        x, y = (value - 1 for value in record["center"])
        triples = [
            (joint[0] - 1, joint[1] - 1, 2 * bool(seen))
            for joint, seen in zip(record["joints"], record["joints_vis"], strict=True)
        ]
        annotations.append(
            {
                "id": number,
                "image_id": name,
                "category_id": 1,
                "bbox": [x - side / 2, y - side / 2, side, side],
                "keypoints": [value for triple in triples for value in triple],
            }
        )
    category = {"id": 1, "name": "person", "keypoints": list(_MPII_NAMES)}
    return {"images": list(images.values()), "annotations": annotations, "categories": [category]}


def _is_deepfashion2(whole: Any) -> bool:
    slots = sum(number for _, number in DEEPFASHION2_SLOTS.values())
    return len(_first(whole).get("keypoints") or ()) == 3 * slots


def _deepfashion2(whole: Any, path: Path) -> Whole:
    """Each garment has its own range of the 294 slots."""
    starts, start = {}, 0
    for key, (_, number) in DEEPFASHION2_SLOTS.items():
        starts[key], start = start, start + number
    annotations = []
    for a in whole["annotations"]:
        if a.get("category_id") in starts and len(a.get("keypoints") or ()) == 3 * start:
            first = starts[a["category_id"]]
            last = first + DEEPFASHION2_SLOTS[a["category_id"]][1]
            a = {**a, "keypoints": a["keypoints"][3 * first : 3 * last]}
        annotations.append(a)
    categories = [
        {"id": key, "name": name, "keypoints": [str(place) for place in range(1, number + 1)]}
        for key, (name, number) in DEEPFASHION2_SLOTS.items()
    ]
    return {**whole, "annotations": annotations, "categories": categories}


def _is_wholebody(whole: Any) -> bool:
    return {key for key, _ in _EXTRA_PARTS.values()} <= set(_first(whole))


def _wholebody(whole: Any, path: Path) -> Whole:
    """Body, feet, face and hands in one row of 133 points; faces do not tell what is hidden."""
    annotations = []
    for a in whole["annotations"]:
        extra = [value for key, _ in _EXTRA_PARTS.values() for value in a[key]]
        row = [*a["keypoints"], *extra]
        row[2::3] = [int(value > 0) for value in row[2::3]]
        seen = sum(row[2::3])
        annotations.append({**a, "keypoints": row, "num_keypoints": seen})
    named = [*_FEET]
    for part, (_, number) in list(_EXTRA_PARTS.items())[1:]:
        named += [f"{part}_{place}" for place in range(1, number + 1)]
    categories = [
        {**c, "keypoints": [*c["keypoints"][:_BODY], *named]} for c in whole["categories"]
    ]
    return {**whole, "annotations": annotations, "categories": categories}


def _is_animal_kingdom(whole: Any) -> bool:
    return "animal_parent_class" in _first(whole)


def _animal_kingdom(whole: Any, path: Path) -> Whole:
    """Categories are the animals; all share the names of one skeleton."""
    names: list[str] = next(
        (c["keypoints"] for c in whole.get("categories", ()) if c.get("keypoints")), []
    )
    animals = sorted({str(a["animal"]) for a in whole["annotations"]})
    categories = [{"id": animal, "name": animal, "keypoints": names} for animal in animals]
    annotations = [{**a, "category_id": str(a["animal"])} for a in whole["annotations"]]
    return {**whole, "annotations": annotations, "categories": categories}


LAYOUTS: dict[str, Layout] = {
    "mpii": Layout(_is_mpii, _mpii),
    "deepfashion2": Layout(_is_deepfashion2, _deepfashion2),
    "coco_wholebody": Layout(_is_wholebody, _wholebody),
    "animal_kingdom": Layout(_is_animal_kingdom, _animal_kingdom),
}
"""Layouts that are not COCO's own."""

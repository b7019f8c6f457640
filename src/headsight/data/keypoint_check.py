"""What is missing or wrong in a file of keypoints, told record by record."""

from __future__ import annotations

__all__ = ["KeypointCheck", "check_keypoints", "picture_fault"]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.keypoints import KeypointInstance, KeypointSet
from headsight.data.ref_sample import Problem
from headsight.errors import HeadsightError
from headsight.picture import open_picture

_FAR_OUTSIDE = 0.5
"""A box that this share of the labelled points misses is taken to be of something else."""


@dataclass(frozen=True)
class KeypointCheck:
    """What a look at every annotation and picture found."""

    categories: dict[str, dict[str, int]]
    """Per category: `instances`, their `keypoints`, how many are `labelled` in all, and how many
    instances are `usable`: they have a picture."""
    left_out: dict[str, int]
    problems: tuple[Problem, ...]
    """Annotations and pictures that are missing or broken."""
    notes: tuple[str, ...]

    @property
    def usable(self) -> int:
        """Instances with a picture."""
        return sum(row["usable"] for row in self.categories.values())

    @property
    def is_good(self) -> bool:
        """Nothing is missing or wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "keypoints",
            "is_good": self.is_good,
            "categories": self.categories,
            "left_out": self.left_out,
            "notes": list(self.notes),
            "problems": [p._asdict() for p in self.problems],
        }


def check_keypoints(
    found: KeypointSet,
    *,
    decode: bool = True,
    on_picture: Callable[[], None] = lambda: None,
) -> KeypointCheck:
    """Look at every annotation and picture of a file.

    Args:
        found: what `read_keypoints` gives.
        decode: decode every picture, which finds broken ones; else it is only looked for.
        on_picture: called after each.
    """
    faults = {}
    for instance in found.instances:
        if instance.image not in faults:
            faults[instance.image] = _picture(instance, decode=decode)
            on_picture()
    categories: dict[str, dict[str, int]] = {}
    for i in found.instances:
        empty = {"instances": 0, "keypoints": len(i.names), "labelled": 0, "usable": 0}
        row = categories.setdefault(i.category, empty)
        row["instances"] += 1
        row["labelled"] += int(i.visible.sum())
        row["usable"] += faults[i.image] is None
    pictures = [Problem(str(path), fault) for path, fault in faults.items() if fault is not None]
    strange = [i.id for i in found.instances if _is_elsewhere(i)]
    notes = list(found.notes)
    if strange:
        notes.append(
            f"{len(strange)} instances have most points outside their box, such as {strange[0]}:"
            " check that boxes and points belong together."
        )
    return KeypointCheck(
        categories, dict(found.left_out), (*found.problems, *pictures), tuple(notes)
    )


def picture_fault(path: Path, image_wh: tuple[int, int]) -> str | None:
    """What is wrong with a picture, if anything; it may be labelled as stored or as seen."""
    try:
        wh = open_picture(path).image_wh
    except HeadsightError as error:
        return str(error)
    if image_wh in (wh, wh[::-1]):
        return None
    return (
        f"The picture is {wh[0]} x {wh[1]}, but its labels are of one of {image_wh[0]} x"
        f" {image_wh[1]}. Fetch the pictures of these labels."
    )


def _picture(instance: KeypointInstance, *, decode: bool) -> str | None:
    if not instance.image.is_file():
        return "The picture is missing. Fetch it, or tell where it is: --images."
    return picture_fault(instance.image, instance.image_wh) if decode else None


def _is_elsewhere(instance: KeypointInstance) -> bool:
    """Whether most labelled points lie outside the box."""
    points, box = instance.points[instance.visible], np.asarray(instance.box, np.float64)
    outside = ((points < box[:2]) | (points > box[2:])).any(1)
    return bool(outside.mean() > _FAR_OUTSIDE)

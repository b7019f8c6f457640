"""What is missing or wrong in the folder of a data set, told before hours are spent on it."""

from __future__ import annotations

__all__ = ["Checked", "check_heads"]

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headsight.data.head_folder import HeadFolder, LeftOut
from headsight.data.head_kinds import KINDS
from headsight.data.heads import HeadSample
from headsight.data.pose_mat import BEYOND
from headsight.data.ref_sample import Problem
from headsight.errors import HeadsightError
from headsight.geometry.rotations import matrix_to_ypr
from headsight.picture import open_picture

RADIANS = 3.2
"""No angle of a whole set is beyond this: it is taken to be in radians."""
FEWEST_POSES = 10
"""Poses that are needed to tell."""
_COUNTS = ("labelled", "pictures", "heads", "poses")
_OUTSIDE_PX = 1.0
"""A label may reach so far beyond the border: rounding."""


@dataclass(frozen=True)
class Checked:
    """What a look at every picture found."""

    kind: str
    splits: dict[str, dict[str, int]]
    """Per split: `labelled` pictures, `pictures` that can be used, their `heads` and `poses`, and
    `published_labelled`, `published_heads` where they are known."""
    left_out: dict[str, int]
    """Pictures and heads that the protocol of the set leaves out, by reason."""
    warnings: tuple[str, ...]
    """What concerns the whole set."""
    problems: tuple[Problem, ...] = ()
    """Pictures that cannot be used, and why."""
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Nothing is missing or wrong."""
        return not self.problems and not self.warnings

    @property
    def usable(self) -> int:
        """Pictures that can be used."""
        return sum(row["pictures"] for name, row in self.splits.items() if name != "all")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "is_good": self.is_good,
            "splits": self.splits,
            "left_out": self.left_out,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "problems": [p._asdict() for p in self.problems],
        }


@dataclass
class _Tally:
    largest_deg: float = 0.0
    poses: int = 0
    outside: int = 0
    turned: int = 0
    splits: dict[str, dict[str, int]] = field(default_factory=dict)


def check_heads(
    found: HeadFolder,
    *,
    decode: bool = True,
    on_picture: Callable[[], None] = lambda: None,
) -> Checked:
    """Look at every picture and label of a set.

    Args:
        found: what `open_heads` gives.
        decode: decode every picture, which finds broken ones; else only its header is read.
        on_picture: called after each.
    """
    tally, left_out, problems = _Tally(), Counter[str](), []
    for split, items in found.items.items():
        row = {"labelled": len(items), "pictures": 0, "heads": 0, "poses": 0}
        tally.splits[split] = row
        for item in found.only(split):
            on_picture()
            if isinstance(item, LeftOut):
                left_out[item.reason] += 1
            elif isinstance(item, Problem):
                problems.append(item)
            elif (error := _look(item, tally, row, decode=decode)) is not None:
                problems.append(Problem(str(item.image), error))
            else:
                left_out.update(item.left_out)
    _add_published(found, tally.splits)
    return Checked(
        found.kind,
        tally.splits,
        dict(left_out),
        tuple(_warnings(found, tally, left_out)),
        tuple(problems),
        (*found.notes, *_notes(tally.splits)),
    )


def _look(sample: HeadSample, tally: _Tally, row: dict[str, int], *, decode: bool) -> str | None:
    """Count one picture; what is wrong with it, if anything."""
    if decode:
        try:
            wh = open_picture(sample.image).image_wh
        except HeadsightError as error:
            return str(error)
        if wh != sample.image_wh:
            return (
                f"The picture {sample.image} is {wh[0]} x {wh[1]}, but its labels are of one of"
                f" {sample.image_wh[0]} x {sample.image_wh[1]}. Fetch the pictures of these labels."
            )
    limits = np.array((*sample.image_wh, *sample.image_wh)) + _OUTSIDE_PX
    tally.outside += int(((sample.boxes < -_OUTSIDE_PX) | (sample.boxes > limits)).any(1).sum())
    has_pose = np.isfinite(sample.rotations).all((-1, -2))
    ypr, flags = matrix_to_ypr(sample.rotations[has_pose])
    tally.largest_deg = max(tally.largest_deg, float(np.abs(ypr).max(initial=0.0)))
    tally.turned += int(np.asarray(flags.upside_down).sum())
    tally.poses += int(has_pose.sum())
    row["pictures"] += 1
    row["heads"] += len(sample.boxes)
    row["poses"] += int(has_pose.sum())
    return None


def _warnings(found: HeadFolder, tally: _Tally, left_out: Counter[str]) -> list[str]:
    warnings = []
    if (beyond := left_out[BEYOND]) * 2 > len(found):
        warnings.append(
            f"{beyond} of {len(found)} pictures have {BEYOND}: Pose_Para looks like degrees, but"
            " radians are expected. Convert it with numpy.deg2rad."
        )
    if tally.poses >= FEWEST_POSES and tally.largest_deg <= RADIANS:
        warnings.append(
            f"The angles look like radians: of {tally.poses} poses none is beyond"
            f" {tally.largest_deg:.2f} degrees. Convert them with numpy.rad2deg."
        )
    if tally.outside:
        warnings.append(
            f"{tally.outside} boxes reach outside their pictures. Check that labels and pictures"
            " belong together."
        )
    if KINDS[found.kind].has_poses and not tally.poses:
        warnings.append("Not one pose was read.")
    return warnings


def _add_published(found: HeadFolder, splits: dict[str, dict[str, int]]) -> None:
    kind = KINDS[found.kind]
    for name, row in splits.items():
        if name in kind.pictures:
            row["published_labelled"] = kind.pictures[name]
        if name in kind.heads:
            row["published_heads"] = kind.heads[name]
    if "all" in kind.pictures and len(splits) == 1:
        next(iter(splits.values()))["published_labelled"] = kind.pictures["all"]
    elif "all" in kind.pictures:
        whole = {k: sum(r[k] for r in splits.values()) for k in _COUNTS}
        splits["all"] = {**whole, "published_labelled": kind.pictures["all"]}


def _notes(splits: dict[str, dict[str, int]]) -> list[str]:
    words = {"labelled": "labelled pictures", "heads": "heads"}
    return [
        f"{name}: {row[what]} {words[what]}, but {row[f'published_{what}']} are published; figures"
        " on a part cannot be compared with published ones."
        for name, row in splits.items()
        for what in words
        if row.get(f"published_{what}", row[what]) != row[what]
    ]

"""Published poses, most of them relative to the camera's axes, as the picture shows them."""

from __future__ import annotations

__all__ = ["poses_as_seen"]

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from headsight.data.head_folder import Found, HeadFolder
from headsight.data.head_kinds import KINDS
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import Problem
from headsight.geometry.line_of_sight import to_allocentric


def poses_as_seen(found: HeadFolder) -> Iterator[Found]:
    """The pictures of a set, their poses relative to the line of sight to the middle of each box.

    A picture whose camera is not known is a problem; sets whose poses are as seen stay as they are.
    """
    stays = KINDS[found.kind].is_as_seen or not KINDS[found.kind].has_poses
    for item in found:
        yield item if stays or not isinstance(item, HeadSample) else _turned(item)


def _turned(sample: HeadSample) -> HeadSample | Problem:
    if sample.intrinsics is None:
        return Problem(
            str(sample.image),
            "Its labels do not tell the focal length, without which the line of sight is not known."
            " Build the set anew with headsight data build, or take the poses as published.",
        )
    middles = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
    flat = np.concatenate([middles, np.ones((len(middles), 1))], 1)
    rays = flat @ np.linalg.inv(sample.intrinsics).T
    return replace(sample, rotations=np.asarray(to_allocentric(sample.rotations, rays)))

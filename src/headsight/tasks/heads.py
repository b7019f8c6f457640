"""Every head of a picture with its box and pose."""

from __future__ import annotations

from headsight.detections import Detections
from headsight.language import prompts
from headsight.models.base import VLM
from headsight.picture import Picture
from headsight.tasks.pose import with_poses
from headsight.tasks.refer import ask_boxes

__all__ = ["find_heads"]


def find_heads(
    vlm: VLM, picture: Picture, *, poses: bool = True, constrain: bool = False
) -> Detections:
    """Boxes of all heads from left to right, and their poses, all asked of one encoded picture.

    Args:
        vlm: the model.
        picture: where to look.
        poses: ask for the pose of each head too.
        constrain: allow strict answers only; else an answer that cannot be read leaves a NaN rotation.
    """
    found = ask_boxes(vlm, picture, prompts.head_boxes(), label="head", constrain=constrain)
    return with_poses(vlm, found, constrain=constrain) if poses else found

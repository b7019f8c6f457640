"""Every head of a picture with its box and pose."""

from __future__ import annotations

__all__ = ["find_heads"]

from headsight.detections import Detections
from headsight.language import prompts
from headsight.models.base import VLM, NativeVLM
from headsight.picture import Picture
from headsight.tasks.pose import with_poses
from headsight.tasks.refer import ask_boxes, ask_native
from headsight.tasks.tiling import Tiles, join, views


def find_heads(
    vlm: VLM,
    picture: Picture,
    *,
    poses: bool = True,
    constrain: bool = False,
    tiles: Tiles = 1,
) -> Detections:
    """Boxes of all heads from left to right, and their poses, all asked of one encoded picture.

    Args:
        vlm: the model.
        picture: where to look.
        poses: ask for the pose of each head too; not of a model with a grounding format of its
            own, which was never taught to tell poses.
        constrain: allow strict answers only; else an answer that cannot be read leaves a NaN
            rotation.
        tiles: look also at so many overlapping tiles along the longer side, for small heads;
            "auto" chooses by the size of the picture, 1 looks at the whole picture alone.

    Raises:
        InputError: `tiles` is out of range.
    """

    def look(view: Picture) -> Detections:
        if isinstance(vlm, NativeVLM) and not constrain:
            return ask_native(vlm, view, "every human head", label="head")
        question = prompts.head_boxes()
        found = ask_boxes(vlm, view, question, label="head", constrain=constrain)
        return with_poses(vlm, found, constrain=constrain) if poses else found

    parts = [(view, look(view.picture)) for view in views(picture, tiles)]
    return parts[0][1] if len(parts) == 1 else join(picture, parts)

"""Whose boxes a model reads poses in: its own, the true ones, or those of another model."""

from __future__ import annotations

__all__ = ["OWN", "TRUTH", "HeadAsker", "box_source"]

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headsight.data.heads import HeadSample
    from headsight.detections import Detections

OWN, TRUTH = "own", "truth"


def box_source(model: str, boxes_from: str | None) -> str:
    """`own`, `truth` or the name of another model.

    Not told, it is `own`, but for a crop regressor, which finds no boxes, `truth`.
    """
    if boxes_from is not None:
        return OWN if boxes_from == model else boxes_from
    from headsight.models.headpose.reader import is_crop_regressor

    return TRUTH if is_crop_regressor(Path(model).expanduser()) else OWN


class HeadAsker:
    """Asks for the heads of one picture after the other."""

    def __init__(self, model: str, source: str, *, device: str, constrain: bool) -> None:
        from headsight.grounder import load

        self._grounder = load(model, device=device)
        self._source, self._constrain = source, constrain
        self._finder = None if source in (OWN, TRUTH) else load(source, device=device)

    def __call__(self, sample: HeadSample) -> Detections:
        """Boxes and poses; own boxes of a set that asks with words of its own have no poses.

        Raises:
            HeadsightError: what is wrong with this picture.
        """
        from headsight.data.heads import whole_heads
        from headsight.picture import open_picture
        from headsight.tasks.pose import with_poses

        picture = open_picture(sample.image)
        if self._source == TRUTH:
            return self._grounder.pose(picture, whole_heads(sample), constrain=self._constrain)
        finder = self._finder or self._grounder
        if sample.words is not None:
            found = finder.ground(picture, sample.words, constrain=self._constrain)
        else:
            own = self._finder is None
            found = finder.heads(picture, poses=own, constrain=self._constrain)
        if self._finder is None:
            return found
        return with_poses(self._grounder.vlm, found, constrain=self._constrain)

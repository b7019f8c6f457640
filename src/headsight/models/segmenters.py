"""Boxes to masks: the seam that every segmenter fits, and the two that need no weights."""

from __future__ import annotations

__all__ = [
    "BoxSegmenter",
    "CoarseSegmenter",
    "MaskSource",
    "Masks",
    "PointSegmenter",
    "Seen",
    "Segmenter",
    "checked_boxes",
    "checked_points",
    "load_segmenter",
    "one_each",
]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.geometry.boxes import clip_boxes
from headsight.geometry.masks import boxes_to_masks
from headsight.geometry.region_maps import RegionMap
from headsight.picture import Picture

MaskSource = Literal["segmenter", "attention", "box"]


@dataclass(frozen=True, eq=False)
class Masks:
    """One mask a box or point, in the pixels of the original picture."""

    masks: Bool[NDArray[np.bool_], "n height width"]
    scores: Float[NDArray[np.float64], " n"]
    """The segmenter's own estimate of the mask's IoU, in [0, 1]; NaN where it makes none."""
    source: MaskSource
    """What drew the outline: a segmenter, an attention map, or the box itself."""

    @property
    def is_coarse(self) -> bool:
        """True where no segmenter has looked at the pixels: such a mask must be labelled so."""
        return self.source != "segmenter"


@dataclass(frozen=True, eq=False)
class Seen:
    """One picture, looked at once: good for any number of boxes of the same segmenter."""

    image_wh: tuple[int, int]


@runtime_checkable
class Segmenter(Protocol):
    """Draws the object that a box holds."""

    name: str
    reads_maps: bool
    """Whether `maps` change what it draws."""

    def embed(self, picture: Picture) -> Any:
        """The picture as this segmenter sees it; the slow half, done once a picture."""

    def from_boxes(
        self,
        seen: Any,
        boxes: Float[NDArray[Any], "n 4"],
        *,
        maps: Sequence[RegionMap] | None = None,
        words: str = "",
    ) -> Masks:
        """One mask a box (xyxy px of the original picture), at the size of the picture.

        `maps` (one a box) hint at the shape, `words` say what it is; a segmenter that has no use
        for one of them leaves it aside, one that needs it and has none raises InputError.
        """


@runtime_checkable
class PointSegmenter(Segmenter, Protocol):
    """Draws also the object that a point lies on."""

    def from_points(
        self, seen: Any, points: Float[NDArray[Any], "n k 2"], *, words: str = ""
    ) -> Masks:
        """One mask a row of points (x, y in px of the original picture), all on one object.

        `words` as for `from_boxes`. Of several masks that a point may mean, the surest is taken.
        """


class BoxSegmenter:
    """Fills the boxes: makes every path to a mask testable, and is the floor to compare with."""

    name = "box"
    reads_maps = False

    def embed(self, picture: Picture) -> Seen:
        """The size alone."""
        return Seen(picture.image_wh)

    def from_boxes(
        self,
        seen: Seen,
        boxes: Float[NDArray[Any], "n 4"],
        *,
        maps: Sequence[RegionMap] | None = None,
        words: str = "",
    ) -> Masks:
        """Every pixel whose middle lies in the box.

        Raises:
            InputError: a box without area in the picture.
        """
        boxes = checked_boxes(boxes, seen.image_wh)
        return Masks(boxes_to_masks(boxes, seen.image_wh), np.full(len(boxes), np.nan), "box")


class CoarseSegmenter:
    """Draws from an attention map alone, for want of a segmenter."""

    name = "attention"
    reads_maps = True

    def embed(self, picture: Picture) -> Seen:
        """The size alone."""
        return Seen(picture.image_wh)

    def from_boxes(
        self,
        seen: Seen,
        boxes: Float[NDArray[Any], "n 4"],
        *,
        maps: Sequence[RegionMap] | None = None,
        words: str = "",
    ) -> Masks:
        """Every pixel of the box where the map, drawn linearly, is above its mean.

        Raises:
            InputError: a box without area in the picture, or not one map a box.
        """
        boxes = checked_boxes(boxes, seen.image_wh)
        masks = boxes_to_masks(boxes, seen.image_wh)
        xs, ys = (np.arange(side) + 0.5 for side in seen.image_wh)
        for mask, one in zip(masks, one_each(maps or (), boxes), strict=True):
            mask &= one.contrast(xs, ys) > 0
        return Masks(masks, np.full(len(boxes), np.nan), "attention")


def checked_boxes(
    boxes: Float[NDArray[Any], "n 4"], image_wh: tuple[int, int]
) -> Float[NDArray[np.float64], "n 4"]:
    """The boxes, cut at the picture's border.

    Raises:
        InputError: one that is turned inside out, or has no area in the picture.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"Boxes have the shape {boxes.shape}, but (N, 4) is needed: xyxy px.")
    cut = clip_boxes(boxes, image_wh)
    is_good = np.isfinite(boxes).all(1) & (cut[:, 2:] > cut[:, :2]).all(1)
    if not is_good.all():
        index = int(np.argmin(is_good))
        raise InputError(
            f"Box {index} is {boxes[index].tolist()}, but x1 < x2 and y1 < y2 are needed within the"
            f" picture of {image_wh[0]} x {image_wh[1]} px. Leave out boxes that hold nothing."
        )
    return cut


def checked_points(
    points: Float[NDArray[Any], "n k 2"], image_wh: tuple[int, int]
) -> Float[NDArray[np.float64], "n k 2"]:
    """The points, as they are.

    Raises:
        InputError: one beside the picture.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 3 or points.shape[1:][-1] != 2 or points.shape[1] < 1:
        raise InputError(
            f"Points have the shape {points.shape}, but (N, K, 2) is needed: x, y in px, at least"
            " one a place."
        )
    is_good = ((points >= 0) & (points <= np.array(image_wh))).all((1, 2))
    if not is_good.all():
        index = int(np.argmin(is_good))
        raise InputError(
            f"Place {index} has the points {points[index].tolist()}, but they must lie in the"
            f" picture of {image_wh[0]} x {image_wh[1]} px. Leave out what lies beside it."
        )
    return points


def one_each(maps: Sequence[RegionMap], boxes: Float[NDArray[Any], "n 4"]) -> Sequence[RegionMap]:
    """The maps, if there is one a box.

    Raises:
        InputError: there is not.
    """
    if len(maps) != len(boxes):
        raise InputError(
            f"{len(maps)} maps came with {len(boxes)} boxes. Give one a box, as `maps`."
        )
    return maps


def load_segmenter(
    folder: str | Path, *, device: str = "auto", as_type: str | None = None
) -> Segmenter:
    """The segmenter of the SAM family in a local folder, or of a hub id ("org/name").

    Only a hub id may cause a download, only safetensors are read, and no code of the folder is
    run. `as_type` overrides the `model_type` of its config.json, for folders that hold several
    models.

    Raises:
        CheckpointError: another kind of model, files missing or damaged, or not to be fetched.
        InputError: no such folder, or no such device.
        MissingExtraError: the model's encoder is another package's, which is not installed.
    """
    from headsight.models.checkpoints import local_checkpoint
    from headsight.models.sam_folder import load_sam

    path = local_checkpoint(folder)
    name = path.name if Path(folder).expanduser().is_dir() else str(folder)
    return load_sam(path, device=device, as_type=as_type, name=name)

"""Looking closer: a large picture cut into overlapping tiles, their finds put together.

A model sees every picture at one fixed size, so small heads of a large picture lose their detail.
Each tile is a picture of its own to the model; the whole picture is always looked at too, because
a large head fits into no tile.
"""

from __future__ import annotations

__all__ = ["AUTO_SIDE", "Tiles", "View", "join", "tile_count", "views"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import numpy as np

from headsight.detections import Detections
from headsight.errors import InputError
from headsight.geometry.nms import nms
from headsight.picture import Picture

Tiles = int | Literal["auto"]

AUTO_SIDE = 640
""""auto" makes tiles of about this side, px."""
MAX_TILES = 8
_AUTO_MOST = 4
_LEAST_SIDE = 16
_OVERLAP = 0.25
_BORDER = 2.0
_SAME_IOU = 0.5


@dataclass(frozen=True)
class View:
    """A part of a picture, as a picture of its own."""

    picture: Picture
    offset_xy: tuple[int, int]
    """Of its top left corner in the whole picture, px."""


def tile_count(tiles: object, image_wh: tuple[int, int]) -> int:
    """Tiles along the longer side; 1 is the whole picture alone.

    Raises:
        InputError: neither "auto" nor a whole number from 1 to `MAX_TILES`.

    Example:
        >>> tile_count("auto", (640, 480)), tile_count("auto", (1920, 1080)), tile_count(2, (9, 9))
        (1, 3, 2)
    """
    if tiles == "auto":
        return min(_AUTO_MOST, max(1, max(image_wh) // AUTO_SIDE))
    if isinstance(tiles, bool) or not isinstance(tiles, int) or not 1 <= tiles <= MAX_TILES:
        raise InputError(
            f"tiles is {tiles!r}, but 'auto' or a whole number from 1 (no tiles) to {MAX_TILES}"
            " is expected."
        )
    return tiles


def views(picture: Picture, tiles: Tiles) -> list[View]:
    """The whole picture, then its tiles row by row; they overlap by a quarter of their side."""
    width, height = picture.image_wh
    most = min(tile_count(tiles, picture.image_wh), max(width, height) // _LEAST_SIDE)
    whole = View(picture, (0, 0))
    if most <= 1:
        return [whole]
    side = max(width, height) / most
    columns = _spans(width, max(1, round(width / side)))
    rows = _spans(height, max(1, round(height / side)))
    return [
        whole,
        *(
            View(Picture(picture.image.crop((x0, y0, x1, y1)), picture.source), (x0, y0))
            for y0, y1 in rows
            for x0, x1 in columns
        ),
    ]


def join(picture: Picture, parts: Sequence[tuple[View, Detections]]) -> Detections:
    """What was found in every view, in pixels of the whole picture, each place once.

    A box that touches the inner border of its tile is left out: it is cut, and another view shows
    all of it. Of boxes that overlap by more than half the best score stays. Places come from left
    to right, exchanges in the order of the views.
    """
    moved = [_in_whole(picture, view, found) for view, found in parts]
    rotations = [part.rotations for part in moved]
    posed = [r for r in rotations if r is not None]
    names = moved[0].attributes
    together = replace(
        moved[0],
        boxes=np.concatenate([part.boxes for part in moved]),
        scores=np.concatenate([part.scores for part in moved]),
        labels=np.concatenate([part.labels for part in moved]),
        rotations=np.concatenate(posed) if len(posed) == len(moved) else None,
        attributes={
            name: tuple(chain.from_iterable(part.attributes[name] for part in moved))
            for name in names
        },
        exchanges=tuple(chain.from_iterable(part.exchanges for part in moved)),
    )
    kept = np.asarray(nms(together.boxes, together.scores, _SAME_IOU))
    boxes = together.boxes[kept]
    return together[kept[np.lexsort((boxes[:, 1], boxes[:, 0]))]]


def _in_whole(picture: Picture, view: View, found: Detections) -> Detections:
    """`found` in the frame of the whole picture, without boxes that the tile cuts."""
    offset = np.array([*view.offset_xy, *view.offset_xy], np.float64)
    corner = np.array(view.picture.image_wh) + view.offset_xy
    boxes = found.boxes + offset
    is_cut = (boxes[:, :2] < offset[:2] + _BORDER) & (offset[:2] > 0)
    is_cut |= (boxes[:, 2:] > corner - _BORDER) & (corner < picture.image_wh)
    moved = replace(found, boxes=boxes, image_wh=picture.image_wh, picture=picture)
    return moved[np.flatnonzero(~is_cut.any(axis=1))]


def _spans(length: int, number: int) -> list[tuple[int, int]]:
    """Start and end of `number` overlapping parts that cover `length` px."""
    if number == 1:
        return [(0, length)]
    side = length / (number - (number - 1) * _OVERLAP)
    starts = [round(i * side * (1 - _OVERLAP)) for i in range(number)]
    return [(start, min(length, start + round(side) + 1)) for start in starts]

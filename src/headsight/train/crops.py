"""One small picture around every head whose pose is known: many poses a canvas, cheap to decode."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from headsight.train.labels import LabelledPicture

__all__ = ["head_crops"]

_LEAST_SIDE = 14.0
"""Of a head, px; smaller ones show no pose."""
_HEAD_SIDE = 96.0
"""Larger heads are shrunk to this, px."""
_LEAST_VISIBLE = 0.6
_QUALITY = 90


def head_crops(
    pictures: Sequence[LabelledPicture], rng: np.random.Generator
) -> list[LabelledPicture]:
    """Crops about 2.7 heads wide, a little off centre; other heads in them keep their labels.

    Of a head less than 0.6 of which lies in the crop nothing is learned.
    """
    return [crop for picture in pictures for crop in _crops(picture, rng)]


def _crops(picture: LabelledPicture, rng: np.random.Generator) -> Iterator[LabelledPicture]:
    sides = (picture.boxes[:, 2:] - picture.boxes[:, :2]).max(1, initial=0)
    has_pose = np.isfinite(picture.rotations).all((1, 2)) & (picture.pose_weights > 0)
    chosen = np.flatnonzero(has_pose & (sides >= _LEAST_SIDE))
    if not len(chosen):
        return
    image = Image.open(io.BytesIO(picture.encoded)).convert("RGB")
    for index in chosen:
        side = float(sides[index])
        half = side * 1.35 * rng.uniform(0.95, 1.25)
        middle = picture.boxes[index].reshape(2, 2).mean(0)
        middle = middle + side * (rng.uniform(-0.2, 0.2, 2) + np.array([0, 0.15]))
        low = np.floor(middle - half).clip(0)
        high = np.minimum(np.ceil(middle + half), image.size)
        window = np.concatenate([low, high])
        if (high - low).min() >= 20:
            yield _crop(picture, image, window, min(1.0, _HEAD_SIDE / side))


def _crop(
    picture: LabelledPicture, image: Image.Image, window: Float[NDArray[Any], 4], scale: float
) -> LabelledPicture:
    size = ((window[2:] - window[:2]) * scale).round().astype(int).clip(8)
    small = image.resize(
        (int(size[0]), int(size[1])),
        Image.Resampling.BILINEAR,
        box=tuple(window.tolist()),
        reducing_gap=3.0,
    )
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    boxes, visible = _inside(picture.boxes, window, size)
    ignore, _ = _inside(picture.ignore, window, size)
    kept = visible >= _LEAST_VISIBLE
    partly = ~kept & (visible > 0)
    return LabelledPicture(
        encoded=buffer.getvalue(),
        boxes=boxes[kept],
        rotations=picture.rotations[kept],
        pose_weights=picture.pose_weights[kept],
        attributes=tuple(a for a, k in zip(picture.attributes, kept, strict=True) if k),
        ignore=np.concatenate([ignore[(ignore[:, 2:] > ignore[:, :2]).all(1)], boxes[partly]]),
    )


def _inside(
    boxes: Float[NDArray[Any], "n 4"], window: Float[NDArray[Any], 4], size: NDArray[Any]
) -> tuple[Float[NDArray[Any], "n 4"], Float[NDArray[Any], " n"]]:
    """Boxes cut to the window, in px of the crop, and the share of each that is left."""
    low = np.maximum(boxes[:, :2], window[:2])
    high = np.maximum(np.minimum(boxes[:, 2:], window[2:]), low)
    share = (high - low).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1).clip(1e-6)
    factor = np.tile(size / (window[2:] - window[:2]), 2)
    cut = (np.concatenate([low, high], 1) - np.tile(window[:2], 2)) * factor
    return cut.astype(np.float32), share.astype(np.float32)

"""Masks: polygons and run lengths to pixels and back, boxes and overlaps of masks. numpy only.

A mask is (H, W) bool at the size of the picture. Polygons are continuous pixels, as boxes are.
Polygons cover exactly the pixels that pycocotools gives them (`frPyObjects`, then `merge`), so that
figures of masks can be compared with published ones.
"""

from __future__ import annotations

__all__ = [
    "boxes_to_masks",
    "mask_counts",
    "mask_iou",
    "mask_to_box",
    "mask_to_rle",
    "polygons_to_mask",
    "rle_to_mask",
]

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError

_FINE = 5
"""Steps a pixel on which the outline of a polygon is walked, as in pycocotools."""
_MOST_STEPS = 20_000_000
"""Longest outline, in such steps: far beyond any picture, and short of the memory."""


def polygons_to_mask(
    polygons: Iterable[Float[NDArray[Any], "_ 2"]], image_wh: tuple[int, int]
) -> Bool[NDArray[np.bool_], "height width"]:
    """Every pixel that at least one of the polygons covers; crossing edges cut holes.

    Example:
        >>> corners = np.array([[2.0, 2], [8, 2], [8, 6], [2, 6]])
        >>> int(polygons_to_mask([corners], (12, 10)).sum())
        24

    Raises:
        InputError: a corner that is no number, or absurdly far away.
    """
    width, height = image_wh
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        mask |= _fill(polygon, image_wh)
    return mask


def mask_to_rle(
    mask: Bool[NDArray[Any], "height width"], *, as_text: bool = False
) -> dict[str, Any]:
    """COCO's run lengths, down the columns, starting with the False ones.

    `size` is [height, width]; `counts` a list, or with `as_text` COCO's compressed string.

    Example:
        >>> mask_to_rle(np.array([[False, True], [False, True]]))
        {'size': [2, 2], 'counts': [2, 2]}
    """
    flat = np.concatenate(([False], mask.ravel(order="F")))
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], starts, [mask.size])))
    return {
        "size": list(mask.shape),
        "counts": _counts_to_text(counts) if as_text else counts.tolist(),
    }


def rle_to_mask(rle: Mapping[str, Any]) -> Bool[NDArray[np.bool_], "height width"]:
    """The mask of COCO's run lengths, given as a list or as a compressed string.

    Raises:
        InputError: the runs do not fill the mask.
    """
    height, width = (int(side) for side in rle["size"])
    raw = rle["counts"]
    if isinstance(raw, str | bytes):
        counts = _text_to_counts(raw.encode("latin1") if isinstance(raw, str) else raw)
    else:
        counts = np.asarray(raw, np.int64).reshape(-1)
    total = int(counts.sum())
    if min(height, width) < 0 or (counts < 0).any() or total != height * width:
        raise InputError(
            f"The runs of a mask add up to {total}, but {height} x {width} = {height * width}"
            " are needed. Check the counts."
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def boxes_to_masks(
    boxes: Float[NDArray[Any], "n 4"], image_wh: tuple[int, int]
) -> Bool[NDArray[np.bool_], "n height width"]:
    """Filled boxes: every pixel whose middle lies inside."""
    width, height = image_wh
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    columns = (x >= boxes[:, :1]) & (x < boxes[:, 2:3])  # (N, W)
    rows = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])  # (N, H)
    return rows[:, :, None] & columns[:, None, :]


def mask_to_box(
    masks: Bool[NDArray[Any], "*batch height width"],
) -> Float[NDArray[np.float64], "*batch 4"]:
    """The tight box of each mask, xyxy px: the last pixel is inside; zeros for an empty mask."""
    height, width = masks.shape[-2:]
    columns, rows = masks.any(-2), masks.any(-1)
    edges = (
        columns.argmax(-1),
        rows.argmax(-1),
        width - np.flip(columns, -1).argmax(-1),
        height - np.flip(rows, -1).argmax(-1),
    )
    boxes = np.stack(edges, -1).astype(np.float64)
    return np.where(np.expand_dims(columns.any(-1), -1), boxes, 0.0)


def mask_counts(
    found: Bool[NDArray[Any], "height width"],
    truth: Bool[NDArray[Any], "height width"],
    ignore: Bool[NDArray[Any], "height width"] | None = None,
) -> tuple[int, int]:
    """Pixels of the intersection and of the union; those of `ignore` count in neither."""
    both, either = found & truth, found | truth
    if ignore is not None:
        both, either = both & ~ignore, either & ~ignore
    return int(both.sum()), int(either.sum())


def mask_iou(
    a: Bool[NDArray[Any], "n height width"], b: Bool[NDArray[Any], "m height width"]
) -> Float[NDArray[np.float64], "n m"]:
    """Pairwise intersection over union; 0 where both masks are empty."""
    overlap = np.array([[(one & other).sum() for other in b] for one in a], np.float64)
    overlap = overlap.reshape(len(a), len(b))
    areas_a, areas_b = a.sum((1, 2)), b.sum((1, 2))
    union = areas_a[:, None] + areas_b[None, :] - overlap
    return overlap / np.where(union > 0, union, 1)


def _fill(
    polygon: Float[NDArray[Any], "n 2"], image_wh: tuple[int, int]
) -> Bool[NDArray[np.bool_], "height width"]:
    """Pixels inside: between two crossings of the outline with the middle line of their column."""
    width, height = image_wh
    u, v = _outline(polygon)
    column = (np.minimum(u[1:], u[:-1]) + 0.5) / _FINE - 0.5
    is_crossing = (u[1:] != u[:-1]) & (column == np.floor(column))
    is_crossing &= (column >= 0) & (column <= width - 1)
    row = np.ceil(((np.minimum(v[1:], v[:-1]) + 0.5) / _FINE - 0.5).clip(0, height))
    at = (column * height + row)[is_crossing].astype(np.int64)
    turns = np.bincount(at, minlength=width * height + 1)[:-1]  # down the columns
    is_inside: NDArray[np.bool_] = np.cumsum(turns) % 2 == 1
    return is_inside.reshape(width, height).T


def _outline(
    polygon: Float[NDArray[Any], "n 2"],
) -> tuple[Int[NDArray[np.int64], " p"], Int[NDArray[np.int64], " p"]]:
    """Every step along the closed outline, x and y in fifths of a pixel.

    Each edge is walked along its longer axis, from the lower end, so that an edge that two
    polygons share is the same for both.
    """
    corners = np.asarray(polygon, np.float64)
    if not np.isfinite(corners).all() or np.abs(corners).max(initial=0) > _MOST_STEPS:
        raise InputError(
            f"A polygon has the corner {_worst(corners)}, which no picture holds. Check its"
            " coordinates: x, y in pixels."
        )
    start = np.trunc(_FINE * corners + 0.5).astype(np.int64)
    end = np.roll(start, -1, 0)
    far = np.abs(end - start)
    steps = far.max(1)
    if steps.sum() > _MOST_STEPS:
        raise InputError(
            f"The outline of a polygon is {steps.sum() // _FINE} px long, which no picture holds."
            " Check its coordinates: x, y in pixels."
        )
    is_wide = far[:, 0] >= far[:, 1]
    major = np.where(is_wide[:, None], start, start[:, ::-1])  # (E, 2): long axis, short axis
    other = np.where(is_wide[:, None], end, end[:, ::-1])
    turned = major[:, 0] > other[:, 0]
    low = np.where(turned[:, None], other, major)
    slope = (np.where(turned, -1, 1) * (other - major)[:, 1]) / np.maximum(steps, 1)
    edge = np.repeat(np.arange(len(steps)), steps + 1)
    walked = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    along = np.where(turned[edge], steps[edge] - walked, walked)
    long = low[edge, 0] + along
    short = np.trunc(low[edge, 1] + slope[edge] * along + 0.5).astype(np.int64)
    return np.where(is_wide[edge], long, short), np.where(is_wide[edge], short, long)


def _worst(corners: Float[NDArray[Any], "n 2"]) -> list[float]:
    far = np.where(np.isfinite(corners), np.abs(corners), np.inf).max(1)
    return [float(v) for v in corners[int(far.argmax())]]


def _text_to_counts(text: bytes) -> Int[NDArray[np.int64], " n"]:
    """Run lengths of COCO's string: 5 bits a character, from the fourth on as differences."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(codes) and (codes.min() < 0 or codes.max() > 63 or codes[-1] & 32):
        raise InputError(
            "A compressed mask holds characters that are no run lengths, or is cut off. Expected"
            " the 'counts' string of COCO."
        )
    last = codes & 32 == 0
    number = np.cumsum(last) - last
    firsts = np.flatnonzero(np.concatenate(([True], last[:-1]))) if len(codes) else codes
    place = 5 * (np.arange(len(codes)) - firsts[number])
    if place.max(initial=0) > 30:
        raise InputError("A compressed mask holds a run longer than any picture. Check its counts.")
    deltas = np.zeros(int(last.sum()), np.int64)
    np.add.at(deltas, number, (codes & 31) << place)
    is_negative = codes[last] & 16 != 0
    deltas -= is_negative * (np.int64(1) << (place[last] + 5))
    deltas[1::2] = np.cumsum(deltas[1::2])
    deltas[2::2] = np.cumsum(deltas[2::2])
    return deltas


def _counts_to_text(counts: Int[NDArray[np.int64], " n"]) -> str:
    deltas = counts.copy()
    deltas[3:] -= counts[1:-2]
    text = []
    for value in deltas.tolist():
        rest = value
        while True:
            code, rest = rest & 31, rest >> 5
            more = rest != (-1 if code & 16 else 0)
            text.append(chr(48 + code + 32 * more))
            if not more:
                break
    return "".join(text)

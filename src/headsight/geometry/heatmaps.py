"""From a heat map on a regular grid to a box: smooth, cut at the mean, widest hull.

Maps have any leading axes; the last two are the rows and columns of a grid. Everything but the
component search works on numpy arrays and torch tensors alike.
"""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = [
    "MapBox",
    "above_mean",
    "gaussian_smooth",
    "gaussian_taps",
    "largest_hull",
    "map_mean",
    "map_to_box",
    "paint_regions",
]

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import ndimage

from headsight.errors import InputError
from headsight.geometry.arrays import ArrayT, namespace

_EIGHT = np.ones((3, 3), bool)
_ROUNDING = 8
"""Steps of the number format by which a cell must exceed the mean: rounding is no signal."""


@dataclass(frozen=True, eq=False)
class MapBox:
    """What was read of a heat map."""

    box: tuple[float, float, float, float] | None
    """xyxy px of the original picture; None where nothing was found."""
    cells: tuple[int, int, int, int] | None
    """The same in cells of the grid: x1, y1, x2, y2, right and lower edge exclusive."""
    mask: Bool[NDArray[np.bool_], "h w"]
    """Cells above the mean, all components."""
    reason: str = ""
    """Why there is no box."""


def gaussian_taps(kernel: int, sigma: int | float) -> Float[NDArray[np.float64], " k"]:
    """Weights of a Gaussian at whole distances, of sum 1; a single 1 where nothing is smoothed.

    Raises:
        InputError: an even kernel, or a sigma that is below 0 or not finite.
    """
    if kernel < 1 or kernel % 2 == 0 or not 0 <= sigma < np.inf:
        raise InputError(
            f"The kernel is {kernel} and sigma {sigma}, but an odd number of cells and a finite"
            " sigma of at least 0 are needed. Use 7 and 1.0, or 1 and 0 for no smoothing."
        )
    if sigma == 0:
        return np.ones(1)
    distances = np.arange(kernel) - kernel // 2
    taps = np.exp(-0.5 * (distances / sigma) ** 2)
    return taps / taps.sum()


def gaussian_smooth(
    maps: Float[ArrayT, "*batch h w"],
    *,
    kernel: int = 7,
    sigma: int | float = 1.0,
    valid: Bool[ArrayT, "*#batch h w"] | None = None,
) -> Float[ArrayT, "*batch h w"]:
    """Maps smoothed by a Gaussian; the grid is mirrored at its edge, so the sum stays.

    Cells that are not `valid` neither give nor take: what they would give is shared among the
    others, a constant stays constant, and they come back as 0.

    Raises:
        InputError: an even kernel, or a sigma below 0.
    """
    xp = namespace(maps)
    *_, height, width = maps.shape
    down, across = (
        xp.asarray(_smoothing(size, kernel, float(sigma)), dtype=maps.dtype, device=maps.device)
        for size in (height, width)
    )
    if valid is None:
        return down @ maps @ across.swapaxes(0, 1)
    zeros = xp.zeros_like(maps)
    weights = down @ xp.asarray(valid, dtype=maps.dtype) @ across.swapaxes(0, 1)
    smooth = down @ xp.where(valid, maps, zeros) @ across.swapaxes(0, 1)
    return xp.where(valid, smooth / xp.where(valid, weights, xp.ones_like(weights)), zeros)


@lru_cache(maxsize=64)
def _smoothing(size: int, kernel: int, sigma: float) -> NDArray[np.float64]:
    """(size, size) matrix of the one-dimensional filter with half-sample mirrored edges."""
    taps = gaussian_taps(kernel, sigma)
    places = np.arange(size)[:, None] + np.arange(len(taps)) - len(taps) // 2
    period = places % (2 * size)
    mirrored = np.where(period < size, period, 2 * size - 1 - period)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], mirrored), taps)
    return matrix


def map_mean(
    maps: Float[ArrayT, "*batch h w"],
    *,
    valid: Bool[ArrayT, "*#batch h w"] | None = None,
    total: Float[ArrayT, "*batch"] | None = None,
) -> Float[ArrayT, "*batch"]:
    """Mean of a map's `valid` cells; 0 where there are none.

    `total` is their sum, where it is known already.
    """
    xp = namespace(maps)
    if total is None:
        kept = maps if valid is None else xp.where(valid, maps, xp.zeros_like(maps))
        total = kept.sum((-2, -1))
    if valid is None:
        return total / max(maps.shape[-2] * maps.shape[-1], 1)
    count = xp.clip(xp.broadcast_to(valid, maps.shape).sum((-2, -1)), 1, None)
    count = xp.asarray(count, dtype=maps.dtype)
    return total / count


def above_mean(
    maps: Float[ArrayT, "*batch h w"],
    *,
    valid: Bool[ArrayT, "*#batch h w"] | None = None,
    min_excess: int | float = 1.0,
    total: Float[ArrayT, "*batch"] | None = None,
) -> Bool[ArrayT, "*batch h w"]:
    """Cells greater than the mean of their map; none in a constant map.

    Args:
        maps: any finite values; what stands in cells that are not `valid` is not looked at.
        valid: cells that count, in the mean and in the answer.
        min_excess: multiple of the mean that a cell must exceed; for maps that are not negative.
        total: sums of the cells that count, where they are known already.
    """
    xp = namespace(maps)
    mean = map_mean(maps, valid=valid, total=total)
    limit = min_excess * mean + _ROUNDING * xp.finfo(maps.dtype).eps * abs(mean)
    above = maps > limit[..., None, None]
    return above if valid is None else above & valid


def paint_regions(
    values: Float[ArrayT, "*batch n"],
    regions: Float[NDArray[Any], "n 4"],
    grid_hw: tuple[int, int],
) -> Float[ArrayT, "*batch h w"]:
    """Values spread evenly over their regions of a canvas; where regions overlap they add up.

    So the sum of the canvas is the sum of the values. A region covers the cells whose centres lie
    in it. One too thin to hold any, or outside, covers the column (the row) nearest to its centre.

    Args:
        values: one a region.
        regions: xyxy in cells of the canvas, fractions allowed.
        grid_hw: rows and columns of the canvas, at least 1.

    Example:
        >>> paint_regions(np.array([6.0, 1.0]), np.array([[0, 0, 3, 2], [2, 1, 3, 2]]), (2, 4))
        array([[1., 1., 1., 0.],
               [1., 1., 2., 0.]])
    """
    xp = namespace(values)
    canvas = xp.zeros((*values.shape[:-1], *grid_hw), dtype=values.dtype, device=values.device)
    for place, (x0, y0, x1, y1) in enumerate(_covered(regions, grid_hw).tolist()):
        canvas[..., y0:y1, x0:x1] += values[..., place, None, None] / ((x1 - x0) * (y1 - y0))
    return canvas


def _covered(regions: NDArray[Any], grid_hw: tuple[int, int]) -> NDArray[np.int64]:
    """Cells x0, y0, x1, y1 of each region, at least one, right and lower edge exclusive."""
    size = np.array(grid_hw[::-1])
    low, high = (np.ceil(corner - 0.5).clip(0, size) for corner in (regions[:, :2], regions[:, 2:]))
    nearest = np.floor((regions[:, :2] + regions[:, 2:]) / 2).clip(0, size - 1)
    low = np.where(high > low, low, nearest)
    return np.concatenate((low, np.maximum(high, low + 1)), 1).astype(np.int64)


def largest_hull(mask: Bool[NDArray[Any], "h w"]) -> tuple[int, int, int, int] | None:
    """Box of the 8-neighbour component whose convex hull has the largest area; None of no cells.

    The hull is that of the corners of the cells, so that a line one cell wide has an area. Of
    equal hulls the one that starts first, row by row, is taken.

    Returns:
        x1, y1, x2, y2 in cells, the right and lower edge exclusive.

    Example:
        >>> mask = np.zeros((9, 9), bool)
        >>> mask[0:4, 0] = mask[3, 0:4] = True  # 7 cells, hull area 11.5
        >>> mask[6:9, 6:9] = True  # 9 cells, hull area 9
        >>> largest_hull(mask)
        (0, 0, 4, 4)
    """
    labels, count = ndimage.label(mask, _EIGHT)
    if count == 0:
        return None
    found = ndimage.find_objects(labels, count)
    spans = [(y.start, y.stop, x.start, x.stop) for y, x in found]
    limits = [(y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in spans]  # no hull exceeds its box
    best, best_area = 0, 0.0
    for i in sorted(range(len(spans)), key=lambda i: (-limits[i], i)):
        if limits[i] < best_area:
            break
        area = _hull_area(labels[found[i]] == i + 1)
        if area > best_area or (area == best_area and i < best):
            best, best_area = i, area
    y0, y1, x0, x1 = spans[best]
    return x0, y0, x1, y1


def _hull_area(mask: NDArray[Any]) -> float:
    """Area of the hull of the corners of the cells, in cells; every row holds one."""
    if mask.all():
        return float(mask.size)
    width = mask.shape[1]
    left = mask.argmax(1).tolist()
    right = mask[:, ::-1].argmax(1).tolist()  # distance from the right edge
    return width * len(left) - _outside(left) - _outside(right)


def _outside(margins: list[int]) -> float:
    """Area between a side of the box and the hull, by the distances of the rows to that side."""
    lines = [margins[0], *map(min, margins, margins[1:]), margins[-1]]
    hull: list[tuple[int, int]] = []  # the envelope below, from row edge to row edge
    for point in enumerate(lines):
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return sum((y1 - y0) * (x0 + x1) / 2 for (y0, x0), (y1, x1) in pairwise(hull))


def _is_above(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    """Whether b lies on the line from a to c or further from the side than it."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def map_to_box(
    heat: Float[ArrayT, "h w"],
    region: tuple[int | float, int | float, int | float, int | float],
    *,
    image_wh: tuple[int, int] | None = None,
    valid: Bool[ArrayT, "h w"] | None = None,
    min_excess: int | float = 1.0,
) -> MapBox:
    """The box of a heat map's widest hull of cells above the mean (arXiv 2503.06287).

    Args:
        heat: smoothed already, if it is to be.
        region: xyxy px of the original picture that the whole grid covers.
        image_wh: clip the box to this picture, for grids that reach beyond it.
        valid: cells that count; see `above_mean`.
        min_excess: multiple of the mean that a cell must exceed.
    """
    values, cells = _as_numpy(heat), None if valid is None else _as_numpy(valid)
    mask = above_mean(values, valid=cells, min_excess=min_excess)
    found = largest_hull(mask)
    if found is None:
        why = "no cell of the grid lies in the picture" if _is_empty(values, cells) else _FLAT
        return MapBox(None, None, mask, why)
    x0, y0, x1, y1 = region
    height, width = mask.shape
    xs = [x0 + (x1 - x0) * column / width for column in found[::2]]
    ys = [y0 + (y1 - y0) * row / height for row in found[1::2]]
    if image_wh is not None:
        xs = [min(max(x, 0.0), float(image_wh[0])) for x in xs]
        ys = [min(max(y, 0.0), float(image_wh[1])) for y in ys]
        if xs[0] >= xs[1] or ys[0] >= ys[1]:
            return MapBox(None, found, mask, "the cells above the mean lie outside the picture")
    return MapBox((xs[0], ys[0], xs[1], ys[1]), found, mask)


_FLAT = "the map is constant: no cell lies above the mean"


def _is_empty(values: NDArray[Any], valid: NDArray[Any] | None) -> bool:
    return values.size == 0 or (valid is not None and not valid.any())


def _as_numpy(values: Any) -> NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values
    tensor = values.detach().cpu()
    return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)

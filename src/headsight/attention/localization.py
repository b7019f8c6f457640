"""Criteria of localization heads: how much a head looks at the picture, and how compactly.

Method of arXiv 2503.06287 with the choices that its text and its code leave open or get wrong
written beside each function. Maps are attention of one query row to the cells of one `ImageView`,
laid on its grid and NOT scaled to sum 1; any leading axes, usually (layer, head). All indices count
from 0. Everything takes numpy arrays and torch tensors alike.
"""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = [
    "attention_sum",
    "elbow_threshold",
    "fuse_maps",
    "map_centroid",
    "merge_views",
    "select_low_entropy",
    "spatial_entropy",
    "valid_cells",
]

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.geometry.arrays import ArrayT, namespace
from headsight.geometry.components import component_entropy
from headsight.geometry.heatmaps import above_mean, gaussian_smooth, map_mean

if TYPE_CHECKING:
    from headsight.models.image_views import ImageView

Weighting = Literal["area", "mass"]


def valid_cells(view: ImageView, image_wh: tuple[int, int]) -> Bool[NDArray[np.bool_], "h w"]:
    """Cells of a view that have a token and share some area with the picture (not all padding)."""
    x0, y0, x1, y1 = np.moveaxis(view.cells, -1, 0)
    is_inside = (x1 > 0) & (y1 > 0) & (x0 < image_wh[0]) & (y0 < image_wh[1])
    return np.asarray((is_inside & (view.positions >= 0)).reshape(view.grid_hw))


def attention_sum(
    maps: Float[ArrayT, "*batch h w"], *, valid: Bool[ArrayT, "*#batch h w"] | None = None
) -> Float[ArrayT, "*batch"]:
    """Attention that falls on the picture, in [0, 1] for the softmax rows of a model."""
    if valid is not None:
        xp = namespace(maps)
        maps = xp.where(valid, maps, xp.zeros_like(maps))
    return maps.sum((-2, -1))


def elbow_threshold(values: Float[ArrayT, "*batch n"]) -> Float[ArrayT, "*batch"]:
    """The value that parts a low and a high group: keep what is >= it; -inf to keep all.

    On the sorted curve, the point furthest below the chord from end to end is the last of the low
    group, and the threshold lies half way to the next one. (With the value of that point itself, a
    member of the low group would be kept.) Scaling either axis changes nothing. There is no elbow,
    hence -inf, of fewer than 3 values, of equal ones, and where no point lies below the chord.

    Raises:
        InputError: a value that is not finite.

    Example:
        >>> float(elbow_threshold(np.array([.01, .02, .02, .03, .05, .08, .3, .45, .6, .75])))
        0.19
    """
    xp = namespace(values)
    if not bool(xp.isfinite(values).all()):
        raise InputError(
            "Some attention sums are not finite, but each must be a number in [0, 1]. Look for"
            " overflow in the model: try another dtype."
        )
    count = values.shape[-1]
    if count < 3:
        return xp.zeros_like(values[..., :0].sum(-1)) - float("inf")
    curve = xp.asarray(np.sort(_numpy(values), -1), dtype=values.dtype, device=values.device)
    first, last = curve[..., :1], curve[..., -1:]
    steps = xp.asarray(np.arange(count) / (count - 1), dtype=values.dtype, device=values.device)
    below = first + (last - first) * steps - curve
    place = below.argmax(-1)[..., None]  # never the last one, whose distance is 0
    taken = xp.take_along_dim if hasattr(xp, "take_along_dim") else xp.take_along_axis
    following = xp.clip(place + 1, None, count - 1)
    halfway = (taken(curve, place, -1) + taken(curve, following, -1)) / 2
    depth = taken(below, place, -1)
    has_elbow = depth > 8 * xp.finfo(values.dtype).eps * abs(curve).max()
    return xp.where(has_elbow, halfway, xp.zeros_like(halfway) - float("inf"))[..., 0]


def spatial_entropy(
    maps: Float[ArrayT, "*batch h w"],
    *,
    valid: Bool[ArrayT, "*#batch h w"] | None = None,
    weighting: Weighting = "area",
    min_excess: int | float = 1.0,
    total: Float[ArrayT, "*batch"] | None = None,
) -> Float[ArrayT, "*batch"]:
    """Entropy, in nats, of how the cells above the mean divide among their components.

    0 is one compact place; +inf is a map without a cell above its mean. Not divided by ln n. The
    components count by their cells, as in the paper, or ("mass", as in its code) by their attention
    above the cut. There is no absolute cut: one would depend on the number of tokens.

    Args:
        maps: attention on a grid.
        valid: cells that count; what stands in the others is not looked at.
        weighting: by cells or by attention.
        min_excess: multiple of the mean that a cell must exceed.
        total: `attention_sum` of the maps, where it is known already.
    """
    xp = namespace(maps)
    masks = _numpy(above_mean(maps, valid=valid, min_excess=min_excess, total=total))
    weights = None
    if weighting == "mass":
        cut = min_excess * map_mean(maps, valid=valid, total=total)[..., None, None]
        weights = np.clip(_numpy(maps - cut), 0, None)
    entropy = component_entropy(masks, weights)
    return xp.asarray(entropy, dtype=maps.dtype, device=maps.device)


def select_low_entropy(
    entropies: Float[ArrayT, "*batch layers heads"],
    candidates: Bool[ArrayT, "*#batch layers heads"],
    *,
    count: int = 10,
) -> Bool[ArrayT, "*batch layers heads"]:
    """The `count` candidates of lowest entropy; fewer where fewer are finite.

    Equal ones are taken by lower (layer, head).
    """
    xp = namespace(entropies)
    values = np.where(_numpy(candidates), _numpy(entropies), np.inf)
    flat = values.reshape(*values.shape[:-2], -1)
    order = np.argsort(flat, -1, kind="stable")[..., :count]
    taken = np.zeros(flat.shape, bool)
    np.put_along_axis(taken, order, np.isfinite(np.take_along_axis(flat, order, -1)), -1)
    return xp.asarray(taken.reshape(values.shape), device=entropies.device)


def map_centroid(
    maps: Float[ArrayT, "*batch h w"], *, valid: Bool[ArrayT, "*#batch h w"] | None = None
) -> Float[ArrayT, "*batch 2"]:
    """x, y of the centre of a map's attention, as shares of the grid; 0.5 of an empty map."""
    xp = namespace(maps)
    *_, height, width = maps.shape
    if valid is not None:
        maps = xp.where(valid, maps, xp.zeros_like(maps))
    weights = xp.asarray(_places(height, width), dtype=maps.dtype, device=maps.device)
    flat = maps.reshape(*maps.shape[:-2], height * width)
    moments = xp.stack([flat @ one for one in weights], -1)  # three vectors beat a thin matrix
    total = moments[..., :1]
    is_empty = total <= 0
    middle = moments[..., 1:] / xp.where(is_empty, xp.ones_like(total), total)
    return xp.where(is_empty, xp.full_like(middle, 0.5), middle)


@lru_cache(maxsize=32)
def _places(height: int, width: int) -> NDArray[np.float64]:
    """(3, cells): 1, x, y as shares of the grid."""
    y, x = np.mgrid[0.5:height, 0.5:width]
    return np.stack((np.ones(x.shape), x / width, y / height)).reshape(3, -1)


def fuse_maps(
    maps: Float[ArrayT, "*batch k h w"],
    *,
    kernel: int = 7,
    sigma: int | float = 1.0,
    valid: Bool[ArrayT, "h w"] | None = None,
) -> Float[ArrayT, "*batch h w"]:
    """The maps of the chosen heads, smoothed and added up."""
    return gaussian_smooth(maps.sum(-3), kernel=kernel, sigma=sigma, valid=valid)


def merge_views(
    maps: Sequence[Float[ArrayT, "*batch _ _"]], views: Sequence[ImageView]
) -> tuple[Float[ArrayT, "*batch h w"], tuple[float, float, float, float]]:
    """Maps of several views of one picture on one canvas, and its region in px.

    The canvas covers the first view (the whole picture) with cells of the size of the second (the
    first tile). A cell's attention is spread over the canvas cells by area; the first view's is
    also weighted by its share of all attention.

    Raises:
        InputError: fewer than two views, or another number of maps.
    """
    if len(views) < 2 or len(maps) != len(views):
        raise InputError(
            f"{len(maps)} maps of {len(views)} views were given, but a map for each of two or more"
            " views is needed: the whole picture first, then its tiles."
        )
    xp = namespace(*maps)
    x0, y0, x1, y1 = region = views[0].region
    tx0, ty0, tx1, ty1 = views[1].region
    columns = max(round((x1 - x0) * views[1].grid_hw[1] / (tx1 - tx0)), 1)
    rows = max(round((y1 - y0) * views[1].grid_hw[0] / (ty1 - ty0)), 1)
    xs, ys = np.linspace(x0, x1, columns + 1), np.linspace(y0, y1, rows + 1)
    pasted = []
    for grid, view in zip(maps, views, strict=True):
        height, width = grid.shape[-2:]
        left, top, right, bottom = view.region
        across = _overlap(np.linspace(left, right, width + 1), xs)
        down = _overlap(np.linspace(top, bottom, height + 1), ys)
        down, across = (xp.asarray(m, dtype=grid.dtype, device=grid.device) for m in (down, across))
        pasted.append(down.swapaxes(0, 1) @ grid @ across)
    tiles = sum(pasted[2:], start=pasted[1])
    whole, rest = pasted[0].sum((-2, -1)), tiles.sum((-2, -1))
    total = whole + rest
    share = whole / xp.where(total > 0, total, xp.ones_like(total))
    return tiles + share[..., None, None] * pasted[0], region


def _overlap(edges: NDArray[Any], onto: NDArray[Any]) -> NDArray[np.float64]:
    """(n, m) share of each of n intervals that lies in each of m."""
    shared = np.minimum(edges[1:, None], onto[1:]) - np.maximum(edges[:-1, None], onto[:-1])
    return np.asarray(np.clip(shared, 0, None) / np.diff(edges)[:, None])


def _numpy(values: Any) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()

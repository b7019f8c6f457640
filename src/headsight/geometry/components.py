"""8-neighbour connected components of many small masks at once, and how evenly their cells divide.

Labels come from one pass of `scipy.ndimage.label` over a canvas on which every mask has an empty
cell to its right and below it. Where sizes alone are asked for and the masks are many, cells are
taken 2 x 2 (within such a block all cells touch), and in all masks side by side the largest block
number spreads to neighbours, then each block takes the label of the block that it is labelled with:
what is reached doubles. The few masks that wind too much go to the canvas.
"""

from __future__ import annotations

__all__ = ["component_entropy", "label_components"]

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)
_FEW_MASKS = 48
"""Up to here the canvas is faster."""
_REACH = 3
"""Steps to neighbours between two jumps to the label's own label."""
_MOST_ROUNDS = 6
_ODDLY_WOUND = 1 / 32
"""Share of masks that is left to the canvas."""
_UPPER_LEFT, _UPPER_RIGHT, _LOWER_LEFT, _LOWER_RIGHT = 1, 2, 4, 8


def label_components(
    masks: Bool[NDArray[Any], "*batch h w"],
) -> tuple[Int[NDArray[np.int32], "*batch h w"], int]:
    """Component number of every cell (0 = not set) and how many there are.

    Numbers count from 1 through the whole batch, mask after mask in no promised order within the
    batch, row by row within a mask; no component spans two masks.
    """
    *batch, height, width = masks.shape
    if masks.size == 0:
        return np.zeros(masks.shape, np.int32), 0
    stack = masks.reshape(-1, height, width)
    columns = int(np.ceil(np.sqrt(len(stack))))  # a near-square canvas: long lines label faster
    rows = -(-len(stack) // columns)
    canvas = np.zeros((rows, height + 1, columns, width + 1), bool)
    tiles = canvas[:, :height, :, :width].swapaxes(1, 2)  # (rows, columns, h, w), a view
    whole = len(stack) // columns
    tiles[:whole] = stack[: whole * columns].reshape(whole, columns, height, width)
    tiles[whole:, : len(stack) - whole * columns] = stack[None, whole * columns :]
    labels, count = ndimage.label(canvas.reshape(rows * (height + 1), -1), _EIGHT)
    tiles = labels.reshape(canvas.shape)[:, :height, :, :width].swapaxes(1, 2)
    flat = tiles.reshape(-1, height, width)[: len(stack)]
    return flat.reshape(*batch, height, width), int(count)


def component_entropy(
    masks: Bool[NDArray[Any], "*batch h w"],
    weights: Float[NDArray[Any], "*batch h w"] | None = None,
) -> Float[NDArray[np.float64], "*batch"]:
    """Entropy in nats of the shares of each mask's components; +inf where there is none.

    Args:
        masks: cells that count.
        weights: a component's share is that of its weights (non-negative); by default of its cells.
    """
    *batch, height, width = masks.shape
    stack = masks.reshape(-1, height, width)
    if weights is not None:
        sizes, owner = _labelled_sizes(stack, weights.reshape(stack.shape))
    elif len(stack) > _FEW_MASKS:
        return _entropy_of_many(stack).reshape(batch)
    else:
        sizes, owner = _labelled_sizes(stack, None)
    return _entropy(sizes, owner, len(stack)).reshape(batch)


def _labelled_sizes(
    stack: NDArray[Any], weights: NDArray[Any] | None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Size of each component, and the mask that it lies in."""
    labels, count = label_components(stack)
    flat = labels.reshape(-1)
    cells = np.flatnonzero(flat > 0)
    number = flat[cells] - 1
    parts = None if weights is None else weights.reshape(-1)[cells]
    owner = np.zeros(count, np.intp)
    owner[number] = cells // max(stack[:1].size, 1)
    return np.bincount(number, parts, count).astype(np.float64), owner


def _entropy(
    sizes: NDArray[np.float64], owner: NDArray[np.intp], count: int
) -> NDArray[np.float64]:
    total = np.bincount(owner, sizes, count)
    spread = np.bincount(owner, sizes * np.log(np.where(sizes > 0, sizes, 1)), count)
    return _from_sums(total, np.asarray(spread, np.float64))


def _from_sums(total: NDArray[Any], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """`-sum p ln p` with p = size / total, out of `sum size ln size`.

    Rounded far below any difference that means something, so that equal divisions compare equal.
    """
    safe = np.where(total > 0, total, 1).astype(np.float64)
    entropy = np.maximum(np.round(np.log(safe) - spread / safe, 12), 0.0)
    return np.where(total > 0, entropy, np.inf)


def _entropy_of_many(stack: Bool[NDArray[Any], "n h w"]) -> Float[NDArray[np.float64], " n"]:
    count = len(stack)
    blocks = _blocks(stack)  # (rows, columns, n)
    labels, is_open = _spread_labels(blocks)
    area = stack[0].size
    cells = np.bitwise_count(blocks).reshape(-1, count).astype(np.min_scalar_type(area))
    places = np.multiply(labels.reshape(-1, count), count, dtype=np.intp)
    places += np.arange(count)
    sizes = np.zeros(places.size, cells.dtype)
    np.add.at(sizes, places.ravel(), cells.ravel())
    n_ln_n = np.arange(area + 1, dtype=np.float64)
    n_ln_n[1:] *= np.log(n_ln_n[1:])
    spread = n_ln_n.take(sizes.astype(np.intp)).reshape(-1, count).sum(0)
    entropy = _from_sums(cells.sum(0, dtype=cells.dtype), spread)
    if len(left := np.flatnonzero(is_open)):
        entropy[left] = _entropy(*_labelled_sizes(stack[left], None), len(left))
    return entropy


def _blocks(stack: NDArray[Any]) -> NDArray[np.uint8]:
    """Four bits for each 2 x 2 cells, the mask as the last axis: (rows, columns, n)."""
    count, height, width = stack.shape
    if height % 2 or width % 2:
        stack = np.pad(stack, ((0, 0), (0, height % 2), (0, width % 2)))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    pairs = np.ascontiguousarray(stack, bool).view("<u2").reshape(count, rows, 2, columns)
    bits = pairs[:, :, 1] << 2
    bits |= pairs[:, :, 0]  # left cell in bit 0 (lower row: 2), right cell in bit 8 (10)
    bits |= bits >> 7
    bits &= 15
    flat = bits.astype(np.uint8).reshape(count, rows * columns)
    return np.ascontiguousarray(flat.T).reshape(rows, columns, count)


def _spread_labels(blocks: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The largest block number in each block's component, and masks where this is unfinished."""
    rows, columns, count = blocks.shape
    dtype = np.min_scalar_type(rows * columns - 1)
    numbers = np.arange(rows * columns, dtype=dtype)
    labels = np.repeat(numbers, count).reshape(blocks.shape)
    pairs = [
        (labels[:, :-1], labels[:, 1:]),
        (labels[:-1], labels[1:]),
        (labels[:-1, :-1], labels[1:, 1:]),
        (labels[:-1, 1:], labels[1:, :-1]),
    ]
    steps = [(a, b, link) for (a, b), link in zip(pairs, _links(blocks, dtype), strict=True)]

    def reach() -> None:
        for a, b, link in steps * _REACH:
            from_a, from_b = a & link, b & link
            np.maximum(a, from_b, out=a)
            np.maximum(b, from_a, out=b)

    reach()
    for _ in range(_MOST_ROUNDS):
        places = np.multiply(labels, count, dtype=np.intp)
        places += np.arange(count)
        labels[...] = labels.reshape(-1).take(places)
        reach()
        is_open = np.zeros(count, bool)
        for a, b, link in steps:
            is_open |= ((a ^ b) & link).any((0, 1))
        if is_open.sum() <= count * _ODDLY_WOUND:
            break
    return labels, is_open


def _links(blocks: NDArray[Any], dtype: Any) -> list[NDArray[Any]]:
    """All ones where two neighbouring blocks touch, else 0: to the right, down, and slantwise."""
    left, right = _UPPER_LEFT | _LOWER_LEFT, _UPPER_RIGHT | _LOWER_RIGHT
    upper, lower = _UPPER_LEFT | _UPPER_RIGHT, _LOWER_LEFT | _LOWER_RIGHT

    def touch(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        both: NDArray[Any] = np.logical_and(a, b).astype(dtype)
        np.negative(both, out=both)
        return both

    return [
        touch(blocks[:, :-1] & right, blocks[:, 1:] & left),
        touch(blocks[:-1] & lower, blocks[1:] & upper),
        touch(blocks[:-1, :-1] & _LOWER_RIGHT, blocks[1:, 1:] & _UPPER_LEFT),
        touch(blocks[:-1, 1:] & _LOWER_LEFT, blocks[1:, :-1] & _UPPER_RIGHT),
    ]

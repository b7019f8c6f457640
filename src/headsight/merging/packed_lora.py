"""LoRA on packed query, key and value maps: one pair a part, and one pair on the whole.

SwissArmyTransformer trains a pair (A, B) for each of the parts, peft one pair on the packed weight.
Three pairs of rank r are exactly one pair of rank 3 r: the A one above the other, the B on the
diagonal. With the same scale alpha / r, peft's `lora_alpha` is then 3 alpha.
"""

from __future__ import annotations

__all__ = ["join_parts", "split_parts"]

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import InputError

Pair = tuple[Float[NDArray[Any], "_ _"], Float[NDArray[Any], "_ _"]]
"""A (r, columns) and B (rows, r) of one map: its change is `scale * B @ A`."""


def join_parts(pairs: Sequence[Pair]) -> Pair:
    """One pair on the packed map out of a pair a part, in the order of the rows of the weight.

    The rank is the sum of theirs; multiply alpha by as much as the rank grew.

    Raises:
        InputError: no part, or parts that do not fit each other.

    Example:
        >>> a, b = np.array([[1.0, 2.0]]), np.array([[1.0], [3.0]])
        >>> joined_a, joined_b = join_parts([(a, b), (a, 2 * b)])
        >>> (joined_b @ joined_a).tolist()
        [[1.0, 2.0], [3.0, 6.0], [2.0, 4.0], [6.0, 12.0]]
    """
    widths = {a.shape[1] for a, _ in pairs}
    ranks = [(a.shape[0], b.shape[1]) for a, b in pairs]
    if len(widths) != 1 or any(one != two for one, two in ranks):
        raise InputError(
            f"The parts have {sorted(widths)} columns and ranks {ranks}; expected one width, and"
            " the same rank in A and B of each."
        )
    rows = sum(b.shape[0] for _, b in pairs)
    joined = np.zeros((rows, sum(r for r, _ in ranks)), pairs[0][1].dtype)
    row = column = 0
    for _, b in pairs:
        joined[row : row + b.shape[0], column : column + b.shape[1]] = b
        row, column = row + b.shape[0], column + b.shape[1]
    return np.concatenate([a for a, _ in pairs]), joined


def split_parts(
    a: Float[NDArray[Any], "r columns"],
    b: Float[NDArray[Any], "rows r"],
    rows: Sequence[int],
) -> list[Pair]:
    """A pair a part out of one on the packed map, whose parts have so many `rows`.

    Raises:
        InputError: the sizes do not fit, or B is not zero outside its blocks, so that no such
            pairs exist.
    """
    parts = len(rows)
    if parts == 0 or a.shape[0] % parts or b.shape != (sum(rows), a.shape[0]):
        raise InputError(
            f"A is {a.shape} and B is {b.shape}; expected B of {sum(rows)} rows and a rank that"
            f" {parts} parts share."
        )
    rank = a.shape[0] // parts
    pairs, row = [], 0
    for index, count in enumerate(rows):
        own = slice(index * rank, (index + 1) * rank)
        block = b[row : row + count]
        if np.any(block[:, : own.start]) or np.any(block[:, own.stop :]):
            raise InputError(
                f"B is not zero outside the block of part {index}, so the map was trained as one"
                " and cannot be split. Keep it packed."
            )
        pairs.append((a[own].copy(), block[:, own].copy()))
        row += count
    return pairs

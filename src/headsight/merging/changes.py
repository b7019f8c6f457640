"""Methods that add up changes against a base: task arithmetic, TIES and DARE.

Task arithmetic: arXiv 2212.04089. TIES: arXiv 2306.01708. DARE: arXiv 2311.03099. Differences to
the papers: TIES elects signs by weighted changes and divides by the weights that agree, which with
unit weights is the paper's; all changes as large as the smallest that is kept are kept too, so that
the result does not depend on the order of numbers.
"""

from __future__ import annotations

__all__ = ["DARE_LINEAR", "DARE_TIES", "TASK_ARITHMETIC", "TIES"]

import hashlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from headsight.merging.blocks import Block, Blocks
from headsight.merging.method import Method, Params
from headsight.merging.numbers import Floats
from headsight.merging.ranking import smallest_kept

Deltas = list[Floats]


def deltas_of(block: Block) -> Deltas:
    """Each model minus the base."""
    assert block.base is not None
    return [tensor - block.base for tensor in block.tensors]


def summed(deltas: Deltas, params: Params, *, normalize: bool = False) -> Floats:
    """Weighted sum; with `normalize` over the sum of weights. Changes `deltas`."""
    total = None
    for index, delta in enumerate(deltas):
        delta *= np.float32(params.weight(index))
        total = delta if total is None else np.add(total, delta, out=total)
    assert total is not None
    whole = sum(params.weight(i) for i in range(len(deltas)))
    if (normalize if params.normalize is None else params.normalize) and abs(whole) > 1e-8:
        total /= np.float32(whole)
    return total


def elected(deltas: Deltas, params: Params) -> Floats:
    """Weighted mean of those changes whose sign is that of the sum. Changes `deltas`.

    A sum of 0 counts as positive; where nobody agrees, the result is 0.
    """
    vote = sum(deltas[1:], deltas[0].copy()) if not params.sign_weights else None
    for index, delta in enumerate(deltas):
        delta *= np.float32(params.weight(index))
    sign = sum(deltas[1:], deltas[0].copy()) if vote is None else vote
    sign += 0.0  # -0 counts as positive too
    np.copysign(np.float32(1), sign, out=sign)
    merged, divisor = np.zeros_like(sign), np.zeros_like(sign)
    for index, delta in enumerate(deltas):
        agrees = delta * sign > 0
        delta *= agrees
        merged += delta
        share = params.weight(index) if params.divide_by == "weights" else 1.0
        divisor += agrees * np.float32(share)
    if params.normalize is not False:
        divisor[np.abs(divisor) < 1e-8] = 1
        merged /= divisor
    return merged


def _added(base: Floats | None, change: Floats, params: Params) -> Floats:
    assert base is not None
    if params.scale != 1:
        change *= np.float32(params.scale)
    return np.add(base, change, out=change)


def _task_arithmetic(block: Block, params: Params, found: None) -> Floats:
    return _added(block.base, summed(deltas_of(block), params), params)


def _smallest_kept(blocks: Blocks, params: Params) -> list[float]:
    """For every model the smallest size of change that stays."""
    return smallest_kept(blocks, [params.density(i) for i in range(len(params.densities))])


def _ties(block: Block, params: Params, found: list[float]) -> Floats:
    deltas = deltas_of(block)
    for delta, smallest in zip(deltas, found, strict=False):
        delta *= np.abs(delta) >= np.float32(smallest)
    return _added(block.base, elected(deltas, params), params)


def kept_by_chance(
    params: Params, index: int, start: int, count: int
) -> Bool[NDArray[np.bool_], " n"]:
    """Which numbers from `start` on DARE keeps of the model at `index`.

    A stream of seed, name and model that is entered anywhere, so that neither order nor files nor
    pieces matter.
    """
    text = f"{params.seed} {index} {params.key}"
    stream = np.random.PCG64DXSM(
        np.random.SeedSequence(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))
    )
    first = start // 2  # each draw holds two numbers
    stream.advance(first)
    drawn = stream.random_raw((start + count + 1) // 2 - first).view(np.uint32)
    limit = min(round(params.density(index) * 2**32), 2**32 - 1)
    return drawn[start - 2 * first :][:count] < np.uint32(limit)


def _dropped(block: Block, params: Params, found: list[float]) -> Deltas:
    deltas = deltas_of(block)
    for index, delta in enumerate(deltas):
        if params.density(index) < 1:
            delta *= kept_by_chance(params, index, block.start, len(delta))
            delta *= np.float32(found[index])
    return deltas


def _rescaling(blocks: Blocks, params: Params) -> list[float]:
    """The factor of what is kept, for every model."""
    indices = range(len(params.densities))
    if params.rescale == "none":
        return [1.0 for _ in indices]
    if params.rescale == "density":
        return [1 / params.density(i) for i in indices]
    before, after = np.zeros(len(indices)), np.zeros(len(indices))
    for block in blocks:
        for index, delta in enumerate(deltas_of(block)[: len(indices)]):
            sizes = np.abs(delta)
            before[index] += sizes.sum(dtype=np.float64)
            sizes *= kept_by_chance(params, index, block.start, len(delta))
            after[index] += sizes.sum(dtype=np.float64)
    return [float(b / a) if a > 0 else 0.0 for b, a in zip(before, after, strict=True)]


def _dare(
    join: Callable[[Deltas, Params], Floats],
) -> Callable[[Block, Params, list[float]], Floats]:
    def combine(block: Block, params: Params, found: list[float]) -> Floats:
        return _added(block.base, join(_dropped(block, params, found), params), params)

    return combine


TASK_ARITHMETIC = Method("task-arithmetic", _task_arithmetic)
TIES = Method("ties", _ties, _smallest_kept)
DARE_LINEAR = Method("dare-linear", _dare(summed), _rescaling)
DARE_TIES = Method("dare-ties", _dare(elected), _rescaling)

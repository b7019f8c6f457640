"""Methods that average the models themselves: linear, SLERP, and taking one as it is."""

from __future__ import annotations

__all__ = ["LINEAR", "PASSTHROUGH", "SLERP"]

import math

import numpy as np

from headsight.errors import ConfigError
from headsight.merging.blocks import Block, Blocks
from headsight.merging.method import Method, Params
from headsight.merging.moments import Moments, moments
from headsight.merging.numbers import Floats

_PARALLEL = 0.9995
"""Cosine from which two tensors are joined by a straight line."""


def _linear(block: Block, params: Params, found: None) -> Floats:
    total = np.zeros_like(block.tensors[0])
    for index, tensor in enumerate(block.tensors):
        total += tensor * np.float32(params.weight(index))
    if params.normalize is not False:
        total /= np.float32(_sum_of_weights(block, params))
    return total


def _sum_of_weights(block: Block, params: Params) -> float:
    whole = sum(params.weight(i) for i in range(len(block.tensors)))
    if abs(whole) < 1e-8:
        raise ConfigError(
            "The weights of a linear merge add up to 0, so there is no mean. Give others, or"
            " normalize: false."
        )
    return whole


def _between(blocks: Blocks, params: Params) -> tuple[float, float]:
    """The factors of base and model: on the arc between them, or on the line if it is short."""
    total = sum(
        (moments(block.base, block.tensors[0]) for block in blocks if block.base is not None),
        Moments(),
    )
    t = params.t
    cosine = total.cosine if total.first and total.second else 0.0
    if abs(cosine) > _PARALLEL:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _slerp(block: Block, params: Params, found: tuple[float, float]) -> Floats:
    assert block.base is not None
    merged = block.base * np.float32(found[0])
    merged += block.tensors[0] * np.float32(found[1])
    return merged


def _passthrough(block: Block, params: Params, found: None) -> Floats:
    return block.tensors[0]


def _is_mean(params: Params) -> bool:
    return params.normalize is not False


LINEAR = Method("linear", _linear, needs_base=False, keeps_equal=_is_mean)
SLERP = Method("slerp", _slerp, _between, models=(1, 1))
PASSTHROUGH = Method("passthrough", _passthrough, needs_base=False, models=(1, 1))

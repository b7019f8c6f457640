"""Layer selection by cosine, winner takes all (HPE-CogVLM, arXiv 2406.01914).

A unit (a linear map with its bias, a decoder block, or a part of a packed map) comes whole from the
expert where the cosine of the angle between its weights and those of the base exceeds a threshold,
else whole from the base; nothing is averaged. The paper's own unit and compared space could not be
read: both are settings here, and so is a threshold by quantile.
"""

from __future__ import annotations

__all__ = ["LAYER_COSINE", "Threshold", "decide", "parse_threshold", "takes_expert"]

from collections.abc import Mapping
from dataclasses import dataclass

from headsight.errors import ConfigError
from headsight.merging.blocks import Block, Blocks
from headsight.merging.method import Method, Params
from headsight.merging.moments import Moments, exact_moments, moments
from headsight.merging.numbers import Floats

CLOSE = 1e-5
"""Distance to the threshold below which sums in float32 may not decide."""
_QUANTILE = "quantile:"


@dataclass(frozen=True)
class Threshold:
    """What a unit's cosine must exceed."""

    value: float
    """A cosine, or the share of units that are rejected."""
    is_quantile: bool = False

    def __str__(self) -> str:
        return f"{_QUANTILE if self.is_quantile else ''}{self.value:g}"


def parse_threshold(text: str | int | float) -> Threshold:
    """`0.95`, or `quantile:0.2`, which rejects the fifth of the units that changed most.

    Raises:
        ConfigError: no number, or a share outside 0 to 1.
    """
    word = str(text)
    try:
        value = float(word.removeprefix(_QUANTILE))
    except ValueError:
        value = float("nan")
    is_quantile = word.startswith(_QUANTILE)
    if value != value or (is_quantile and not 0 <= value <= 1):
        raise ConfigError(
            f"threshold is '{text}'; expected a cosine such as 0.95, or quantile:0.2 for the share"
            " of units that stay with the base."
        )
    return Threshold(value, is_quantile)


def takes_expert(found: Moments, threshold: float) -> bool:
    """Whether a unit is taken from the expert: strictly above, or both are all zeros."""
    if found.first == 0 or found.second == 0:
        return found.first == found.second and threshold <= 1
    return found.cosine > threshold


def decide(units: Mapping[str, Moments], threshold: Threshold) -> dict[str, bool]:
    """For every unit whether it comes from the expert.

    By quantile, the share of changed units with the lowest cosines stays with the base, rounded to
    the nearest number of units (half to even); units that did not change are not counted.
    """
    if not threshold.is_quantile:
        return {name: takes_expert(found, threshold.value) for name, found in units.items()}
    changed = sorted(
        (name for name, found in units.items() if found.difference > 0),
        key=lambda name: (units[name].cosine, name),
    )
    rejected = set(changed[: round(threshold.value * len(changed))])
    return {name: name not in rejected for name in units}


def _compare(blocks: Blocks, params: Params) -> bool:
    """Whether the one model is taken for this tensor alone."""
    total, exact = Moments(), Moments()
    for block in blocks:
        assert block.base is not None
        total += moments(block.base, block.tensors[0])
    if abs(total.cosine - params.threshold) > CLOSE:
        return takes_expert(total, params.threshold)
    for block in blocks:
        assert block.base is not None
        exact += exact_moments(block.base, block.tensors[0])
    return takes_expert(exact, params.threshold)


def _select(block: Block, params: Params, found: bool) -> Floats:
    assert block.base is not None
    return block.tensors[0] if found else block.base


LAYER_COSINE = Method("layer-cosine", _select, _compare, models=(1, 1))

"""Which heads look at what the words name: statistics of many pictures, without keeping any map.

arXiv 2503.06287: of the heads that look at the picture enough, those of lowest spatial entropy are
taken in every sample, and the heads that are taken most often are the localization heads. Memory
does not grow with the number of samples: which heads look enough is only known from the mean over
samples, so the order of the heads is kept for the first `settle_after` samples and the candidates
are then settled by the mean of those. Up to that number (the paper's n) the outcome is exact.
"""

from __future__ import annotations

__all__ = [
    "PRESETS",
    "Head",
    "HeadStatistics",
    "SelectionRule",
    "candidate_heads",
    "head_statistics",
    "sample_heads",
]

import logging
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from headsight.attention.localization import (
    attention_sum,
    elbow_threshold,
    map_centroid,
    select_low_entropy,
    spatial_entropy,
)
from headsight.errors import ConfigError, InputError
from headsight.geometry.heatmaps import above_mean

Head: TypeAlias = tuple[int, int]
"""Layer and query head, both from 0."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SelectionRule:
    """How heads are chosen; the defaults are the paper's."""

    criteria: Literal["both", "sum", "entropy"] = "both"
    """"sum" takes the heads of largest sum, "entropy" those of lowest entropy among all."""
    sum_filter: Literal["mean", "per_sample"] = "mean"
    """Whether the elbow is that of the mean sums, or anew that of each sample."""
    tau: float | None = None
    """Attention sum that a candidate needs, in [0, 1]; None finds the elbow."""
    num_low: int = 10
    """Heads taken in each sample."""
    skip_layers: int = 2
    """First layers that are never candidates and no part of the curve."""
    weighting: Literal["area", "mass"] = "area"
    """What components count by in the entropy."""
    min_excess: float = 1.0
    """Multiple of a map's mean that a cell must exceed."""
    settle_after: int = 1000
    """Samples after which the candidates of the mean sums are settled."""
    exclude_fixed_position: bool = False
    """Leave out heads that look at the same place in every picture."""
    fixed_position_cells: float = 1.0
    """Standard deviation of a map's centre, in cells, below which its head counts as such."""

    def __post_init__(self) -> None:
        if self.tau is not None and not 0 <= self.tau <= 1:
            raise ConfigError(f"tau is {self.tau}, but must lie in [0, 1]. None finds the elbow.")
        if self.num_low < 1 or self.settle_after < 1 or self.skip_layers < 0:
            raise ConfigError(
                f"num_low is {self.num_low}, settle_after {self.settle_after} and skip_layers"
                f" {self.skip_layers}, but at least 1, 1 and 0 are needed."
            )


PRESETS: dict[str, SelectionRule] = {
    "paper": SelectionRule(),
    "robust": SelectionRule(exclude_fixed_position=True),
}


@dataclass(frozen=True, eq=False)
class HeadStatistics:
    """What is kept of one sample's maps."""

    sums: Float[NDArray[np.float64], "layers heads"]
    """Attention on the picture."""
    entropies: Float[NDArray[np.float64], "layers heads"]
    """Nats; +inf of a map without a cell above its mean, NaN where it was not wanted."""
    centroids: Float[NDArray[np.float64], "layers heads 2"]
    """x, y of the map's centre, as shares of the grid; NaN where it was not wanted."""
    grid_hw: tuple[int, int]
    """Rows and columns of the maps."""
    overlaps: Float[NDArray[np.float64], "layers heads"] | None = None
    """IoU of the cells above the mean with the true ones, where these were given."""


def head_statistics(
    maps: Any,
    rule: SelectionRule = PRESETS["paper"],
    *,
    valid: Bool[NDArray[Any], "h w"] | None = None,
    wanted: Bool[NDArray[Any], "layers heads"] | None = None,
    truth: Bool[NDArray[Any], "h w"] | None = None,
) -> HeadStatistics:
    """Sums, entropies and centres of the maps of all heads.

    Args:
        maps: (layers, heads, h, w) array or tensor, softmax rows cut to the image's columns.
        rule: what components count by.
        valid: cells that count.
        wanted: heads whose entropy and centre are asked for; by default those that the rule may
            take.
        truth: cells of what the words name.

    Raises:
        InputError: maps of another shape, sums that are not finite, or no layer left to look at.
    """
    array = _as_maps(maps)
    totals = attention_sum(array, valid=valid)
    sums = totals.astype(np.float64)
    if wanted is None:
        wanted = _possible(sums, rule)
    chosen = array.reshape(-1, *array.shape[2:]) if wanted.all() else array[wanted]
    entropies, centroids = np.full(sums.shape, np.nan), np.full((*sums.shape, 2), np.nan)
    entropies[wanted] = spatial_entropy(
        chosen,
        valid=valid,
        weighting=rule.weighting,
        min_excess=rule.min_excess,
        total=totals[wanted],
    )
    centroids[wanted] = map_centroid(chosen, valid=valid)
    overlaps = None
    if truth is not None:
        masks = above_mean(array, valid=valid, min_excess=rule.min_excess, total=totals)
        either = (masks | truth).sum((-2, -1))
        overlaps = (masks & truth).sum((-2, -1)) / np.where(either > 0, either, 1)
    height, width = array.shape[-2:]
    return HeadStatistics(sums, entropies, centroids, (height, width), overlaps)


def candidate_heads(
    sums: Float[NDArray[Any], "layers heads"], rule: SelectionRule
) -> tuple[Bool[NDArray[np.bool_], "layers heads"], float]:
    """Heads that look at the picture enough, and the sum from which on they do.

    The sum is -inf, and every head of a layer that is not skipped is one, where the rule asks for
    no sum or the curve has no elbow.

    Raises:
        InputError: fewer layers than are skipped, or a sum that is not finite.
    """
    if len(sums) <= rule.skip_layers:
        raise InputError(
            f"Maps of {len(sums)} layers were given, but the first {rule.skip_layers} are skipped."
            " Give the maps of all decoder layers, or lower skip_layers."
        )
    kept = sums[rule.skip_layers :]
    if rule.criteria != "both":
        tau = -np.inf
    elif rule.tau is not None:
        tau = rule.tau
    else:
        tau = float(elbow_threshold(kept.reshape(-1)))
        if np.isinf(tau):
            _LOG.warning("no elbow in the attention sums heads=%d: all are kept", kept.size)
    candidates = sums >= tau
    candidates[: rule.skip_layers] = False
    return candidates, tau


def sample_heads(
    statistics: HeadStatistics, rule: SelectionRule = PRESETS["paper"], *, count: int = 3
) -> tuple[Head, ...]:
    """The heads that one sample alone would choose ("greedy" in the paper), best first."""
    sums = statistics.sums
    candidates, _ = candidate_heads(sums, rule)
    key = ranking_key(statistics, rule)
    taken = select_low_entropy(key, candidates, count=count)
    places = np.flatnonzero(taken)
    order = places[np.argsort(key.reshape(-1)[places], kind="stable")]
    return tuple(divmod(int(place), sums.shape[1]) for place in order)


def ranking_key(
    statistics: HeadStatistics, rule: SelectionRule
) -> Float[NDArray[np.float64], "layers heads"]:
    """What the heads of a sample are sorted by, lowest first; NaN counts as +inf."""
    if rule.criteria == "sum":
        return -statistics.sums
    return np.nan_to_num(statistics.entropies, nan=np.inf, posinf=np.inf)


def _possible(sums: NDArray[Any], rule: SelectionRule) -> NDArray[np.bool_]:
    """Heads that a rule may take, as far as one sample tells."""
    if rule.criteria == "both" and rule.sum_filter == "per_sample":
        return candidate_heads(sums, rule)[0]
    possible = np.ones(sums.shape, bool)
    possible[: rule.skip_layers] = False
    return possible


def _as_maps(maps: Any) -> NDArray[Any]:
    if not isinstance(maps, np.ndarray):
        maps = maps.detach().cpu().float().numpy()
    if maps.ndim != 4:
        raise InputError(
            f"Maps of shape {tuple(maps.shape)} were given, but (layers, heads, rows, columns) is"
            " needed: one query row, laid on the grid of one view."
        )
    return np.asarray(maps, np.promote_types(maps.dtype, np.float32))

"""Running totals over samples, and what they say: frequencies, the top heads, and their faults."""

from __future__ import annotations

__all__ = [
    "HeadNote",
    "Selection",
    "SelectionCounts",
    "diagnose",
    "frequency_spread",
    "mean_selection",
]

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from headsight.attention.localization import select_low_entropy
from headsight.attention.selection import (
    PRESETS,
    Head,
    HeadStatistics,
    SelectionRule,
    candidate_heads,
    head_statistics,
    ranking_key,
)
from headsight.errors import InputError, ResumeError

_LOW_IOU = 0.1
_TOTALS = ("taken", "sum", "entropy", "entropy_seen", "centroid_seen", "overlap")
_MOMENTS = ("centroid", "centroid_square")


@dataclass(frozen=True, eq=False)
class Selection:
    """What a number of samples say about every head."""

    samples: int
    """Samples seen."""
    frequency: Float[NDArray[np.float64], "layers heads"]
    """Share of samples in which the head was taken."""
    mean_sum: Float[NDArray[np.float64], "layers heads"]
    """Mean attention on the picture."""
    mean_entropy: Float[NDArray[np.float64], "layers heads"]
    """Mean of the finite entropies, in nats; NaN where there was none."""
    centroid_std: Float[NDArray[np.float64], "layers heads"]
    """How much the centre of the map moves between samples, in cells; NaN of fewer than two."""
    mean_iou: Float[NDArray[np.float64], "layers heads"] | None
    """Mean IoU of the cells above the mean with the true ones, where samples had a truth."""
    candidates: Bool[NDArray[np.bool_], "layers heads"]
    """Heads that look at the picture enough, by their mean sums."""
    tau: float
    """The sum from which on they do; -inf where all are kept."""
    rule: SelectionRule
    """How the heads were chosen."""

    @property
    def is_fixed(self) -> Bool[NDArray[np.bool_], "layers heads"]:
        """Heads that look at the same place in every picture; none where that is unknown."""
        return np.asarray(self.centroid_std < self.rule.fixed_position_cells)

    @property
    def ranking(self) -> tuple[Head, ...]:
        """Heads that were ever taken, best first.

        Sorted by frequency, then by lower mean entropy (larger sum, if the rule asks for sums
        alone), then by layer and head.
        """
        tie = -self.mean_sum if self.rule.criteria == "sum" else self.mean_entropy
        order = np.lexsort((tie.reshape(-1), -self.frequency.reshape(-1)))
        is_listed = self.frequency > 0
        if self.rule.exclude_fixed_position:
            is_listed &= ~self.is_fixed
        heads = self.frequency.shape[1]
        return tuple(divmod(int(i), heads) for i in order if is_listed.reshape(-1)[i])

    def top(self, k: int = 3) -> tuple[Head, ...]:
        """The `k` localization heads; fewer where fewer were ever taken."""
        return self.ranking[:k]


class SelectionCounts:
    """Totals of the samples seen so far; add samples, merge, save as a dict, ask for a selection.

    Args:
        num_layers: decoder layers of the model.
        num_heads: query heads of a layer.
        rule: how heads are chosen.
        candidates: heads that look at the picture enough, where this is known beforehand.
    """

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        rule: SelectionRule = PRESETS["paper"],
        *,
        candidates: Bool[NDArray[Any], "layers heads"] | None = None,
    ) -> None:
        self.shape = (num_layers, num_heads)
        self.rule = rule
        self.samples = self.labelled = 0
        self._totals = {name: np.zeros(self.shape) for name in _TOTALS}
        self._totals |= {name: np.zeros((*self.shape, 2)) for name in _MOMENTS}
        self._grid_wh = np.zeros(2)
        self._settled = None if candidates is None else np.array(candidates, bool)
        self._orders: list[Int[NDArray[np.int32], " n"]] = []

    @property
    def _waits(self) -> bool:
        """Whether the candidates are still to be settled by mean sums."""
        by_mean = self.rule.criteria == "both" and self.rule.sum_filter == "mean"
        return by_mean and self._settled is None

    def add(
        self,
        maps: Any,
        *,
        valid: Bool[NDArray[Any], "h w"] | None = None,
        truth: Bool[NDArray[Any], "h w"] | None = None,
    ) -> None:
        """One sample's maps (layers, heads, h, w); see `head_statistics`."""
        wanted = self._settled
        self.add_statistics(
            head_statistics(maps, self.rule, valid=valid, wanted=wanted, truth=truth)
        )

    def add_statistics(self, sample: HeadStatistics) -> None:
        """One sample whose maps were looked at elsewhere.

        Raises:
            InputError: statistics of another number of layers or heads.
        """
        if sample.sums.shape != self.shape:
            raise InputError(
                f"Maps of {sample.sums.shape} layers and heads were given, but these counts are of"
                f" {self.shape}. Start new counts for another model."
            )
        self.samples += 1
        totals = self._totals
        is_finite = np.isfinite(sample.entropies)
        totals["sum"] += sample.sums
        totals["entropy"] += np.where(is_finite, sample.entropies, 0)
        totals["entropy_seen"] += is_finite
        is_seen = np.asarray(np.isfinite(sample.centroids).all(-1))
        centroids = np.where(is_seen[..., None], sample.centroids, 0)
        totals["centroid_seen"] += is_seen
        totals["centroid"] += centroids
        totals["centroid_square"] += centroids**2
        self._grid_wh += sample.grid_hw[::-1]
        if sample.overlaps is not None:
            self.labelled += 1
            totals["overlap"] += sample.overlaps
        key = ranking_key(sample, self.rule)
        if self._waits:
            flat = key.reshape(-1)
            order = np.argsort(flat, kind="stable")[: int(np.isfinite(flat).sum())]
            self._orders.append(order.astype(np.int32))
            self._settle_if_due()
        else:
            candidates = self._settled
            if candidates is None:
                candidates, _ = candidate_heads(sample.sums, self.rule)
            totals["taken"] += select_low_entropy(key, candidates, count=self.rule.num_low)

    def merge(self, other: SelectionCounts) -> SelectionCounts:
        """The counts of both, as if all samples had been added to one.

        Raises:
            InputError: another model or rule, or both have settled on different candidates.
        """
        if (self.shape, self.rule) != (other.shape, other.rule):
            raise InputError(
                f"Counts of {self.shape} and {other.shape} layers and heads or of different rules"
                " cannot be merged. Count both with the same model and rule."
            )
        settled = [c._settled for c in (self, other) if c._settled is not None]
        if len(settled) == 2 and not np.array_equal(settled[0], settled[1]):
            raise InputError(
                "These counts have settled on different candidates, so their samples cannot be put"
                " together. Give all of them the same `candidates` from the start."
            )
        both = SelectionCounts(*self.shape, self.rule, candidates=settled[0] if settled else None)
        both.samples, both.labelled = self.samples + other.samples, self.labelled + other.labelled
        both._totals = {k: v + other._totals[k] for k, v in self._totals.items()}
        both._grid_wh = self._grid_wh + other._grid_wh
        both._orders = [*self._orders, *other._orders]
        both._settle_if_due()
        return both

    def settle(self) -> None:
        """Settle the candidates by the samples so far: then nothing is kept of single samples."""
        if self._waits and self.samples:
            self._settled, _ = candidate_heads(self._totals["sum"] / self.samples, self.rule)
            self._settle_if_due()

    def selection(self) -> Selection:
        """What the samples so far say.

        Raises:
            InputError: no sample was added.
        """
        if self.samples == 0:
            raise InputError("No sample was counted yet, so no head can be chosen. Add some maps.")
        totals, n = self._totals, self.samples
        mean_sum = totals["sum"] / n
        candidates, tau = candidate_heads(mean_sum, self.rule)
        if self._settled is not None:
            candidates = self._settled
        finite, seen = totals["entropy_seen"], totals["centroid_seen"][..., None]
        mean = totals["centroid"] / np.maximum(seen, 1)
        variance = np.maximum(totals["centroid_square"] / np.maximum(seen, 1) - mean**2, 0)
        std = np.where(seen > 1, np.sqrt(variance), np.nan) * (self._grid_wh / n)  # of x and of y
        return Selection(
            samples=n,
            frequency=(totals["taken"] + self._count_orders(candidates)) / n,
            mean_sum=mean_sum,
            mean_entropy=np.where(finite > 0, totals["entropy"] / np.maximum(finite, 1), np.nan),
            centroid_std=np.hypot(std[..., 0], std[..., 1]),
            mean_iou=totals["overlap"] / self.labelled if self.labelled else None,
            candidates=candidates,
            tau=tau,
            rule=self.rule,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists; `from_dict` continues exactly where this stood."""
        return {
            "shape": list(self.shape),
            "rule": asdict(self.rule),
            "samples": self.samples,
            "labelled": self.labelled,
            "grid_wh": self._grid_wh.tolist(),
            "totals": {name: total.tolist() for name, total in self._totals.items()},
            "settled": None if self._settled is None else self._settled.tolist(),
            "orders": [order.tolist() for order in self._orders],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> SelectionCounts:
        """The counts that `to_dict` wrote.

        Raises:
            ResumeError: something is missing or does not fit.
        """
        try:
            settled = record["settled"]
            layers, heads = record["shape"]
            counts = cls(
                layers,
                heads,
                SelectionRule(**record["rule"]),
                candidates=None if settled is None else np.array(settled, bool),
            )
            counts.samples, counts.labelled = int(record["samples"]), int(record["labelled"])
            counts._grid_wh = np.array(record["grid_wh"], np.float64).reshape(2)
            for name, total in counts._totals.items():
                value = np.array(record["totals"][name], np.float64)
                counts._totals[name] = value.reshape(total.shape)
            counts._orders = [np.array(order, np.int32) for order in record["orders"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ResumeError(
                f"The saved counts cannot be read ({type(error).__name__}: {error}), but a dict"
                " written by SelectionCounts.to_dict is needed. Start again without it."
            ) from error
        return counts

    def _settle_if_due(self) -> None:
        if self._waits and len(self._orders) >= self.rule.settle_after:
            self._settled, _ = candidate_heads(self._totals["sum"] / self.samples, self.rule)
        if self._settled is not None and self._orders:
            self._totals["taken"] += self._count_orders(self._settled)
            self._orders = []

    def _count_orders(self, candidates: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How often each head is among the first candidates of the kept orders."""
        taken = np.zeros(candidates.size)
        is_candidate = candidates.reshape(-1)
        for order in self._orders:
            taken[order[is_candidate[order]][: self.rule.num_low]] += 1
        return taken.reshape(candidates.shape)


def frequency_spread(
    selections: Sequence[Selection],
) -> tuple[Float[NDArray[np.float64], "layers heads"], Float[NDArray[np.float64], "layers heads"]]:
    """Mean and standard deviation of every head's frequency over repeated draws of samples.

    Raises:
        InputError: no draw.
    """
    if not selections:
        raise InputError("No selections were given, so there is no frequency. Give one a draw.")
    table = np.stack([selection.frequency for selection in selections])
    return table.mean(0), table.std(0)


def mean_selection(selections: Sequence[Selection]) -> Selection:
    """The means of several draws; a head is a candidate if it is one in any of them.

    Raises:
        InputError: no draw, or draws of different models or rules.
    """
    if not selections or len({(s.frequency.shape, s.rule) for s in selections}) > 1:
        raise InputError(
            f"{len(selections)} selections were given, but one or more of one model and one rule"
            " are needed."
        )
    if len(selections) == 1:
        return selections[0]

    def mean(name: str) -> NDArray[np.float64]:
        table = np.stack([getattr(selection, name) for selection in selections])
        known = np.isfinite(table)
        total = np.where(known, table, 0).sum(0)
        return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)

    has_truth = all(selection.mean_iou is not None for selection in selections)
    return replace(
        selections[0],
        samples=round(float(np.mean([selection.samples for selection in selections]))),
        frequency=mean("frequency"),
        mean_sum=mean("mean_sum"),
        mean_entropy=mean("mean_entropy"),
        centroid_std=mean("centroid_std"),
        mean_iou=mean("mean_iou") if has_truth else None,
        candidates=np.any([selection.candidates for selection in selections], 0),
        tau=float(np.mean([selection.tau for selection in selections])),
    )


@dataclass(frozen=True)
class HeadNote:
    """What is to be said about one head."""

    head: Head
    """Layer and head."""
    frequency: float
    """Share of samples in which it was taken."""
    centroid_std: float
    """Cells by which the centre of its map moves; NaN where that is unknown."""
    mean_iou: float | None
    """With the true cells, where samples had a truth."""
    faults: tuple[str, ...]
    """In words; empty if there is nothing against it."""


def diagnose(
    selection: Selection, heads: Sequence[Head] | None = None, *, low_iou: float = _LOW_IOU
) -> tuple[HeadNote, ...]:
    """Notes on heads, by default the top three: those that do not follow the words are named.

    The two criteria cannot see that a head looks at one place in all pictures (a sink), for its
    map is compact and holds much attention.
    """
    notes = []
    for head in selection.top() if heads is None else heads:
        std = float(selection.centroid_std[head])
        iou = None if selection.mean_iou is None else float(selection.mean_iou[head])
        faults = []
        if selection.is_fixed[head]:
            faults.append(
                f"looks at the same place in every picture (centre moves {std:.2f} cells)"
            )
        if iou is not None and iou < low_iou:
            faults.append(f"is rarely where the labels are (mean IoU {iou:.2f})")
        frequency = float(selection.frequency[head])
        notes.append(HeadNote(head, frequency, std, iou, tuple(faults)))
    return tuple(notes)

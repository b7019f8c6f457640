"""Every ablation of arXiv 2503.06287 from what `capture` kept; the model is not needed any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from capture import Kept
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import spearmanr

from headsight.attention.head_set import QUERIES, Query
from headsight.attention.localization import fuse_maps
from headsight.attention.selection import (
    Head,
    HeadStatistics,
    SelectionRule,
    head_statistics,
    sample_heads,
)
from headsight.attention.selection_counts import Selection, SelectionCounts
from headsight.geometry.boxes import box_iou
from headsight.geometry.heatmaps import map_to_box, paint_regions

Row = dict[str, Any]
_HIT = 0.5


@dataclass(frozen=True)
class Reading:
    """How fused maps are read; nothing is smoothed unless it is said."""

    kernel: int = 1
    sigma: float = 0.0
    min_excess: float = 1.0


@dataclass
class Lab:
    """The kept maps of the samples that heads are found on, and of those they are tried on."""

    find: Kept
    test: Kept
    _statistics: dict[tuple[str, Query], list[HeadStatistics]] = field(default_factory=dict)
    _ious: dict[Any, NDArray[np.float64]] = field(default_factory=dict)

    def statistics(self, side: str, query: Query) -> list[HeadStatistics]:
        """Sum, entropy and centre of every head's map of every expression, whatever the layer."""
        if (side, query) not in self._statistics:
            kept = self.find if side == "find" else self.test
            each = [_statistics(kept, index, query) for index in range(len(kept))]
            self._statistics[side, query] = each
        return self._statistics[side, query]

    def select(self, query: Query, rule: SelectionRule) -> Selection:
        """The heads that a rule finds."""
        statistics = self.statistics("find", query)
        counts = SelectionCounts(*statistics[0].sums.shape, rule)
        for sample in statistics:
            counts.add_statistics(sample)
        return counts.selection()

    def ious(
        self,
        query: Query,
        heads: tuple[Head, ...] | SelectionRule,
        reading: Reading = Reading(),
    ) -> Float[NDArray[np.float64], " n"]:
        """IoU of the found with the true box of each test expression, 0 where nothing is found.

        `heads` are fixed, or a rule that chooses three anew for each expression ("greedy").
        """
        key = (query, heads if isinstance(heads, SelectionRule) else tuple(sorted(heads)), reading)
        if key not in self._ious:
            statistics = self.statistics("test", query) if isinstance(heads, SelectionRule) else []
            found = []
            for index in range(len(self.test)):
                chosen = heads
                if isinstance(chosen, SelectionRule):
                    chosen = sample_heads(statistics[index], chosen)
                found.append(_iou(self.test, index, query, chosen, reading))
            self._ious[key] = np.array(found)
        return self._ious[key]

    def row(self, name: str, query: Query, heads: Any, reading: Reading = Reading()) -> Row:
        """One line of a table."""
        ious = self.ious(query, heads, reading)
        listed = None if isinstance(heads, SelectionRule) else [list(head) for head in heads]
        accuracy = float((ious >= _HIT).mean())
        return {"name": name, "heads": listed, "acc50": accuracy, "mean_iou": float(ious.mean())}


def criteria(lab: Lab, query: Query, rule: SelectionRule) -> list[Row]:
    """Table 5: which criterion, and heads chosen for each sample or once for all."""
    rows = []
    for name in ("sum", "entropy", "both"):
        own = replace(rule, criteria=name, sum_filter="per_sample")
        rows.append(lab.row(f"greedy, {name}", query, own))
    for name in ("sum", "entropy", "both"):
        top = lab.select(query, replace(rule, criteria=name)).top(3)
        rows.append(lab.row(f"fixed, {name}", query, top))
    return rows


def head_counts(lab: Lab, query: Query, rule: SelectionRule) -> list[Row]:
    """Table 4: how many heads are added."""
    selection = lab.select(query, rule)
    return [lab.row(f"k = {k}", query, selection.top(k)) for k in (1, 2, 3, 4, 5, 10)]


def smoothing(lab: Lab, query: Query, rule: SelectionRule) -> list[Row]:
    """Table 8, in cells of a canvas of 96: sigma, then kernel."""
    top = lab.select(query, rule).top(3)
    by_sigma = [Reading(7, sigma) if sigma else Reading() for sigma in (0, 0.4, 0.8, 1.0, 1.4, 1.8)]
    by_kernel = [Reading(k, 1.0) if k > 1 else Reading() for k in (1, 3, 5, 7, 9, 11)]
    return [
        *(lab.row(f"sigma {r.sigma:g}", query, top, r) for r in by_sigma),
        *(lab.row(f"kernel {r.kernel}", query, top, r) for r in by_kernel),
        lab.row("cut at twice the mean", query, top, Reading(min_excess=2.0)),
    ]


def thresholds(lab: Lab, query: Query, rule: SelectionRule) -> list[Row]:
    """Figures 13 and 14: fixed thresholds of the sum, and how many heads a sample gives."""
    rules = {"elbow": rule} | {f"tau {t:g}": replace(rule, tau=t) for t in (0.1, 0.24, 0.5, 0.8)}
    rules |= {f"N = {n}": replace(rule, num_low=n) for n in (1, 2, 3, 5, 10, 14)}
    return [lab.row(name, query, lab.select(query, own).top(3)) for name, own in rules.items()]


def queries(lab: Lab, rule: SelectionRule) -> list[Row]:
    """Which token looks."""
    return [lab.row(query, query, lab.select(query, rule).top(3)) for query in QUERIES]


def layers(
    lab: Lab, query: Query, rule: SelectionRule, guided: Sequence[Head], number: int
) -> list[Row]:
    """Which layers may be chosen, and the heads that were guided in training."""
    rows = [lab.row("the guided heads themselves", query, tuple(guided))]
    for skip in range(number):
        top = lab.select(query, replace(rule, skip_layers=skip)).top(3)
        rows.append(lab.row(f"candidates from layer {skip} on", query, top))
    return rows


def heads_table(lab: Lab, query: Query, rule: SelectionRule) -> tuple[list[Row], Row]:
    """Every head that is ever taken, and Spearman's correlation of frequency and IoU.

    IoU is that of the cells above a map's mean with the cells of the true box, in the mean.
    """
    selection = lab.select(query, rule)
    assert selection.mean_iou is not None
    table = [
        {
            "head": list(head),
            "frequency": float(selection.frequency[head]),
            "mean_sum": float(selection.mean_sum[head]),
            "mean_entropy": float(selection.mean_entropy[head]),
            "mean_iou": float(selection.mean_iou[head]),
        }
        for head in selection.ranking
    ]
    often = [row for row in table if row["frequency"] >= 0.01]
    pairs = [(row["frequency"], row["mean_iou"]) for row in often]
    found = {"heads": len(often), "rho": None, "p": None}
    if len({frequency for frequency, _ in pairs}) > 2:
        rho, p = spearmanr(*zip(*pairs, strict=True))
        found |= {"rho": float(rho), "p": float(p)}
    return table, found


def _statistics(kept: Kept, index: int, query: Query) -> HeadStatistics:
    view = kept.view(index)
    maps = view.lay(kept.rows[index, QUERIES.index(query)])
    columns_rows = np.array(view.grid_hw[::-1] * 2)
    true = kept.true[index] / np.array(view.image_wh * 2) * columns_rows
    truth = paint_regions(np.ones(1), true[None], view.grid_hw) > 0
    return head_statistics(maps, SelectionRule(skip_layers=0), truth=truth)


def _iou(kept: Kept, index: int, query: Query, heads: Sequence[Head], reading: Reading) -> float:
    if not heads:
        return 0.0
    view, rows = kept.view(index), kept.rows[index, QUERIES.index(query)]
    maps = view.lay(np.stack([rows[head] for head in heads]).astype(np.float64))
    fused = fuse_maps(maps, kernel=reading.kernel, sigma=reading.sigma)
    box = map_to_box(fused, view.region, image_wh=view.image_wh, min_excess=reading.min_excess).box
    if box is None:
        return 0.0
    return float(np.asarray(box_iou(np.array([box]), kept.true[index][None]))[0, 0])


TABLES: dict[str, Callable[..., list[Row]]] = {
    "criteria": criteria,
    "head_counts": head_counts,
    "smoothing": smoothing,
}
"""Made twice: with the guided layer among the candidates, and without."""

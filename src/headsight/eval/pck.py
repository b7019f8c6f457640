"""PCK and its family: how near keypoints lie, in units of the object's box (MP-100, 2207.10387).

The unit is the longer side of the cleaned box (`headsight.geometry.keypoints.clean_box`). A point
is right if its distance is strictly less than the threshold; means are over instances, each the
mean of its labelled points, so that an object of 68 points weighs as much as one of 8. A point
that was not predicted (NaN) is a miss at every threshold and is left out of NME and EPE.

Differences from the published code: an instance without a labelled point is left out and counted
(there it is PCK 0; `compat=True`), and an answer that cannot be read is a miss wherever the point
lies (there it is the corner 0, 0, which may be near).
"""

from __future__ import annotations

__all__ = ["THRESHOLDS", "AucDefinition", "PckResult", "auc", "pck", "pck_scores"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.eval.bootstrap import Ratios, bootstrap_intervals, ratios

THRESHOLDS = (0.05, 0.10, 0.15, 0.20, 0.25)
_AUC_STEPS = np.arange(21) / 20

Array = NDArray[np.float64]
Points = Float[NDArray[Any], "n k 2"] | Sequence[Float[NDArray[Any], "_ 2"]]
Flags = Bool[NDArray[np.bool_], "n k"] | Sequence[Bool[NDArray[np.bool_], " _"]]
AucDefinition = Literal["mmpose", "trapezoid"]


@dataclass(frozen=True, kw_only=True)
class PckResult:
    """The family's figures; NaN where nothing could be measured."""

    pck: dict[float, float]
    """By threshold."""
    mpck: float
    """Mean over the thresholds."""
    nme: float
    """Mean distance in units of the box, over the points that were predicted."""
    epe: float
    """The same in px."""
    auc: dict[AucDefinition, float]
    instances: int
    """That count."""
    points: int
    """Labelled in them."""
    missed: int
    """Of these, not predicted."""
    dropped: int
    """Instances without a labelled point."""
    ci: dict[str, list[float]] = field(default_factory=dict)
    """95 % bootstrap intervals, by the figure's name."""
    per_category: dict[str, dict[str, float]] = field(default_factory=dict)
    per_keypoint: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """By category and keypoint: PCK over its labelled points, their number, those missed."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, figures by name."""
        return {
            **{_name(t): value for t, value in self.pck.items()},
            "mpck": self.mpck,
            "nme": self.nme,
            "epe": self.epe,
            **{f"auc_{definition}": value for definition, value in self.auc.items()},
            "instances": self.instances,
            "points": self.points,
            "missed": self.missed,
            "dropped": self.dropped,
            "interval": self.ci,
            "by_category": self.per_category,
            "by_keypoint": self.per_keypoint,
        }


def pck(
    pred: Points,
    gt: Points,
    visible: Flags,
    box_sizes: Float[NDArray[Any], " n"],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    compat: bool = False,
    categories: Sequence[str] | None = None,
    names: Sequence[Sequence[str]] | None = None,
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> PckResult:
    """PCK at every threshold, their mean, NME, EPE, both AUCs, intervals and tables.

    Args:
        pred: px, of N instances; an array, or one array an instance where they differ in length.
            NaN where there is no prediction.
        gt: px; without meaning where not visible.
        visible: what counts.
        box_sizes: longer side of each cleaned box, px.
        thresholds: in units of the box.
        compat: an instance without a labelled point has PCK and AUC 0, as in the published code.
        categories: of each instance; absent: no tables.
        names: of each instance's keypoints; absent: numbers from 0.
        groups: what a bootstrap draws whole, as the picture; absent: each instance is its own.
        resamples: bootstrap resamples; 0 = no intervals.
        seed: seed of the resampling.

    Raises:
        InputError: the parts are not of the same instances, a labelled point or a box is not a
            number, or a box has no size.
    """
    far = _distances(pred, gt, visible, box_sizes)
    table, counted = _per_instance(far, tuple(thresholds), compat=compat)
    parts = _parts(table, counted)
    figures = ratios(parts)
    drawn = groups if groups is not None else [str(row) for row in range(far.number)]
    return PckResult(
        pck={t: figures[_name(t)] for t in thresholds},
        mpck=figures["mpck"],
        nme=figures["nme"],
        epe=figures["epe"],
        auc={d: figures[f"auc_{d}"] for d in get_args(AucDefinition)},
        instances=int(counted.sum()),
        points=len(far.rows),
        missed=int((~np.isfinite(far.relative)).sum()),
        dropped=far.number - int(far.has_points.sum()),
        ci=bootstrap_intervals(parts, drawn, resamples=resamples, seed=seed),
        per_category={} if categories is None else _by_category(parts, counted, categories),
        per_keypoint=(
            {} if categories is None else _by_keypoint(far, categories, names, tuple(thresholds))
        ),
    )


def pck_scores(
    pred: Points,
    gt: Points,
    visible: Flags,
    box_sizes: Float[NDArray[Any], " n"],
    *,
    threshold: float = 0.2,
) -> Float[Array, " n"]:
    """PCK of each instance; NaN where no point is labelled."""
    far = _distances(pred, gt, visible, box_sizes)
    table, counted = _per_instance(far, (threshold,), compat=False)
    return np.where(counted, table[_name(threshold)], np.nan)


def auc(
    pred: Points,
    gt: Points,
    visible: Flags,
    box_sizes: Float[NDArray[Any], " n"],
    *,
    definition: AucDefinition = "mmpose",
) -> float:
    """Area under PCK over thresholds 0 to 1, mean over instances.

    `mmpose` is the mean of PCK at 0, 0.05 ... 0.95: a perfect prediction has 0.95, as nothing is
    nearer than 0. `trapezoid` joins 0, 0.05 ... 1 by lines, exact hits counting at 0: perfect is 1.
    """
    far = _distances(pred, gt, visible, box_sizes)
    table, counted = _per_instance(far, (), compat=False)
    return ratios(_parts(table, counted))[f"auc_{definition}"]


@dataclass(frozen=True, eq=False)
class _Distances:
    """Every labelled point (P) of N instances."""

    rows: Int[NDArray[np.int64], " p"]
    places: Int[NDArray[np.int64], " p"]
    """Index of the keypoint in its instance."""
    px: Float[Array, " p"]
    relative: Float[Array, " p"]
    """In units of the box; NaN where not predicted."""
    number: int

    @property
    def has_points(self) -> NDArray[np.bool_]:
        return np.bincount(self.rows, minlength=self.number) > 0


def _distances(
    pred: Points, gt: Points, visible: Flags, box_sizes: Float[NDArray[Any], " n"]
) -> _Distances:
    number = len(gt)
    if not len(pred) == len(visible) == len(box_sizes) == number:
        raise InputError(
            f"There are predictions of {len(pred)} instances, points of {number}, visibility of"
            f" {len(visible)} and {len(box_sizes)} boxes. Pass all of the same instances."
        )
    lengths = [np.array([len(part) for part in parts], int) for parts in (pred, gt, visible)]
    if (wrong := np.flatnonzero((lengths[0] != lengths[1]) | (lengths[2] != lengths[1]))).size:
        row = wrong[0]
        raise InputError(
            f"Instance {row} has {lengths[1][row]} keypoints, but {lengths[0][row]} predicted and"
            f" {lengths[2][row]} visibilities. Pass NaN for a point that was not predicted."
        )
    sizes = np.asarray(box_sizes, np.float64)
    if (wrong := np.flatnonzero(~(sizes > 0) | ~np.isfinite(sizes))).size:
        raise InputError(
            f"The box of instance {wrong[0]} is {sizes[wrong[0]]} px long; a length must be more"
            " than 0. Leave out objects whose cleaned box has no area."
        )
    seen = _joined(visible, (), bool)
    rows = np.repeat(np.arange(number), lengths[1])[seen]
    starts = np.cumsum(lengths[1]) - lengths[1]
    places = np.flatnonzero(seen) - starts[rows]
    truth, said = _joined(gt, (2,), float)[seen], _joined(pred, (2,), float)[seen]
    if (wrong := np.flatnonzero(~np.isfinite(truth).all(1))).size:
        raise InputError(
            f"Keypoint {places[wrong[0]]} of instance {rows[wrong[0]]} is labelled, but its place"
            " is not a number. Mark it as not visible."
        )
    is_said = np.isfinite(said).all(1)
    px = np.sqrt((np.where(is_said[:, None], said - truth, np.nan) ** 2).sum(1))
    return _Distances(rows, places, px, px / sizes[rows], number)


def _joined(parts: Any, inner: tuple[int, ...], kind: type) -> NDArray[Any]:
    """All instances' keypoints below one another."""
    if not len(parts):
        return np.zeros((0, *inner), kind)
    if isinstance(parts, np.ndarray):
        return parts.reshape(-1, *inner).astype(kind, copy=False)
    return np.concatenate([np.asarray(part).reshape(-1, *inner) for part in parts]).astype(
        kind, copy=False
    )


def _per_instance(
    far: _Distances, thresholds: tuple[float, ...], *, compat: bool
) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Figures of each instance (N,), and which instances count."""

    def mean(values: Array, where: NDArray[np.bool_] | None = None) -> Array:
        rows, values = (far.rows, values) if where is None else (far.rows[where], values[where])
        total = np.bincount(rows, weights=values, minlength=far.number)
        return total / np.maximum(np.bincount(rows, minlength=far.number), 1)

    table = {_name(t): mean((far.relative < t).astype(float)) for t in thresholds}
    if thresholds:
        table["mpck"] = np.mean(list(table.values()), 0)
    is_said = np.isfinite(far.relative)
    table |= {f"auc_{d}": mean(_area(far.relative, d)) for d in ("mmpose", "trapezoid")}
    has_said = np.bincount(far.rows[is_said], minlength=far.number) > 0
    for name, values in (("nme", far.relative), ("epe", far.px)):
        table[name] = np.where(has_said, mean(values, is_said), np.nan)
    counted = np.ones(far.number, bool) if compat else far.has_points
    return table, counted


def _area(relative: Float[Array, " p"], definition: str) -> Float[Array, " p"]:
    """Each point's share of the area under the curve; 0 where it was not predicted."""
    # how many thresholds are strictly larger; NaN is beyond all
    larger = len(_AUC_STEPS) - np.searchsorted(_AUC_STEPS, relative, side="right")
    last = 0.5 if definition == "trapezoid" else 1.0
    exact = 0.5 * (relative <= 0) if definition == "trapezoid" else 0.0
    return np.asarray((larger - last * (relative < 1) + exact) / 20)


def _parts(table: Mapping[str, Array], counted: NDArray[np.bool_]) -> Ratios:
    """Numerators and denominators of every figure."""
    usable = {name: counted & np.isfinite(values) for name, values in table.items()}
    return {
        name: (np.where(usable[name], values, 0.0), usable[name].astype(float))
        for name, values in table.items()
    }


def _by_category(
    parts: Ratios, counted: NDArray[np.bool_], categories: Sequence[str]
) -> dict[str, dict[str, float]]:
    names, index = np.unique(np.array(categories), return_inverse=True)
    number = np.bincount(index, weights=counted, minlength=len(names))
    columns: dict[str, Array] = {"instances": number.astype(float)}
    for figure, (above, below) in parts.items():
        total = np.bincount(index, weights=above, minlength=len(names))
        share = np.bincount(index, weights=below, minlength=len(names))
        columns[figure] = np.where(share > 0, total, np.nan) / np.where(share > 0, share, 1)
    return {
        str(name): {figure: float(column[row]) for figure, column in columns.items()}
        for row, name in enumerate(names)
    }


def _by_keypoint(
    far: _Distances,
    categories: Sequence[str],
    names: Sequence[Sequence[str]] | None,
    thresholds: tuple[float, ...],
) -> dict[str, dict[str, dict[str, float]]]:
    known, index = np.unique(np.array(categories), return_inverse=True)
    most = int(far.places.max(initial=-1)) + 1
    key = index[far.rows] * most + far.places
    size = len(known) * most
    number = np.bincount(key, minlength=size)
    columns: dict[str, Array] = {
        "points": number.astype(float),
        "missed": np.bincount(key[~np.isfinite(far.relative)], minlength=size).astype(float),
    }
    for t in thresholds:
        hits = np.bincount(key, weights=far.relative < t, minlength=size)
        columns[_name(t)] = hits / np.maximum(number, 1)
    first = {str(c): row for row, c in reversed(list(enumerate(categories)))}
    result: dict[str, dict[str, dict[str, float]]] = {}
    for cell in np.flatnonzero(number).tolist():
        category, place = str(known[cell // most]), cell % most
        name = str(place) if names is None else names[first[category]][place]
        row = {figure: float(column[cell]) for figure, column in columns.items()}
        result.setdefault(category, {})[name] = row
    return result


def _name(threshold: float) -> str:
    return f"pck@{threshold:g}"

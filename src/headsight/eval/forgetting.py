"""What a model gained and what it lost by learning something new: pure functions of scores.

Skills k, stages s, scores a[s, k]. Forgetting of a skill at a stage is the best it ever was less
what it is now (Chaudhry et al., arXiv 1801.10112), backward transfer the mean change of what was
learned earlier (arXiv 1706.08840). A change counts only where the 95 % interval of the paired
differences, drawn by pictures (at least twenty), leaves out zero.
"""

from __future__ import annotations

__all__ = ["Change", "backward_transfer", "forgetting", "paired_change"]

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.eval.bootstrap import bootstrap_intervals
from headsight.eval.item_scores import Scores

Array = NDArray[np.float64]
Verdict = Literal["gained", "forgot", "no clear change", "too few pictures"]
_SHOWN = 3
_LEAST_GROUPS = 20
"""Of fewer pictures drawn anew the interval is too narrow to tell of others."""


@dataclass(frozen=True)
class Change:
    """One figure before and after, over the items that have a value in both."""

    before: float
    after: float
    change: float
    """After less before."""
    interval: tuple[float, float] | None
    """95 % of `change`; None of fewer than twenty pictures."""
    items: int
    """Items with a value in both."""
    lost: int
    """Items that had a value before and have none after: answers that became unreadable."""
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "interval": None if self.interval is None else [*self.interval]}


def paired_change(before: Scores, after: Scores, *, resamples: int = 1000, seed: int = 0) -> Change:
    """The change of one figure, item by item.

    Raises:
        InputError: the two are not of the same items, or not the same kind of figure.
    """
    _require_same_items(before, after)
    order = {name: row for row, name in enumerate(after.items)}
    now = after.values[[order[name] for name in before.items]] if before.items else after.values
    both = np.isfinite(before.values) & np.isfinite(now)
    lost = int((np.isfinite(before.values) & ~np.isfinite(now)).sum())
    if not both.any():
        nan = float("nan")
        return Change(nan, nan, nan, None, 0, lost, "too few pictures")
    old, new = before.values[both], now[both]
    groups = [before.groups[row] for row in np.flatnonzero(both)]
    spans = bootstrap_intervals(
        {"change": (new - old, np.ones(len(old)))}, groups, resamples=resamples, seed=seed
    )
    span = spans.get("change")
    interval = None if span is None or len(set(groups)) < _LEAST_GROUPS else (span[0], span[1])
    return Change(
        float(old.mean()),
        float(new.mean()),
        float((new - old).mean()),
        interval,
        int(both.sum()),
        lost,
        _verdict(interval, before.better),
    )


def forgetting(scores: Float[Array, "stages skills"]) -> Float[Array, "stages skills"]:
    """The best of each skill up to a stage less its score there; higher scores are better.

    NaN where the skill was not measured; such stages are no best either. Never negative.

    Example:
        >>> forgetting(np.array([[0.8], [0.5], [0.6]])).round(1).tolist()
        [[0.0], [0.3], [0.2]]
    """
    best = np.fmax.accumulate(scores, axis=0)
    return np.asarray(best - scores)


def backward_transfer(scores: Float[Array, "stages skills"], learned_at: Sequence[int]) -> float:
    """Mean of last score less score when learned, over skills learned before the last stage.

    Negative = forgotten. NaN where nothing was learned earlier.

    Raises:
        InputError: not one stage of the table for each skill.

    Example:
        >>> round(backward_transfer(np.array([[0.8, 0.0], [0.5, 0.9]]), [0, 1]), 1)
        -0.3
    """
    stages, skills = scores.shape
    if len(learned_at) != skills or not all(0 <= s < stages for s in learned_at):
        raise InputError(
            f"learned_at is {list(learned_at)}, but {skills} stages from 0 to {stages - 1} are"
            " needed, one a skill."
        )
    changes = [scores[-1, k] - scores[s, k] for k, s in enumerate(learned_at) if s < stages - 1]
    return float(np.mean(changes)) if changes else float("nan")


def _verdict(interval: tuple[float, float] | None, better: str) -> Verdict:
    if interval is None:
        return "too few pictures"
    if interval[0] <= 0 <= interval[1]:
        return "no clear change"
    rose = interval[0] > 0
    return "gained" if rose == (better == "higher") else "forgot"


def _require_same_items(before: Scores, after: Scores) -> None:
    if before.better != after.better:
        raise InputError(
            f"Of one figure {before.better} is better, of the other {after.better}. Compare the"
            " same figure of both models."
        )
    odd = sorted(set(before.items) ^ set(after.items))
    if odd or len(before.items) != len(after.items):
        raise InputError(
            f"The two measurements are not of the same items: {len(before.items)} and"
            f" {len(after.items)}, in one only: {', '.join(odd[:_SHOWN]) or 'repeated ones'}."
            " Measure both models on the same data."
        )

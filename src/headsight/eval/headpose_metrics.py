"""Errors of head rotations, without the shortcuts that flatter full-range figures.

Rows are heads; a predicted rotation of NaN is a head without a readable pose. It is left out of the
means, counted, and counts 90 degrees in the penalised figures, so that refusing can never win.
"""

from __future__ import annotations

__all__ = ["YAW_LIMITS", "CompatWarning", "angle_errors_deg", "headpose_metrics"]

import warnings
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.geometry.rotations import (
    geodesic_deg,
    matrix_to_ypr,
    mean_vector_error_deg,
    wrap_deg,
)

Array = NDArray[Any]
Compat = Literal["6drepnet", "directmhp_6d"]

YAW_LIMITS: dict[str, float] = {"full": np.inf, "yaw99": 99.0, "narrow": 90.0}
"""Subsets of heads by |true yaw| in degrees (less than)."""
PENALTY_DEG = 90.0
ANGLES = ("yaw", "pitch", "roll")

_HALF_TURN_ANGLES: dict[str, tuple[bool, bool, bool]] = {
    "6drepnet": (True, True, True),
    "directmhp_6d": (False, True, True),
}


class CompatWarning(UserWarning):
    """A figure was computed by a rule that hides large errors."""


def angle_errors_deg(
    predicted_ypr_deg: Float[Array, "*batch 3"],
    true_ypr_deg: Float[Array, "*batch 3"],
    *,
    compat: Compat | None = None,
) -> Float[Array, "*batch 3"]:
    """Absolute error of yaw, pitch and roll around the circle, in [0, 180].

    `compat` repeats the test scripts of others, which forgive half turns ("6drepnet": of every
    angle, "directmhp_6d": of pitch and roll); it warns, for a yaw error of 170 then counts 10.

    Raises:
        InputError: an unknown `compat`.
    """
    error: Array = np.abs(wrap_deg(predicted_ypr_deg - true_ypr_deg))
    if compat is None:
        return error
    if compat not in _HALF_TURN_ANGLES:
        known = ", ".join(_HALF_TURN_ANGLES)
        raise InputError(f"compat is {compat!r}; expected one of {known}, or None.")
    warnings.warn(
        f"compat={compat!r} forgives half turns: heads seen from behind can count as perfect."
        " Use it only to repeat a published figure, never to compare models.",
        CompatWarning,
        stacklevel=2,
    )
    forgiven: Array = np.minimum(error, 180.0 - error)
    return np.where(_HALF_TURN_ANGLES[compat], forgiven, error)


def headpose_metrics(
    predicted: Float[Array, "predicted 3 3"],
    truth: Float[Array, "heads 3 3"],
    *,
    compat: Compat | None = None,
) -> dict[str, dict[str, float]]:
    """Metrics of every subset of `YAW_LIMITS`, degrees; NaN means of no heads at all.

    Per subset: `heads`, `unread`, `yaw`, `pitch`, `roll`, `mae` (wrapped, after the canonical
    triple of both), `geodesic_mean`, `geodesic_median`, `geodesic_p90`, `over_90` (share), `maev`,
    `upside_down` and `gimbal` (predictions whose triple is not in the usual range, or not unique),
    `mae_penalised` and `geodesic_penalised`.

    Raises:
        InputError: different numbers of predictions and truths, or a true rotation of NaN.
    """
    if len(predicted) != len(truth):
        raise InputError(
            f"{len(predicted)} predicted rotations, but {len(truth)} true ones. Give one row per"
            " head, NaN where nothing was predicted."
        )
    if not np.isfinite(truth).all():
        raise InputError("A true rotation is NaN. Leave out heads without a label.")
    true_ypr, _ = matrix_to_ypr(truth)
    ypr, flags = matrix_to_ypr(predicted)
    table = {
        "angles": angle_errors_deg(ypr, true_ypr, compat=compat),
        "geodesic": geodesic_deg(predicted, truth),
        "maev": mean_vector_error_deg(predicted, truth),
        "upside_down": flags.upside_down,
        "gimbal": flags.gimbal,
    }
    yaw = np.abs(true_ypr[:, 0])
    return {name: _summary(table, yaw < limit) for name, limit in YAW_LIMITS.items()}


def _summary(table: dict[str, Array], chosen: Bool[Array, " n"]) -> dict[str, float]:
    is_read = np.isfinite(table["geodesic"]) & chosen
    unread = int(chosen.sum() - is_read.sum())
    angles, geodesic = table["angles"][is_read], table["geodesic"][is_read]
    penalty = np.full(unread, PENALTY_DEG)
    return {
        "heads": float(chosen.sum()),
        "unread": float(unread),
        **{name: _mean(angles[:, index]) for index, name in enumerate(ANGLES)},
        "mae": _mean(angles),
        "geodesic_mean": _mean(geodesic),
        "geodesic_median": _quantile(geodesic, 0.5),
        "geodesic_p90": _quantile(geodesic, 0.9),
        "over_90": _mean(geodesic > 90.0),
        "maev": _mean(table["maev"][is_read]),
        "upside_down": float(table["upside_down"][is_read].sum()),
        "gimbal": float(table["gimbal"][is_read].sum()),
        "mae_penalised": _mean(np.concatenate((angles.mean(-1), penalty))),
        "geodesic_penalised": _mean(np.concatenate((geodesic, penalty))),
    }


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def _quantile(values: Array, share: float) -> float:
    return float(np.quantile(values, share)) if values.size else float("nan")

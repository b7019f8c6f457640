from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

from headsight.errors import InputError
from headsight.eval.headpose_metrics import CompatWarning, angle_errors_deg, headpose_metrics
from headsight.geometry.rotations import ypr_to_matrix

# Yaw, pitch, roll of truth and prediction: a seam, a half turn, three small errors.
TRUTH = np.array([(179, 0, 0), (-100, 10, 5), (0, 0, 0)], dtype=float)
PREDICTED = np.array([(-179, 0, 0), (80, 0, 5), (6, 3, -9)], dtype=float)


def matrices(*ypr: Any) -> Any:
    return ypr_to_matrix(np.array(ypr, dtype=float).reshape(-1, 3))


def test_wrapped_errors() -> None:
    error = angle_errors_deg(PREDICTED, TRUTH)
    np.testing.assert_allclose(error[:, 0], (2, 180, 6))
    assert error.mean() == pytest.approx(23.333333, abs=1e-6)


def test_compat_hides_half_turns_and_says_so() -> None:
    with pytest.warns(CompatWarning, match="never to compare models"):
        error = angle_errors_deg(PREDICTED, TRUTH, compat="6drepnet")
    np.testing.assert_allclose(error[:, 0], (2, 0, 6))
    with pytest.warns(CompatWarning):
        error = angle_errors_deg(
            np.array([[170.0, 175, 175]]), np.zeros((1, 3)), compat="directmhp_6d"
        )
    np.testing.assert_allclose(error, [[170, 5, 5]])
    with pytest.warns(CompatWarning):
        error = angle_errors_deg(np.array([[170.0, 0, 0]]), np.zeros((1, 3)), compat="6drepnet")
    np.testing.assert_allclose(error, [[10, 0, 0]])
    with pytest.raises((InputError, TypeError), match="compat"):
        angle_errors_deg(PREDICTED, TRUTH, compat="hopenet")  # type: ignore[arg-type]


def test_metrics_of_rotations() -> None:
    metrics = headpose_metrics(
        matrices((20, 10, 30), (-179, 0, 0)), matrices((0, 0, 0), (179, 0, 0))
    )
    full, narrow = metrics["full"], metrics["narrow"]
    assert (full["heads"], full["unread"], narrow["heads"]) == (2, 0, 1)
    assert full["mae"] == pytest.approx((20 + 10 + 30 + 2) / 6)
    assert full["yaw"] == pytest.approx(11)
    assert full["geodesic_mean"] == pytest.approx((35.817101 + 2) / 2, abs=1e-5)
    assert full["geodesic_median"] == pytest.approx((35.817101 + 2) / 2, abs=1e-5)
    assert full["geodesic_p90"] == pytest.approx(2 + 0.9 * 33.817101, abs=1e-5)
    assert full["over_90"] == 0
    assert narrow["maev"] == pytest.approx(28.615619, abs=1e-6)
    assert metrics["yaw99"] == narrow


def test_two_names_of_one_rotation_have_no_error() -> None:
    metrics = headpose_metrics(matrices((10, 170, 170)), matrices((170, -10, -10)))["full"]
    assert metrics["mae"] == pytest.approx(0, abs=1e-9)
    assert metrics["geodesic_mean"] == pytest.approx(0, abs=1e-6)
    naive = angle_errors_deg(np.array([[10.0, 170, 170]]), np.array([[170.0, -10, -10]]))
    assert naive.mean() == pytest.approx(173.333333, abs=1e-6)  # of the bare numbers


def test_gimbal_makes_angles_lie() -> None:
    """Two predictions of the same mean angle error: one nearly right, one 80 degrees off."""
    truth = matrices((89, 0, 0), (89, 0, 0))
    predicted = matrices((89, 40, 40), (89, 40, -40))
    error = angle_errors_deg(
        np.array([(89.0, 40, 40), (89, 40, -40)]), np.array([(89.0, 0, 0)] * 2)
    )
    np.testing.assert_allclose(error.mean(-1), 26.666667, atol=1e-6)
    metrics = headpose_metrics(predicted, truth)["full"]
    assert metrics["geodesic_mean"] == pytest.approx((0.684 + 79.997) / 2, abs=1e-3)


def test_unread_heads_are_counted_and_penalised() -> None:
    predicted = matrices((10, 0, 0), (0, 0, 0))
    predicted[1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        full = headpose_metrics(predicted, matrices((0, 0, 0), (0, 0, 0)))["full"]
    assert (full["heads"], full["unread"]) == (2, 1)
    assert full["yaw"] == pytest.approx(10)
    assert full["mae_penalised"] == pytest.approx((10 / 3 + 90) / 2)
    assert full["geodesic_penalised"] == pytest.approx((10 + 90) / 2)


def test_upside_down_and_gimbal_are_counted() -> None:
    predicted = matrices((0, 170, 0), (90, 5, 0), (180, 0, 0))
    full = headpose_metrics(predicted, matrices((0, 0, 0), (0, 0, 0), (0, 0, 0)))["full"]
    assert (full["upside_down"], full["gimbal"]) == (1, 1)
    assert full["over_90"] == pytest.approx(1)  # 170; 90.11 with the pitch; 180


def test_no_heads_are_not_perfect() -> None:
    full = headpose_metrics(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)))["full"]
    assert full["heads"] == 0
    assert math.isnan(full["mae"])
    assert math.isnan(full["geodesic_p90"])


def test_inputs_must_fit() -> None:
    with pytest.raises(InputError, match="1 predicted rotations, but 2"):
        headpose_metrics(matrices((0, 0, 0)), matrices((0, 0, 0), (0, 0, 0)))
    with pytest.raises(InputError, match="true rotation is NaN"):
        headpose_metrics(matrices((0, 0, 0)), np.full((1, 3, 3), np.nan))

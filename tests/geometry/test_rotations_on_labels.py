"""The signs and the order of the angles are those that fit 1,451 labelled heads best."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from headsight.geometry.head_fit import REFERENCE_POINTS
from headsight.geometry.rotations import ypr_to_matrix

DATA = Path(os.environ.get("HEADSIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))

Array = Any


def elementary(axis: str, degrees: Array) -> Array:
    return Rotation.from_euler(axis, np.asarray(degrees)[..., None], degrees=True).as_matrix()


def residuals(rotations: Array, landmarks: Array) -> Array:
    """RMS residual of the weak-perspective fit over the spread of the landmarks, per head."""
    points = np.array(REFERENCE_POINTS) * (1, -1, -1)
    projected = (points @ rotations.transpose(0, 2, 1))[..., :2]
    p = projected - projected.mean(1, keepdims=True)
    q = landmarks - landmarks.mean(1, keepdims=True)
    scale = (p * q).sum((1, 2)) / (p * p).sum((1, 2))
    left = ((q - scale[:, None, None] * p) ** 2).sum((1, 2))
    return np.sqrt(left / (q * q).sum((1, 2)))


def test_signs_and_order_on_real_labels() -> None:
    file = DATA / "headpose_label_tables" / "aflw2000_pose_landmarks.npz"
    if not file.exists():
        pytest.skip(f"label tables not found: {file} (set HEADSIGHT_DATA)")
    with np.load(file) as table:
        ypr, landmarks = table["ypr_deg"].astype(float), table["landmarks68"].astype(float)
    usual = (np.abs(ypr) <= 99).all(1)
    assert usual.sum() == 1451
    ypr = ypr[usual]
    points = landmarks[usual][:, [17, 21, 26, 22, 45, 42, 39, 36, 35, 31, 54, 48, 57, 8]]

    def median(signs: Any = (1, 1, 1), transposed: bool = False) -> float:
        matrix = ypr_to_matrix(ypr * signs)
        return float(
            np.median(residuals(matrix.transpose(0, 2, 1) if transposed else matrix, points))
        )

    assert median() == pytest.approx(0.119, abs=0.002)
    assert median((1, -1, 1)) == pytest.approx(0.155, abs=0.002)
    assert median((-1, 1, 1)) == pytest.approx(0.179, abs=0.002)
    assert median((1, 1, -1)) == pytest.approx(0.305, abs=0.002)
    assert median(transposed=True) == pytest.approx(0.358, abs=0.002)

    hard = (np.abs(ypr[:, 0]) > 30) & ((np.abs(ypr[:, 1]) > 15) | (np.abs(ypr[:, 2]) > 15))
    assert hard.sum() == 302
    axes = {
        "x": elementary("x", -ypr[hard, 1]),
        "y": elementary("y", ypr[hard, 0]),
        "z": elementary("z", ypr[hard, 2]),
    }
    expected = {"xyz": 0.146, "xzy": 0.297, "zxy": 0.298, "yxz": 0.414, "yzx": 0.417, "zyx": 0.511}
    for order, figure in expected.items():
        matrix = axes[order[0]] @ axes[order[1]] @ axes[order[2]]
        assert np.median(residuals(matrix, points[hard])) == pytest.approx(figure, abs=0.003), order

"""Angles as a loss: exact at both ends, with a gradient everywhere; means of rotations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headsight.geometry.rotations import (
    convert,
    matrix_to_ypr,
    mirror,
    sixd_to_matrix,
    ypr_to_matrix,
)
from headsight.models.headpose.geodesic import geodesic_angle, geodesic_loss, mean_rotation


def rotations(*ypr: tuple[float, float, float]) -> torch.Tensor:
    return torch.from_numpy(ypr_to_matrix(np.array(ypr, np.float64)))


def test_gram_schmidt_and_frame_of_the_published_network() -> None:
    """Known answer 5: columns of (1,1,0), (0,1,1), whose triple as a 6DRepNet matrix is (54.7, 0, 45)."""
    matrix = sixd_to_matrix(torch.tensor([1.0, 1, 0, 0, 1, 1], dtype=torch.float64))
    expected = [
        [0.707107, -0.408248, 0.577350],
        [0.707107, 0.408248, -0.577350],
        [0.0, 0.816497, 0.577350],
    ]
    torch.testing.assert_close(matrix, torch.tensor(expected).double(), atol=1e-6, rtol=0)
    yaw, pitch, roll = matrix_to_ypr(convert(matrix, "6drepnet"))[0].tolist()
    assert (pitch, yaw, roll) == pytest.approx((54.735610, 0, 45), abs=1e-6)


def test_angles_worked_by_hand() -> None:
    """Known answer 3, and half a turn."""
    truth = rotations((0, 0, 0), (0, 0, 0), (170, 0, 0))
    read = rotations((20, 10, 30), (180, 0, 0), (-170, 0, 0))
    seen = geodesic_angle(read, truth).rad2deg()
    assert seen.tolist() == pytest.approx([35.817101, 180, 20], abs=1e-4)


@pytest.mark.parametrize("turn_deg", [0.0, 1e-3, 90.0, 180.0])
def test_the_gradient_is_finite_from_a_perfect_fit_to_half_a_turn(turn_deg: float) -> None:
    read = rotations((turn_deg, 0, 0)).float().requires_grad_()
    geodesic_loss(read, rotations((0, 0, 0)).float()).backward()
    assert torch.isfinite(read.grad).all()


def test_the_published_form_learns_nothing_below_its_floor() -> None:
    """acos: an error of 0.01 degrees costs 0.0256 and has no gradient; atan2 tells it exactly."""
    truth = rotations((0, 0, 0))
    read = rotations((0.01, 0, 0)).requires_grad_()
    clamped = geodesic_loss(read, truth, form="acos")
    clamped.backward()
    assert float(clamped.detach().rad2deg()) == pytest.approx(0.0256, abs=1e-4)
    assert read.grad.abs().max() == 0
    read.grad = None
    exact = geodesic_loss(read, truth)
    exact.backward()
    assert float(exact.detach().rad2deg()) == pytest.approx(0.01, rel=1e-3)
    assert read.grad.abs().max() > 0.1


def test_both_forms_agree_where_both_hold() -> None:
    read, truth = rotations((20, 10, 30), (100, -40, 5)), rotations((0, 0, 0), (10, 20, 0))
    torch.testing.assert_close(
        geodesic_loss(read, truth), geodesic_loss(read, truth, form="acos"), rtol=1e-6, atol=0
    )


def test_no_rows_cost_nothing() -> None:
    assert geodesic_loss(torch.zeros(0, 3, 3), torch.zeros(0, 3, 3)) == 0


def test_the_mean_of_two_turns_lies_half_way() -> None:
    pair = rotations((10, 0, 0), (30, 0, 0))[None]
    ypr = matrix_to_ypr(mean_rotation(pair))[0]
    np.testing.assert_allclose(ypr, [[20, 0, 0]], atol=1e-9)


def test_the_mean_with_the_mirrored_answer_of_an_equivariant_reader_is_its_answer() -> None:
    """Known answer 9: such a reader says mirror(R) of the mirrored crop, so nothing changes."""
    seen = rotations((20, 10, 30), (170, -50, -80))
    twice = mean_rotation(torch.stack([seen, mirror(mirror(seen))], 1))
    torch.testing.assert_close(twice, seen, atol=1e-12, rtol=0)
    again = mean_rotation(torch.stack([twice, twice], 1))
    torch.testing.assert_close(again, twice, atol=1e-12, rtol=0)


def test_a_missing_answer_makes_the_mean_missing() -> None:
    pair = torch.stack([rotations((0, 0, 0))[0], torch.full((3, 3), torch.nan).double()])[None]
    assert torch.isnan(mean_rotation(pair)).all()

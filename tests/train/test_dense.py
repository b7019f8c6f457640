"""Targets and losses of the dense reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headsight.geometry.rotations import matrix_to_sixd, ypr_to_matrix
from headsight.models.grounding.headgrid import HeadGrid, HeadReading
from headsight.train.dense import dense_loss, dense_targets
from headsight.train.pictures import Canvas


def _canvas(boxes: list[list[float]], ignore: list[list[float]] | None = None) -> Canvas:
    number = len(boxes)
    return Canvas(
        np.zeros((128, 128, 3), np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
        ypr_to_matrix(np.tile([30.0, 10.0, -5.0], (number, 1))).astype(np.float32),
        np.ones(number, np.float32),
        tuple({"hard_hat": True, "hat_color": "blue"} for _ in range(number)),
        np.array(ignore or [], np.float32).reshape(-1, 4),
        (1.0, 1.0),
    )


@pytest.fixture(scope="module")
def encoder() -> HeadGrid:
    torch.manual_seed(0)
    return HeadGrid({"image_size": 128, "neck_channels": 16, "hidden_size": 8})


def test_targets_mark_the_cell_of_the_centre(encoder: HeadGrid) -> None:
    batch = dense_targets([_canvas([[40, 24, 72, 56]], ignore=[[100, 100, 128, 128]])], encoder)
    assert batch.heat.shape == (1, 8, 8)
    assert torch.nonzero(batch.heat[0] == 1).tolist() == [[2, 3]]  # centre (56, 40), cells of 16 px
    assert (batch.heat[0, 6:, 6:] == -1).all()
    assert batch.boxes[0, 2, 3].tolist() == pytest.approx([40 / 128, 24 / 128, 72 / 128, 56 / 128])
    names = list(encoder.config.attributes)
    assert batch.attributes[0, 2, 3, names.index("hard_hat")] == 1
    assert batch.attributes[0, 2, 3, names.index("hat_color")] == 4
    assert batch.attributes[0, 2, 3, names.index("glasses")] == -1


def test_a_perfect_reading_costs_almost_nothing(encoder: HeadGrid) -> None:
    batch = dense_targets([_canvas([[40, 24, 72, 56]])], encoder)
    rotations = torch.where(batch.rotations.isfinite(), batch.rotations, torch.eye(3))
    columns = [torch.zeros(1, 8, 8, n) for n in encoder.config.attributes.values()]
    for index, part in enumerate(columns):
        known = batch.attributes[..., index] >= 0
        if part.shape[-1] == 1:
            part[known] = 20.0 * (2 * batch.attributes[..., index][known] - 1)[:, None]
        else:
            chosen = batch.attributes[..., index].clamp(min=0).long()
            part.scatter_(-1, chosen[..., None], 20.0)
    reading = HeadReading(
        torch.where(batch.heat == 1, 12.0, -12.0),
        batch.boxes,
        matrix_to_sixd(rotations),
        torch.cat(columns, -1),
    )
    parts = dense_loss(reading, batch, attributes=encoder.config.attributes)
    assert all(float(v) < 1e-3 for v in parts.values()), parts


def test_no_heads_no_nan(encoder: HeadGrid) -> None:
    batch = dense_targets([_canvas([]), _canvas([])], encoder)
    reading = encoder.read(encoder.features(batch.pixel_values))
    parts = dense_loss(reading, batch, attributes=encoder.config.attributes)
    assert all(torch.isfinite(v) for v in parts.values())


def test_pose_loss_is_the_angle_and_half_the_squared_distance(encoder: HeadGrid) -> None:
    batch = dense_targets([_canvas([[40, 24, 72, 56]])], encoder)
    turned = ypr_to_matrix(torch.tensor([50.0, 10.0, -5.0]))
    sixd = matrix_to_sixd(turned).expand(1, 8, 8, 6)
    zeros = torch.zeros(1, 8, 8, sum(encoder.config.attributes.values()))
    reading = HeadReading(torch.zeros(1, 8, 8), batch.boxes, sixd, zeros)
    angle = dense_loss(reading, batch, attributes=encoder.config.attributes)["pose"]
    truth = ypr_to_matrix(torch.tensor([30.0, 10.0, -5.0]))
    cosine = float(((turned @ truth.T).trace() - 1) / 2)
    distance = float((matrix_to_sixd(turned) - matrix_to_sixd(truth)).square().sum())
    assert float(angle) == pytest.approx(np.arccos(cosine) + 0.5 * distance, abs=1e-4)

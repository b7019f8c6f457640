from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headsight.geometry.head_fit import (
    REFERENCE_POINTS,
    fit_head,
    flat_head_box,
    head_rotation,
    helmet_box,
)
from headsight.geometry.rotations import matrix_to_ypr, ypr_to_matrix

K = np.array([[1400.0, 0, 640], [0, 1400, 360], [0, 0, 1]])
WH = (1280, 720)
FLIP = np.diag((1.0, -1.0, -1.0))
POINTS = np.array(REFERENCE_POINTS)


def face(
    ypr: Any, translation: Any = (20, -10, 300), scale: float = 1.3, points: Any = POINTS
) -> Any:
    """Face points in camera axes of a head with the given pose."""
    rotation = ypr_to_matrix(np.array(ypr, float)) @ FLIP
    return scale * points @ rotation.T + np.array(translation)


def to_xywh(box: Any) -> list[int]:
    x0, y0, x1, y1 = np.asarray(box).tolist()
    return [x0, y0, x1 - x0, y1 - y0]


@pytest.mark.parametrize("count", [13, 14])
@pytest.mark.parametrize(
    ("ypr", "translation", "box"),
    [
        ((20, 10, 30), (20, -10, 300), [648, 185, 216, 214]),
        ((0, 0, 0), (20, -10, 300), [624, 176, 215, 215]),
        ((-170, 5, -10), (20, -10, 500), [630, 245, 132, 133]),
    ],
)
def test_known_labels_through_any_camera(ypr: Any, translation: Any, box: Any, count: int) -> None:
    in_camera = face(ypr, translation, points=POINTS[:count])
    camera_rotation = Rotation.from_rotvec((0.3, -1.2, 0.7)).as_matrix()
    camera_translation = np.array((5.0, -60.0, 40.0))
    world = (in_camera - camera_translation) @ camera_rotation
    fit = fit_head(world)
    assert float(fit.scale) == pytest.approx(1.3, abs=1e-9)
    triple, _ = matrix_to_ypr(head_rotation(fit, camera_rotation))
    np.testing.assert_allclose(triple, ypr, atol=1e-6)
    found, is_usable = helmet_box(
        fit, K, WH, camera_rotation=camera_rotation, camera_translation=camera_translation
    )
    assert to_xywh(found) == box
    assert bool(is_usable)


def test_tensors_and_batches_give_the_same() -> None:
    world = np.stack([face((20, 10, 30)), face((0, 0, 0))])
    expected, _ = helmet_box(fit_head(world), K, WH)
    fit = fit_head(torch.as_tensor(world))
    np.testing.assert_array_equal(helmet_box(fit, torch.as_tensor(K), WH)[0], expected)
    np.testing.assert_allclose(head_rotation(fit)[1], np.eye(3), atol=1e-9)


def test_missing_points_are_left_out_and_too_few_are_nan() -> None:
    world = np.stack([face((40, 5, 5))] * 3)
    world[0, 7:] = np.nan  # seven points left
    world[1, 6:] = np.nan  # six
    weights = np.ones((3, 14))
    weights[2, 3] = 0
    world[2, 3] += 50  # wrong, but of no weight
    fit = fit_head(world, weights)
    ypr, _ = matrix_to_ypr(head_rotation(fit))
    np.testing.assert_allclose(ypr[[0, 2]], [[40, 5, 5]] * 2, atol=1e-6)
    assert np.isnan(ypr[1]).all()
    assert np.isnan(fit.scale[1])
    assert np.isnan(fit.translation[1]).all()


def test_no_heads() -> None:
    fit = fit_head(np.zeros((0, 14, 3)))
    boxes, is_usable = helmet_box(fit, K, WH)
    assert boxes.shape == (0, 4)
    assert is_usable.shape == (0,)


def test_a_mirror_image_is_not_a_rotation() -> None:
    rotation = np.asarray(fit_head(POINTS * (-1, 1, 1)).rotation)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize(
    ("translation", "why"),
    [
        ((20, -10, -300), "behind the camera"),
        ((5000, 0, 300), "outside the picture"),
        ((0, 0, 60), "larger than 0.7 of the picture"),
        ((-151, 0, 300), "cut to a strip at the border"),
    ],
)
def test_unusable_boxes(translation: Any, why: str) -> None:
    _, is_usable = helmet_box(fit_head(face((0, 0, 0), translation)), K, WH)
    assert not bool(is_usable), why


def test_distortion_follows_opencv() -> None:
    """Worked by hand for the ray (0.1, 0.2): r2 = 0.05, each coefficient 0.1 alone."""
    from headsight.geometry.head_fit import Similarity

    # A head shrunk to one point lies at its translation, so the box is that point (truncated).
    point = Similarity(np.eye(3), np.array(1e-12), np.array([0.1, 0.2, 1.0]))
    camera = np.array([[1e6, 0, 0], [0, 1e6, 0], [0, 0, 1.0]])
    expected = {
        0: (100_500, 201_000),  # k1: factor 1 + 0.1 r2 = 1.005
        1: (100_025, 200_050),  # k2: factor 1 + 0.1 r2^2 = 1.00025
        2: (104_000, 213_000),  # p1: + 2 p1 x y = 0.004; + p1 (r2 + 2 y^2) = 0.013
        3: (107_000, 204_000),  # p2: + p2 (r2 + 2 x^2) = 0.007; + 2 p2 x y = 0.004
        4: (100_001, 200_002),  # k3: factor 1 + 0.1 r2^3 = 1.0000125
    }
    for index, corner in expected.items():
        coefficients = [0.0] * 5
        coefficients[index] = 0.1
        box, _ = helmet_box(point, camera, (10**6, 10**6), distortion=tuple(coefficients))  # type: ignore[arg-type]
        np.testing.assert_allclose(box[:2], corner, atol=1.0)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_box_of_a_head_whose_points_a_picture_shows(library: Any) -> None:
    """By hand: straight ahead, 2 px a unit, the origin of the head at (100, 50).

    The middle (0, 5, -5) is seen at (100, 50 - 10); half axes 3, 4, 5 reach 6 px to the sides and
    8 px up and down. Turned by 90 degrees the middle lies 2 x 5 px off, and depth becomes width.
    """
    frontal = POINTS[:, :2] * (2, -2) + (100, 50)
    axes = {"half_axes": (3.0, 4.0, 5.0), "centre": (0.0, 5.0, -5.0)}
    box = flat_head_box(library(frontal), library(np.eye(3)), **axes)
    np.testing.assert_allclose(np.asarray(box), (94, 32, 106, 48), atol=1e-9)
    turned = np.stack([frontal, POINTS[:, [2, 1]] * (-2, -2) + (100, 50)])
    rotations = ypr_to_matrix(np.array([(0.0, 0, 0), (90, 0, 0)]))
    both = np.asarray(flat_head_box(library(turned), library(rotations), **axes))
    np.testing.assert_allclose(both, [(94, 32, 106, 48), (100, 32, 120, 48)], atol=1e-9)


def test_from_afar_it_is_the_box_of_the_helmet() -> None:
    ypr = np.array([(20.0, 10, 30), (-150, 20, -10), (75, -40, 5)])
    world = np.stack([face(angles, (200, 150, 30000.0)) for angles in ypr])
    camera = np.array([[140000.0, 0, 640], [0, 140000, 360], [0, 0, 1]])
    expected, _ = helmet_box(fit_head(world), camera, (100000, 100000))
    seen = world[..., :2] / world[..., 2:] * 140000 + (640, 360)
    found = flat_head_box(seen, ypr_to_matrix(ypr))
    np.testing.assert_allclose(found, expected, atol=2.5)  # 18 of 1,000 px, drawn each 10 degrees

"""Solids that objects are made of: known shapes, joints of two bones, sharp edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.data.synth.objects.kit import Kit
from headsight.data.synth.objects.skins import plain
from headsight.data.synth.objects.solids import bent, blob, block, lathe, loft, turned, vec


def test_a_straight_loft_is_a_cylinder() -> None:
    points = loft([(0, 0, 0), (2, 0, 0)], (0.5, 0.5), caps=(0, 0), rings=5)[0]
    out = np.hypot(points[:, 1], points[:, 2])
    assert set(np.round(out, 5)) == {0.0, 0.5}  # the wall, and the middles of its flat ends
    assert [points[:, 0].min(), points[:, 0].max()] == [0, 2]


def test_round_caps_reach_one_radius_further() -> None:
    points = loft([(0, 0, 0), (2, 0, 0)], (0.5, 0.25), caps=(1, 1))[0]
    assert [points[:, 0].min(), points[:, 0].max()] == pytest.approx([-0.5, 2.25], abs=1e-6)


def test_the_axis_keeps_rings_level() -> None:
    """A leaning column: with the axis up every ring is flat, without it rings lean too."""
    path = [(0, 0, 0), (1, 0, 1)]
    level, leaning = (
        loft(path, (0.3, 0.3), up=(1, 0, 0), caps=(0, 0), rings=3, sides=16, axis=axis)[0]
        for axis in ((0, 0, 1), None)
    )
    assert set(np.round(level[:, 2], 5)) == {0.0, 0.5, 1.0}
    assert leaning[:, 2].min() == pytest.approx(-0.3 * 0.5**0.5, abs=1e-3)


def test_radii_are_sideways_and_up() -> None:
    points = loft([(0, 0, 0), (1, 0, 0)], [(0.3, 0.1), (0.3, 0.1)], caps=(0, 0), sides=16)[0]
    assert np.abs(points).max(0) == pytest.approx([1, 0.3, 0.1], abs=1e-6)


def test_blocks_and_blobs_have_their_size() -> None:
    points, faces, _ = block((1, 2, 3), (2, 4, 6))
    assert points.min(0).tolist() == [0, 0, 0]
    assert points.max(0).tolist() == [2, 4, 6]
    a, b, c = (points[faces[:, k]].astype(float) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(2 * (2 * 4 + 2 * 6 + 4 * 6))
    narrow = block((0, 0, 0), (2, 2, 2), top=(0.5, 1))[0]
    assert np.abs(narrow[narrow[:, 2] > 0]).max(0).tolist() == [0.5, 1, 1]
    assert np.abs(blob((0, 0, 0), (1, 2, 3))[0])[:, 2].max() == pytest.approx(3)


def test_a_lathe_turns_its_profile() -> None:
    points = lathe([(1, 0), (2, 5)], axis=(1, 0, 0))[0]
    out = np.hypot(points[:, 1], points[:, 2])
    assert out[points[:, 0] < 1] == pytest.approx(1)
    assert out[points[:, 0] > 4] == pytest.approx(2)


def test_turns() -> None:
    forward, left, up = np.eye(3)
    assert turned(yaw=90) @ forward == pytest.approx(left)
    assert turned(pitch=90) @ forward == pytest.approx(up)
    assert turned(roll=90) @ up == pytest.approx(-left)


place = st.floats(-1, 1)


@given(x=place, y=place, z=place, share=st.floats(0.2, 0.8))
def test_bones_keep_their_lengths(x: float, y: float, z: float, share: float) -> None:
    lengths = (2 * share, 2 * (1 - share))
    start, end = vec(0, 0, 0), vec(x, y, z + 3)
    joint, tip = bent(start, end, lengths, (1, 0.1, 0.2))
    assert np.linalg.norm(joint - start) == pytest.approx(lengths[0], abs=1e-6)
    assert np.linalg.norm(tip - joint) == pytest.approx(lengths[1], abs=1e-6)
    along = tip / np.linalg.norm(tip)
    assert along == pytest.approx(end / np.linalg.norm(end))  # as far as they reach
    assert (joint - (joint @ along) * along) @ vec(1, 0.1, 0.2) >= 0


def test_a_kit_within_a_kit() -> None:
    """A ball of radius 1 at (0, 2, 0) of a frame that is turned left at (3, 0, 0): at (1, 0, 0)."""
    kit = Kit(np.random.default_rng(0))
    skin = plain((0.5, 0.5, 0.5))
    kit.add(blob((0, 0, 0), 1), skin)
    inner = kit.at((3, 0, 0), turned(yaw=90))
    inner.add(blob((0, 2, 0), 1), skin)
    inner.mark("ball", (0, 2, 0), 1.0)
    assert kit.marks["ball"].at == pytest.approx([1, 0, 0])
    model = kit.finish()
    assert len(model.pieces) == 1  # one material, one piece
    x = model.points[:, 0]
    assert x.max() - x.min() == pytest.approx(3 * model.marks["ball"].depth, rel=0.02)

"""Poses relative to the camera become those that the picture shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from head_sets import posed_points, save_panoptic

from headsight.data.as_seen import poses_as_seen
from headsight.data.build_hpe import build_agora_hpe
from headsight.data.head_kinds import open_heads
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import Problem
from headsight.geometry.rotations import matrix_to_ypr


def test_a_head_at_the_side_shows_its_side(tmp_path: Path) -> None:
    """Straight along the camera's axis, at 160 of 400 cm to the right: turned by atan(0.4)."""
    faces = {0: [posed_points((0, 0, 0), (160, 0, 400))]}
    save_panoptic(tmp_path / "a", {"00_00": (np.eye(3), (0, 0, 0))}, faces)
    found = open_heads(tmp_path)
    [published] = found
    [seen] = poses_as_seen(found)
    assert isinstance(published, HeadSample)
    assert isinstance(seen, HeadSample)
    np.testing.assert_allclose(published.rotations[0], np.eye(3), atol=1e-9)
    yaw, pitch, roll = matrix_to_ypr(seen.rotations)[0][0]
    assert yaw == pytest.approx(-np.rad2deg(np.arctan(0.4)), abs=1)  # the ball lies 6.5 cm behind
    assert (pitch, roll) == pytest.approx((0, 0), abs=2)
    np.testing.assert_array_equal(seen.boxes, published.boxes)


def test_built_sets_keep_their_camera_and_others_say_what_to_do(
    made_set: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    build_agora_hpe(made_set("agora"), out)
    [raw, _] = poses_as_seen(open_heads(tmp_path / "agora"))
    [built] = poses_as_seen(open_heads(out))
    assert isinstance(raw, HeadSample)
    assert isinstance(built, HeadSample)
    np.testing.assert_allclose(built.rotations, raw.rotations, atol=1e-9)
    [path] = (out / "annotations").iterdir()
    whole = json.loads(path.read_text())
    del whole["images"][0]["intrinsics"]  # as DirectMHP's own files
    path.write_text(json.dumps(whole))
    [problem] = poses_as_seen(open_heads(out))
    assert isinstance(problem, Problem)
    assert "headsight data build" in problem.error


@pytest.mark.parametrize("kind", ["300w_lp", "aflw2000", "crowdhuman", "wider_face"])
def test_what_is_as_seen_stays(kind: str, made_set: Callable[[str], Path]) -> None:
    found = open_heads(made_set(kind))
    before = found.samples()
    after = [s for s in poses_as_seen(found) if isinstance(s, HeadSample)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.rotations, other.rotations)

"""Five points of faces that are labelled with 19 to 98."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headsight.data.face_five import FACE_FIVE, FIVE_NAMES, face_five
from headsight.data.heads import data_folder
from headsight.data.keypoint_files import read_keypoints
from headsight.data.keypoints import KeypointInstance
from headsight.errors import InputError


def face(number: int, hidden: np.ndarray | None = None) -> KeypointInstance:
    """Point n lies at (n, 2 n)."""
    places = np.arange(number, dtype=float)
    return KeypointInstance(
        "a", Path("a.png"), (200, 200), np.array([0.0, 0, 99, 99]), np.stack([places, 2 * places], 1),
        np.ones(number, bool), "face", tuple(map(str, range(number))), 9.0, hidden,
    )  # fmt: skip


def test_eyes_are_the_middle_of_their_six_points() -> None:
    """Right eye 36 to 41: mean 38.5; left 42 to 47: 44.5; nose 30; mouth 48 and 54."""
    five = face_five(face(68))
    assert five.points[:, 0].tolist() == [38.5, 44.5, 30, 48, 54]
    assert (five.names, five.hidden, five.area, five.visible.all()) == (FIVE_NAMES, None, 9, True)


def test_a_point_needs_all_its_labels() -> None:
    one = face(68, hidden=np.arange(68) == 40)
    one.visible[[43, 30]] = False
    five = face_five(one)
    assert five.visible.tolist() == [True, False, False, True, True]
    assert five.hidden is not None
    assert five.hidden.tolist() == [True, False, False, False, False]


def test_other_labellings_are_told() -> None:
    with pytest.raises(InputError, match="face a has 5 points; expected one of 68, 98, 29, 19"):
        face_five(face(5))


@pytest.mark.parametrize("name", ["300w", "wflw", "cofw", "aflw"])
def test_real_faces_have_their_parts_in_place(name: str) -> None:
    """All are upright: eyes above the nose, that above the mouth; the own right is at the left."""
    try:
        data_folder("keypoint_samples")
    except InputError:
        pytest.skip("the folder of public sample data is absent")
    for instance in read_keypoints(name).instances:
        right_eye, left_eye, nose, right_mouth, left_mouth = face_five(instance).points
        assert max(right_eye[1], left_eye[1]) < nose[1] < max(right_mouth[1], left_mouth[1])
        assert right_eye[0] < left_eye[0]
        assert right_mouth[0] < left_mouth[0]
        assert len(instance.visible) in FACE_FIVE

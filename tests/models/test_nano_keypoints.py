"""The shipped model of keypoints, on the shipped photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ImageOps

import headsight
from headsight.geometry.keypoints import crop_of
from headsight.language.schema_library import schema
from headsight.models.base import NANO, SHIPPED, VLM, load_vlm
from headsight.models.grounding.weights import weight_files
from headsight.picture import Picture, open_picture
from headsight.tasks.keypoint_asking import asking_of
from headsight.tasks.keypoints import find_keypoints

SAMPLE = Path(headsight.__file__).parent / "samples" / "astronaut.jpg"
HEAD = np.array([[159.0, 23.0, 297.0, 179.0]])
FACE = {
    "right eye": (205, 105), "left eye": (247, 104), "nose tip": (226, 131),
    "right mouth corner": (209, 145), "left mouth corner": (242, 146),
}  # fmt: skip
"""Read off the picture by eye."""


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return load_vlm("nano-keypoints", device="cpu")


def test_the_points_of_her_face(vlm: VLM) -> None:
    found = find_keypoints(vlm, open_picture(SAMPLE), HEAD, schema("face-5"))
    truth = np.array([FACE[name] for name in found.schema.names])
    side = crop_of(HEAD[0], found.image_wh).side
    assert np.linalg.norm(found.points[0] - truth, axis=1).max() < 0.1 * side
    assert found.failures == ((None,) * 5,)


def test_sides_are_hers_in_a_mirror_too(vlm: VLM) -> None:
    image = open_picture(SAMPLE).image
    head = np.array([[image.width - 297.0, 23.0, image.width - 159.0, 179.0]])
    found = find_keypoints(vlm, Picture(ImageOps.mirror(image)), head, schema("face-5"))
    x = dict(zip(found.schema.names, found.points[0, :, 0], strict=True))
    assert x["right eye"] < x["nose tip"] < x["left eye"]  # a mirrored face is a face
    assert x["right mouth corner"] < x["left mouth corner"]


def test_it_is_asked_as_it_was_taught_and_borrows_from_nano(vlm: VLM) -> None:
    assert asking_of(vlm).mode == "cumulative"
    own = sum(file.stat().st_size for file in weight_files(SHIPPED["nano-keypoints"]))
    lent = sum(file.stat().st_size for file in weight_files(NANO))
    assert own < lent / 3

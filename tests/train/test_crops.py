"""Crops of heads show what their labels say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from headsight.train.crops import head_crops
from headsight.train.labels import LabelledPicture

BOXES = [(40, 40, 80, 90), (200, 60, 380, 260), (100, 100, 106, 108)]


def _picture(boxes: list[tuple[int, int, int, int]], posed: list[bool]) -> LabelledPicture:
    image = Image.new("RGB", (400, 300))
    for box in boxes:
        ImageDraw.Draw(image).rectangle(box, fill=(255, 255, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    rotations = np.stack([np.eye(3) if p else np.full((3, 3), np.nan) for p in posed])
    return LabelledPicture(
        buffer.getvalue(),
        np.array(boxes, np.float32),
        rotations.astype(np.float32),
        np.ones(len(boxes), np.float32),
        tuple({"hat": index} for index in range(len(boxes))),
        np.zeros((0, 4), np.float32),
    )


def test_boxes_lie_on_the_heads() -> None:
    crops = head_crops([_picture(BOXES, [True, True, True])], np.random.default_rng(0))
    assert len(crops) == 2  # the third is too small to show a pose
    for index, crop in enumerate(crops):
        own = [k for k, a in enumerate(crop.attributes) if a["hat"] == index]
        x0, y0, x1, y1 = crop.boxes[own[0]]
        assert max(x1 - x0, y1 - y0) <= 97
        pixels = np.asarray(Image.open(io.BytesIO(crop.encoded)).convert("L"))
        inside = pixels[round(y0) + 2 : round(y1) - 2, round(x0) + 2 : round(x1) - 2]
        assert inside.mean() > 240
        assert pixels.shape[0] > 1.5 * (y1 - y0) or index == 1  # the large one meets the border


@pytest.mark.parametrize("posed", [[False, False, False], [False, False, True]])
def test_heads_without_a_pose_get_no_crop(posed: list[bool]) -> None:
    assert head_crops([_picture(BOXES, posed)], np.random.default_rng(0)) == []


def test_a_head_cut_by_the_crop_is_ignored() -> None:
    beside = [(100, 100, 140, 140), (150, 100, 190, 140)]
    [crop] = head_crops([_picture(beside, [True, False])], np.random.default_rng(1))
    assert len(crop.boxes) + len(crop.ignore) == 2

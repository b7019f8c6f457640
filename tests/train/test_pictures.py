"""Augmentation carries labels exactly."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from headsight.geometry.rotations import matrix_to_ypr, mirror, ypr_to_matrix
from headsight.train.labels import LabelledPicture
from headsight.train.pictures import Augmentation, augment, mosaic


def _picture(box: tuple[int, int, int, int], ypr: tuple[float, float, float]) -> LabelledPicture:
    """Black, with a white disc filling `box`."""
    image = Image.new("RGB", (300, 200))
    ImageDraw.Draw(image).ellipse(box, fill=(255, 255, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return LabelledPicture(
        buffer.getvalue(),
        np.array([box], np.float32),
        ypr_to_matrix(np.array([ypr], np.float64)).astype(np.float32),
        np.ones(1, np.float32),
        ({"hard_hat": True},),
        np.zeros((0, 4), np.float32),
    )


def test_a_plain_view_fits_the_picture_into_the_top_left() -> None:
    config = Augmentation(image_size=384, plain_share=1.0)
    for seed in range(4):
        canvas = augment(
            _picture((60, 50, 120, 110), (20, 5, 3)), config, np.random.default_rng(seed)
        )
        assert canvas.content_wh_rel == pytest.approx((1.0, 2 / 3), abs=0.003)
        scale = 384 / 300
        x1, y1, x2, y2 = canvas.boxes[0] / scale
        assert (y1, y2) == pytest.approx((50, 110), abs=0.01)
        is_flipped = x1 > 150
        assert (x1, x2) == pytest.approx((180, 240) if is_flipped else (60, 120), abs=0.01)
        yaw = matrix_to_ypr(canvas.rotations[0])[0][0]
        assert yaw == pytest.approx(-20 if is_flipped else 20, abs=1e-3)


def test_landmarks_follow_the_box() -> None:
    """A point in the middle of the box stays there under every view."""
    picture = dataclasses.replace(
        _picture((110, 70, 190, 130), (0, 0, 0)),
        landmarks=np.array([[[150, 100, 2], [110, 70, 1]]], np.float32),
    )
    config = Augmentation(plain_share=0.0, turn_share=1.0, zoom_range=(0.5, 1.0))
    for seed in range(20):
        canvas = augment(picture, config, np.random.default_rng(seed))
        middles = (canvas.boxes[:, :2] + canvas.boxes[:, 2:]) / 2
        assert canvas.landmarks[:, 0, :2] == pytest.approx(middles, abs=0.01)
        assert canvas.landmarks[..., 2].tolist() == [[2, 1]] * len(middles)


def test_the_box_follows_the_pixels() -> None:
    """The disc's own bounding box is measured in the view: an ellipse stays an ellipse under turns and zooms."""
    config = Augmentation(plain_share=0.0, turn_share=1.0, zoom_range=(0.7, 1.6), recolor_share=0.0)
    checked = 0
    for seed in range(30):
        canvas = augment(
            _picture((110, 70, 190, 130), (0, 0, 0)), config, np.random.default_rng(seed)
        )
        if len(canvas.boxes) != 1:
            continue
        width, height = (round(s * 384) for s in canvas.content_wh_rel)
        x1, y1, x2, y2 = canvas.boxes[0]
        if x1 < 3 or y1 < 3 or x2 > width - 3 or y2 > height - 3:
            continue
        bright = canvas.pixels[:height, :width].max(-1).astype(float)
        inner = bright[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1].max()
        rows, columns = np.nonzero(bright > (inner + 114) / 2)
        measured = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert canvas.boxes[0] == pytest.approx(measured, abs=4.0)
        checked += 1
    assert checked >= 8


def test_turning_and_flipping_rotate_the_truth() -> None:
    config = Augmentation(plain_share=0.0, turn_share=1.0)
    truth = ypr_to_matrix(np.array([20.0, 10.0, 30.0]))
    seen = set()
    for seed in range(12):
        canvas = augment(
            _picture((110, 70, 190, 130), (20, 10, 30)), config, np.random.default_rng(seed)
        )
        for rotation in canvas.rotations:
            for is_flipped in (False, True):
                back = mirror(rotation) if is_flipped else rotation
                relative = back @ truth.T  # a pure turn about the optical axis
                if relative[2, 2] == pytest.approx(1, abs=1e-4):
                    seen.add(is_flipped)
    assert seen == {False, True}


def test_unknown_pose_stays_unknown_and_empty_pictures_work() -> None:
    picture = _picture((110, 70, 190, 130), (0, 0, 0))
    unknown = LabelledPicture(
        picture.encoded,
        picture.boxes,
        np.full((1, 3, 3), np.nan, np.float32),
        picture.pose_weights,
        picture.attributes,
        picture.ignore,
    )
    config = Augmentation(plain_share=0.0, turn_share=1.0)
    assert np.isnan(augment(unknown, config, np.random.default_rng(0)).rotations).all()
    empty = LabelledPicture(
        picture.encoded,
        np.zeros((0, 4), np.float32),
        np.zeros((0, 3, 3), np.float32),
        np.zeros(0, np.float32),
        (),
        np.zeros((0, 4), np.float32),
    )
    assert augment(empty, config, np.random.default_rng(0)).boxes.shape == (0, 4)


def test_mosaic_puts_each_canvas_into_its_tile() -> None:
    config = Augmentation(image_size=192, plain_share=1.0)
    parts = [
        augment(_picture((60, 50, 120, 110), (0, 0, 0)), config, np.random.default_rng(seed))
        for seed in range(4)
    ]
    whole = mosaic(parts)
    assert whole.pixels.shape == (384, 384, 3)
    assert (whole.pixels[192:, :192] == parts[2].pixels).all()
    assert whole.boxes[1] == pytest.approx(parts[1].boxes[0] + [192, 0, 192, 0])
    assert whole.boxes[3] == pytest.approx(parts[3].boxes[0] + 192)
    assert len(whole.attributes) == 4
    nine = mosaic([parts[0]] * 9)
    assert nine.pixels.shape == (576, 576, 3)
    assert nine.boxes[5] == pytest.approx(parts[0].boxes[0] + [384, 192, 384, 192])

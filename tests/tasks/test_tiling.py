"""Tiles cover the picture, and what is found in them comes out once, in pixels of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headsight.errors import InputError
from headsight.language.codec import encode
from headsight.language.spec import CodecSpec
from headsight.picture import Picture
from headsight.tasks.heads import find_heads
from headsight.tasks.tiling import tile_count, views

HEADS = [(40, 60, 80, 110), (280, 150, 330, 210), (560, 300, 600, 340), (600, 20, 636, 60)]
"""The second and third lie across borders of some tile."""


def painted() -> Picture:
    image = Image.new("RGB", (640, 480))
    for number, box in enumerate(HEADS):
        image.paste((255, 40 * number, 0), box)
    return Picture(image)


def see(picture: Picture, prompt: str) -> str:
    """What a perfect model says: the box of every patch of red that fills most of itself."""
    if "yaw" in prompt:
        return "{010,000,000}"
    pixels = picture.to_array().astype(int)
    boxes = []
    for number in range(len(HEADS)):
        rows, columns = np.nonzero((pixels == (255, 40 * number, 0)).all(-1))
        if len(rows) > 9:
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return encode(boxes, CodecSpec("boxes"), image_wh=picture.image_wh)


@pytest.mark.parametrize("tiles", [1, 2, 3, 5, "auto"])
def test_every_head_once_in_pixels_of_the_whole(scripted, tiles) -> None:
    found = find_heads(scripted(see), painted(), tiles=tiles)
    assert len(found) == len(HEADS)
    # from left to right; a step of the text is at most 0.64 px, rounded and clipped
    np.testing.assert_allclose(found.boxes, sorted(HEADS), atol=1.3)
    np.testing.assert_allclose(found.poses, [[10, 0, 0]] * len(HEADS), atol=1e-9)
    assert found.image_wh == (640, 480)
    assert found.picture.image_wh == (640, 480)


def test_a_head_that_the_whole_view_misses(scripted) -> None:
    def near(picture: Picture, prompt: str) -> str:
        return "none" if picture.image_wh == (640, 480) else see(picture, prompt)

    found = find_heads(scripted(near), painted(), tiles=3)
    np.testing.assert_allclose(found.boxes, sorted(HEADS), atol=1.3)
    assert len(find_heads(scripted(near), painted())) == 0


def test_nothing_anywhere(scripted) -> None:
    found = find_heads(scripted(lambda *_: "none"), painted(), tiles=2)
    assert len(found) == 0
    assert len(found.exchanges) == 5  # the whole picture and 2 x 2 tiles


def test_without_poses(scripted) -> None:
    assert find_heads(scripted(see), painted(), tiles=2, poses=False).rotations is None


@given(st.integers(1, 300), st.integers(1, 300), st.one_of(st.integers(1, 8), st.just("auto")))
def test_tiles_cover_every_pixel(width: int, height: int, tiles) -> None:
    picture = Picture(Image.new("L", (width, height)).convert("RGB"))
    whole, *parts = views(picture, tiles)
    assert whole.picture is picture
    if not parts:
        return
    seen = np.zeros((height, width), bool)
    for part in parts:
        (x, y), (w, h) = part.offset_xy, part.picture.image_wh
        assert w > 0
        assert h > 0
        assert x + w <= width
        assert y + h <= height
        seen[y : y + h, x : x + w] = True
    assert seen.all()


@pytest.mark.parametrize(
    ("image_wh", "number"), [((639, 480), 1), ((1280, 720), 2), ((720, 1280), 2), ((9999, 50), 4)]
)
def test_auto(image_wh: tuple[int, int], number: int) -> None:
    assert tile_count("auto", image_wh) == number


@pytest.mark.parametrize("tiles", [0, -1, 9, 1.5, True, "many", None])
def test_other_values_are_refused(tiles) -> None:
    with pytest.raises(InputError, match=r"'auto' or a whole number from 1 .* to 8"):
        tile_count(tiles, (10, 10))

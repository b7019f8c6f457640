"""Drawing keypoints: colours by side, what is left out, and names that hide no point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from headsight.draw_keypoints import SIDE_COLORS, draw_keypoints, frame_object
from headsight.language.schema import KeypointSchema, KeypointText
from headsight.language.schema_library import schema

GREY = (90, 90, 90)
OWL = KeypointSchema(
    "owl",
    tuple(KeypointText(name, "") for name in ("left_eye", "right eye", "beak", "left of right")),
    ((0, 1),),
    ((0, 2), (2, 1)),
)
POINTS = np.array([[300.0, 100.0], [100.0, 100.0], [200.0, 200.0], [200.0, 300.0]])


def grey(image_wh: tuple[int, int] = (400, 400)) -> Image.Image:
    return Image.new("RGB", image_wh, GREY)


def color_at(image: Image.Image, point: np.ndarray) -> str:
    """The nearest colour of a side, or grey: thin lines are smoothed."""
    found = np.array(image.getpixel(tuple(int(v) for v in point)))
    known = {side: ImageColor.getrgb(color) for side, color in SIDE_COLORS.items()} | {"grey": GREY}
    return min(known, key=lambda name: float(np.abs(found - known[name]).sum()))


def test_sides_have_their_colours() -> None:
    picture = grey()
    drawn = draw_keypoints(picture, POINTS, OWL, names=False)
    assert [color_at(drawn, p) for p in POINTS] == ["left", "right", "middle", "middle"]
    assert color_at(drawn, np.array([250, 150])) == "middle"  # an edge between left and middle
    assert color_at(drawn, np.array([150, 150])) == "middle"
    assert color_at(drawn, np.array([200, 250])) == "grey"  # no edge there
    assert drawn.size == picture.size
    assert picture.getcolors() == [(160_000, GREY)]


def test_an_edge_of_one_side_has_its_colour() -> None:
    person = schema("person-17")
    points = np.full((17, 2), np.nan)
    points[[5, 7]] = [[50, 50], [50, 150]]
    drawn = draw_keypoints(grey(), points, person, names=False)
    assert color_at(drawn, np.array([50, 100])) == "left"


def test_what_is_not_visible_is_not_drawn() -> None:
    visible = np.array([True, False, True, True])
    drawn = draw_keypoints(grey(), POINTS, OWL, visible=visible)
    assert color_at(drawn, POINTS[1]) == "grey"
    assert color_at(drawn, np.array([150, 150])) == "grey"  # its edge
    nowhere = POINTS.copy()
    nowhere[1] = np.nan
    assert drawn.tobytes() == draw_keypoints(grey(), nowhere, OWL).tobytes()


def test_nothing_to_draw() -> None:
    drawn = draw_keypoints(grey(), POINTS, OWL, visible=np.zeros(4, bool))
    assert drawn.getcolors() == [(160_000, GREY)]


@pytest.mark.parametrize("image_wh", [(1400, 1000), (60, 40), (1, 1), (2200, 2000)])
def test_names_cover_no_point_at_any_size(image_wh: tuple[int, int]) -> None:
    face = schema("face-68")
    turns = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = (0.5 + 0.4 * np.stack([np.cos(turns), np.sin(turns)], 1)) * image_wh
    bare = draw_keypoints(grey(image_wh), points, face, names=False)
    named = draw_keypoints(grey(image_wh), points, face)
    assert [color_at(named, p) for p in points] == [color_at(bare, p) for p in points]
    changed = np.asarray(bare) != np.asarray(named)
    assert changed.any() == (image_wh != (1, 1))


def test_a_number_where_there_is_no_room_for_the_name() -> None:
    long_name = KeypointSchema("x", (KeypointText("n" * 60, ""),))
    narrow = grey((60, 60))
    named = draw_keypoints(narrow, np.array([[30.0, 30.0]]), long_name)
    bare = draw_keypoints(narrow, np.array([[30.0, 30.0]]), long_name, names=False)
    assert named.tobytes() != bare.tobytes()


def test_framed_points_lie_on_the_same_pixels() -> None:
    picture = grey((100, 100))
    picture.putpixel((50, 45), (255, 0, 0))
    part, moved = frame_object(picture, np.array([[40.0, 40.0], [60.0, 60.0]]), longer_px=300)
    assert part.size == (300, 300)  # 35 to 65: a quarter of 20 on each side, ten times as large
    np.testing.assert_allclose(moved, [[50, 50], [250, 250]])
    red = np.asarray(part).astype(int)[:, :, 0].argmax()
    assert divmod(int(red), 300) == pytest.approx((105, 155), abs=1)  # the middle of that pixel


def test_one_point_has_a_frame_too() -> None:
    part, moved = frame_object(grey(), np.array([[200.0, 200.0]]), longer_px=80)
    assert part.size == (80, 80)  # 4 px on each side of it
    np.testing.assert_allclose(moved, [[40, 40]])


@given(
    st.lists(st.tuples(st.floats(-20, 120), st.floats(-20, 70)), min_size=1, max_size=5),
    st.integers(1, 200),
)
def test_any_frame_is_a_picture(points: list[tuple[float, float]], longer_px: int) -> None:
    part, moved = frame_object(grey((100, 50)), np.array(points), longer_px=longer_px)
    assert max(part.size) == longer_px
    assert min(part.size) >= 1
    assert np.isfinite(moved).all()

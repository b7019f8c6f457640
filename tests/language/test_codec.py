from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.language.codec import CodecSpec, Failure, encode, parse, sort_boxes

BOXES, POSE, POINT, POINTS, COUNT = (
    CodecSpec(kind) for kind in ("boxes", "pose", "point", "points", "count")
)
HIDDEN = CodecSpec("point", visibility="ask")


def equal(value: Any, expected: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance)


# --- known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ypr", "text", "back"),
    [
        ((-45.4, 10.2, -0.4), "{315,010,000}", (-45, 10, 0)),
        ((179.6, 0, -0.6), "{180,000,359}", (180, 0, -1)),
        ((-45.4, 7.2, -0.4), "{315,007,000}", (-45, 7, 0)),
        ((359.7, -359.7, -180), "{000,000,180}", (0, 0, 180)),
    ],
)
def test_poses(ypr: Any, text: str, back: Any) -> None:
    assert encode(ypr, POSE) == text
    answer = parse(text, POSE)
    assert answer.strict
    assert (answer.kind, answer.failure) == ("pose", None)
    equal(answer.value, back)
    assert answer.flags == (frozenset({"gimbal"}) if back[2] == 180 else frozenset())


@pytest.mark.parametrize(
    ("box", "image_wh", "text", "back"),
    [
        ((10, 20, 110, 220), (640, 480), "[[016,042,172,458]]", (10.24, 20.16, 110.08, 219.84)),
        ((400, 150, 497, 295), (1280, 720), "[[312,208,388,410]]", None),
        ((-50, -9, 700, 480), (640, 480), "[[000,000,999,999]]", None),
    ],
)
def test_boxes(box: Any, image_wh: Any, text: str, back: Any) -> None:
    assert encode(box, BOXES, image_wh=image_wh) == text
    answer = parse(text, BOXES, image_wh=image_wh)
    assert answer.strict
    assert answer.value.shape == (1, 4)
    if back is not None:
        equal(answer.value[0], back)


@pytest.mark.parametrize(
    ("box", "point", "text"),
    [
        # Boxes x, y, w, h in a 640x480 picture, cleaned as CapeLLM does; side 79, 79, 79, 99.
        ((100, 50, 80, 40), (120, 60), "[0.253,0.380]"),
        ((100, 50, 80, 40), (100, 50), "[0.000,0.253]"),
        ((100, 50, 80, 40), (178.97, 69.5), "[0.999,0.500]"),
        ((-10, 0, 50, 100), (5, 7), "[0.303,0.071]"),
    ],
)
def test_points_in_a_crop(box: Any, point: Any, text: str) -> None:
    x, y, w, h = box
    x1, y1 = max(0, x), max(0, y)
    w, h = min(639, x1 + w - 1) - x1, min(479, y1 + h - 1) - y1
    if box[0] < 0:
        w = 49  # the notes keep 0..49 here
    corner = np.array((x1 + w / 2, y1 + h / 2)) - max(w, h) / 2
    assert encode((np.array(point) - corner) / max(w, h), CodecSpec("point", frame="crop")) == text


def test_borders_of_points() -> None:
    assert encode((0.9995, -0.0001), POINT) == "[0.999,0.000]"
    equal(parse("[0.253,0.380]", POINT).value, (0.253, 0.38))


def test_floored_text_is_read_at_the_middle_of_its_step() -> None:
    spec = CodecSpec("boxes", rounding="floor")
    text = encode((10, 20, 110, 220), spec, image_wh=(640, 480))
    assert text == "[[015,041,171,458]]"
    equal(parse(text, spec, image_wh=(640, 480)).value[0], (9.92, 19.92, 109.76, 220.08))


def test_no_box_and_hidden_point() -> None:
    assert encode(np.zeros((0, 4)), BOXES) == encode([], BOXES) == "none"
    answer = parse("none", BOXES)
    assert answer.strict
    assert (answer.kind, answer.value.shape) == ("none", (0, 4))
    assert encode(None, HIDDEN) == "none"
    hidden = parse(" none\n", HIDDEN)
    assert hidden.strict
    assert hidden.is_valid
    assert (hidden.value, hidden.span) == (None, (1, 5))


def test_count() -> None:
    assert encode(np.int64(17), COUNT) == "17"
    assert parse("17", COUNT).value == 17
    assert parse("17", COUNT).strict


def test_positions_of_every_item() -> None:
    text = " [[012,034,056,078;112,134,156,178]]\n"
    answer = parse(text, BOXES)
    assert text[slice(*answer.span)] == text.strip()
    assert [text[slice(*s)] for s in answer.item_spans] == ["012,034,056,078", "112,134,156,178"]
    points = parse("[0.100,0.200];[0.300,0.400]", POINTS)
    assert [points.text[slice(*s)] for s in points.item_spans] == ["[0.100,0.200]", "[0.300,0.400]"]
    equal(points.value, ((0.1, 0.2), (0.3, 0.4)))


@pytest.mark.parametrize("count", [1, 7, 8, 30])
def test_few_and_many_boxes_are_read_alike(count: int) -> None:
    rows = [(i, 10 + i, 500 + 7 * i, 999 - i) for i in range(count)]
    text = "[[" + ";".join(",".join(f"{q:03d}" for q in row) for row in rows) + "]]"
    answer = parse(text, BOXES, image_wh=(1000, 1000))
    equal(answer.value, rows, 1e-12)
    assert len(answer.item_spans) == count
    spoilt = parse(text.replace("999]", "001]").replace("999;", "001;"), BOXES)
    assert spoilt.failure is Failure.DEGENERATE


def test_other_numbers_of_digits() -> None:
    spec = CodecSpec("boxes", digits=4)
    text = encode((10, 20, 110, 220), spec, image_wh=(640, 480))
    assert text == "[[0156,0417,1719,4583]]"
    answer = parse(text, spec, image_wh=(640, 480))
    assert answer.strict
    assert answer.text[slice(*answer.item_spans[0])] == "0156,0417,1719,4583"
    assert parse("[0.25,0.38]", CodecSpec("point", digits=2)).strict


def test_expect_overrides_the_kind() -> None:
    assert parse("{315,010,000}", BOXES, expect="pose").strict
    assert parse("{315,010,000}", BOXES, expect="boxes").failure is Failure.WRONG_KIND


def test_order_of_boxes_is_left_to_right() -> None:
    boxes = np.array([[5, 1, 9, 9], [2, 7, 3, 9], [2, 3, 3, 9]], dtype=float)
    equal(sort_boxes(boxes), boxes[[2, 1, 0]])


# --- input that cannot be written ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "spec", "message"),
    [
        ((1, 2, 3), BOXES, "shape"),
        ((1, 2), POSE, "shape"),
        ([[1, 2, 3]], POSE, "shape"),
        ([[0.1, 0.2], [0.3, 0.4]], POINT, "shape"),
        (np.zeros((0, 2)), POINTS, "shape"),
        ("here", BOXES, "not a table of numbers"),
        (None, POINT, "shape"),
        ((0.5, 0.5, 0.5, 0.9), BOXES, "no area"),
        ((2, 2, 3, 3), BOXES, "no area inside"),
        ((0, 0, float("nan"), 1), BOXES, "no area"),
        ((float("nan"), 0), POINT, "not finite"),
        ((float("inf"), 0, 0), POSE, "not finite"),
        (3.5, COUNT, "whole number"),
        (True, COUNT, "whole number"),
        (-1, COUNT, "outside"),
        (10_000_000, COUNT, "outside"),
    ],
)
def test_bad_values_are_refused(value: Any, spec: CodecSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(value, spec)


# --- round trips --------------------------------------------------------------------------------


def test_every_text_of_one_number_round_trips() -> None:
    for q in range(999):
        text = f"[[{q:03d},000,999,{q + 1:03d}]]"
        assert encode(parse(text, BOXES).value, BOXES) == text
    for q in range(1000):
        text = f"[0.{q:03d},0.000]"
        assert encode(parse(text, POINT).value, POINT) == text
    for q in range(360):
        text = f"{{{q:03d},000,000}}"
        assert encode(parse(text, POSE).value, POSE) == text


@pytest.mark.parametrize("rounding", ["round", "floor"])
def test_random_values_come_back_within_half_a_step(rounding: Any) -> None:
    generator = np.random.default_rng(0)
    image_wh = np.array((1920, 1080))
    half = 0.5 / 1000 * image_wh + 1e-9
    sides = 0.01 + 0.4 * generator.random((100_000, 2))
    corner = generator.random((100_000, 2)) * (0.9985 - sides)
    boxes = np.concatenate((corner, corner + sides), -1) * np.tile(image_wh, 2)
    spec = CodecSpec("boxes", rounding=rounding)
    read = parse(encode(boxes, spec, image_wh=(1920, 1080)), spec, image_wh=(1920, 1080))
    assert read.strict
    assert (np.abs(read.value - boxes) <= np.tile(half, 2)).all()

    spec = CodecSpec("points", rounding=rounding)
    points = generator.random((100_000, 2)) * 0.9995
    read = parse(encode(points, spec), spec)
    assert read.strict
    assert (np.abs(read.value - points) <= 0.0005 + 1e-9).all()


@given(st.tuples(*[st.floats(-180, 180)] * 3))
def test_poses_come_back_within_half_a_degree(ypr: tuple[float, float, float]) -> None:
    answer = parse(encode(ypr, POSE), POSE)
    assert answer.strict
    error = (answer.value - np.array(ypr) + 180) % 360 - 180
    assert (np.abs(error) <= 0.5 + 1e-9).all()
    assert ((answer.value > -180) & (answer.value <= 180)).all()


@given(
    st.lists(st.tuples(*[st.floats(0, 639)] * 4), min_size=1, max_size=8),
    st.sampled_from(["round", "floor"]),
)
def test_any_box_with_area_is_strict_text(rows: list[Any], rounding: Any) -> None:
    boxes = np.array(
        [(min(a, c), min(b, d), max(a, c) + 0.1, max(b, d) + 0.1) for a, b, c, d in rows]
    )
    spec = CodecSpec("boxes", rounding=rounding)
    answer = parse(encode(boxes, spec, image_wh=(640, 640)), spec, image_wh=(640, 640))
    assert answer.strict
    # A box narrower than one step is widened to one, so an edge may move by a step and a half.
    assert np.abs(answer.value - boxes).max() <= 0.96 + 0.64


@given(st.integers(0, 9_999_999))
def test_counts_round_trip(count: int) -> None:
    assert parse(encode(count, COUNT), COUNT).value == count


# --- the kinds can be told apart ----------------------------------------------------------------


def test_no_strict_answer_begins_another() -> None:
    beginnings = {
        "boxes": {"[["},
        "pose": {f"{{{d}" for d in "0123"},
        "point": {"[0"},
        "count": {f"{a}{b}" for a, b in product("0123456789", ["", *"0123456789"])},
        "none": {"no"},
    }
    for (one, firsts), (other, seconds) in product(beginnings.items(), repeat=2):
        if one != other:
            assert not firsts & seconds

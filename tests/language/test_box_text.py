from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.language.box_text import parse_box_text


@pytest.mark.parametrize(
    "text",
    [
        "10,20,30.5,40",
        " 10, 20 ,30.5, 40\n",
        "[10,20,30.5,40]",
        "[[10 20 30.50 40]]",
        "10  20\t30.5 40.",
    ],
)
def test_boxes_that_a_user_may_type(text: str) -> None:
    assert parse_box_text(text, image_wh=(100, 100)).tolist() == [10, 20, 30.5, 40]


def test_a_box_over_the_border_is_cut() -> None:
    assert parse_box_text("-10,20,300,40", image_wh=(100, 100)).tolist() == [0, 20, 100, 40]
    assert parse_box_text("-10,20,300,40").tolist() == [-10, 20, 300, 40]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not four numbers"),
        ("10,20,30", "not four numbers"),
        ("10,20,30,40,50", "not four numbers"),
        ("10,20,nan,40", "not four numbers"),
        ("10,20,1e3,40", "not four numbers"),
        ("10,,20,30,40", "not four numbers"),
        ("a,b,c,d", "not four numbers"),
        ("9" * 1000, r"9\.\.\.' is not four numbers"),
        ("30,20,10,40", "no area"),
        ("10,20,10,40", "no area"),
        ("100,20,130,40", "outside the picture, which is 100 pixels wide and 90 high"),
        ("-30,20,-10,40", "outside the picture"),
    ],
)
def test_each_mistake_has_its_message(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_box_text(text, image_wh=(100, 90))


@given(st.text(max_size=50) | st.text(alphabet="0123456789.,- ", max_size=50))
def test_anything_typed_is_a_box_or_an_input_error(text: str) -> None:
    try:
        box = parse_box_text(text)
    except InputError:
        return
    assert box[0] < box[2]
    assert box[1] < box[3]


@pytest.mark.parametrize("unit", ["1", " ", ",", "1,", "[", "- "])
def test_time_is_linear(unit: str) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError):
        parse_box_text(unit * 100_000)
    assert time.perf_counter() - start < 1

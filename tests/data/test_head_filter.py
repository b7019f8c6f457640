from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headsight.data.head_filter import HeadFilter, filter_heads, shorter_sides
from headsight.data.heads import HeadSample
from headsight.errors import ConfigError


def sample(*boxes: tuple[float, ...], wh: tuple[int, int] = (980, 490)) -> HeadSample:
    array = np.array(boxes, float).reshape(-1, 4)
    return HeadSample(Path("a.jpg"), wh, array, np.full((len(array), 3, 3), np.nan))


def test_sides_are_measured_on_the_square_that_the_model_sees() -> None:
    """980 x 490 becomes 490 x 490: widths are halved, heights stay."""
    boxes = np.array([(0, 0, 20, 30), (0, 0, 40, 12)], float)
    np.testing.assert_allclose(shorter_sides(boxes, (980, 490), 490), [10, 12])
    assert shorter_sides(np.zeros((0, 4)), (980, 490), 490).shape == (0,)


def test_small_heads_and_those_too_many_are_ignored_not_lost() -> None:
    given = sample(
        (0, 0, 13.9, 90), (0, 0, 14, 90), (0, 0, 60, 60), (100, 0, 160, 60), (0, 0, 50, 9)
    )
    kept = filter_heads(given, HeadFilter(most_heads=2))
    # half a patch is 7 px of 490, so 14 px of the width of 980; then the two largest
    np.testing.assert_array_equal(kept.boxes, given.boxes[[2, 3]])
    np.testing.assert_array_equal(kept.ignore, given.boxes[[0, 1, 4]])
    assert kept.left_out == {"small": 1, "too many": 2}
    assert len(kept.rotations) == 2


def test_of_equal_heads_the_first_are_kept_and_order_stays() -> None:
    given = sample(*[(x, 0, x + 30, 30) for x in (300, 0, 200, 100)])
    kept = filter_heads(given, HeadFilter(most_heads=3))
    assert kept.boxes[:, 0].tolist() == [300, 0, 200]


def test_nothing_to_filter() -> None:
    kept = filter_heads(sample(), HeadFilter())
    assert kept.boxes.shape == (0, 4)
    assert kept.left_out == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_px": 0},
        {"most_heads": 0},
        {"min_box_px": -1},
        {"min_box_px": 20},
        {"min_pose_px": 3},
    ],
)
def test_rules_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"must (be 1|hold)"):
        HeadFilter(**wrong)

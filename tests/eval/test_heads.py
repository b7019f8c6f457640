from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headsight.data.heads import HeadSample
from headsight.detections import Detections, Exchange
from headsight.eval.heads import Judged, judge, summarise
from headsight.geometry.rotations import ypr_to_matrix


def rotations(*ypr: Any) -> Any:
    return ypr_to_matrix(np.array(ypr, dtype=float).reshape(-1, 3))


def sample(boxes: Any, ypr: Any = None, **more: Any) -> HeadSample:
    array = np.array(boxes, dtype=float).reshape(-1, 4)
    poses = np.full((len(array), 3, 3), np.nan) if ypr is None else rotations(*ypr)
    return HeadSample(Path("a.jpg"), (400, 400), array, poses, **more)


def found(boxes: Any, scores: Any, ypr: Any = None, failures: tuple[Any, ...] = ()) -> Detections:
    array = np.array(boxes, dtype=float).reshape(-1, 4)
    return Detections(
        array,
        np.array(scores, dtype=float),
        np.zeros(len(array), np.int64),
        ("head",),
        (400, 400),
        rotations=None if ypr is None else rotations(*ypr),
        exchanges=tuple(Exchange("q", "a", reading) for reading in failures),
    )


BIG, SMALL, FAR = [0, 0, 100, 100], [200, 200, 230, 230], [300, 300, 350, 350]
NAN = (np.nan,) * 3


def test_poses_follow_their_boxes() -> None:
    """The detections come in neither the order of the truth nor that of their scores."""
    truth = sample([BIG, SMALL], [(10, 0, 0), (170, 0, 0)])
    seen = judge(
        found([SMALL, FAR, BIG], [0.2, 0.1, 0.9], [(175, 0, 0), (0, 0, 0), (40, 0, 0)]), truth
    )
    assert seen.match.truth.tolist() == [0, 1, -1]
    assert seen.is_found.tolist() == [True, True]
    np.testing.assert_array_equal(seen.read_rotations, rotations((40, 0, 0), (175, 0, 0)))
    np.testing.assert_array_equal(seen.sizes, [100, 30])


def test_figures_worked_by_hand() -> None:
    """Two heads, one found 30 degrees off in yaw, one missed; one false positive of lower score.

    Recall 1/2 at precision 1: 51 of 101 points. Mean angle error 30 / 3 = 10; with the miss at 90: (10 + 90) / 2.
    """
    truth = sample([BIG, SMALL], [(10, 0, 0), (170, 0, 0)])
    result = summarise(
        [judge(found([BIG, FAR], [0.9, 0.1], [(40, 0, 0), (0, 0, 0)]), truth)], resamples=0
    )
    expected = {
        "pictures": 1, "heads": 2, "ap50": 51 / 101, "recall": 0.5, "precision": 0.5, "yaw": 30, "pitch": 0,
        "roll": 0, "mae": 10, "geodesic_mean": 30, "geodesic_median": 30, "narrow_mae": 10, "posed_heads": 2,
        "mae_penalised": 50,
    }  # fmt: skip
    assert {k: result[k] for k in expected} == pytest.approx(expected, abs=1e-9)
    assert "interval" not in result


def test_errors_go_round_the_circle_and_narrow_leaves_backs_out() -> None:
    """Errors 10 (across the seam) and 6 in yaw: mean of all angles 16 / 6, within 99 degrees 6 / 3."""
    truth = sample([BIG, SMALL], [(175, 0, 0), (-20, 0, 0)])
    result = summarise(
        [judge(found([BIG, SMALL], [1, 1], [(-175, 0, 0), (-14, 0, 0)]), truth)], resamples=0
    )
    assert result["yaw"] == pytest.approx(8)
    assert result["mae"] == pytest.approx(16 / 6)
    assert result["narrow_mae"] == pytest.approx(2)


def test_an_unread_pose_is_left_out_of_the_mean_and_penalised() -> None:
    truth = sample([BIG, SMALL], [(0, 0, 0), (0, 0, 0)])
    result = summarise([judge(found([BIG, SMALL], [1, 1], [(0, 0, 3), NAN]), truth)], resamples=0)
    assert result["recall"] == 1
    assert result["mae"] == pytest.approx(1)
    assert result["mae_penalised"] == pytest.approx((1 + 90) / 2)


def test_nothing_read_is_the_whole_penalty() -> None:
    result = summarise([judge(found([BIG], [1]), sample([BIG], [(0, 0, 0)]))], resamples=0)
    assert np.isnan(result["mae"])
    assert result["mae_penalised"] == 90


def test_without_labelled_poses_there_are_none_to_penalise() -> None:
    result = summarise([judge(found([BIG], [1], [(0, 0, 0)]), sample([BIG]))], resamples=10)
    assert result["posed_heads"] == 0
    assert np.isnan(result["mae_penalised"])
    assert set(result["interval"]) == {"ap50", "recall"}


def test_a_detection_in_an_ignored_place_counts_neither_way() -> None:
    truth = sample([BIG], ignore=np.array([FAR], dtype=float))
    result = summarise([judge(found([BIG, FAR], [0.5, 0.9]), truth)], resamples=0)
    assert (result["ap50"], result["precision"]) == (1, 1)


def test_a_small_detection_without_a_match_counts_neither_way() -> None:
    truth = sample([BIG, SMALL])
    seen = judge(found([BIG, SMALL, FAR], [0.9, 0.8, 0.7]), truth, min_size=60)
    assert seen.match.truth.tolist() == [0, 1, -1]
    assert seen.match.is_ignored.tolist() == [False, False, True]
    assert not judge(found([FAR], [0.7]), truth, min_size=50).match.is_ignored.any()


def test_recall_by_size() -> None:
    """Sides 20, 30, 60 and 100: one a bin; the two in the middle are found."""
    boxes = [[0, 0, 20, 20], [100, 0, 130, 30], [200, 0, 260, 60], [300, 0, 400, 100]]
    result = summarise([judge(found(boxes[1:3], [1, 1]), sample(boxes))], resamples=0)
    rows = result["recall_by_size"]
    assert [(r["heads"], r["recall"]) for r in rows.values()] == [
        (4, 0.5),
        (1, 0),
        (1, 1),
        (1, 1),
        (1, 0),
    ]


def test_the_limits_of_a_size_belong_to_the_larger() -> None:
    result = summarise([judge(found([], []), sample([[0, 0, 24, 24]]))], resamples=0)
    assert result["recall_by_size"]["24-48 px"]["heads"] == 1
    assert np.isnan(result["recall_by_size"]["under 24 px"]["recall"])


LANDMARKS = [100, 100, 200, 200]


@pytest.mark.parametrize(
    ("box", "is_found"),
    [
        ([100, 100, 200, 200], True),
        ([100, 100, 170, 200], True),  # covers 0.70
        ([100, 100, 169, 200], False),
        ([50, 0, 250, 400], True),  # 80,000 px2: 8 times the area
        ([50, 0, 251, 400], False),
    ],
)
def test_a_head_around_landmarks(box: list[int], is_found: bool) -> None:
    seen = judge(found([box], [0.5]), sample([LANDMARKS], [(0, 0, 0)], box_kind="landmarks"))
    assert seen.is_found.tolist() == [is_found]


@pytest.mark.parametrize(
    ("box", "is_found"),
    [
        ([40, 40, 110, 120], True),
        ([0, 0, 200, 200], True),
        ([150, 40, 230, 120], False),  # half outside
        ([90, 90, 130, 130], False),  # a nose
    ],
)
def test_a_head_in_a_wide_box(box: list[int], is_found: bool) -> None:
    truth = sample([0, 0, 200, 200], box_kind="around")
    assert judge(found([box], [0.5]), truth).is_found.tolist() == [is_found]


def test_landmarks_take_the_best_cover_then_the_best_score() -> None:
    truth = sample([LANDMARKS], [(0, 0, 0)], box_kind="landmarks")
    part, whole, wide = [100, 100, 175, 200], [90, 90, 210, 210], [80, 80, 220, 220]
    seen = judge(
        found([part, whole, wide], [0.9, 0.3, 0.6], [(1, 0, 0), (2, 0, 0), (3, 0, 0)]), truth
    )
    np.testing.assert_array_equal(seen.read_rotations, rotations((3, 0, 0)))
    assert seen.match.scores.tolist() == [0.9, 0.6, 0.3]
    assert seen.match.truth.tolist() == [-1, 0, -1]


def test_one_detection_is_not_two_heads() -> None:
    truth = sample([LANDMARKS, [110, 110, 190, 190]], box_kind="landmarks")
    seen = judge(found([[90, 90, 210, 210]], [1]), truth)
    assert seen.is_found.sum() == 1


def test_answers_are_counted_by_kind_and_failure() -> None:
    readings = (
        {"asked": "boxes"},
        {"asked": "pose", "failure": None},
        {"asked": "pose", "failure": "range"},
        {"asked": "pose", "failure": "range"},
        {"asked": "pose", "failure": "empty"},
    )
    result = summarise([judge(found([], [], failures=readings), sample([]))], resamples=0)
    assert result["answers"] == {
        "boxes": {"asked": 1, "not_strict": 0, "failures": {}},
        "pose": {"asked": 4, "not_strict": 0.75, "failures": {"range": 2, "empty": 1}},
    }


def test_nothing_at_all() -> None:
    result = summarise([judge(found([], []), sample([]))], resamples=20)
    assert result["ap50"] == -1
    assert np.isnan(result["recall"])
    assert np.isnan(result["precision"])
    assert summarise([])["pictures"] == 0


def test_the_interval_holds_the_figure_and_repeats() -> None:
    """Half of 40 pictures are found: recall 0.5; its bootstrap spread is about sqrt(0.25 / 40) = 0.08."""
    judged: list[Judged] = [
        judge(found([BIG] if i % 2 else [], [0.5] if i % 2 else []), sample([BIG]))
        for i in range(40)
    ]
    first, again = (summarise(judged, resamples=300, seed=1) for _ in range(2))
    assert first["interval"] == again["interval"]
    low, high = first["interval"]["recall"]
    assert 0.3 < low < 0.4 < 0.6 < high < 0.7
    assert summarise(judged, resamples=300, seed=2)["interval"] != first["interval"]

"""Head pose by asking: figures by hand, bad answers by kind, and refusing never wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.data.heads import HeadSample
from headsight.eval.vlm_headpose import evaluate, mae_reduction
from headsight.geometry.rotations import ypr_to_matrix
from headsight.grounder import Grounder

WH = (1000, 500)
LEFT, RIGHT = (100, 100, 300, 300), (600, 100, 800, 300)
BOTH = "[[100,200,300,600;600,200,800,600]]"


def dataset(
    tmp_path: Path, *poses: Sequence[tuple[float, float, float]], **more: Any
) -> list[HeadSample]:
    """A picture each, of heads (LEFT, RIGHT, ...) with these yaw, pitch, roll."""
    samples = []
    for number, heads in enumerate(poses):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", WH).save(path)
        boxes = np.array([LEFT, RIGHT], np.float64)[: len(heads)]
        rotations = np.asarray(ypr_to_matrix(np.array(heads, np.float64).reshape(-1, 3)))
        samples.append(HeadSample(path, WH, boxes, rotations, **more))
    return samples


@pytest.fixture
def asked(scripted: Callable) -> Callable[..., Grounder]:
    """A model that says `boxes` where heads are, and `poses` one after the other."""

    def make(boxes: str, poses: Sequence[str]) -> Grounder:
        rest = iter(poses)
        return Grounder(scripted(lambda _, p: boxes if "every human head" in p else next(rest)))

    return make


def test_figures_by_hand_in_true_boxes(asked: Callable, tmp_path: Path) -> None:
    """Yaw 30 and 9 off, pitch 0 and 6, roll 0: MAE (10 + 5) / 2; the second head looks away."""
    data = dataset(tmp_path, [(10, 0, 0), (170, 0, 0)])
    result = evaluate(asked(BOTH, ["{040,000,000}", "{179,006,000}"]), data, boxes="gt")
    full, narrow = result["pose"]["full"], result["pose"]["narrow"]
    assert full["yaw"] == pytest.approx(19.5)
    assert full["mae"] == full["mae_penalised"] == pytest.approx(7.5)
    assert (narrow["heads"], narrow["mae"]) == (1, pytest.approx(10))
    assert result["boxes"]["recall"] == result["boxes"]["precision"] == 1
    assert result["boxes"]["mean_iou"] == pytest.approx(1)
    assert (result["pose"]["missed"], result["pose"]["unread"]) == (0, 0)
    assert result["confusion"] == {"boxes": {"boxes": 1}, "pose": {"pose": 2}}


def test_bad_answers_are_counted_by_kind(asked: Callable, tmp_path: Path) -> None:
    """Known answer 5: four of five are not strict; one is a perfectly good box."""
    answers = ["{315,007,000}", "[[312,208,388,410]]", "{315,007}", "", "{[[315,007,000]]}"]
    data = dataset(tmp_path, *[[(-45, 7, 0)]] * 5)
    result = evaluate(asked("[[100,200,300,600]]", answers), data)
    invalid = result["invalid"]["pose"]
    assert invalid["strict_invalid"] == pytest.approx(4 / 5)
    assert invalid["swapped"] == invalid["blended"] == pytest.approx(1 / 5)
    assert invalid["failures"] == {"wrong_kind": 1, "wrong_arity": 1, "empty": 1, "blended": 1}
    assert result["confusion"]["pose"] == {
        "pose": 1, "boxes": 1, "wrong_arity": 1, "empty": 1, "blended": 1,
    }  # fmt: skip
    pose = result["pose"]
    assert pose["unread"] == 4
    assert pose["full"]["mae"] == pytest.approx(0, abs=1e-9)
    assert pose["full"]["mae_penalised"] == pytest.approx(4 * 90 / 5)
    assert pose["full"]["geodesic_penalised"] == pytest.approx(72)


def test_refusing_the_hard_heads_helps_only_where_it_is_told(
    asked: Callable, tmp_path: Path
) -> None:
    data = dataset(tmp_path, [(0, 0, 0), (180, 0, 0)])
    honest = evaluate(asked(BOTH, ["{000,000,000}", "{120,000,000}"]), data)["pose"]["full"]
    coy = evaluate(asked(BOTH, ["{000,000,000}", "I cannot tell"]), data)["pose"]["full"]
    assert coy["mae"] < honest["mae"]
    assert coy["mae_penalised"] > honest["mae_penalised"]


def test_own_boxes_are_matched_one_to_one(asked: Callable, tmp_path: Path) -> None:
    """Two boxes on the left head, none on the right: one is false, one head is missed.

    The matched one is 200 x 200 against 200 x 180: IoU 0.9.
    """
    data = dataset(tmp_path, [(10, 0, 0), (20, 0, 0)])
    boxes = "[[100,200,300,560;200,200,400,560]]"
    result = evaluate(asked(boxes, ["{010,000,000}", "{100,000,000}"]), data, boxes="own")
    found = result["boxes"]
    assert (found["recall"], found["precision"]) == (0.5, 0.5)
    assert found["mean_iou"] == pytest.approx(0.9)
    assert found["mean_iou_penalised"] == pytest.approx(0.45)
    pose = result["pose"]
    assert (pose["missed"], pose["unread"], pose["heads"]) == (1, 0, 2)
    assert pose["full"]["mae_penalised"] == pytest.approx((pose["full"]["mae"] + 90) / 2)


def test_poses_of_others_are_not_taken_for_the_matched_head(
    asked: Callable, tmp_path: Path
) -> None:
    """The boxes come right head first; the poses must follow them."""
    data = dataset(tmp_path, [(10, 0, 0), (50, 0, 0)])
    boxes = "[[600,200,800,600;100,200,300,600]]"
    result = evaluate(asked(boxes, ["{050,000,000}", "{010,000,000}"]), data, boxes="own")
    assert result["pose"]["full"]["mae"] == pytest.approx(0, abs=1e-9)


def test_heads_without_a_label_are_not_asked_about(asked: Callable, tmp_path: Path) -> None:
    [sample] = dataset(tmp_path, [(10, 0, 0), (20, 0, 0)])
    sample.rotations[0] = np.nan
    result = evaluate(asked(BOTH, ["{020,000,000}"]), [sample])
    assert result["pose"]["heads"] == 1
    assert result["pose"]["full"]["mae"] == pytest.approx(0, abs=1e-9)
    assert result["boxes"]["heads"] == 2


def test_boxes_of_landmarks_have_no_iou(asked: Callable, tmp_path: Path) -> None:
    data = dataset(tmp_path, [(10, 0, 0)], box_kind="landmarks")
    result = evaluate(asked("[[080,150,320,620]]", ["{010,000,000}"]), data)
    assert result["boxes"]["recall"] == 1
    assert np.isnan(result["boxes"]["mean_iou"])


def test_a_model_that_finds_no_boxes(asked: Callable, tmp_path: Path) -> None:
    data = dataset(tmp_path, [(10, 0, 0)])
    result = evaluate(asked("never", ["{010,000,000}"]), data, finds_boxes=False)
    assert result["boxes"] is None
    assert result["confusion"] == {"pose": {"pose": 1}}


def test_nothing_to_measure(asked: Callable) -> None:
    result = evaluate(asked("", []), [])
    assert result["pictures"] == 0
    assert np.isnan(result["pose"]["full"]["mae"])
    assert result["boxes"] is None
    assert result["confusion"] == {}


def test_intervals_hold_the_figure_and_are_those_of_pictures(
    asked: Callable, tmp_path: Path
) -> None:
    data = dataset(tmp_path, *[[(yaw, 0, 0)] for yaw in (0, 10, 20, 30)])
    result = evaluate(asked("[[100,200,300,600]]", ["{000,000,000}"] * 4), data, seed=1)
    low, high = result["pose"]["interval"]["mae"]
    assert result["pose"]["full"]["mae"] == pytest.approx(5)
    assert 0 <= low < 5 < high <= 10
    again = evaluate(asked("[[100,200,300,600]]", ["{000,000,000}"] * 4), data, seed=1)
    assert again["pose"]["interval"] == result["pose"]["interval"]
    assert evaluate(asked(BOTH, ["{000,000,000}"] * 4), data, resamples=0)["pose"]["interval"] == {}


def test_a_crowd_counts_neither_way(asked: Callable, tmp_path: Path) -> None:
    [sample] = dataset(tmp_path, [(10, 0, 0)])
    sample = replace(sample, ignore=np.array([RIGHT], np.float64))
    result = evaluate(asked(BOTH, ["{010,000,000}", "{000,000,000}"]), [sample], boxes="own")
    assert result["boxes"]["precision"] == 1


def test_the_published_reduction() -> None:
    """Known answer 4: 31.5 % less than 10.0 is 6.85."""
    assert mae_reduction(6.85, 10.0) == pytest.approx(0.315)
    assert mae_reduction(12.0, 10.0) == pytest.approx(-0.2)
    assert np.isnan(mae_reduction(1.0, 0.0))

"""Changes in pairs, forgetting and backward transfer, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import AnnotationError, InputError
from headsight.eval.forgetting import backward_transfer, forgetting, paired_change
from headsight.eval.item_scores import Scores, box_scores, pose_scores
from headsight.geometry.rotations import ypr_to_matrix

NAN = float("nan")


def scores(*values: float, better: str = "higher", pictures: int = 0) -> Scores:
    names = tuple(f"i{k}" for k in range(len(values)))
    groups = tuple(f"p{k % pictures}" for k in range(len(values))) if pictures else names
    return Scores(names, groups, np.array(values, np.float64), better)  # type: ignore[arg-type]


def test_a_loss_everywhere_is_forgetting_whichever_way_is_better() -> None:
    old, new = scores(*[0.8] * 20), scores(*[0.5] * 20)
    change = paired_change(old, new)
    assert change.verdict == "forgot"
    assert change.change == pytest.approx(-0.3)
    assert change.interval == pytest.approx((-0.3, -0.3))
    degrees = paired_change(
        scores(*[8.0] * 20, better="lower"), scores(*[5.0] * 20, better="lower")
    )
    assert degrees.verdict == "gained"


def test_losses_and_gains_that_cancel_are_no_change() -> None:
    old = scores(*[0.5] * 20)
    new = scores(*[0.4, 0.6] * 10)
    change = paired_change(old, new)
    assert change.verdict == "no clear change"
    assert change.interval is not None
    assert change.interval[0] < 0 < change.interval[1]


def test_pairing_finds_what_two_separate_intervals_would_not() -> None:
    """Items differ far more among each other than before and after."""
    rng = np.random.default_rng(0)
    easy = rng.uniform(0, 1, 40)
    change = paired_change(scores(*easy), scores(*(easy - 0.02)))
    assert easy.std() > 0.2
    assert change.verdict == "forgot"


def test_the_order_of_items_does_not_matter() -> None:
    old = scores(*range(20))
    turned = Scores(old.items[::-1], old.groups[::-1], old.values[::-1].copy(), "higher")
    change = paired_change(old, turned)
    assert change.change == 0
    assert change.verdict == "no clear change"


def test_pictures_are_drawn_not_heads() -> None:
    """Of 160 heads in twenty pictures the eight of one change: twenty draws, not 160."""
    values = [0.0] * 160
    changed = [-1.0 if k % 20 == 0 else 0.0 for k in range(160)]
    by_picture = paired_change(scores(*values, pictures=20), scores(*changed, pictures=20))
    by_head = paired_change(scores(*values), scores(*changed))
    assert by_picture.verdict == "no clear change"
    assert by_head.verdict == "forgot"


def test_answers_that_became_unreadable_are_counted() -> None:
    change = paired_change(scores(1, 1, 1, 1, 1, 1), scores(2, NAN, 2, 2, 2, 2))
    assert (change.items, change.lost) == (5, 1)
    assert change.before == 1
    nothing = paired_change(scores(NAN, 1), scores(1, NAN))
    assert nothing.verdict == "too few pictures"
    assert nothing.lost == 1


def test_a_handful_of_pictures_decides_nothing() -> None:
    change = paired_change(scores(*[1.0] * 40, pictures=19), scores(*[0.0] * 40, pictures=19))
    assert change.verdict == "too few pictures"
    assert change.interval is None
    assert change.change == -1


def test_other_items_are_refused() -> None:
    with pytest.raises(InputError, match="in one only: i2"):
        paired_change(scores(1, 2), scores(1, 2, 3))
    with pytest.raises(InputError, match="better"):
        paired_change(scores(1), scores(1, better="lower"))


def test_forgetting_is_measured_from_the_best_so_far() -> None:
    """Skill 0: best .8, then .5 and .6. Skill 1 is not measured at first, then only grows."""
    table = np.array([[0.8, NAN], [0.5, 0.3], [0.6, 0.9]])
    np.testing.assert_allclose(forgetting(table), [[0, NAN], [0.3, 0], [0.2, 0]], atol=1e-12)


def test_backward_transfer_leaves_out_what_was_learned_last() -> None:
    """(.6 - .8 + .9 - .3) / 2; the third skill was learned last."""
    table = np.array([[0.8, 0.0, 0.0], [0.5, 0.3, 0.0], [0.6, 0.9, 0.7]])
    assert backward_transfer(table, [0, 1, 2]) == pytest.approx(0.2)
    assert np.isnan(backward_transfer(table[:1], [0, 0, 0]))
    with pytest.raises(InputError, match="3 stages"):
        backward_transfer(table, [0, 1])


@given(st.lists(st.lists(st.floats(-10, 10), min_size=2, max_size=2), min_size=1, max_size=6))
def test_forgetting_is_never_negative_and_zero_at_the_best(rows: list[list[float]]) -> None:
    table = np.array(rows, np.float64)
    lost = forgetting(table)
    assert (lost >= 0).all()
    assert (lost[table.argmax(0), [0, 1]] == 0).all()


def test_scores_survive_json() -> None:
    old = scores(0.25, NAN, 1)
    again = Scores.from_dict(old.to_dict())
    np.testing.assert_array_equal(again.values, old.values)
    assert (again.items, again.groups, again.better) == (old.items, old.groups, old.better)
    with pytest.raises(AnnotationError, match="groups"):
        Scores.from_dict({**old.to_dict(), "groups": ["a"]})
    with pytest.raises(AnnotationError, match="KeyError"):
        Scores.from_dict({"items": []})


def test_scores_of_boxes_and_poses_by_hand() -> None:
    boxes = box_scores(["a", "b"], [np.array([0.8, 0.0]), np.array([1.0])], [2, 0])
    assert boxes["recall"].values.tolist() == [1, 0, 1]
    assert boxes["mean_iou"].mean == pytest.approx(0.6)
    assert boxes["false_boxes"].items == ("a", "b")
    truth = np.asarray(ypr_to_matrix(np.array([[10.0, 0, 0], [0, 0, 0]])))
    read = np.asarray(ypr_to_matrix(np.array([[40.0, 0, 0], [NAN] * 3])))
    poses = pose_scores(["a"], [read], [truth])
    assert poses["mae"].values[0] == pytest.approx(10)
    assert np.isnan(poses["mae"].values[1])
    assert poses["mae_penalised"].values.tolist() == pytest.approx([10, 90])
    assert poses["geodesic_penalised"].values.tolist() == pytest.approx([30, 90])
    assert poses["mae"].items == ("a#0", "a#1")


def test_items_and_whole_pictures_can_be_left_out() -> None:
    boxes = box_scores(["a", "b"], [np.array([0.8, 0.0]), np.array([1.0])], [2, 0])
    assert boxes["recall"].without({"a"}).items == ("b#0",)
    assert boxes["recall"].without({"a#1"}).items == ("a#0", "b#0")

"""PCK and its family: the worked answers of MP-100's protocol, properties, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.eval.pck import THRESHOLDS, auc, pck, pck_scores

TRUTH = np.array([[[10.0, 20], [50, 60], [30, 30], [80, 10], [0, 0]]])
OFFSETS = np.array([[[0.0, 0], [3, 3], [10, 10], [18, 18], [90, 0]]])
VISIBLE = np.array([[True, True, True, True, False]])
L100 = np.array([100.0])


def test_the_worked_instance() -> None:
    """d = 0, sqrt(18) / 100 = .0424, .1414, .2546; the hidden offset of 90 px changes nothing."""
    found = pck(TRUTH + OFFSETS, TRUTH, VISIBLE, L100)
    assert found.pck == {0.05: 0.5, 0.10: 0.5, 0.15: 0.75, 0.20: 0.75, 0.25: 0.75}
    assert found.mpck == pytest.approx(0.65, abs=1e-15)
    assert found.nme == pytest.approx((np.sqrt(18) + np.sqrt(200) + np.sqrt(648)) / 400, abs=1e-15)
    assert found.nme == pytest.approx(0.10960, abs=5e-6)
    assert found.epe == pytest.approx(10.960, abs=5e-4)
    assert (found.instances, found.points, found.missed, found.dropped) == (1, 4, 0, 0)


def test_an_invisible_point_changes_nothing() -> None:
    anything = [
        pck(np.where(VISIBLE[..., None], TRUTH + OFFSETS, x), TRUTH, VISIBLE, L100, resamples=0)
        for x in (0.0, 1e9, np.nan)
    ]
    assert anything[0] == anything[1] == anything[2]


def test_a_perfect_prediction() -> None:
    """Nothing is nearer than 0, so that the first of mmpose's twenty thresholds has no hit."""
    found = pck(TRUTH, TRUTH, VISIBLE, L100)
    assert set(found.pck.values()) == {1.0}
    assert (found.nme, found.epe) == (0, 0)
    assert found.auc == {"mmpose": 0.95, "trapezoid": 1.0}
    assert auc(TRUTH, TRUTH, VISIBLE, L100) == 0.95
    assert auc(TRUTH, TRUTH, VISIBLE, L100, definition="trapezoid") == 1


def test_the_threshold_itself_is_a_miss() -> None:
    """5 px and 20 px of 100: exactly 0.05 and 0.20."""
    truth = np.zeros((1, 3, 2))
    off = np.array([[[0.0, 0], [3, 4], [12, 16]]])
    found = pck(off, truth, np.ones((1, 3), bool), L100).pck
    assert found == {0.05: 1 / 3, 0.10: 2 / 3, 0.15: 2 / 3, 0.20: 2 / 3, 0.25: 1.0}


def test_the_area_by_hand() -> None:
    """d = 0.5: 9 of the thresholds 0 to 0.95 are larger; by lines 9.5 / 20. d = 1 or more: none."""
    truth, seen = np.zeros((1, 1, 2)), np.ones((1, 1), bool)
    for d, mmpose, lines in ((50, 9 / 20, 9.5 / 20), (100, 0, 0), (99, 0, 0.5 / 20), (250, 0, 0)):
        found = pck(truth + np.array([d, 0]), truth, seen, L100).auc
        assert found == pytest.approx({"mmpose": mmpose, "trapezoid": lines}, abs=1e-15)


def test_means_are_over_instances() -> None:
    """One right of one, none right of nine: 0.5, not 0.1."""
    truth = [np.zeros((1, 2)), np.zeros((9, 2))]
    said = [np.zeros((1, 2)), np.full((9, 2), 99.0)]
    seen = [np.ones(n, bool) for n in (1, 9)]
    found = pck(said, truth, seen, np.array([100.0, 100]), categories=["a", "b"])
    assert found.pck[0.2] == 0.5
    assert found.per_category["a"]["pck@0.2"] == 1
    assert found.per_category["b"] == pytest.approx(
        {
            **{f"pck@{t:g}": 0 for t in THRESHOLDS},
            "instances": 1, "mpck": 0, "auc_mmpose": 0, "auc_trapezoid": 0,
            "nme": 0.99 * np.sqrt(2), "epe": 99 * np.sqrt(2),
        }
    )  # fmt: skip


def test_an_instance_without_a_labelled_point_is_dropped_or_is_zero() -> None:
    truth, seen = np.zeros((2, 1, 2)), np.array([[True], [False]])
    sizes = np.array([10.0, 10])
    found = pck(truth, truth, seen, sizes)
    assert (found.pck[0.2], found.instances, found.dropped) == (1, 1, 1)
    official = pck(truth, truth, seen, sizes, compat=True)
    assert (official.pck[0.2], official.mpck, official.instances, official.dropped) == (
        0.5,
        0.5,
        2,
        1,
    )
    assert (official.nme, official.auc["mmpose"]) == (0, 0.475)


def test_a_point_without_an_answer_is_a_miss_and_has_no_distance() -> None:
    """Two of three read, 10 and 0 px off; the third counts in PCK and AUC alone."""
    truth = np.zeros((1, 3, 2))
    said = np.array([[[10.0, 0], [0, 0], [np.nan, np.nan]]])
    found = pck(said, truth, np.ones((1, 3), bool), L100, categories=["a"], names=[("x", "y", "z")])
    assert found.pck == {0.05: 1 / 3, 0.10: 1 / 3, 0.15: 2 / 3, 0.20: 2 / 3, 0.25: 2 / 3}
    assert (found.epe, found.nme, found.missed) == (5, 0.05, 1)
    assert found.auc["trapezoid"] == pytest.approx((1 + 17.5 / 20) / 3)
    assert found.per_keypoint["a"]["z"] == {
        "points": 1, "missed": 1, **{f"pck@{t:g}": 0 for t in THRESHOLDS}
    }  # fmt: skip


def test_an_instance_without_any_answer_has_no_nme() -> None:
    truth = np.zeros((2, 1, 2))
    said = np.array([[[5.0, 0]], [[np.nan, np.nan]]])
    found = pck(said, truth, np.ones((2, 1), bool), np.array([100.0, 100]))
    assert (found.pck[0.1], found.epe) == (0.5, 5)
    none = pck(said[1:], truth[1:], np.ones((1, 1), bool), L100)
    assert none.pck[0.25] == 0
    assert np.isnan(none.nme)
    assert "nme" not in none.ci


def test_keypoints_are_counted_over_their_labels() -> None:
    """Of category a, point x: 1 of 2 within 0.05; y is labelled once. Category b is shorter."""
    truth = [np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((1, 2))]
    said = [np.zeros((2, 2)), np.full((2, 2), 50.0), np.zeros((1, 2))]
    seen = [np.array([True, True]), np.array([True, False]), np.array([True])]
    table = pck(
        said, truth, seen, np.full(3, 100.0), categories=["a", "a", "b"],
        names=[("x", "y"), ("x", "y"), ("tip",)],
    ).per_keypoint  # fmt: skip
    assert {c: list(row) for c, row in table.items()} == {"a": ["x", "y"], "b": ["tip"]}
    assert (table["a"]["x"]["points"], table["a"]["x"]["pck@0.05"]) == (2, 0.5)
    assert (table["a"]["y"]["points"], table["a"]["y"]["pck@0.05"]) == (1, 1)
    unnamed = pck(said, truth, seen, np.full(3, 100.0), categories=["a", "a", "b"]).per_keypoint
    assert list(unnamed["a"]) == ["0", "1"]


def test_intervals_are_over_groups() -> None:
    """Half of 400 instances right: 95 % within 1.96 standard errors of 0.025."""
    truth = np.zeros((400, 1, 2))
    said = np.where(np.arange(400)[:, None, None] % 2, 99.0, 0.0) + np.zeros((400, 1, 2))
    sizes = np.full(400, 10.0)
    seen = np.ones((400, 1), bool)
    low, high = pck(said, truth, seen, sizes, resamples=2000).ci["pck@0.2"]
    assert (low, high) == pytest.approx((0.451, 0.549), abs=0.008)
    one = pck(said, truth, seen, sizes, groups=["picture"] * 400).ci["pck@0.2"]
    assert one == [0.5, 0.5]
    assert pck(said, truth, seen, sizes, resamples=0).ci == {}


def test_nothing_at_all() -> None:
    found = pck(np.zeros((0, 3, 2)), np.zeros((0, 3, 2)), np.zeros((0, 3), bool), np.zeros(0))
    assert np.isnan([*found.pck.values(), found.nme, found.auc["mmpose"]]).all()
    assert (found.instances, found.ci) == (0, {})
    ragged = pck([], [], [], np.zeros(0), categories=[])
    assert (ragged.points, ragged.per_category, ragged.per_keypoint) == (0, {}, {})


def test_scores_of_instances_in_their_order() -> None:
    truth, said = np.zeros((3, 2, 2)), np.zeros((3, 2, 2))
    said[0, 0], said[2] = 50, 50
    seen = np.array([[1, 1], [0, 0], [1, 1]], bool)
    np.testing.assert_array_equal(
        pck_scores(said, truth, seen, np.full(3, 100.0)), [0.5, np.nan, 0.0]
    )


def random_set(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    number, points = 6, 5
    truth = rng.uniform(0, 200, (number, points, 2))
    said = truth + rng.normal(0, 15, truth.shape)
    return said, truth, rng.random((number, points)) < 0.8, rng.uniform(50, 150, number)


@settings(max_examples=20)
@given(st.integers(0, 9999), st.sampled_from([0.5, 2, 8]), st.integers(-64, 64))
def test_place_and_scale_do_not_matter(seed: int, scale: float, shift: int) -> None:
    """Powers of two: exact in floating point, but for the shift's last bit."""
    said, truth, seen, sizes = random_set(seed)
    first = pck(said, truth, seen, sizes, resamples=0)
    moved = pck(said * scale + shift, truth * scale + shift, seen, sizes * scale, resamples=0)
    assert moved.pck == first.pck
    assert moved.nme == pytest.approx(first.nme, rel=1e-9)
    assert moved.epe == pytest.approx(first.epe * scale, rel=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 9999))
def test_a_larger_threshold_never_has_fewer_hits(seed: int) -> None:
    found = pck(*random_set(seed), thresholds=(0.02, 0.05, 0.1, 0.3, 2.0), resamples=0).pck
    assert list(found.values()) == sorted(found.values())


def test_the_same_as_a_loop_over_instances() -> None:
    said, truth, seen, sizes = random_set(3)
    seen[0] = False
    by_hand = [
        [np.hypot(*(s - g)) / length < t for s, g, v in zip(*rows, strict=True) if v]
        for t in (0.1,)
        for *rows, length in zip(said, truth, seen, sizes, strict=True)
    ]
    expected = np.mean([np.mean(hits) for hits in by_hand if hits])
    assert pck(said, truth, seen, sizes).pck[0.1] == pytest.approx(expected, abs=1e-15)


def test_swapped_sides_of_a_symmetric_person_are_seen() -> None:
    """Guards against mixed-up indices: mirrored names must cost."""
    person = np.array([[[50.0, 10], [30, 40], [70, 40], [35, 90], [65, 90]]])
    seen, sizes = np.ones((1, 5), bool), np.array([100.0])
    right = pck(person + 1, person, seen, sizes).pck[0.2]
    swapped = pck(person[:, [0, 2, 1, 4, 3]] + 1, person, seen, sizes).pck[0.2]
    assert (right, swapped) == (1, 0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred": []}, "predictions of 0 instances, points of 1"),
        ({"pred": [TRUTH[0, :3]]}, "Instance 0 has 5 keypoints, but 3 predicted and 5 vis"),
        ({"visible": [VISIBLE[0, :4]]}, "has 5 keypoints, but 5 predicted and 4 vis"),
        ({"box_sizes": np.array([0.0])}, "The box of instance 0 is 0.0 px long"),
        ({"box_sizes": np.array([np.nan])}, "is nan px long"),
        ({"box_sizes": np.array([np.inf])}, "is inf px long"),
        ({"gt": np.full((1, 5, 2), np.nan)}, "Keypoint 0 of instance 0 is labelled, but its place"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    parts = {"pred": TRUTH, "gt": TRUTH, "visible": VISIBLE, "box_sizes": L100}
    with pytest.raises(InputError, match=message):
        pck(**parts | change)


def test_plain_values_for_json() -> None:
    values = pck(TRUTH, TRUTH, VISIBLE, L100, categories=["a"]).to_dict()
    assert (values["pck@0.2"], values["auc_mmpose"], values["interval"]["pck@0.05"]) == (
        1,
        0.95,
        [1, 1],
    )
    assert (values["by_category"]["a"]["mpck"], values["by_keypoint"]["a"]["0"]["points"]) == (1, 1)

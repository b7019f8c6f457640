from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headsight.data.ref_sample import RefSample
from headsight.detections import Detections, Exchange
from headsight.eval.refer import judge_refer, summarise_refer
from headsight.geometry.boxes import box_area, box_iou
from headsight.language.dialects import DIALECTS

STRICT = {"asked": "boxes", "kind": "boxes", "strict": True, "valid": True, "failure": None}
NONE = STRICT | {"kind": "none"}
TRUNCATED = STRICT | {"strict": False, "valid": False, "failure": "truncated"}
REFUSAL = STRICT | {"kind": None, "strict": False, "valid": False, "failure": "refusal"}
SALVAGED = STRICT | {"strict": False, "failure": "truncated", "flags": ["edge"]}

BOX, HALF, TWO_FIFTHS, FAR = [0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4], [500, 300, 520, 320]


def sample(*boxes: Any, image: str = "a.jpg", wh: tuple[int, int] = (640, 480), **more: Any) -> Any:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return RefSample("id", Path(image), wh, "the cup", array, **more)


def found(*boxes: Any, reading: Any = STRICT, wh: tuple[int, int] = (640, 480)) -> Detections:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    number = len(array)
    exchanges = () if reading is None else (Exchange("q", "a", reading),)
    return Detections(
        array, np.ones(number), np.zeros(number, np.int64), ("x",), wh, exchanges=exchanges
    )


def summary(*pairs: tuple[Detections, Any], **more: Any) -> dict[str, Any]:
    return summarise_refer([judge_refer(f, s) for f, s in pairs], **({"resamples": 0} | more))


@pytest.mark.parametrize(
    ("box", "iou", "is_right"),
    [
        (BOX, 1, True),
        (HALF, 0.5, True),  # the threshold itself is right
        (TWO_FIFTHS, 0.4, False),  # 0.4545 if sides were counted with + 1
        ([5, 5, 15, 15], 1 / 7, False),
        (FAR, 0, False),
    ],
)
def test_the_iou_of_one_place(box: Any, iou: float, is_right: bool) -> None:
    judged = judge_refer(found(box), sample(BOX))
    assert judged.iou == pytest.approx(iou, abs=1e-12)
    assert judged.is_right is is_right


def test_boxes_are_cut_at_the_border_first() -> None:
    """Beyond the border nothing can be right or wrong: 10 x 10 of 10 x 10."""
    judged = judge_refer(found([-50, -9, 10, 10]), sample(BOX))
    assert (judged.iou, judged.boxes) == (1, 1)
    assert judge_refer(found([-50, -9, 0, 10]), sample(BOX)).boxes == 0


def test_of_several_boxes_the_first_counts() -> None:
    result = summary(
        (found(FAR, BOX), sample(BOX)), (found(BOX, FAR), sample(BOX)), (found(BOX), sample(BOX))
    )
    assert result["acc@0.5"] == pytest.approx(2 / 3)
    assert result["multi_box"] == pytest.approx(2 / 3)


def test_figures_worked_by_hand() -> None:
    """IoU 1, 0.5, 0.4, and no box: mean 1.9 / 4."""
    result = summary(
        (found(BOX), sample(BOX)),
        (found(HALF), sample(BOX)),
        (found(TWO_FIFTHS), sample(BOX, image="b.jpg")),
        (found(reading=TRUNCATED), sample(BOX)),
    )
    expected = {
        "expressions": 4, "pictures": 2, "one_target": 4, "several_target": 0, "no_target": 0,
        "acc@0.25": 0.75, "acc@0.5": 0.5, "acc@0.6": 0.25, "acc@0.9": 0.25, "mean_iou": 0.475,
        "t_acc": 1, "right": 0.5, "multi_box": 0,
    }  # fmt: skip
    assert {k: result[k] for k in expected} == pytest.approx(expected)
    assert np.isnan([result["set_acc"], result["n_acc"]]).all()
    assert result["interval"] == {}


def test_a_malformed_answer_stays_below_the_line() -> None:
    """k of n right answers made unreadable lower every figure by k / n of what it was."""
    good = [(found(BOX), sample(BOX))] * 7
    for k in range(8):
        result = summary(*good[k:], *[(found(reading=TRUNCATED), sample(BOX))] * k)
        assert result["acc@0.5"] == pytest.approx(1 - k / 7)
        assert result["answers"]["invalid"] == pytest.approx(k / 7)


def test_the_right_answer_is_nothing() -> None:
    """Said so twice (once in words of refusal), a box once, garbage once: 2 of 4."""
    nothing = sample()
    result = summary(
        (found(reading=NONE), nothing),
        (found(reading=REFUSAL), nothing),
        (found(BOX), nothing),
        (found(reading=TRUNCATED), nothing),
        (found(BOX), sample(BOX)),
        (found(reading=NONE), sample(BOX)),
        (found(reading=TRUNCATED), sample(BOX)),
    )
    assert result["n_acc"] == 0.5
    assert result["t_acc"] == pytest.approx(2 / 3)  # garbage does not say that nothing is there
    assert result["acc@0.5"] == pytest.approx(1 / 3)  # over those that refer to something
    assert result["right"] == pytest.approx(3 / 7)
    assert result["no_target"] == 4


def test_words_without_a_place_say_that_nothing_is_there() -> None:
    """A native answer such as "There is no cow." says so, broken numbers do not."""
    words = DIALECTS["internvl"].parse("There is no cow.", (640, 480)).to_dict()
    broken = DIALECTS["internvl"].parse("<box>[[1, 2, x, 4]]</box>", (640, 480)).to_dict()
    result = summary((found(reading=words), sample()), (found(reading=broken), sample()))
    assert result["n_acc"] == 0.5
    assert result["answers"]["failures"] == {"no_box": 1, "not_a_number": 1}
    assert result["answers"]["flags"] == {}


def test_boxes_without_area_do_not_say_nothing() -> None:
    """A valid answer of boxes of which none is left is not an answer of `none`."""
    judged = judge_refer(found(reading=STRICT), sample())
    assert not judged.asked.says_nothing
    assert judge_refer(found(reading=None), sample()).asked.says_nothing  # a map with no peak


@pytest.mark.parametrize(
    ("boxes", "is_right"),
    [
        ([BOX, FAR], True),
        ([FAR, HALF], True),
        ([BOX], False),
        ([BOX, FAR, [90, 90, 99, 99]], False),
        ([BOX, BOX], False),
        ([BOX, [90, 90, 99, 99]], False),
        ([], False),
    ],
)
def test_several_places_are_right_together(boxes: Any, is_right: bool) -> None:
    result = summary((found(*boxes), sample(BOX, FAR)))
    assert result["set_acc"] == result["right"] == is_right
    assert np.isnan(result["acc@0.5"])
    assert result["by_target"]["several"]["right"] == is_right


def test_places_are_matched_as_well_as_they_can_be() -> None:
    """The first box fits both places, the second only the first: greedy matching would fail."""
    places = sample([0, 0, 10, 10], [0, 0, 10, 16])
    assert judge_refer(found([0, 0, 10, 12], [0, 0, 10, 6]), places).is_right


def test_tables_by_category_type_and_size() -> None:
    big = [0, 0, 100, 100]
    result = summary(
        (found(BOX), sample(BOX, category="cup", types=("spatial", "verb"))),
        (found(FAR), sample(big, category="cup", types=("verb",))),
        (found(big), sample(big, category="person")),
        (found([0, 0, 32, 32]), sample([0, 0, 32, 32])),  # the limit belongs to the larger size
        (found(reading=NONE), sample(category="person")),
    )
    assert {n: r["acc@0.5"] for n, r in result["by_type"].items()} == {"spatial": 1, "verb": 0.5}
    assert {n: r["acc@0.5"] for n, r in result["by_category"].items()} == {"cup": 0.5, "person": 1}
    assert {n: r["expressions"] for n, r in result["by_category"].items()} == {
        "cup": 2,
        "person": 2,
    }
    assert {n: (r["expressions"], r["mean_iou"]) for n, r in result["by_size"].items()} == {
        "small": (1, 1), "medium": (1, 1), "large": (2, 0.5),
    }  # fmt: skip
    assert list(result["by_target"]) == ["one", "none"]


def test_answers_are_counted_by_what_is_wrong_with_them() -> None:
    result = summary(
        (found(BOX), sample(BOX)),
        (found(BOX, reading=SALVAGED), sample(BOX)),
        (found(reading=TRUNCATED), sample(BOX)),
        (found(reading=REFUSAL), sample(BOX)),
    )
    assert result["answers"] == {
        "asked": 4,
        "invalid": 0.5,
        "not_strict": 0.75,
        "invalid_kinds": {"truncated": 1, "refusal": 1},
        "failures": {"truncated": 2, "refusal": 1},
        "flags": {"edge": 1},
    }


def test_failures_of_native_formats_are_counted_by_their_own_names() -> None:
    texts = {
        "inverted": "<box>[[300, 200, 100, 400]]</box>",
        "not_a_number": "<box>[[1, 2, x, 4]]</box>",
        "no_box": "There is no cow.",
        "wrong_family": '{"bbox_2d": [1, 2, 3, 4]}',
    }
    readings = [DIALECTS["internvl"].parse(t, (640, 480)).to_dict() for t in texts.values()]
    answers = summary(*((found(reading=r), sample(BOX)) for r in readings))["answers"]
    assert answers["invalid"] == 1
    assert answers["invalid_kinds"] == answers["failures"] == dict.fromkeys(texts, 1)
    assert answers["flags"] == {}


def test_nothing_at_all() -> None:
    result = summary(resamples=10)
    assert result["expressions"] == result["pictures"] == 0
    assert np.isnan([result["acc@0.5"], result["right"], result["answers"]["invalid"]]).all()
    assert result["by_size"] == result["interval"] == {}


def test_every_figure_gets_an_interval_that_holds_it() -> None:
    pairs = [(found(BOX if i % 2 else FAR), sample(BOX, image=f"{i}.jpg")) for i in range(40)]
    result = summary(*pairs, resamples=300, seed=1)
    assert {"acc@0.25", "acc@0.9", "mean_iou", "right", "t_acc"} <= result["interval"].keys()
    low, high = result["interval"]["acc@0.5"]
    assert 0.3 < low < 0.4 < 0.6 < high < 0.7
    assert result["interval"] == summary(*pairs, resamples=300, seed=1)["interval"]


@pytest.mark.parametrize(
    ("share", "accuracy", "ciou", "giou"),
    [
        (0.05, 1.0, 0.855, 0.856),
        (0.1, 0.996, 0.738, 0.740),
        (0.2, 0.662, 0.549, 0.549),
        (0.4, 0.120, 0.314, 0.290),
    ],
)
def test_jittered_boxes(share: float, accuracy: float, ciou: float, giou: float) -> None:
    """2000 boxes with sides 20 to 300 px, each edge moved by N(0, share of the side)."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(20, 300, (2000, 2))
    low = rng.uniform(0, 1, (2000, 2)) * ([640, 480] - sides)
    truth = np.concatenate([low, low + sides], 1)
    moved = truth + rng.normal(0, share, (2000, 4)) * np.tile(sides, 2)
    # 0 where an edge passed the other: no such box
    iou = np.concatenate(
        [box_iou(moved[i : i + 100], truth[i : i + 100]).diagonal() for i in range(0, 2000, 100)]
    )
    right = judge_refer(found(BOX), sample(BOX))
    result = summarise_refer([replace(right, iou=float(i)) for i in iou], resamples=0)
    assert result["acc@0.5"] == pytest.approx(accuracy, abs=0.03)
    assert result["mean_iou"] == pytest.approx(giou, abs=0.02)
    areas = box_area(moved) + box_area(truth)
    overlap = iou * areas / (1 + iou)
    assert overlap.sum() / (areas - overlap).sum() == pytest.approx(ciou, abs=0.02)

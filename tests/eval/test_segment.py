from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headsight.data.ref_sample import RefSample, Region
from headsight.detections import Detections, Exchange
from headsight.errors import AnnotationError
from headsight.eval.segment import judge_segment, mask_figures, summarise_segment
from headsight.geometry.masks import boxes_to_masks, mask_to_rle

WH = (40, 30)
BOX, LEFT, FAR = [0, 0, 10, 10], [0, 0, 5, 10], [20, 20, 30, 30]
NONE = {"asked": "boxes", "kind": "none", "strict": True, "valid": True, "failure": None}
GARBAGE = NONE | {"kind": None, "strict": False, "valid": False, "failure": "no_structure"}


def pixels(*boxes: Any) -> Any:
    return boxes_to_masks(np.array(boxes, np.float64).reshape(-1, 4), WH)


def region(box: Any, **more: Any) -> Region:
    return Region(rle=mask_to_rle(pixels(box)[0]), **more)


def sample(*boxes: Any, ignore: Any = None, image: str = "a.jpg", **more: Any) -> RefSample:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    regions = [region(b) for b in boxes] + (
        [] if ignore is None else [region(ignore, is_ignored=True)]
    )
    return RefSample("id", Path(image), WH, "the cup", array, tuple(regions), **more)


def found(*masks: Any, boxes: Any = None, reading: Any = None, **more: Any) -> Detections:
    """Masks of these boxes; where only `boxes` are given there are no masks."""
    places = masks if boxes is None else boxes
    array = np.array(places, np.float64).reshape(-1, 4)
    number = len(array)
    return Detections(
        array, np.ones(number), np.zeros(number, np.int64), ("x",), WH,
        masks=pixels(*masks) if masks or boxes is None else None,
        exchanges=() if reading is None else (Exchange("q", "a", reading),), **more,
    )  # fmt: skip


def summary(*pairs: tuple[Detections, RefSample], **more: Any) -> dict[str, Any]:
    return summarise_segment([judge_segment(f, s) for f, s in pairs], **({"resamples": 0} | more))


def test_both_figures_by_hand() -> None:
    """(I, U) = (50, 100), (0, 80), (900, 1000): 950 / 1180 and (0.5 + 0 + 0.9) / 3."""
    assert mask_figures(np.array([50, 0, 900]), np.array([100, 80, 1000])) == pytest.approx(
        (0.805085, 0.466667), abs=1e-6
    )
    assert mask_figures(np.array([50, 0, 900, 0]), np.array([100, 80, 1000, 0])) == pytest.approx(
        (0.805085, 0.6), abs=1e-6
    )
    assert np.isnan(mask_figures(np.zeros(0, int), np.zeros(0, int))).all()


def test_figures_of_masks_by_hand() -> None:
    """(I, U) = (100, 100), (50, 100), (0, 200), and an empty answer: (0, 100)."""
    result = summary(
        (found(BOX), sample(BOX)),
        (found(LEFT), sample(BOX)),
        (found(FAR), sample(BOX, image="b.jpg")),
        (found(reading=NONE), sample(BOX)),
    )
    expected = {
        "expressions": 4, "pictures": 2, "no_target": 0, "ciou": 150 / 500, "giou_mask": 1.5 / 4,
        "p@0.5": 0.5, "p@0.6": 0.25, "p@0.9": 0.25, "t_acc": 0.75,
    }  # fmt: skip
    assert {k: result[k] for k in expected} == pytest.approx(expected)
    assert result["mask_kinds"] == {"mask": 3, "none": 1}


def test_pixels_to_be_ignored_leave_both_masks() -> None:
    """Target 100 px; found those and 50 more, which count neither way."""
    truth = sample(BOX, ignore=[10, 0, 15, 10])
    judged = judge_segment(found([0, 0, 15, 10]), truth)
    assert (judged.intersection, judged.union, judged.iou) == (100, 100, 1)
    assert judge_segment(found([0, 0, 15, 10]), sample(BOX)).iou == pytest.approx(100 / 150)
    hidden = judge_segment(found([0, 0, 15, 10]), sample(BOX, ignore=[0, 0, 20, 20]))
    assert (hidden.union, hidden.iou) == (0, 1)  # the whole target counts neither way


def test_the_right_answer_is_nothing() -> None:
    """Said so: 1. A mask: 0, and its pixels in the union. Garbage: 0."""
    nothing = sample()
    result = summary(
        (found(reading=NONE), nothing), (found(BOX), nothing), (found(reading=GARBAGE), nothing),
        (found(BOX), sample(BOX)),
    )  # fmt: skip
    assert result["n_acc"] == pytest.approx(1 / 3)
    assert result["t_acc"] == 1
    assert result["giou_mask"] == 0.5
    assert result["ciou"] == 100 / 200
    assert result["p@0.5"] == 1  # of those that refer to something
    assert result["no_target"] == 3


def test_one_place_takes_the_first_mask_and_several_their_union() -> None:
    assert judge_segment(found(BOX, FAR), sample(BOX)).iou == 1
    assert judge_segment(found(FAR, BOX), sample(BOX)).iou == 0
    assert judge_segment(found(FAR, BOX), sample(BOX, FAR)).iou == 1
    assert judge_segment(found(BOX), sample(BOX, FAR)).iou == 0.5


def test_a_result_without_masks_is_judged_by_its_boxes() -> None:
    result = summary(
        (found(boxes=[BOX, FAR]), sample(BOX)), (found(boxes=[LEFT, FAR]), sample(BOX, FAR))
    )
    assert result["mask_kinds"] == {"coarse-box": 2}
    assert result["ciou"] == (100 + 150) / (100 + 200)
    assert "ciou_of_boxes" not in result


def test_what_the_masks_added_to_the_boxes_is_shown() -> None:
    """A segmenter can make a good box worse."""
    worse = found(LEFT, boxes=[BOX], attributes={"mask_kind": ("coarse",)})
    result = summary((worse, sample(BOX)))
    assert (result["ciou"], result["giou_mask"]) == (0.5, 0.5)
    assert (result["ciou_of_boxes"], result["giou_of_boxes"]) == (1, 1)
    assert result["mask_kinds"] == {"coarse": 1}


def test_large_objects_weigh_more_in_ciou() -> None:
    small = [0, 0, 2, 2]
    result = summary((found(BOX), sample(BOX)), (found(FAR), sample(small)))
    assert result["giou_mask"] == 0.5
    assert result["ciou"] == 100 / (100 + 104)
    assert result["by_size"]["small"]["ciou"] == result["ciou"]


def test_groups_and_intervals() -> None:
    pairs = [
        (found(BOX if i % 2 else FAR), sample(BOX, image=f"{i}.jpg", types=("short",)))
        for i in range(30)
    ]
    result = summary(*pairs, resamples=200, seed=3)
    assert result["by_type"] == {
        "short": {"expressions": 30, "ciou": 1500 / 4500, "giou_mask": 0.5}
    }
    low, high = result["interval"]["giou_mask"]
    assert 0.2 < low < 0.45 < 0.55 < high < 0.8
    assert result["interval"] == summary(*pairs, resamples=200, seed=3)["interval"]


def test_nothing_at_all() -> None:
    result = summary(resamples=5)
    assert np.isnan([result["ciou"], result["giou_mask"], result["p@0.5"]]).all()
    assert result["interval"] == result["mask_kinds"] == {}


def test_a_sample_without_a_mask_cannot_be_judged() -> None:
    bare = RefSample("id", Path("a.jpg"), WH, "the cup", np.array([BOX], float))
    with pytest.raises(AnnotationError, match="'the cup' has no true mask"):
        judge_segment(found(BOX), bare)

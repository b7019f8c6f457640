from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.eval.coco_summary import CocoFound, CocoTruth, coco_summary


def boxes(*xywh: Any) -> Any:
    array = np.array(xywh, dtype=float).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], 1)


TARGET, OTHER = (10, 10, 40, 40), (100, 100, 40, 40)
CASES: dict[str, Any] = {
    # truth, crowds, detections, scores -> AP AP50 AP75 AR@1 AR@100; every area 1600 is medium
    # the false positive comes first: precision 1/2; it is also the single best
    "A": ([TARGET], [False], [TARGET, (120, 120, 40, 40)], [0.5, 0.9], (0.5, 0.5, 0.5, 0, 1)),
    # IoU 30 / 50 = 0.6 exactly: good at 3 of 10 thresholds
    "B": ([TARGET], [False], [(20, 10, 40, 40)], [0.5], (0.3, 1, 0, 0.3, 0.3)),
    # recall 1/2 at precision 1: 51 of 101 points
    "C": ([TARGET, OTHER], [False, False], [TARGET], [0.5], (51 / 101,) * 3 + (0.5, 0.5)),
    # the better-scored detection lies in the crowd: neither way, but it is the single best
    "D": (
        [TARGET, (100, 100, 80, 80)],
        [False, True],
        [TARGET, (110, 110, 20, 20)],
        [0.5, 0.9],
        (1, 1, 1, 0, 1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_known_answers(case: str) -> None:
    places, crowd, seen, scores, (ap, ap50, ap75, ar_1, ar_100) = CASES[case]
    truth = CocoTruth(boxes=boxes(*places), is_crowd=np.array(crowd))
    figures = coco_summary([CocoFound(boxes=boxes(*seen), scores=np.array(scores))], [truth])
    expected = {
        "ap": ap, "ap50": ap50, "ap75": ap75, "ap_small": -1, "ap_medium": ap, "ap_large": -1,
        "ar_1": ar_1, "ar_10": ar_100, "ar_100": ar_100,
        "ar_small": -1, "ar_medium": ar_100, "ar_large": -1,
    }  # fmt: skip
    assert figures.to_dict() == pytest.approx(expected, abs=1e-12)


def test_the_size_is_that_of_the_labelled_area() -> None:
    """A mask of 1000 px in a box of 1600 is small, and its detection is no false alarm among the medium."""
    truth = CocoTruth(boxes=boxes(TARGET, OTHER), areas=np.array([1000.0, 1600]))
    seen = CocoFound(boxes=boxes(TARGET, OTHER), scores=np.array([0.9, 0.5]))
    figures = coco_summary([seen], [truth])
    assert (figures.ap_small, figures.ap_medium, figures.ap_large) == (1, 1, -1)


def test_a_category_without_truth_is_left_out_of_the_mean() -> None:
    truth = CocoTruth(boxes=boxes(TARGET), labels=np.array([3]))
    seen = CocoFound(
        boxes=boxes(TARGET, TARGET), scores=np.array([0.5, 0.9]), labels=np.array([3, 7])
    )
    assert coco_summary([seen], [truth]).ap == 1


def test_a_detection_of_another_category_finds_nothing() -> None:
    truth = CocoTruth(boxes=boxes(TARGET), labels=np.array([3]))
    seen = CocoFound(boxes=boxes(TARGET), scores=np.array([0.5]), labels=np.array([7]))
    assert coco_summary([seen], [truth]).ap == 0


def test_nothing_at_all_is_minus_one_throughout() -> None:
    empty = np.zeros((0, 4))
    nothing = coco_summary([CocoFound(boxes=empty, scores=np.zeros(0))], [CocoTruth(boxes=empty)])
    assert set(coco_summary([], []).to_dict().values()) == {-1.0}
    assert set(nothing.to_dict().values()) == {-1.0}


def test_unequal_numbers_of_pictures_are_refused() -> None:
    with pytest.raises(InputError, match=r"detections of 0 pictures and truths of 1"):
        coco_summary([], [CocoTruth(boxes=boxes(TARGET))])


def random_set(seed: int, number: int, labels: int = 3) -> tuple[list[CocoFound], list[CocoTruth]]:
    rng = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(number):
        count = int(rng.integers(0, 9))
        wh = rng.choice([20, 60, 150], (count, 1)) + rng.integers(0, 20, (count, 2))
        places = boxes(*np.concatenate([rng.integers(0, 300, (count, 2)), wh], 1))
        names = rng.integers(0, labels, count)
        near = places + rng.normal(0, 4, places.shape)
        far = boxes(*rng.integers(5, 150, (int(rng.integers(0, 15)), 4)))
        seen = np.concatenate([near, far])
        seen[:, 2:] = np.maximum(seen[:, 2:], seen[:, :2] + 1)
        found_names = np.concatenate([names, rng.integers(0, labels, len(far))])
        # a coarse grid of scores: ties are part of the protocol
        scores = rng.integers(0, 40, len(seen)) / 40
        areas = (places[:, 2:] - places[:, :2]).prod(1) * rng.uniform(0.4, 1, count)
        found.append(CocoFound(boxes=seen, scores=scores, labels=found_names))
        truths.append(
            CocoTruth(boxes=places, labels=names, areas=areas, is_crowd=rng.random(count) < 0.15)
        )
    return found, truths


def reference_stats(found: list[CocoFound], truths: list[CocoTruth]) -> Any:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is in the bench extra")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    numbers = itertools.count(1)

    def entries(image: int, group: Any, **columns: Any) -> list[dict[str, Any]]:
        rows = []
        for i, (box, label) in enumerate(
            zip(group.boxes.tolist(), group.labels.tolist(), strict=True)
        ):
            wh = [box[2] - box[0], box[3] - box[1]]
            row = {"id": next(numbers), "image_id": image, "category_id": label + 1, "iscrowd": 0}
            row |= {"bbox": [*box[:2], *wh], "area": wh[0] * wh[1]}
            rows.append(row | {k: v[i].item() for k, v in columns.items()})
        return rows

    def database(annotations: list[dict[str, Any]]) -> Any:
        result = coco.COCO()
        result.dataset = {
            "images": [{"id": i} for i in range(len(truths))],
            "annotations": annotations,
            "categories": [{"id": i} for i in range(1, 4)],
        }
        result.createIndex()
        return result

    labelled, seen = [], []
    for image, (detections, truth) in enumerate(zip(found, truths, strict=True)):
        assert truth.is_crowd is not None
        labelled += entries(image, truth, area=truth.areas, iscrowd=truth.is_crowd.astype(int))
        seen += entries(image, detections, score=detections.scores)
    with contextlib.redirect_stdout(io.StringIO()):
        judge = evaluation.COCOeval(database(labelled), database(seen), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_parity_with_pycocotools(seed: int) -> None:
    found, truths = random_set(seed, 15)
    figures = list(coco_summary(found, truths).to_dict().values())
    # only the order of the sums differs
    np.testing.assert_allclose(figures, reference_stats(found, truths), atol=1e-9)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10_000))
def test_only_the_order_of_the_scores_counts(seed: int) -> None:
    found, truths = random_set(seed, 4)
    scaled = [CocoFound(boxes=f.boxes, scores=f.scores**3 / 2, labels=f.labels) for f in found]
    assert coco_summary(scaled, truths) == coco_summary(found, truths)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10_000))
def test_truth_as_detections_is_perfect_where_it_counts(seed: int) -> None:
    _, truths = random_set(seed, 4)
    found = [
        CocoFound(boxes=t.boxes, scores=np.ones(len(t.boxes)), labels=t.labels) for t in truths
    ]
    values = coco_summary(found, truths).to_dict()
    assert {values["ap"], values["ar_100"]} <= {1.0, -1.0}

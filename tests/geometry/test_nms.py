from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.geometry.boxes import box_iou
from headsight.geometry.nms import nms


def one_by_one(boxes: Any, scores: Any, threshold: float) -> list[int]:
    """The definition: take the best, remove what overlaps it, go on."""
    ious = box_iou(boxes, boxes)
    rest, kept = np.argsort(-scores, kind="stable"), []
    while len(rest):
        kept.append(int(rest[0]))
        rest = rest[1:][ious[rest[0], rest[1:]] <= threshold]
    return kept


def crowd(count: int, seed: int, *, side: int = 40) -> tuple[Any, Any]:
    """Boxes on whole pixels, so that overlaps are exact, with some equal scores."""
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, side, (count, 2))
    boxes = np.concatenate((corner, corner + generator.integers(0, 16, (count, 2))), -1)
    return boxes.astype(float), generator.integers(0, 50, count) / 50


@settings(max_examples=50)
@given(st.integers(0, 150), st.integers(0, 10**6), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_the_blocks_equal_the_definition(count: int, seed: int, threshold: float) -> None:
    boxes, scores = crowd(count, seed)
    expected = one_by_one(boxes, scores, threshold)
    assert nms(boxes, scores, threshold).tolist() == expected
    tensors = torch.as_tensor(boxes), torch.as_tensor(scores)
    assert nms(*tensors, threshold).tolist() == expected


@pytest.mark.parametrize("side", [30, 1000])
def test_many_boxes(side: int) -> None:
    boxes, scores = crowd(1000, 0, side=side)
    kept = nms(boxes, scores, 0.5)
    assert kept.tolist() == one_by_one(boxes, scores, 0.5)
    ious = box_iou(boxes[kept], boxes[kept])
    assert (ious[~np.eye(len(kept), dtype=bool)] <= 0.5).all()


def test_boxes_without_area_stay() -> None:
    boxes = np.array([[1.0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 2, 2], [2, 2, 0, 0]])
    assert nms(boxes, np.array([0.4, 0.3, 0.2, 0.1]), 0.0).tolist() == [0, 1, 2, 3]

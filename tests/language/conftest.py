"""Boxes to be written and read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Boxes = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def random_boxes() -> Callable[..., Boxes]:
    """Makes about `count` boxes of all sizes in 640 x 480, a tenth of their edges on the border."""

    def make(count: int, *, seed: int) -> Boxes:
        rng = np.random.default_rng(seed)
        image_wh = np.array((640, 480))
        ends = np.sort(rng.uniform(0, 1, (count, 2, 2)) * image_wh[:, None], -1)
        ends[..., 0] = np.where(rng.random((count, 2)) < 0.1, 0, ends[..., 0])
        ends[..., 1] = np.where(rng.random((count, 2)) < 0.1, image_wh, ends[..., 1])
        boxes = ends.transpose(0, 2, 1).reshape(count, 4)
        return boxes[(boxes[:, 2:] > boxes[:, :2]).all(-1)]

    return make

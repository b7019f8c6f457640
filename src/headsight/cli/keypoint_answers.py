"""Asking anything that tells keypoints about every instance of a set, resumably."""

from __future__ import annotations

__all__ = ["Predict", "ask_keypoints"]

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headsight.cli.journalled import Outcome, run_journalled
from headsight.data.keypoint_results import prediction_from_dict, prediction_to_dict
from headsight.data.keypoints import KeypointInstance, KeypointPrediction, KeypointSet

if TYPE_CHECKING:
    from rich.progress import Progress

    from headsight.files import Journal

Predict = Callable[
    [KeypointInstance],
    tuple[NDArray[np.float64], NDArray[np.float64] | None, tuple[str | None, ...]],
]
"""Of an instance: points (K, 2) in px, NaN where none; scores (K,); failures of the answers."""


def ask_keypoints(
    truth: KeypointSet,
    predict: Predict,
    *,
    journal: Journal | None,
    progress: Progress,
) -> Outcome[KeypointPrediction]:
    """The predictions for all instances with a picture; what the journal holds is not asked again.

    Args:
        truth: what is asked about.
        predict: called with one instance after the other.
        journal: where answers are kept, if anywhere.
        progress: shows how far it is.
    """

    def ask(instance: KeypointInstance) -> dict[str, Any]:
        began = time.perf_counter()
        points, scores, failures = predict(instance)
        said = KeypointPrediction(np.asarray(points, np.float64), scores, None, failures)
        record = prediction_to_dict(said)
        del record["id"]  # the journal's own key
        return {**record, "seconds": time.perf_counter() - began}

    return run_journalled(
        [(i.id, i) for i in truth.instances if i.id not in truth.without_picture],
        ask,
        lambda instance, record: prediction_from_dict(record, instance),
        journal=journal,
        progress=progress,
        what="objects",
    )

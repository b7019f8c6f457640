"""Asking anything that tells keypoints about every instance of a set, resumably."""

from __future__ import annotations

__all__ = ["InBatches", "Predict", "ask_keypoints", "ask_model"]

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headsight.cli.journalled import Outcome, run_journalled
from headsight.data.keypoint_results import prediction_from_dict, prediction_to_dict
from headsight.data.keypoints import KeypointInstance, KeypointPrediction, KeypointSet
from headsight.errors import HeadsightError

if TYPE_CHECKING:
    from rich.progress import Progress

    from headsight.files import Journal
    from headsight.tasks.keypoints import Keypoints

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


def ask_model(
    truth: KeypointSet,
    model: str,
    labels: str,
    asking: Mapping[str, Any],
    *,
    device: str,
    output: Path | None,
    settings: Mapping[str, Any],
    overwrite: bool,
    quiet: bool,
) -> tuple[list[KeypointPrediction], list[dict[str, Any]]]:
    """What a model says of every instance, and what could not be asked.

    With an output the answers are kept in a journal beside it, so that a second call goes on.

    Args:
        truth: what is asked about.
        model: folder or hub id.
        labels: where `truth` is from; its schemas may lie there.
        asking: `schema` (names or files), `mode` and `window`; None as the model learned.
        device: where it runs.
        output: of the whole command.
        settings: what answers depend on; a journal of other answers is refused.
        overwrite: begin anew.
        quiet: no progress bar.

    Raises:
        HeadsightError: a category without schema, or a model that cannot be loaded or so asked.
    """
    from headsight.cli.journalled import open_journal
    from headsight.cli.probes import progress_on_stderr
    from headsight.grounder import load
    from headsight.models.base import AttentiveVLM
    from headsight.tasks.keypoints import asking_of, find_together
    from headsight.teach.keypoint_rounds import category_schemas

    schemas = category_schemas(truth, labels, asking["schema"] or ())  # before anything is loaded
    objects = "\n".join(i.id for i in truth.instances)
    fingerprint = hashlib.sha256(objects.encode()).hexdigest()[:16]
    opened = (
        nullcontext()
        if output is None
        else closing(
            open_journal(output, {**settings, "objects": fingerprint}, overwrite=overwrite)
        )
    )
    with opened as journal:
        vlm = load(model, device=device).vlm
        way = asking_of(vlm, mode=asking["mode"], window=asking["window"])

        def find(mates: Sequence[KeypointInstance]) -> list[Keypoints]:
            objects = [(one.open(), np.asarray(one.box, np.float64)) for one in mates]
            first = mates[0]
            return find_together(
                vlm, objects, schemas[first.category], category=first.word, asking=way
            )

        # a batch is kept in the journal when all of it was answered
        batch = way.batch if way.mode == "cumulative" and isinstance(vlm, AttentiveVLM) else 1
        there = [one for one in truth.instances if one.id not in truth.without_picture]
        predict = InBatches(find, there, batch)
        with progress_on_stderr(quiet) as progress:
            outcome = ask_keypoints(truth, predict, journal=journal, progress=progress)
    return outcome.judged, outcome.failures


class InBatches:
    """Answers about one instance after the other, asked together with later ones of its kind."""

    def __init__(
        self,
        find: Callable[[Sequence[KeypointInstance]], list[Keypoints]],
        instances: Sequence[KeypointInstance],
        size: int,
    ) -> None:
        """Prepare.

        Args:
            find: asks about instances of one category at once; raises where one cannot be asked.
            instances: all, in the order in which they will be asked about.
            size: most instances at once.
        """
        self._find, self._instances, self._size = find, instances, size
        self._place = {one.id: place for place, one in enumerate(instances)}
        self._found: dict[str, Keypoints] = {}

    def __call__(self, instance: KeypointInstance) -> Any:
        """As `Predict`."""
        if instance.id not in self._found:
            later = self._instances[self._place[instance.id] + 1 :]
            mates = [
                one for one in later
                if (one.category, one.word) == (instance.category, instance.word)
                and one.id not in self._found
            ]  # fmt: skip
            self._ask([instance, *mates[: self._size - 1]])
        found = self._found.pop(instance.id)
        return found.points[0], found.scores[0], found.failures[0]

    def _ask(self, mates: Sequence[KeypointInstance]) -> None:
        try:
            found = self._find(mates)
        except HeadsightError:  # of one of them: it is told when its turn comes
            mates = mates[:1]
            found = self._find(mates)
        self._found |= {one.id: answer for one, answer in zip(mates, found, strict=True)}

"""Asking anything that tells keypoints about every instance of a set, resumably."""

from __future__ import annotations

__all__ = ["Found", "InBatches", "Predict", "ask_keypoints", "ask_model"]

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

Found = tuple[NDArray[np.float64], NDArray[np.float64] | None, tuple[str | None, ...]]
"""Points (K, 2) in px, NaN where none; scores (K,); failures of the answers."""
Predict = Callable[[KeypointInstance], Found]
"""Tells the points of an instance."""


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
        predict: called with one instance after the other, those of a kind in a row.
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
        [
            (i.id, i)
            for i in sorted(truth.instances, key=_kind)
            if i.id not in truth.without_picture
        ],
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
        asking: `schema` (names or files) and fields of `Asking`; None as the model learned.
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
    from headsight.tasks.keypoint_asking import asking_of
    from headsight.tasks.keypoints import find_together
    from headsight.teach.keypoint_rounds import category_schemas

    schemas = category_schemas(truth, labels, asking["schema"] or ())  # before anything is loaded
    facts = [
        *(i.id for i in truth.instances),
        *(str(schemas[k].to_dict()) for k in sorted(schemas)),
    ]
    fingerprint = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    opened = (
        nullcontext()
        if output is None
        else closing(
            open_journal(output, {**settings, "objects": fingerprint}, overwrite=overwrite)
        )
    )
    with opened as journal:
        vlm = load(model, device=device).vlm
        way = asking_of(vlm, **{name: v for name, v in asking.items() if name != "schema"})

        def find(mates: Sequence[KeypointInstance]) -> list[Keypoints]:
            objects = [(one.open(), np.asarray(one.box, np.float64)) for one in mates]
            first = mates[0]
            return find_together(
                vlm, objects, schemas[first.category], category=first.word, asking=way
            )

        batch = way.batch if way.mode == "cumulative" and isinstance(vlm, AttentiveVLM) else 1
        done = {record.get("id") for record in journal.records} if journal is not None else set()
        gone = done | truth.without_picture
        predict = InBatches(find, [one for one in truth.instances if one.id not in gone], batch)

        with progress_on_stderr(quiet) as progress:
            outcome = ask_keypoints(truth, predict, journal=journal, progress=progress)
    return outcome.judged, outcome.failures


class InBatches:
    """Answers about one instance after the other; those of a kind are asked together.

    Instances come in the order of `instances`, those of a kind in a row.
    """

    def __init__(
        self,
        find: Callable[[Sequence[KeypointInstance]], list[Keypoints]],
        instances: Sequence[KeypointInstance],
        size: int,
    ) -> None:
        """Prepare.

        Args:
            find: asks about instances of one kind at once; raises where one cannot be asked.
            instances: what will be asked about.
            size: most instances at once.
        """
        self._find, self._size = find, size
        self._kinds: dict[tuple[str, str], list[KeypointInstance]] = {}
        for one in instances:
            self._kinds.setdefault(_kind(one), []).append(one)
        self._place = {
            one.id: place for kind in self._kinds.values() for place, one in enumerate(kind)
        }
        self._found: dict[str, Found] = {}

    def __call__(self, instance: KeypointInstance) -> Found:
        """As `Predict`."""
        if instance.id not in self._found:
            begin = self._place[instance.id]
            self._found = self._ask(self._kinds[_kind(instance)][begin : begin + self._size])
        return self._found.pop(instance.id)

    def _ask(self, mates: Sequence[KeypointInstance]) -> dict[str, Found]:
        try:
            found = self._find(mates)
        except HeadsightError:
            if len(mates) == 1:
                raise
            return self._ask(mates[:1])  # a bad mate is told when its turn comes
        return {
            one.id: (answer.points[0], answer.scores[0], answer.failures[0])
            for one, answer in zip(mates, found, strict=True)
        }


def _kind(instance: KeypointInstance) -> tuple[str, str]:
    """What the questions depend on."""
    return instance.category, instance.word

"""What a model is taught with: a picture, a question and the answer, from label or instruct files.

An instruct file holds one JSON object a line: `{"image": path, "question": ..., "answer": ...}` and
optionally `"kind"` (boxes, pose, point, points, count or text) and `"weight"`; paths are relative
to the file. Label files and scenes (see `headsight.train.labels`) become questions about heads.
"""

from __future__ import annotations

__all__ = ["TASKS", "ChangingSource", "Sample", "SampleSource", "read_source"]

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from headsight.errors import AnnotationError, ConfigError
from headsight.language.codec import parse
from headsight.language.spec import CodecSpec
from headsight.teach.head_questions import TASKS, HeadQuestions
from headsight.teach.sample import Sample
from headsight.train.labels import read_labels

KINDS = ("boxes", "pose", "point", "points", "count", "text")


@runtime_checkable
class SampleSource(Protocol):
    """Samples by number; their wording may vary from pass to pass, their number does not."""

    def __len__(self) -> int: ...

    def draw(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index`; without `rng` in the wording and the place of evaluation."""
        ...


@runtime_checkable
class ChangingSource(SampleSource, Protocol):
    """A source whose samples are put together anew in every pass."""

    def draw_again(self, index: int, rng: np.random.Generator, *, epoch: int) -> Sample:
        """Sample `index` of pass `epoch`."""
        ...


def read_source(
    path: Path,
    *,
    tasks: Sequence[str] = ("boxes", "pose"),
    limit: int | None = None,
    **options: Any,
) -> SampleSource:
    """The samples of a label file, a folder of scenes, or an instruct file (the first so many).

    Args:
        path: `.jsonl` in either form, a folder of `headsight scenes`, or its annotations.json.
        tasks: keys of TASKS, for labels.
        limit: read only so many pictures (labels) or lines (instructions).
        options: further settings of `HeadQuestions`, for labels.

    Raises:
        AnnotationError: missing, or in neither form.
        ConfigError: a task that is none.
    """
    if not path.exists():
        raise AnnotationError(
            f"{path} does not exist. Give a .jsonl file of labels or instructions, or a folder of"
            " `headsight scenes`."
        )
    if path.suffix == ".jsonl" and _is_instruct(path):
        return Instructions(path, limit=limit)
    if unknown := [task for task in tasks if task not in TASKS]:
        raise ConfigError(f"tasks names {unknown}, but of labels can be made: {', '.join(TASKS)}.")
    source = HeadQuestions(read_labels(path, limit=limit), tasks=tuple(tasks), **options)
    if not len(source):
        raise AnnotationError(f"{path} holds nothing to ask {' or '.join(tasks)} about.")
    return source


class Instructions:
    """The lines of an instruct file, as they are; blank ones are passed over."""

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        lines = [(n, line) for n, line in enumerate(_lines(path), 1) if line.strip()]
        self._samples = [_instruction(path, n, line) for n, line in lines[:limit]]

    def __len__(self) -> int:
        return len(self._samples)

    def draw(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index`, from 0."""
        return self._samples[index]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {error}. Expected a text file in UTF-8, one JSON object a"
            " line."
        ) from error


def _is_instruct(path: Path) -> bool:
    first = next((line for line in _lines(path) if line.strip()), "")
    try:
        return "question" in json.loads(first)
    except (ValueError, TypeError):
        return False


def _instruction(path: Path, number: int, line: str) -> Sample:
    try:
        record = json.loads(line)
        image = path.parent / record["image"]
        if not image.is_file():
            raise ValueError(f"the picture {image} does not exist")
        kind = record.get("kind", "text")
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(KINDS)}")
        question, answer = str(record["question"]), str(record["answer"])
        for name, said in (("question", question), ("answer", answer)):
            if not said.strip():
                raise ValueError(f"the {name} is empty")
        if kind != "text" and not parse(answer, CodecSpec(kind)).is_valid:
            raise ValueError(f"the answer {answer!r} is none of the kind {kind!r}")
        weight = float(record.get("weight", 1.0))
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"weight is {weight}, but must be positive")
        return Sample(image, question, answer, kind, weight)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise AnnotationError(
            f"{path} line {number}: {reason}. Expected"
            ' {"image": path, "question": ..., "answer": ...}, one a line.'
        ) from error

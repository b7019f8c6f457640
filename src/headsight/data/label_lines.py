"""Training labels: one JSON line a picture, in the form of `headsight.train.labels`."""

from __future__ import annotations

__all__ = ["Converted", "convert_heads", "label_record", "plain"]

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.data.head_filter import HeadFilter, filter_heads
from headsight.data.head_folder import Found, LeftOut
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import Problem
from headsight.errors import AnnotationError, InputError
from headsight.files import write_atomic
from headsight.geometry.rotations import matrix_to_ypr


@dataclass(frozen=True)
class Converted:
    """What became of the pictures of a set."""

    pictures: int = 0
    heads: int = 0
    poses: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Pictures and heads that are not used, by reason."""
    problems: tuple[Problem, ...] = ()


def convert_heads(
    found: Iterable[Found],
    out: Path,
    *,
    rules: HeadFilter | None = None,
    overwrite: bool = False,
    on_picture: Callable[[], None] = lambda: None,
) -> Converted:
    """Write the labels of a set as JSON lines; pictures are named relative to the file.

    Boxes are of whole heads: estimated ones where the set has others. A picture that cannot be used
    is a problem, and the rest go on.

    Args:
        found: what `open_heads` gives.
        out: the file, ending in .jsonl.
        rules: which heads are used; None: every one.
        overwrite: whether `out` may be replaced.
        on_picture: called after each.

    Raises:
        InputError: `out` is there, or does not end in .jsonl.
        AnnotationError: not one picture can be used.
    """
    if out.suffix != ".jsonl":
        raise InputError(f"{out} does not end in .jsonl, as files of training labels do.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists. Choose another --out, or give --overwrite.")
    lines, problems, left_out, poses, heads = [], [], Counter[str](), 0, 0
    for item in found:
        on_picture()
        if isinstance(item, Problem):
            problems.append(item)
            continue
        if isinstance(item, LeftOut):
            left_out[item.reason] += 1
            continue
        sample = item if rules is None else filter_heads(item, rules)
        left_out.update(sample.left_out)
        record = label_record(sample, beside=out)
        heads += len(record["heads"])
        poses += sum(h["ypr_deg"] is not None for h in record["heads"])
        lines.append(json.dumps(record))
    if not lines:
        first = f" The first problem: {problems[0].error}" if problems else ""
        raise AnnotationError(f"Not one picture could be used, so {out} was not written.{first}")
    write_atomic(out, ("\n".join(lines) + "\n").encode())
    return Converted(len(lines), heads, poses, dict(left_out), tuple(problems))


def label_record(sample: HeadSample, *, beside: Path) -> dict[str, Any]:
    """The label of one picture, with paths relative to the folder of the file `beside`."""
    boxes = sample.boxes if sample.head_boxes is None else sample.head_boxes
    ypr = np.asarray(matrix_to_ypr(sample.rotations)[0])
    heads = [
        {"box": plain(box), "ypr_deg": plain(angles) if np.isfinite(angles).all() else None}
        for box, angles in zip(boxes, ypr, strict=True)
    ]
    return {
        "image": _relative(sample.image, beside.parent),
        "wh": list(sample.image_wh),
        "heads": heads,
        "ignore": [plain(box) for box in sample.ignore],
    }


def plain(values: Sequence[float] | NDArray[Any]) -> list[float]:
    """Numbers for JSON, to a thousandth."""
    return [round(float(v), 3) for v in values]


def _relative(image: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(image, folder)).as_posix()
    except ValueError:  # on another drive
        return image.resolve().as_posix()

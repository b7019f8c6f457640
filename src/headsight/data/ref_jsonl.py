"""Expressions as JSON lines, and the list of `refexp_coco_sample`.

A line is `{"image": path, "sent": words, "bbox": [x1, y1, x2, y2] px, "height", "width"}`; bbox may
be null (the right answer is nothing) or a list of boxes. Further keys are optional: `segmentation`
(COCO polygons or run lengths), `category`, `types`, `split`, `id`. Paths are relative to the file.
"""

from __future__ import annotations

__all__ = ["read_expressions", "read_ref_jsonl"]

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.ref_sample import RefSample, RefSet, choose_split, picture_wh, regions_of, sift
from headsight.errors import AnnotationError


def read_ref_jsonl(path: Path, *, split: str | None = None, images: Path | None = None) -> RefSet:
    """Every line of a file, or those of one split.

    Raises:
        InputError: no such split.
        AnnotationError: a line that is no JSON object, or nothing that can be used.
    """
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad_line(path, number, str(error)) from error
        if not isinstance(row, dict):
            raise _bad_line(path, number, "no object")
        rows.append((number, row))
    present = Counter(str(row.get("split", "")) for _, row in rows)
    chosen = choose_split(present, split, where=str(path))
    items = [
        (str(row.get("id", number)), partial(_from_row, row=row, folder=images or path.parent))
        for number, row in rows
        if str(row.get("split", "")) in chosen
    ]
    return sift(items, name=path.name, split="+".join(sorted(chosen)))


def read_expressions(folder: Path) -> RefSet:
    """The set `refexp_coco_sample`; `types` holds kinds of reasoning and the number of hops.

    Raises:
        AnnotationError: expressions.json is missing or of another form.
    """
    path = folder / "expressions.json"
    try:
        rows = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{path} cannot be read: {error}. Fetch the folder again.") from error
    if not isinstance(rows, list):
        raise AnnotationError(f"{path} holds no list of expressions. Fetch the folder again.")
    items = [
        (str(n), partial(_from_expression, row=row, folder=folder)) for n, row in enumerate(rows)
    ]
    return sift(items, name=folder.name)


def _from_row(key: str, *, row: Mapping[str, Any], folder: Path) -> RefSample:
    image = folder / str(row["image"])
    return RefSample(
        key,
        image,
        (int(row["width"]), int(row["height"])) if "width" in row else picture_wh(image),
        str(row["sent"]).strip(),
        _boxes(row["bbox"]),
        regions_of(row.get("segmentation")),
        category=str(row.get("category", "")),
        types=tuple(str(t) for t in row.get("types", ())),
        split=str(row.get("split", "")),
    )


def _from_expression(key: str, *, row: Mapping[str, Any], folder: Path) -> RefSample:
    said = row.get("categories") or {}
    hops = (f"{said['hops']} hops",) if "hops" in said else ()
    return RefSample(
        key,
        folder / str(row["image"]),
        (int(row["width"]), int(row["height"])),
        str(row["expression"]).strip(),
        _boxes(row["box_xyxy"]),
        types=(*(str(t) for t in said.get("type", ())), *hops),
    )


def _boxes(value: Any) -> Float[NDArray[np.float64], "n 4"]:
    """None, four numbers, or a list of such, xyxy px."""
    boxes = np.asarray([] if value is None else value, np.float64)
    if boxes.size and (boxes.ndim > 2 or boxes.shape[-1] != 4):
        raise AnnotationError(f"The box {value} is not four numbers x1, y1, x2, y2.")
    return boxes.reshape(-1, 4)


def _bad_line(path: Path, number: int, reason: str) -> AnnotationError:
    return AnnotationError(
        f"{path} line {number} is no JSON object: {reason}. Expected one object a line with image,"
        " sent and bbox; mend or drop that line."
    )

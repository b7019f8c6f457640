"""ReasonSeg (LISA, arXiv:2308.00692): one picture and one JSON file with polygons a question.

Shapes are painted from the largest to the smallest, outline and inside; `ignore` shapes count
neither way, `flag` shapes are dropped. Order is by the area of the polygon instead of its pixels,
which differ only where an outline crosses itself.
"""

from __future__ import annotations

__all__ = ["read_reasonseg"]

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.ref_sample import RefSample, RefSet, Region, choose_split, picture_wh, sift
from headsight.errors import AnnotationError

_PICTURES = (".jpg", ".jpeg", ".png")


def read_reasonseg(folder: Path, *, split: str | None = None) -> RefSet:
    """The first wording of every question; `types` tells `short` from `long` ones.

    Args:
        folder: holds the pairs NAME.jpg and NAME.json, or one such folder a split.
        split: `train`, `val` or `test`; None is `val`.

    Raises:
        InputError: no such split.
        AnnotationError: no question that can be used.
    """
    files = {folder.name: sorted(folder.glob("*.json"))}
    if not files[folder.name]:
        inner = sorted(p for p in folder.iterdir() if p.is_dir())
        files = {p.name: found for p in inner if (found := sorted(p.glob("*.json")))}
    if not files:
        raise AnnotationError(
            f"{folder} holds no referring expressions. Expected NAME.json beside NAME.jpg"
            " (ReasonSeg) or folders train, val, test of such; refs(...).p with instances.json;"
            " annotations.json or expressions.json."
        )
    counts = {name: len(found) for name, found in files.items()}
    chosen = choose_split(counts, split, where=str(folder))
    items = [
        (f"{name}/{path.stem}", partial(_sample, path=path, split=name))
        for name in sorted(chosen)
        for path in files[name]
    ]
    return sift(items, name="ReasonSeg", split="+".join(sorted(chosen)))


def _sample(key: str, *, path: Path, split: str) -> RefSample:
    record = json.loads(_text(path))
    image = next((p for s in _PICTURES if (p := path.with_suffix(s)).is_file()), None)
    if image is None:
        raise AnnotationError(f"The picture {path.with_suffix('.jpg')} is missing.")
    image_wh = picture_wh(image)
    said = record["text"]
    text = said if isinstance(said, str) else said[0]
    regions = sorted(
        (_region(s) for s in record["shapes"] if str(s["label"]).lower() != "flag"),
        key=lambda r: -_area(r.polygons[0]),
    )
    targets = [r.polygons[0] for r in regions if not r.is_ignored]
    return RefSample(
        key,
        image,
        image_wh,
        str(text).strip(),
        _boxes(targets, image_wh),
        tuple(regions),
        types=("long" if record.get("is_sentence") else "short",),
        split=split,
    )


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _region(shape: Mapping[str, Any]) -> Region:
    corners = np.asarray(shape["points"], np.float64).reshape(-1, 2)
    if not len(corners) or not np.isfinite(corners).all():
        raise AnnotationError("A shape has no corners, or one that is no number.")
    return Region((corners,), is_ignored="ignore" in str(shape["label"]).lower(), has_outline=True)


def _area(corners: Float[NDArray[Any], "n 2"]) -> float:
    x, y = corners[:, 0], corners[:, 1]
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _boxes(
    targets: list[NDArray[Any]], image_wh: tuple[int, int]
) -> Float[NDArray[np.float64], "n 4"]:
    """The box of each shape's pixels, its outline included."""
    if not targets:
        return np.zeros((0, 4))
    limits = np.array(image_wh, np.float64)
    low = np.stack([np.trunc(t).min(0) for t in targets]).clip(0, limits)
    high = np.stack([np.trunc(t).max(0) + 1 for t in targets]).clip(0, limits)
    return np.concatenate([low, high], 1)

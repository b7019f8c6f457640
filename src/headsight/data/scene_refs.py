"""Referring expressions about the rendered scenes of `headsight scenes`.

Expressions are taken from the file where it has them: a list `expressions` beside `annotations`, of
`{"image_id", "text", "annotation_ids"}` and, where known, its `types`. Else a function given by the
caller makes them from the heads of each picture.
"""

from __future__ import annotations

__all__ = ["ExpressionMaker", "read_scene_refs"]

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.ref_sample import RefSample, RefSet, regions_of, sift
from headsight.errors import AnnotationError, InputError
from headsight.geometry.boxes import xywh_to_xyxy

ExpressionMaker = Callable[
    [Mapping[str, Any], Sequence[Mapping[str, Any]]],
    list[tuple[str, Sequence[int], tuple[str, ...]]],
]
"""Called with a picture's record and its annotations (of heads that count); gives expressions, the
rows of the annotations each refers to, and what each goes by (its types)."""


def read_scene_refs(path: Path, *, make: ExpressionMaker | None = None) -> RefSet:
    """Expressions about the heads of a scenes folder's annotations.json.

    Heads with `ignore` or `iscrowd` are never referred to.

    Raises:
        InputError: the file has no expressions and `make` is not given.
        AnnotationError: the file is of another form.
    """
    try:
        whole = json.loads(path.read_text("utf-8"))
        images = {i["id"]: i for i in whole["images"]}
        heads: dict[Any, list[dict[str, Any]]] = {key: [] for key in images}
        for head in whole["annotations"]:
            if not (head.get("ignore") or head.get("iscrowd")):
                heads[head["image_id"]].append(head)
        pairs = None
        if "expressions" in whole:
            pairs = _written(whole["expressions"], heads)
        elif make is not None:
            pairs = _made(images, heads, make)
    except (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected the annotations.json"
            " of `headsight scenes`."
        ) from error
    if pairs is None:
        raise InputError(
            f"{path} has no 'expressions' (image_id, text, annotation_ids) and no function that"
            " makes them was given. Pass expressions=, or add them to the file."
        )
    items = (
        (
            f"{key}/{text}",
            partial(
                _sample,
                image=images[key],
                folder=path.parent,
                text=text,
                chosen=chosen,
                types=types,
            ),
        )
        for key, text, chosen, types in pairs
    )
    return sift(items, name=path.parent.name)


_Pairs = list[tuple[Any, str, list[dict[str, Any]], tuple[str, ...]]]


def _written(
    said: Sequence[Mapping[str, Any]], heads: Mapping[Any, list[dict[str, Any]]]
) -> _Pairs:
    """The expressions of the file whose heads all count."""
    pairs = []
    for row in said:
        wanted = set(row["annotation_ids"])
        chosen = [h for h in heads[row["image_id"]] if h["id"] in wanted]
        if len(chosen) == len(wanted):
            types = tuple(map(str, row.get("types", ())))
            pairs.append((row["image_id"], str(row["text"]), chosen, types))
    return pairs


def _made(
    images: Mapping[Any, Mapping[str, Any]],
    heads: Mapping[Any, list[dict[str, Any]]],
    make: ExpressionMaker,
) -> _Pairs:
    return [
        (key, text, [heads[key][row] for row in rows], types)
        for key, image in images.items()
        for text, rows, types in make(image, heads[key])
    ]


def _sample(
    key: str,
    *,
    image: Mapping[str, Any],
    text: str,
    chosen: Sequence[Mapping[str, Any]],
    types: tuple[str, ...],
    folder: Path,
) -> RefSample:
    boxes = np.array([h["bbox"] for h in chosen], np.float64).reshape(-1, 4)
    return RefSample(
        key,
        folder / str(image["file_name"]),
        (int(image["width"]), int(image["height"])),
        text,
        np.asarray(xywh_to_xyxy(boxes)),
        tuple(r for h in chosen for r in regions_of(h.get("segmentation"))),
        category="head",
        types=types,
        ids={"image_id": image["id"]},
    )

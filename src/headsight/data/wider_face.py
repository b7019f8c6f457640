"""WIDER FACE (arXiv:1511.06523): face boxes of 61 kinds of event, no poses."""

from __future__ import annotations

__all__ = ["FACE_TO_HEAD", "read_wider_face"]

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.data.head_folder import HeadFolder, Item, label_files
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import picture_wh
from headsight.errors import AnnotationError
from headsight.geometry.boxes import clip_boxes, grow_boxes, xywh_to_xyxy

FACE_TO_HEAD = (-0.148, -0.288, 0.148, 0.02)
"""What a whole head has more than a face box, in widths and heights of the face.

Found for the boxes of a detector that learned from this set, not on the set itself.
"""
_SPLITS = ("train", "val", "test")
_INVALID = 7
"""Column of `invalid`: a face too small or too blurred to be judged."""


def read_wider_face(folder: Path) -> HeadFolder:
    """Faces of wider_face_*_bbx_gt.txt; invalid ones are places that count neither way.

    `boxes` are of faces; `head_boxes` are grown from them.

    Raises:
        AnnotationError: there is no such file, or it breaks off.
    """
    files = label_files(folder, "wider_face_*_bbx_gt.txt", "wider_face_split/ of the set")
    items: dict[str, list[Item]] = {}
    for path in files:
        split = next((s for s in _SPLITS if s in path.stem.split("_")), path.stem)
        images = next(iter(sorted(folder.rglob(f"WIDER_{split}/images"))), folder / "images")
        items[split] = [
            (name, partial(_sample, path=path, image=images / name, rows=rows, line=line))
            for name, rows, line in _records(path)
        ]
    return HeadFolder("wider_face", folder, items)


def _records(path: Path) -> Iterator[tuple[str, list[str], int]]:
    """Name of a picture, its number of faces and their rows, and the line where it begins."""
    lines = path.read_text("utf-8").splitlines()
    at = 0
    while at < len(lines):
        name = lines[at].strip()
        if not name:
            at += 1
            continue
        count = lines[at + 1].strip() if at + 1 < len(lines) else ""
        if not count.isdigit() or not name.lower().endswith((".jpg", ".jpeg", ".png")):
            raise AnnotationError(
                f"{path} line {at + 1} is {name[:60]!r} and the next {count[:60]!r}, but the name"
                " of a picture and the number of its faces are expected. Fetch the file again."
            )
        number = max(int(count), 1)  # a picture without faces has one row of zeros
        yield name, lines[at + 1 : at + 2 + int(count)], at + 1
        at += 2 + number


def _sample(*, path: Path, image: Path, rows: list[str], line: int) -> HeadSample:
    if not image.is_file():
        raise AnnotationError(
            f"The picture {image} of {path.name} line {line} is missing. Unpack WIDER_*.zip beside"
            " wider_face_split."
        )
    wh = picture_wh(image)
    count, faces_of = int(rows[0]), [r.split()[:10] for r in rows[1:]]
    try:
        table: NDArray[Any] = np.array(faces_of, np.float64).reshape(count, 10)
    except ValueError as error:
        raise AnnotationError(
            f"{path} line {line}: {image.name} should have {count} faces, each a row of 10 numbers,"
            f" but {len(faces_of)} rows were read ({error}). Fetch the file again."
        ) from error
    boxes = np.asarray(clip_boxes(xywh_to_xyxy(table[:, :4]), wh))
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    is_valid = has_area & (table[:, _INVALID] == 0)
    faces = boxes[is_valid]
    counts = {
        "invalid": int((has_area & ~is_valid).sum()),
        "without area": int((~has_area).sum()),
    }
    return HeadSample(
        image,
        wh,
        faces,
        np.full((len(faces), 3, 3), np.nan),
        boxes[has_area & ~is_valid],
        box_kind="face",
        head_boxes=np.asarray(clip_boxes(grow_boxes(faces, FACE_TO_HEAD), wh)),
        left_out={k: n for k, n in counts.items() if n},
    )

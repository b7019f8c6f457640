"""CrowdHuman (arXiv:1805.00123): head boxes of crowds, one picture a line of an .odgt file."""

from __future__ import annotations

__all__ = ["read_crowdhuman"]

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.head_folder import HeadFolder, Item, label_files, picture_index
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import picture_wh
from headsight.errors import AnnotationError
from headsight.geometry.boxes import clip_boxes, xywh_to_xyxy


def read_crowdhuman(folder: Path) -> HeadFolder:
    """Heads of the people of annotation_train.odgt and annotation_val.odgt; no poses.

    Boxes are cut at the border. Masks (no people), and heads that their labellers ignored or were
    not sure of, are places where a detection counts neither way.

    Raises:
        AnnotationError: there is no .odgt file.
    """
    files = label_files(folder, "*.odgt", "annotation_train.odgt or annotation_val.odgt")
    pictures = picture_index(folder)
    items: dict[str, list[Item]] = {}
    for path in files:
        split = "train" if "train" in path.stem else "val" if "val" in path.stem else path.stem
        for number, offset in enumerate(_line_offsets(path), 1):
            make = partial(_sample, path=path, number=number, offset=offset, pictures=pictures)
            items.setdefault(split, []).append((f"{path.name}:{number}", make))
    return HeadFolder("crowdhuman", folder, items)


def _line_offsets(path: Path) -> Iterator[int]:
    """Where each line that is not empty begins, in bytes."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield offset
            offset += len(line)


def _sample(*, path: Path, number: int, offset: int, pictures: Mapping[str, Path]) -> HeadSample:
    with path.open("rb") as file:
        file.seek(offset)
        line = file.readline()
    try:
        record = json.loads(line)
        name, people = (
            str(record["ID"]),
            [p for p in record["gtboxes"] if "hbox" in p or "fbox" in p],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} line {number} is torn or no CrowdHuman record: {type(error).__name__} {error}."
            " Expected one JSON object with ID and gtboxes; fetch the file again."
        ) from error
    if name not in pictures:
        raise AnnotationError(
            f"The picture {name}.jpg of {path.name} line {number} is missing. Unpack"
            " CrowdHuman_*.zip beside the .odgt files."
        )
    image = pictures[name]
    wh = picture_wh(image)
    reasons = [_reason(person) for person in people]
    boxes = _boxes([p for p, r in zip(people, reasons, strict=True) if r is None], wh)
    ignore = _boxes([p for p, r in zip(people, reasons, strict=True) if r is not None], wh)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    left_out = Counter(r for r in reasons if r is not None)
    left_out.update({"outside the picture": int((~has_area).sum())})
    return HeadSample(
        image,
        wh,
        boxes[has_area],
        np.full((int(has_area.sum()), 3, 3), np.nan),
        ignore[(ignore[:, 2:] > ignore[:, :2]).all(1)],
        left_out={k: n for k, n in left_out.items() if n},
    )


def _reason(person: Mapping[str, Any]) -> str | None:
    """Why a head is not learned; None where it is."""
    head, whole = person.get("head_attr") or {}, person.get("extra") or {}
    if person.get("tag", "person") != "person":
        return "mask"
    if "hbox" not in person:
        return "no head box"
    if head.get("ignore") or whole.get("ignore"):
        return "ignored"
    return "unsure" if head.get("unsure") else None


def _boxes(people: list[Any], wh: tuple[int, int]) -> Float[NDArray[Any], "n 4"]:
    """Head boxes cut at the border; the whole person's where there is no head."""
    given = [p["hbox"] if "hbox" in p and p.get("tag") != "mask" else p["fbox"] for p in people]
    return np.asarray(clip_boxes(xywh_to_xyxy(np.array(given, np.float64).reshape(-1, 4)), wh))

"""AGORA-HPE and CMU-HPE from the raw sets: which pictures, their names, and the COCO files.

As DirectMHP (arXiv:2302.01110) made them, with these differences: a picture keeps the ending of its
format (theirs are PNG files named .jpg), face points in 2D are not written, and the camera is.
"""

from __future__ import annotations

__all__ = ["BUILDERS", "Built", "build_agora_hpe", "build_cmu_hpe"]

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.agora import read_agora
from headsight.data.head_folder import HeadFolder, LeftOut
from headsight.data.heads import HeadSample
from headsight.data.panoptic import TRAIN_SEQUENCES, VAL_SEQUENCES, frame_of, read_panoptic
from headsight.data.ref_sample import Problem
from headsight.errors import AnnotationError, InputError
from headsight.files import write_atomic
from headsight.geometry.boxes import xyxy_to_xywh
from headsight.geometry.rotations import matrix_to_ypr

EVERY_FRAME, EVERY_FRAME_LONG = 60, 180
"""One frame in so many is used, of sequences up to and beyond `LONG_SECONDS`."""
LONG_SECONDS, FRAMES_A_SECOND = 300, 29.97
LEAST_BYTES = 100 * 1024
"""A smaller picture of CMU Panoptic is taken to be damaged."""
_SEQUENCE_NUMBERS = (
    "171204_pose3", "171026_pose3", "170221_haggling_b3", "170221_haggling_m3",
    "170224_haggling_a3", "170228_haggling_b1", "170404_haggling_a1", "170407_haggling_a2",
    "170407_haggling_b2", "171026_cello3", "161029_piano4", "160422_ultimatum1",
    "160224_haggling1", "170307_dance5", "160906_ian1", "170915_office1", "160906_pizza1",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """What became of the raw pictures."""

    files: tuple[Path, ...]
    """The COCO files."""
    pictures: Mapping[str, int]
    heads: Mapping[str, int]
    """By split."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass
class _Split:
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)


def build_agora_hpe(
    raw: Path,
    out: Path,
    *,
    overwrite: bool = False,
    on_size: Callable[[int], None] = lambda _: None,
    on_picture: Callable[[], None] = lambda: None,
) -> Built:
    """Write images/ and annotations/coco_style_*.json of AGORA-HPE from the folder of AGORA.

    Pictures are hard links where the file system has them, else copies.

    Args:
        raw: holds the pictures and the `*_withjv.pkl` tables.
        out: folder to write.
        overwrite: whether COCO files may be replaced.
        on_size: told the number of pictures once it is known.
        on_picture: called after each.

    Raises:
        InputError: COCO files are there already.
        AnnotationError: the raw set is incomplete, or gives no labels at all.
    """
    _refuse(out, "coco_style_train.json", "coco_style_validation.json", overwrite=overwrite)
    numbers: dict[tuple[str, str], int] = {}

    def image_id(split: str, image: Path) -> int:
        sequence, _, frame = image.stem.removesuffix("_1280x720").rpartition("_")
        known = sum(s == split for s, _ in numbers)
        number = numbers.setdefault((split, sequence), known + 1)
        return (1 if split == "train" else 2) * 10**9 + number * 10**5 + int(frame)

    found = read_agora(raw)
    on_size(len(found))
    return _build(found, out, image_id, "AGORA-HPE", "coco_style_{}.json", on_picture)


def build_cmu_hpe(
    raw: Path,
    out: Path,
    *,
    overwrite: bool = False,
    on_size: Callable[[int], None] = lambda _: None,
    on_picture: Callable[[], None] = lambda: None,
) -> Built:
    """Write images/ and annotations/coco_style_sampled_*.json of CMU-HPE from CMU Panoptic.

    Of each sequence one frame in 60 is used, one in 180 where it is longer than five minutes.
    Pictures are hard links where the file system has them, else copies.

    Args:
        raw: holds sequences, each with calibration, hdFace3d and hdImgs.
        out: folder to write.
        overwrite: whether COCO files may be replaced.
        on_size: told the number of pictures once it is known.
        on_picture: called after each.

    Raises:
        InputError: COCO files are there already.
        AnnotationError: the raw set is incomplete, or gives no labels at all.
    """
    names = ("coco_style_sampled_train.json", "coco_style_sampled_val.json")
    _refuse(out, *names, overwrite=overwrite)

    def image_id(_split: str, image: Path) -> int:
        sequence, camera, frame = frame_of(image)
        number = _SEQUENCE_NUMBERS.index(sequence) + 1
        return 10**10 + number * 10**8 + frame * 100 + camera

    found = read_panoptic(raw)
    chosen = {s: _sampled(found, s) for s in ("train", "val") if s in found.items}
    if not chosen:
        raise AnnotationError(
            f"{raw} holds none of the 17 sequences of CMU-HPE, such as {TRAIN_SEQUENCES[0]} or"
            f" {VAL_SEQUENCES[0]}. It has: {', '.join(found.items)}."
        )
    some = HeadFolder("panoptic", raw, chosen)
    on_size(len(some))
    return _build(some, out, image_id, "CMU-HPE", "coco_style_sampled_{}.json", on_picture)


BUILDERS: dict[str, Callable[..., Built]] = {"agora-hpe": build_agora_hpe, "cmu-hpe": build_cmu_hpe}
"""By name, as in `headsight data build`."""


def _sampled(found: HeadFolder, split: str) -> list[Any]:
    """The items of the frames that are used."""
    last: dict[str, int] = {}
    for key, _ in found.items[split]:
        sequence, frame = key.partition("/")[0], int(key[-8:])
        last[sequence] = max(last.get(sequence, 0), frame)
    every = {
        s: EVERY_FRAME_LONG if int((n + 1) / FRAMES_A_SECOND) > LONG_SECONDS else EVERY_FRAME
        for s, n in last.items()
    }
    return [i for i in found.items[split] if int(i[0][-8:]) % every[i[0].partition("/")[0]] == 0]


def _refuse(out: Path, *names: str, overwrite: bool) -> None:
    there = [p for n in names if (p := out / "annotations" / n).exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]} exists. Choose another --out, or give --overwrite.")


def _build(
    found: HeadFolder,
    out: Path,
    image_id: Callable[[str, Path], int],
    name: str,
    pattern: str,
    on_picture: Callable[[], None],
) -> Built:
    splits: dict[str, _Split] = {}
    left_out, problems = Counter[str](), []
    for split in found.items:
        rows = splits.setdefault(split, _Split())
        for item in found.only(split):
            on_picture()
            if isinstance(item, Problem):
                problems.append(item)
            elif isinstance(item, LeftOut):
                left_out[item.reason] += 1
            elif name == "CMU-HPE" and item.image.stat().st_size < LEAST_BYTES:
                left_out["a picture under 100 KB"] += 1
            else:
                left_out.update(item.left_out)
                _add(rows, item, image_id(split, item.image), out / "images" / split)
    if not any(rows.images for rows in splits.values()):
        first = f" The first problem: {problems[0].error}" if problems else ""
        raise AnnotationError(f"{found.folder} gave no labels for {name}.{first}")
    files = []
    for split, rows in splits.items():
        path = out / "annotations" / pattern.format(split)
        document = {
            "info": {"description": f"Head boxes and Euler angles of {name}, by headsight"},
            "images": rows.images,
            "annotations": rows.annotations,
            "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
        }
        write_atomic(path, json.dumps(document).encode())
        files.append(path)
    return Built(
        tuple(files),
        {s: len(r.images) for s, r in splits.items()},
        {s: len(r.annotations) for s, r in splits.items()},
        dict(left_out),
        tuple(problems),
    )


def _add(rows: _Split, sample: HeadSample, number: int, folder: Path) -> None:
    """Put the picture into the folder, and its labels to the rows."""
    target = folder / f"{number}{sample.image.suffix.lower()}"
    _link(sample.image, target)
    width, height = sample.image_wh
    rows.images.append(
        {
            "id": number,
            "file_name": target.name,
            "width": width,
            "height": height,
            "source": sample.image.name,
            "intrinsics": None if sample.intrinsics is None else sample.intrinsics.tolist(),
        }
    )
    rows.annotations.extend(_annotations(sample, number))


def _annotations(sample: HeadSample, number: int) -> Iterator[dict[str, Any]]:
    ypr = np.asarray(matrix_to_ypr(sample.rotations)[0])
    boxes = np.asarray(xyxy_to_xywh(sample.boxes))
    for index, (box, (yaw, pitch, roll)) in enumerate(
        zip(boxes.tolist(), ypr.tolist(), strict=True)
    ):
        whole = [int(v) for v in box]
        yield {
            "id": number * 100 + index,
            "image_id": number,
            "bbox": whole,
            "euler_angles": [pitch, yaw, roll],
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": [],
            "area": whole[2] * whole[3],
        }


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        part.replace(target)

"""AGORA (arXiv:2104.14643): rendered people in scenes, with SMPL-X joints in camera axes.

Heads are labelled as for AGORA-HPE (DirectMHP, arXiv:2302.01110): the reference head is fitted to
13 face points of the SMPL-X joints. Read are the `*_withjv.pkl` tables that the set publishes with
SMPL-X joints and vertices; the SMPL-X model itself is not needed. The focal length is that of the
scene, told by the name of the picture.
"""

from __future__ import annotations

__all__ = ["FACE_POINTS", "intrinsics_of", "read_agora"]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.face_labels import label_faces
from headsight.data.head_folder import HeadFolder, Item, LeftOut, label_files, picture_index
from headsight.data.heads import HeadSample
from headsight.data.pandas_pickle import read_pickled_table
from headsight.data.ref_sample import picture_wh
from headsight.errors import AnnotationError

JOINTS, BEFORE_THE_FACE = 127, 76
FACE_POINTS = (0, 4, 9, 5, 28, 25, 22, 19, 18, 14, 37, 31, 40)
"""Which of the 51 face points are the first 13 points of the reference head."""
MOST_OCCLUDED = 90.0
"""Percent; people who are hidden as much or more are left out."""
_SENSOR_MM = (36.0, 20.25)
_FOCAL_MM = (("hdri", 50.0), ("cam00", 18.0), ("cam01", 18.0), ("cam02", 18.0), ("cam03", 18.0))
_OTHER_FOCAL_MM = 28.0
_COLUMNS = ("imgPath", "occlusion", "gt_joints_3d")


@dataclass(frozen=True)
class _Row:
    """What a table says of one picture."""

    name: str
    occlusion: Sequence[float]
    faces: Float[NDArray[Any], "n 51 3"]


def read_agora(folder: Path) -> HeadFolder:
    """Heads of `*_withjv.pkl`, with boxes and poses made as for AGORA-HPE.

    Only the face points of the tables are kept in memory.

    Raises:
        AnnotationError: there is no such table, or it lacks the SMPL-X joints.
    """
    tables = label_files(folder, "*withjv*.pkl", "train_0_withjv.pkl ... with SMPL-X joints")
    pictures = picture_index(folder)
    items: dict[str, list[Item]] = {}
    for table in tables:
        split = "train" if "train" in table.name else "validation"
        for row in _rows(table):
            make = partial(_sample, row, table=table, pictures=pictures)
            items.setdefault(split, []).append((row.name, make))
    return HeadFolder("agora", folder, items)


def intrinsics_of(name: str, image_wh: tuple[int, int]) -> Float[NDArray[Any], "3 3"]:
    """Pixels of the camera that took a picture, told by its name."""
    focal = next((mm for word, mm in _FOCAL_MM if word in name), _OTHER_FOCAL_MM)
    width, height = image_wh
    fx, fy = focal / _SENSOR_MM[0] * width, focal / _SENSOR_MM[1] * height
    return np.array([[fx, 0, width / 2], [0, fy, height / 2], [0, 0, 1]])


def _rows(path: Path) -> list[_Row]:
    table = read_pickled_table(path)
    missing = [c for c in _COLUMNS if c not in table]
    if missing:
        raise AnnotationError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(table)}. Download the"
            " camera tables *with SMPL-X joints and vertices* of AGORA (*_withjv.pkl)."
        )
    columns = zip(*(table[c] for c in _COLUMNS), strict=True)
    return [
        _Row(str(name), [float(o) for o in hidden], _faces(joints, path, str(name)))
        for name, hidden, joints in columns
    ]


def _faces(joints: Sequence[Any], path: Path, name: str) -> Float[NDArray[Any], "n 51 3"]:
    shapes = {np.shape(j) for j in joints}
    if shapes - {(JOINTS, 3)}:
        raise AnnotationError(
            f"{path} gives {name} joints of the shapes {sorted(shapes)}, but {JOINTS} x 3 (SMPL-X)"
            " are expected. Download the tables with SMPL-X joints, not those with SMPL joints."
        )
    faces = [np.asarray(j, np.float64)[BEFORE_THE_FACE:] for j in joints]
    return np.stack(faces) if faces else np.zeros((0, JOINTS - BEFORE_THE_FACE, 3))


def _sample(row: _Row, *, table: Path, pictures: Mapping[str, Path]) -> HeadSample | LeftOut:
    stem = Path(row.name).stem
    names = (f"{stem}_1280x720", stem, stem.removesuffix("_1280x720"))  # AGORA-HPE has the small
    image = next((pictures[n] for n in names if n in pictures), None)
    if image is None:
        raise AnnotationError(
            f"The picture {row.name} of {table.name} is missing. Unpack the pictures below the same"
            " folder as the tables."
        )
    wh = picture_wh(image)
    is_seen = np.array(row.occlusion, np.float64) < MOST_OCCLUDED
    faces = row.faces[is_seen][:, list(FACE_POINTS)]
    intrinsics = intrinsics_of(row.name, wh)
    boxes, rotations, faults = label_faces(faces, intrinsics, wh)
    counts = Counter(f for f in faults if f)
    counts.update({"hidden": int((~is_seen).sum())})
    is_good = np.array([not f for f in faults], bool)
    if not is_good.any():
        return LeftOut(row.name, "no head that can be labelled")
    return HeadSample(
        image,
        wh,
        boxes[is_good],
        rotations[is_good],
        box_kind="around",
        intrinsics=intrinsics,
        left_out={k: n for k, n in counts.items() if n},
    )

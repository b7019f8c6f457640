"""BIWI Kinect Head Pose Database: 24 sequences of one person in front of a Kinect.

`*_pose.txt` holds R_cv as it is (proved on the published tables), and the middle of the head in mm
in the axes of the depth camera; `rgb.cal` leads from there into the colour picture. As in every
published evaluation the rotation is left relative to the depth camera, whose axes lie one degree
from those of the colour camera. Depth pictures are not read.
"""

from __future__ import annotations

__all__ = ["read_biwi"]

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.head_folder import HeadFolder, Item, label_files
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import picture_wh
from headsight.errors import AnnotationError
from headsight.geometry.boxes import clip_boxes
from headsight.geometry.rotations import convert

HEAD_RADIUS_MM = 120.0
"""Of the sphere whose box stands for the head: the set has no boxes."""
_POSE, _PICTURE = "_pose.txt", "_rgb.png"
_LARGEST_SKEW = 1e-3


class _Camera(NamedTuple):
    intrinsics: Float[NDArray[Any], "3 3"]
    rotation: Float[NDArray[Any], "3 3"]
    translation: Float[NDArray[Any], 3]


def read_biwi(folder: Path) -> HeadFolder:
    """A head with its pose a frame; every sequence is a split of its own, named by its folder.

    The box is that of a ball of 12 cm around the middle of the head.

    Raises:
        AnnotationError: there is no frame_*_pose.txt.
    """
    poses = label_files(folder, f"frame_*{_POSE}", "hpdb/01/frame_00003_pose.txt and so on")
    items: dict[str, list[Item]] = {}
    for path in poses:
        key = f"{path.parent.name}/{path.name.removesuffix(_POSE)}"
        items.setdefault(path.parent.name, []).append((key, partial(_sample, path)))
    return HeadFolder("biwi", folder, items)


def _sample(path: Path) -> HeadSample:
    image = path.with_name(path.name.removesuffix(_POSE) + _PICTURE)
    if not image.is_file():
        raise AnnotationError(f"The picture {image} is missing. Unpack the whole sequence.")
    rotation, middle = _read_pose(path)
    camera = _read_camera(path.with_name("rgb.cal"))
    wh = picture_wh(image)
    x, y, z = camera.rotation @ middle + camera.translation
    if z <= 0:
        raise AnnotationError(f"{path} puts the head behind the camera (z = {z:.0f} mm).")
    seen = camera.intrinsics[:2, :2] @ (np.array([x, y]) / z) + camera.intrinsics[:2, 2]
    reach = np.diag(camera.intrinsics)[:2] * HEAD_RADIUS_MM / z
    box = np.concatenate([seen - reach, seen + reach])[None]
    return HeadSample(
        image,
        wh,
        np.asarray(clip_boxes(box, wh)),
        np.asarray(convert(rotation, "biwi"))[None],
        box_kind="around",
        intrinsics=camera.intrinsics,
    )


def _read_pose(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    numbers = _numbers(path, 12)
    rotation = numbers[:9].reshape(3, 3)
    skew = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if skew > _LARGEST_SKEW or np.linalg.det(rotation) < 0:
        raise AnnotationError(
            f"{path} begins with no rotation matrix (R R^T is off by {skew:.2g}). Expected three"
            " rows of three numbers, then the middle of the head in mm; fetch it again."
        )
    return rotation, numbers[9:12]


def _read_camera(path: Path) -> _Camera:
    """Intrinsics, four numbers of distortion (0), rotation, translation in mm, size."""
    if not path.is_file():
        raise AnnotationError(
            f"The calibration {path} is missing, without which the place of the head in the picture"
            " is not known. Unpack the whole sequence."
        )
    numbers = _numbers(path, 25)
    return _Camera(numbers[:9].reshape(3, 3), numbers[13:22].reshape(3, 3), numbers[22:25])


def _numbers(path: Path, fewest: int) -> NDArray[np.float64]:
    words = path.read_text("utf-8").split()
    try:
        numbers = np.array(words, np.float64)
    except ValueError as error:
        raise AnnotationError(
            f"{path} holds more than numbers: {error}. Fetch it again."
        ) from error
    if len(numbers) < fewest:
        raise AnnotationError(
            f"{path} holds {len(numbers)} numbers, but {fewest} are expected. It is torn or no file"
            " of BIWI; fetch it again."
        )
    return numbers

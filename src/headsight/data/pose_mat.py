"""300W-LP and AFLW2000-3D (arXiv:1511.07212): a portrait a picture, its pose in a .mat file.

`Pose_Para` holds pitch, yaw, roll in radians, then translation and scale; angles as ours.
"""

from __future__ import annotations

__all__ = ["BEYOND", "MOST_DEG", "read_300w_lp", "read_aflw2000"]

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.head_folder import HeadFolder, Item, LeftOut, label_files
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import picture_wh
from headsight.errors import AnnotationError
from headsight.geometry.boxes import clip_boxes
from headsight.geometry.head_fit import flat_head_box
from headsight.geometry.rotations import ypr_from, ypr_to_matrix

MOST_DEG = 99.0
"""The usual protocol leaves out heads with a larger yaw, pitch or roll."""
BEYOND = f"an angle beyond {MOST_DEG:.0f} degrees"
"""Why such a picture is left out."""
_NO_PORTRAITS = {"Code", "landmarks"}
"""Folders of the set whose .mat files are of something else."""
REFERENCE_LANDMARKS = (17, 21, 26, 22, 45, 42, 39, 36, 35, 31, 54, 48, 57, 8)
"""Which of the 68 landmarks are the 14 points of the reference head."""
HEAD_HALF_AXES, HEAD_CENTRE = (10.0, 12.5, 12.0), (0.0, 5.0, -3.0)
"""An ellipsoid that fits a head closely, in units of the reference head; ours."""


def read_aflw2000(folder: Path) -> HeadFolder:
    """2,000 portraits; those with an angle beyond 99 degrees are left out.

    Raises:
        AnnotationError: there is no .mat file.
    """
    paths = label_files(folder, "image*.mat", "image00002.mat beside image00002.jpg and so on")
    items: list[Item] = [(p.stem, partial(_sample, p, root=folder)) for p in paths]
    return HeadFolder("aflw2000", folder, {"test": items})


def read_300w_lp(folder: Path) -> HeadFolder:
    """Every portrait of AFW, HELEN, IBUG and LFPW, turned in depth; and their mirror images.

    `boxes` are of the landmarks, `head_boxes` estimated from them. A split is a folder, such as
    `AFW` or `AFW_Flip`. Angles beyond 99 degrees are left out.

    Raises:
        AnnotationError: there is no .mat file.
    """
    paths = label_files(folder, "*.mat", "AFW/AFW_134212_1_0.mat beside its .jpg and so on")
    items: dict[str, list[Item]] = {}
    for path in paths:
        if _NO_PORTRAITS & set(path.relative_to(folder).parts) or path.stem.endswith("_pts"):
            continue
        key = f"{path.parent.name}/{path.stem}"
        items.setdefault(path.parent.name, []).append((key, partial(_sample, path, root=folder)))
    return HeadFolder("300w_lp", folder, items)


def _sample(path: Path, *, root: Path) -> HeadSample | LeftOut:
    mat = _load(path)
    pose = np.asarray(mat.get("Pose_Para", ()), np.float64).ravel()
    if len(pose) < 3 or not np.isfinite(pose[:3]).all():
        names = ", ".join(k for k in mat if not k.startswith("__")) or "nothing"
        raise AnnotationError(
            f"{path} has no Pose_Para with pitch, yaw and roll; it holds {names}. Expected the .mat"
            " files of 300W-LP or AFLW2000-3D, not those of the landmarks alone."
        )
    ypr = np.rad2deg(pose[[1, 0, 2]])
    if np.abs(ypr).max() > MOST_DEG:
        return LeftOut(str(path.relative_to(root)), BEYOND)
    image = _picture(path)
    wh = picture_wh(image)
    rotation = np.asarray(ypr_to_matrix(ypr_from(ypr, "300wlp")))
    points = _landmarks(mat, path)
    box = np.concatenate([points.min(0), points.max(0)])
    head = np.asarray(
        flat_head_box(
            points[list(REFERENCE_LANDMARKS)],
            rotation,
            half_axes=HEAD_HALF_AXES,
            centre=HEAD_CENTRE,
        )
    )
    whole = np.concatenate([np.minimum(head[:2], box[:2]), np.maximum(head[2:], box[2:])])
    return HeadSample(
        image,
        wh,
        np.asarray(clip_boxes(box, wh))[None],
        rotation[None],
        box_kind="landmarks",
        head_boxes=np.asarray(clip_boxes(whole, wh))[None],
    )


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unused fields of old MATLAB versions
            return dict(loadmat(path))
    except (OSError, TypeError, ValueError, NotImplementedError, LookupError) as error:
        raise AnnotationError(
            f"{path} cannot be read as a MATLAB file: {type(error).__name__} {error}. Fetch it"
            " again."
        ) from error


def _picture(path: Path) -> Path:
    """Beside the .mat file, or in the folder `images` beside its own."""
    places = (path.with_suffix(".jpg"), path.parent.parent / "images" / f"{path.stem}.jpg")
    for place in places:
        if place.is_file():
            return place
    raise AnnotationError(f"The picture {places[0]} is missing. Unpack the whole set.")


def _landmarks(mat: dict[str, Any], path: Path) -> Float[NDArray[np.float64], "68 2"]:
    for name in ("pt3d_68", "pt2d"):
        points = np.asarray(mat.get(name, np.zeros((0, 0))), np.float64)
        if points.ndim == 2 and points.shape[0] >= 2 and points.shape[1] == 68:
            return points[:2].T
    raise AnnotationError(
        f"{path} has no 68 landmarks (pt3d_68 or pt2d), from which the box is made. Expected the"
        " .mat files of 300W-LP or AFLW2000-3D."
    )

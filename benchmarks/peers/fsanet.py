"""FSA-Net (Yang et al., CVPR 2019): head pose of a crop; two ONNX networks, averaged.

Weights `models/fsanet` (omasaht/headpose-fsanet-pytorch, MIT). Its angles have the signs of
300W-LP. Fed with whole heads, squared; two crop sizes and their mirror images are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from headsight.geometry.rotations import ypr_from, ypr_to_matrix
from peers.inputs import Array, agree, pixels, session, stack_poses

name = "FSA-Net"
SCALES = (1.05, 1.2)
SIDE = 64
_FILES = ("fsanet/fsanet-1x1.onnx", "fsanet/fsanet-var.onnx")


def poses(images: Sequence[Image.Image], boxes: Array) -> Array:
    """Rotations (n, 3, 3) of n heads: image i, head box i."""
    return stack_poses([pose(i, b)[0] for i, b in zip(images, boxes, strict=True)])


def pose(
    image: Image.Image, box: Array, *, scales: Sequence[float] = SCALES
) -> tuple[Array, float]:
    """One head's rotation, and how far its crops and their mirror images disagree, degrees."""
    return agree(read, image, box, scales=scales, side=SIDE)


def read(crops: Sequence[Image.Image]) -> Array:
    """Rotations of crops of 64 x 64 px, each as it stands."""
    inputs = (pixels(crops, bgr=True) - 127.5) / 128
    angles = [
        [session(file).run(None, {"input": one[None]})[0][0] for one in inputs] for file in _FILES
    ]
    ypr = np.asarray(angles, np.float64).mean(0)
    return np.asarray(ypr_to_matrix(ypr_from(ypr, "300wlp")))

"""Head labels of a picture from the face points of a motion capture.

As AGORA-HPE and CMU-HPE were made (DirectMHP, arXiv:2302.01110). Lens distortion is OpenCV's; the
script that made CMU-HPE distorts y with an x that is distorted already, less than a pixel apart.
"""

from __future__ import annotations

__all__ = ["label_faces"]

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.geometry.head_fit import fit_head, head_rotation, helmet_box
from headsight.geometry.rotations import matrix_to_ypr

Array = NDArray[Any]


def label_faces(
    faces: Float[Array, "n m 3"],
    intrinsics: Float[Array, "3 3"],
    image_wh: tuple[int, int],
    *,
    weights: Float[Array, "n m"] | None = None,
    camera_rotation: Float[Array, "3 3"] | None = None,
    camera_translation: Float[Array, 3] | None = None,
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0),
) -> tuple[Float[Array, "n 4"], Float[Array, "n 3 3"], list[str]]:
    """Box, rotation and fault of each of n heads given by the first m reference points in 3D.

    The fault is empty where the label can be used; else `no fit`, `no triple` (no yaw, pitch and
    roll with |pitch|, |roll| < 90) or `no box`.
    """
    fit = fit_head(faces, weights)
    rotations = np.asarray(head_rotation(fit, camera_rotation))
    boxes, is_usable = helmet_box(
        fit,
        intrinsics,
        image_wh,
        camera_rotation=camera_rotation,
        camera_translation=camera_translation,
        distortion=distortion,
    )
    flags = matrix_to_ypr(rotations)[1]
    faults = np.full(len(faces), "", dtype="<U9")
    faults[~np.asarray(is_usable)] = "no box"
    faults[np.asarray(flags.upside_down)] = "no triple"
    faults[~np.isfinite(rotations).all((-1, -2))] = "no fit"
    return np.asarray(boxes), rotations, faults.tolist()

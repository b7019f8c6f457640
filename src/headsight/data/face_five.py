"""Five points that every labelling of faces holds, in the order of the schema `face-5`."""

from __future__ import annotations

__all__ = ["FACE_FIVE", "FIVE_NAMES", "face_five"]

from dataclasses import replace

import numpy as np

from headsight.data.keypoints import KeypointInstance
from headsight.errors import InputError

FIVE_NAMES = ("right eye", "left eye", "nose tip", "right mouth corner", "left mouth corner")
"""Left and right are the person's own."""

FACE_FIVE: dict[int, tuple[tuple[int, ...], ...]] = {
    68: ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), (30,), (48,), (54,)),
    98: ((96,), (97,), (54,), (76,), (82,)),
    29: ((16,), (17,), (20,), (22,), (23,)),
    19: ((7,), (10,), (13,), (15,), (17,)),
}
"""By number of points (300W, WFLW, COFW, AFLW): the labels whose mean each of the five is."""


def face_five(face: KeypointInstance) -> KeypointInstance:
    """The same face with five points; one is labelled where all labels that make it are.

    Raises:
        InputError: a labelling of another number of points.
    """
    groups = FACE_FIVE.get(len(face.visible))
    if groups is None:
        raise InputError(
            f"The face {face.id} has {len(face.visible)} points; expected one of"
            f" {', '.join(map(str, FACE_FIVE))} (300W, WFLW, COFW, AFLW)."
        )
    rows = [list(group) for group in groups]
    hidden = None
    if face.hidden is not None:
        hidden = np.array([bool(face.hidden[row].any()) for row in rows])
    return replace(
        face,
        points=np.stack([face.points[row].mean(0) for row in rows]),
        visible=np.array([bool(face.visible[row].all()) for row in rows]),
        hidden=hidden,
        names=FIVE_NAMES,
    )

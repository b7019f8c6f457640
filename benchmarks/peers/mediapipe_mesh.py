"""MediaPipe 0.10.14 face mesh: finds faces and 468 landmarks in space; pose from four of them.

It wants protobuf below 5 and much else, so it runs in an environment of its own:

    python -m venv build/mediapipe
    build/mediapipe/bin/pip install mediapipe==0.10.14 pillow
    export HEADSIGHT_MEDIAPIPE=build/mediapipe/bin/python

The legacy mesh gives no rotation. Here the head's x axis runs between the outer eye corners and
its y axis from the top of the forehead to the chin; that line leans by a few degrees in a face that
looks straight ahead, which `LEAN_DEG` takes out (judged by eye from five pictures of
`aflw2000_sample`, so in its favour there).
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import numpy as np

from headsight.geometry.rotations import ypr_to_matrix
from peers.inputs import Array, stack_poses
from peers.ultra_light import head_boxes

name = "MediaPipe face mesh"
LEAN_DEG = 6.0
_EYES, _MIDLINE = (33, 263), (10, 152)
"""Outer corners of the eye at the image left and right; forehead and chin."""


def is_there() -> bool:
    """Whether an environment for it was named."""
    return bool(os.environ.get("HEADSIGHT_MEDIAPIPE"))


def heads(path: Path, image_wh: tuple[int, int]) -> tuple[Array, Array]:
    """Boxes (n, 4) of whole heads and rotations (n, 3, 3); it gives no scores."""
    worker = _worker()
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{path}\n")
    worker.stdin.flush()
    faces = [np.array(f) for f in json.loads(worker.stdout.readline())]
    boxes = [np.concatenate([f[:, :2].min(0), f[:, :2].max(0)]) for f in faces]
    whole = head_boxes(np.array(boxes).reshape(-1, 4), image_wh)
    return whole, stack_poses([_rotation(f) for f in faces])


def _rotation(points: Array) -> Array:
    """Columns are the head's axes in the camera: to the image right, down, away."""
    across = points[_EYES[1]] - points[_EYES[0]]
    down = points[_MIDLINE[1]] - points[_MIDLINE[0]]
    x = across / np.linalg.norm(across)
    z = np.cross(x, down)
    z = z / np.linalg.norm(z)
    lean = ypr_to_matrix(np.array([0.0, LEAN_DEG, 0.0]))
    return np.asarray(np.stack([x, np.cross(z, x), z], 1) @ lean)


@cache
def _worker() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [os.environ["HEADSIGHT_MEDIAPIPE"], str(Path(__file__).with_name("mediapipe_worker.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

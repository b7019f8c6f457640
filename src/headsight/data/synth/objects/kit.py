"""Putting an object together: solids with their materials, and named points."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from headsight.data.synth.bodies import FloatArray, IntArray, smooth_normals
from headsight.data.synth.objects.solids import Number, Numbers, Vector
from headsight.data.synth.shapes import Mesh
from headsight.data.synth.surface import Material, Part

__all__ = ["SIDES", "Kit", "Mark", "Model"]

SIDES = (("left", 1.0), ("right", -1.0))
"""The object's own sides and the sign of their y."""


@dataclass(frozen=True)
class Mark:
    """A named point."""

    at: Vector
    """(3,)"""
    depth: float
    """How far below the surface it may lie and still count as seen from that side."""


@dataclass(frozen=True)
class Model:
    """A finished object in its own frame: it fits into a sphere of radius 0.5 round the origin."""

    pieces: tuple[tuple[FloatArray, IntArray, FloatArray, Material], ...]
    """Points, faces, corner uv, material."""
    marks: dict[str, Mark]
    ground: float
    """z of the lowest point."""

    def parts(self, rotation: Vector, shift: Vector, owner: int) -> list[Part]:
        """The meshes after `rotation` and `shift`, as things that the tracer takes."""
        result = []
        for points, faces, corner_uv, material in self.pieces:
            moved = (points @ rotation.T + shift).astype(np.float32)
            result.append(
                Part(
                    points=moved,
                    normals=smooth_normals(moved, faces),
                    faces=faces,
                    corner_uv=corner_uv,
                    material=material,
                    owner=owner,
                    is_head=np.ones(len(faces), bool),
                    extra=np.zeros(len(points), np.float32),
                )
            )
        return result

    @property
    def points(self) -> Vector:
        """(V, 3) all vertices."""
        return np.concatenate([p[0] for p in self.pieces]).astype(np.float64)


@dataclass(frozen=True)
class Kit:
    """Collects solids and points; `at` gives a kit for a part with axes of its own."""

    rng: np.random.Generator
    origin: Vector = field(default_factory=lambda: np.zeros(3))
    turn: Vector = field(default_factory=lambda: np.eye(3))
    solids: list[tuple[FloatArray, IntArray, FloatArray, Material]] = field(default_factory=list)
    """Points, faces, corner uv, material."""
    marks: dict[str, Mark] = field(default_factory=dict)

    def at(self, origin: Numbers, turn: Vector | None = None) -> Kit:
        """A kit whose frame lies at `origin`, rotated by `turn`, in this one's frame."""
        axes = self.turn if turn is None else self.turn @ turn
        return Kit(self.rng, self.place(origin), axes, self.solids, self.marks)

    def place(self, at: Numbers) -> Vector:
        """A point of this frame in the frame of the object."""
        result: Vector = self.turn @ np.asarray(at, np.float64) + self.origin
        return result

    def add(self, mesh: Mesh, material: Material, tile: tuple[Number, Number] = (1, 1)) -> None:
        """Put a solid in; `tile` repeats the material's texture."""
        points, faces, uv = mesh
        moved = points.astype(np.float64) @ self.turn.T + self.origin
        corners = (_corner_uv(faces, uv) * np.asarray(tile, np.float32)).astype(np.float32)
        self.solids.append((moved.astype(np.float32), faces, corners, material))

    def mark(self, name: str, at: Numbers, depth: float) -> None:
        """Name a point that lies at most `depth` below the surface."""
        self.marks[name] = Mark(self.place(at), depth)

    def finish(self) -> Model:
        """The object, centred and scaled; solids of one material become one piece."""
        every = np.concatenate([solid[0] for solid in self.solids]).astype(np.float64)
        middle = (every.min(0) + every.max(0)) / 2
        scale = 0.5 / float(np.linalg.norm(every - middle, axis=1).max())
        groups: dict[int, list[tuple[FloatArray, IntArray, FloatArray, Material]]] = {}
        for solid in self.solids:
            groups.setdefault(id(solid[3]), []).append(solid)
        pieces = []
        for group in groups.values():
            starts = np.cumsum([0] + [len(g[0]) for g in group])
            points = (np.concatenate([g[0] for g in group]) - middle) * scale
            faces = [g[1] + s for g, s in zip(group, starts[:-1], strict=True)]
            uv = np.concatenate([g[2] for g in group])
            joined = np.concatenate(faces).astype(np.int32)
            pieces.append((points.astype(np.float32), joined, uv, group[0][3]))
        marks = {n: Mark((m.at - middle) * scale, m.depth * scale) for n, m in self.marks.items()}
        return Model(tuple(pieces), marks, float(every[:, 2].min() - middle[2]) * scale)


def _corner_uv(faces: IntArray, uv: FloatArray) -> FloatArray:
    """(F, 3, 2), going on past 1 where a ring closes on its first corner (u = 0) again."""
    corners = uv[faces].astype(np.float32)
    u = corners[..., 0]
    highest = u.max(1)
    wraps = (highest - u.min(1) > 0.5) & (highest < 0.999)
    corners[..., 0] = np.where(wraps[:, None] & (u < 0.5), u + 1, u)
    return corners

"""Facts about base mesh and garments that never change, worked out once per process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.assets import Garment, Texture
from headsight.data.synth.bodies import HEAD, Bodies, FloatArray, IntArray, coarsened
from headsight.data.synth.surface import Material

__all__ = ["brightness", "coarse_faces", "garment_weights", "head_vertices", "opaque_vertices"]

SKIN_VERTICES = 13606
"""The visible body comes first in the base mesh; eyeballs and helpers follow."""

_HEADS: dict[int, NDArray[np.bool_]] = {}


def head_vertices(bodies: Bodies) -> NDArray[np.bool_]:
    """(V',) skin vertices that belong to the head."""
    if id(bodies) not in _HEADS:
        used = np.zeros(len(bodies.weights), bool)
        used[bodies.faces] = True
        _HEADS[id(bodies)] = ((bodies.weights[:, HEAD] > 0.5) & used)[:SKIN_VERTICES]
    return _HEADS[id(bodies)]


_WEIGHTS: dict[tuple[str, int], FloatArray] = {}


def garment_weights(bodies: Bodies, garment: Garment) -> FloatArray:
    """(V, J) skinning weights of a garment."""
    key = (garment.name, id(bodies))
    if key not in _WEIGHTS:
        _WEIGHTS[key] = garment.joint_weights(bodies.weights)
    return _WEIGHTS[key]


_COARSE: dict[tuple[str, int], tuple[NDArray[np.int64], IntArray]] = {}


def coarse_faces(
    bodies: Bodies, name: str, points: FloatArray, faces: IntArray
) -> tuple[NDArray[np.int64], IntArray]:
    """Thinned faces of a mesh (kept from the first time), finer on the head than on the body."""
    key = (name, id(bodies))
    if key not in _COARSE:
        head_low = bodies.joints[0, HEAD, 1] + 0.06
        cell = np.where(points[:, 1] < head_low, 0.009, 0.024).astype(np.float32)
        _COARSE[key] = coarsened(points, faces, cell)
    return _COARSE[key]


_BRIGHT: dict[str, float] = {}


def brightness(name: str, texture: Texture) -> float:
    """Mean linear brightness of the opaque part of a texture."""
    if name not in _BRIGHT:
        top = texture.levels[1]
        weight = top[..., 3] > 0.3
        _BRIGHT[name] = max(
            float((top[..., :3] ** 2)[weight].mean()) if weight.any() else 1.0, 0.02
        )
    return _BRIGHT[name]


_OPAQUE: dict[str, NDArray[np.bool_]] = {}


def opaque_vertices(garment: Garment, faces: IntArray) -> NDArray[np.int64]:
    """Vertices of a cut-out mesh where its texture is opaque."""
    if garment.name not in _OPAQUE:
        flags = np.zeros(len(garment.base_ids), bool)
        if garment.texture is None:
            flags[:] = True
        else:
            alpha = Material(texture=garment.texture.levels[1]).opacity(
                garment.uv[garment.uv_faces.ravel()]
            )
            np.logical_or.at(flags, garment.faces.ravel(), alpha > 0.5)
        _OPAQUE[garment.name] = flags
    used = np.unique(faces).astype(np.int64)
    return used[_OPAQUE[garment.name][used]]

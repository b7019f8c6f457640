"""What surfaces are made of, and the pieces of mesh a picture is put together from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.bodies import FloatArray, IntArray

__all__ = ["Material", "Part", "sample"]


@dataclass(frozen=True, kw_only=True)
class Material:
    """How a surface takes its colour and answers light; colours are linear."""

    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Multiplies the texture, or the plain colour where there is none."""
    texture: FloatArray | None = None
    """(H, W, 4) sRGB in [0, 1], row 0 at v = 1."""
    grey_share: float = 0.0
    """How far the texture is turned to its own brightness before tinting (hair dyed any colour)."""
    extra_colour: tuple[float, float, float] = (0.1, 0.08, 0.06)
    """Colour mixed in where a vertex says so (beard)."""
    is_cutout: bool = False
    opacity_scale: float = 1.0
    wrap: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How far light reaches round an edge, per channel (skin)."""
    specular: float = 0.0
    gloss: float = 20.0
    grain: float = 0.0
    """Strength of fine random brightness."""

    def opacity(self, uv: FloatArray) -> FloatArray:
        """(N,) opacity at texture positions."""
        if self.texture is None:
            return np.full(len(uv), self.opacity_scale, np.float32)
        alpha = sample(self.texture[..., 3:], uv)[:, 0]
        result: FloatArray = np.clip((alpha - 0.15) / 0.4, 0, 1) * np.float32(self.opacity_scale)
        return result

    def albedo(self, uv: FloatArray, extra: FloatArray, bary: FloatArray) -> FloatArray:
        """(N, 3) linear colour at texture positions."""
        tint = np.array(self.tint, np.float32)
        if self.texture is None:
            colour = np.broadcast_to(tint, (len(uv), 3))
        else:
            colour = sample(self.texture[..., :3], uv)
            colour = colour * colour
            if self.grey_share > 0:
                grey = colour.mean(1, keepdims=True)
                colour = colour * (1 - self.grey_share) + grey * np.float32(self.grey_share)
            colour = colour * tint
        if self.grain > 0:
            # A hash of the place: fixed to the surface, without a table.
            noise = np.modf(np.abs(np.sin(uv @ np.array([917.3, 1391.7], np.float32)) * 4375.5))[0]
            colour = colour * (1 + np.float32(self.grain) * (noise[:, None] - np.float32(0.5)))
        if extra.any():
            share = extra[:, None]
            colour = colour * (1 - share) + np.array(self.extra_colour, np.float32) * share
        result: FloatArray = np.ascontiguousarray(colour, np.float32)
        return result


@dataclass(frozen=True)
class Part:
    """A piece of mesh of one material."""

    points: FloatArray
    normals: FloatArray
    faces: IntArray
    corner_uv: FloatArray
    material: Material
    owner: int
    """Person index, -1 for a thing."""
    is_head: NDArray[np.bool_]
    """(F,) faces that count as part of the head (skin of the head, hair, hat, glasses)."""
    extra: FloatArray
    """(V,) share of the material's extra colour."""


def sample(texture: FloatArray, uv: FloatArray) -> FloatArray:
    """(N, C) bilinear values of `texture` (H, W, C), repeated beyond [0, 1]; v = 0 is below."""
    h, w = texture.shape[:2]
    x = uv[:, 0] * np.float32(w) - np.float32(0.5)
    y = (1 - uv[:, 1]) * np.float32(h) - np.float32(0.5)
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    xi, yi = x0.astype(np.int64), y0.astype(np.int64)
    xa, xb, ya, yb = xi % w, (xi + 1) % w, (yi % h) * w, ((yi + 1) % h) * w
    flat = texture.reshape(-1, texture.shape[2])
    top = flat[ya + xa] * (1 - fx) + flat[ya + xb] * fx
    bottom = flat[yb + xa] * (1 - fx) + flat[yb + xb] * fx
    result: FloatArray = top * (1 - fy) + bottom * fy
    return result

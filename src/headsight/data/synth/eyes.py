"""Eyeballs: their texture, drawn or recoloured, and how it lies on the base mesh."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from headsight.data.synth.assets import Texture, texture_of
from headsight.data.synth.bodies import FloatArray, IntArray
from headsight.data.synth.colours import EYES
from headsight.data.synth.wear import Skull

__all__ = ["eye_uv", "plain_eye", "recoloured_eye"]


def eye_uv(rest: FloatArray, faces: IntArray, skull: Skull) -> FloatArray:
    """Texture positions of the eyeballs seen from the front; 0.5, 0.5 is the middle of the iris."""
    left = rest[faces][:, :, 0].mean(1) > 0
    centre = np.where(left[:, None], skull.eyes[0], skull.eyes[1])
    radius = 0.017 * skull.size
    at = (rest[faces][..., :2] - centre[:, None, :2]) / (2 * radius) + 0.5
    result: FloatArray = np.clip(at, 0.01, 0.99).astype(np.float32)
    return result


@lru_cache(maxsize=8)
def plain_eye(name: str) -> Texture:
    """A drawn eyeball of the named colour, iris in the middle."""
    n = 128
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n - 0.5
    r = np.hypot(x, y)
    rgba = np.ones((n, n, 4), np.float32)
    rgba[..., :3] = np.array([0.90, 0.87, 0.85]) - 0.25 * r[..., None]
    iris = r < 0.19
    rays = 0.85 + 0.15 * np.sin(24 * np.arctan2(y, x))
    rgba[iris, :3] = (np.array(EYES[name]) * rays[..., None])[iris]
    rgba[(r > 0.17) & iris, :3] *= 0.55
    rgba[r < 0.08, :3] = 0.03
    return texture_of(rgba)


_EYE_TEXTURES: dict[str, Texture] = {}


def recoloured_eye(texture: Texture, name: str) -> Texture:
    """`texture` with its brown iris in another colour; the white stays."""
    if name not in _EYE_TEXTURES:
        rgba = texture.levels[min(1, len(texture.levels) - 1)].copy()
        rgb = rgba[..., :3]
        bright = rgb.mean(-1, keepdims=True)
        share = np.clip((0.50 - bright) / 0.12, 0, 1) * np.clip(
            (rgb.max(-1, keepdims=True) - 0.12) / 0.05, 0, 1
        )
        target = np.array(EYES[name], np.float32) * bright / 0.30
        rgba[..., :3] = rgb * (1 - share) + np.clip(target, 0, 1) * share
        _EYE_TEXTURES[name] = texture_of(rgba)
    return _EYE_TEXTURES[name]

"""Light of a picture: a key light, a fill light and light from all around, in camera space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.bodies import FloatArray, lengths
from headsight.data.synth.surface import Material

__all__ = ["Light", "random_light"]


@dataclass(frozen=True)
class Light:
    """Directions point toward the light; colours are linear and may exceed 1."""

    key_direction: FloatArray
    key_colour: FloatArray
    softness: float
    """Spread of the key light's direction, radians."""
    fill_direction: FloatArray
    fill_colour: FloatArray
    up: FloatArray
    sky_colour: FloatArray
    ground_colour: FloatArray
    has_shadows: bool

    def shade(
        self,
        albedo: FloatArray,
        normal: FloatArray,
        rays: FloatArray,
        material: Material,
        sun: FloatArray,
        sky: FloatArray,
    ) -> FloatArray:
        """(N, 3) light that leaves surfaces toward the camera."""
        wrap = np.asarray(material.wrap, np.float32)
        height = (normal @ self.up)[:, None] * np.float32(0.5) + np.float32(0.5)
        light = (self.sky_colour * height + self.ground_colour * (1 - height)) * (
            0.35 + 0.65 * sky[:, None]
        )
        facing = (normal @ self.key_direction)[:, None]
        direct = np.clip((facing + wrap) / (1 + wrap), 0, None) * sun[:, None]
        light = light + direct * self.key_colour
        filled = np.clip((normal @ self.fill_direction)[:, None] + wrap, 0, None) / (1 + wrap)
        light = light + filled * self.fill_colour
        out = albedo * light
        if material.specular > 0:
            half = self.key_direction - rays
            half /= np.maximum(lengths(half), 1e-6)[:, None]
            gleam = np.clip((normal * half).sum(1), 0, None) ** material.gloss * sun
            grazing = (1 + (normal * rays).sum(1).clip(-1, 0)) ** 4
            out = out + (material.specular * gleam)[:, None] * self.key_colour
            out = out + (material.specular * 0.5 * grazing * sky)[:, None] * self.sky_colour
        result: FloatArray = out.astype(np.float32)
        return result


def random_light(
    rng: np.random.Generator, surroundings: NDArray[np.floating], up: NDArray[np.floating]
) -> Light:
    """A light that suits `surroundings` (2, 3): linear colours of upper and lower background."""
    yaw, height = rng.uniform(-np.pi, np.pi), rng.uniform(-0.1, 1.3)
    if rng.random() < 0.7:
        yaw = rng.uniform(-1.4, 1.4)
    side = np.array([np.sin(yaw) * np.cos(height), 0, -np.cos(yaw) * np.cos(height)])
    key = side + up * np.sin(height)
    key /= np.linalg.norm(key)
    fill = np.array([-key[0] + rng.normal(0, 0.3), rng.normal(0, 0.3), -abs(key[2]) - 0.2])
    fill /= np.linalg.norm(fill)
    warmth = rng.normal(0, 0.10)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    hard = rng.random()
    level = float(np.clip(0.42 + surroundings.mean() * 1.1, 0.5, 0.95)) * rng.uniform(0.8, 1.2)
    around = surroundings / max(float(surroundings.mean()), 1e-3)
    around = 0.6 + 0.4 * np.clip(around, 0.2, 2.5)
    ambient = level * (1.15 - 0.75 * hard)
    return Light(
        key_direction=key.astype(np.float32),
        key_colour=(level * (0.25 + 1.1 * hard) * tint).astype(np.float32),
        softness=float(rng.choice([0.03, 0.12, 0.3])),
        fill_direction=fill.astype(np.float32),
        fill_colour=(level * rng.uniform(0.05, 0.45) * tint[::-1]).astype(np.float32),
        up=up.astype(np.float32),
        sky_colour=(ambient * 1.1 * around[0]).astype(np.float32),
        ground_colour=(ambient * 0.6 * around[1]).astype(np.float32),
        has_shadows=bool(rng.random() < 0.85),
    )

"""What a real camera does to a picture: exposure, colour, blur, noise, lost resolution, JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

__all__ = ["finish"]


def finish(
    image: NDArray[np.floating], rng: np.random.Generator, *, strength: float
) -> NDArray[np.uint8]:
    """`image` (H, W, 3), display values in [0, 1], as a camera of random quality would give it."""
    if strength <= 0:
        return _bytes(image)
    h, w = image.shape[:2]
    scale = min(h, w) / 256
    exposure = np.exp(rng.normal(0, 0.16 * strength))
    balance = np.exp(rng.normal(0, 0.05 * strength, 3))
    gamma = np.exp(rng.normal(0, 0.12 * strength))
    image = np.clip(image * (exposure * balance).astype(np.float32), 0, 1.2)
    image = np.clip(image, 0, 1) ** np.float32(gamma)
    contrast = 1 + rng.normal(0, 0.12 * strength)
    image = (image - 0.5) * np.float32(contrast) + 0.5
    if rng.random() < 0.12 * strength:
        grey = image.mean(-1, keepdims=True)
        share = np.float32(rng.uniform(0.5, 1.0))
        image = image * (1 - share) + grey * share
    if rng.random() < 0.25 * strength:
        y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        image = image * (1 - rng.uniform(0.05, 0.3) * (x**2 + y**2)[..., None] / 2)
    draw = rng.random()
    if draw < 0.35 * strength:
        image = ndimage.gaussian_filter(image, (s := rng.uniform(0.2, 1.1) * scale**0.5, s, 0))
    elif draw < 0.43 * strength:
        image = _motion(image, rng, scale)
    if rng.random() < 0.55 * strength:
        noise = rng.normal(0, 1, image.shape).astype(np.float32)
        if rng.random() < 0.4:
            noise = ndimage.gaussian_filter(noise, (0.6, 0.6, 0)) * 2
        level = rng.uniform(0.003, 0.035)
        image = image + noise * (level * np.sqrt(np.clip(image, 0.05, 1)))
    result = _bytes(image)
    if rng.random() < 0.25 * strength:
        small = rng.uniform(0.45, 0.95)
        shape = (max(16, round(w * small)), max(16, round(h * small)))
        shrunk = Image.fromarray(result).resize(shape, Image.Resampling.BILINEAR)
        result = np.asarray(shrunk.resize((w, h), Image.Resampling.BICUBIC), np.uint8)
    if rng.random() < 0.5 * strength:
        buffer = io.BytesIO()
        Image.fromarray(result).save(buffer, "JPEG", quality=int(rng.integers(35, 95)))
        with Image.open(buffer) as opened:
            result = np.asarray(opened.convert("RGB"), np.uint8)
    return result


def _bytes(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return result


def _motion(
    image: NDArray[np.floating], rng: np.random.Generator, scale: float
) -> NDArray[np.floating]:
    angle, reach = rng.uniform(0, np.pi), rng.uniform(1, 3.5) * scale
    total = np.zeros_like(image)
    steps = 5
    for t in np.linspace(-0.5, 0.5, steps):
        shift = (t * reach * np.sin(angle), t * reach * np.cos(angle), 0)
        total += ndimage.shift(image, shift, order=1, mode="nearest")
    return total / steps

"""Backgrounds: drawn ones (gradients, textures, rooms, streets) or crops of photographs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from headsight.errors import InputError

__all__ = ["backdrop", "list_pictures"]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@lru_cache(maxsize=8)
def list_pictures(sources: tuple[Path, ...]) -> tuple[Path, ...]:
    """Picture files in `sources` (files or folders), sorted.

    Raises:
        InputError: a source does not exist, or there is no picture in any of them.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found += [p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES]
        elif source.is_file():
            found.append(source)
        else:
            raise InputError(
                f"Backgrounds: {str(source)!r} does not exist. Give a folder of pictures."
            )
    if sources and not found:
        raise InputError(
            f"Backgrounds: no picture in {', '.join(map(str, sources))}."
            f" Expected files ending in {', '.join(sorted(SUFFIXES))}."
        )
    return tuple(sorted(found))


def backdrop(
    rng: np.random.Generator, image_wh: tuple[int, int], photographs: tuple[Path, ...]
) -> NDArray[np.uint8]:
    """An (H, W, 3) background: a crop of one of `photographs`, or drawn where there are none."""
    if photographs:
        return _photograph(rng, image_wh, photographs[int(rng.integers(len(photographs)))])
    makers = (_gradient, _texture, _shapes, _room, _street)
    image = makers[int(rng.choice(len(makers), p=(0.14, 0.16, 0.2, 0.25, 0.25)))](rng, image_wh)
    if rng.random() < 0.6:
        image = image.filter(
            ImageFilter.GaussianBlur(float(rng.uniform(0.3, 6)) * min(image_wh) / 256)
        )
    grain = rng.normal(0, rng.uniform(0, 4), (image_wh[1], image_wh[0], 1))
    result: NDArray[np.uint8] = np.clip(np.asarray(image, np.float32) + grain, 0, 255).astype(
        np.uint8
    )
    return result


def _photograph(
    rng: np.random.Generator, image_wh: tuple[int, int], path: Path
) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (image_wh[0] * 2, image_wh[1] * 2))
            image = opened.convert("RGB")
    except OSError as error:
        raise InputError(f"Background {str(path)!r} cannot be read: {error}.") from error
    w, h = image.size
    aspect = image_wh[0] / image_wh[1]
    share = rng.uniform(0.35, 1.0)
    cw = min(w, h * aspect) * share
    ch = cw / aspect
    x, y = rng.uniform(0, w - cw), rng.uniform(0, h - ch)
    image = image.resize(image_wh, Image.Resampling.BILINEAR, box=(x, y, x + cw, y + ch))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.35:
        image = image.filter(
            ImageFilter.GaussianBlur(float(rng.uniform(0.5, 5)) * min(image_wh) / 256)
        )
    return np.asarray(image, np.uint8)


def _colour(rng: np.random.Generator, *, dull: float = 0.78) -> tuple[int, int, int]:
    base = rng.uniform(10, 245)
    rgb = np.clip(base + rng.normal(0, 70 * (1 - dull), 3), 0, 255)
    return int(rgb[0]), int(rgb[1]), int(rgb[2])


def _gradient(rng: np.random.Generator, image_wh: tuple[int, int]) -> Image.Image:
    w, h = image_wh
    corners = np.array([[_colour(rng) for _ in range(2)] for _ in range(2)], np.float32)
    y, x = np.linspace(0, 1, h)[:, None, None], np.linspace(0, 1, w)[None, :, None]
    top = corners[0, 0] * (1 - x) + corners[0, 1] * x
    bottom = corners[1, 0] * (1 - x) + corners[1, 1] * x
    return Image.fromarray((top * (1 - y) + bottom * y).astype(np.uint8))


def _noise(rng: np.random.Generator, image_wh: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) cloudy noise in about [-1, 1]."""
    w, h = image_wh
    total = np.zeros((h, w), np.float32)
    for cells in (3, 7, 17, 41):
        coarse = rng.normal(size=(cells + 3, cells + 3)).astype(np.float32)
        zoomed = ndimage.zoom(coarse, (h / cells, w / cells), order=1)[:h, :w]
        total += zoomed / cells**0.6
    return total / max(float(np.abs(total).max()), 1e-3)


def _texture(rng: np.random.Generator, image_wh: tuple[int, int]) -> Image.Image:
    a, b = np.array(_colour(rng), np.float32), np.array(_colour(rng), np.float32)
    noise = _noise(rng, image_wh)
    if rng.random() < 0.5:
        noise = np.sin(noise * rng.uniform(3, 18))
    share = (noise * 0.5 + 0.5)[..., None]
    return Image.fromarray((a * share + b * (1 - share)).astype(np.uint8))


def _shapes(rng: np.random.Generator, image_wh: tuple[int, int]) -> Image.Image:
    image = _gradient(rng, image_wh)
    draw = ImageDraw.Draw(image)
    w, h = image_wh
    for _ in range(int(rng.integers(4, 40))):
        x, y = rng.uniform(-0.1, 1) * w, rng.uniform(-0.1, 1) * h
        dx, dy = rng.lognormal(-2.2, 0.8) * w, rng.lognormal(-2.2, 0.8) * h
        kind = rng.integers(3)
        if kind == 0:
            draw.ellipse((x, y, x + dx, y + dy), fill=_colour(rng, dull=0.55))
        elif kind == 1:
            draw.rectangle((x, y, x + dx, y + dy), fill=_colour(rng, dull=0.55))
        else:
            points = [
                (x + rng.normal() * dx, y + rng.normal() * dy)
                for _ in range(int(rng.integers(3, 6)))
            ]
            draw.polygon(points, fill=_colour(rng, dull=0.55))
    return image


def _room(rng: np.random.Generator, image_wh: tuple[int, int]) -> Image.Image:
    w, h = image_wh
    image = _gradient(rng, image_wh)
    draw = ImageDraw.Draw(image)
    floor = int(h * rng.uniform(0.6, 0.95))
    draw.rectangle((0, floor, w, h), fill=_colour(rng, dull=0.7))
    for _ in range(int(rng.integers(1, 7))):
        x, y = int(rng.uniform(-0.1, 0.9) * w), int(rng.uniform(0, 0.6) * h)
        dx, dy = int(rng.uniform(0.06, 0.4) * w), int(rng.uniform(0.08, 0.5) * h)
        draw.rectangle(
            (x, y, x + dx, y + dy),
            fill=_colour(rng),
            outline=_colour(rng),
            width=int(rng.integers(1, 6)),
        )
        if rng.random() < 0.5:
            columns, rows = (int(v) for v in rng.integers(1, 7, 2))
            for k in range(1, columns):
                draw.line(
                    (x + dx * k // columns, y, x + dx * k // columns, y + dy),
                    fill=_colour(rng),
                    width=2,
                )
            for k in range(1, rows):
                draw.line(
                    (x, y + dy * k // rows, x + dx, y + dy * k // rows), fill=_colour(rng), width=2
                )
    return image


def _street(rng: np.random.Generator, image_wh: tuple[int, int]) -> Image.Image:
    w, h = image_wh
    sky = np.array((rng.uniform(120, 235), rng.uniform(150, 240), rng.uniform(190, 255)))
    fade = np.linspace(0, 1, h)[:, None, None]
    clouds = np.clip(_noise(rng, image_wh), 0, 1)[..., None] * rng.uniform(0, 60)
    pixels = np.clip(sky * (1 - 0.25 * fade) + clouds, 0, 255) * np.ones((h, w, 1))
    image = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    horizon = int(h * rng.uniform(0.35, 0.75))
    x = -int(rng.uniform(0, 0.2) * w)
    while x < w:
        dx = int(rng.uniform(0.08, 0.35) * w)
        top = int(horizon * rng.uniform(0.0, 0.9))
        wall = _colour(rng, dull=0.8)
        draw.rectangle((x, top, x + dx, horizon), fill=wall)
        pane = tuple(int(c * rng.uniform(0.4, 0.9)) for c in wall)
        step = int(rng.integers(8, 28))
        for wx in range(x + step // 2, x + dx - step // 2, step):
            for wy in range(top + step // 2, horizon - step // 2, step):
                draw.rectangle((wx, wy, wx + step // 2, wy + step // 2), fill=pane)
        x += dx + int(rng.uniform(0, 0.1) * w)
    ground = np.array(_colour(rng, dull=0.8))
    draw.rectangle((0, horizon, w, h), fill=tuple(int(c) for c in ground))
    for _ in range(int(rng.integers(0, 9))):
        cx, cy, r = (
            rng.uniform(0, w),
            horizon - rng.uniform(0, 0.2) * h,
            rng.uniform(0.03, 0.16) * w,
        )
        green = (int(rng.uniform(20, 90)), int(rng.uniform(60, 140)), int(rng.uniform(20, 70)))
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=green)
    return image

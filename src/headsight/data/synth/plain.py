"""Procedural skin, hair and clothes, for use without an assets folder."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import griddata

from headsight.data.synth.assets import Texture, texture_of
from headsight.data.synth.bake import JOINTS
from headsight.data.synth.bodies import HEAD, Bodies, FloatArray, IntArray, smooth_normals
from headsight.data.synth.shapes import grid
from headsight.data.synth.wear import Skull

__all__ = ["PlainMesh", "plain_hair", "plain_skin", "plain_top", "skin_tone"]


FOREARMS = [k for k, (name, _) in enumerate(JOINTS) if name.startswith("lowerarm")]


class PlainMesh(NamedTuple):
    """Unposed vertices with their skinning weights."""

    points: FloatArray
    weights: FloatArray
    faces: IntArray
    corner_uv: FloatArray
    texture: FloatArray


def skin_tone(
    bodies: Bodies, identity: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """A skin colour (linear light) that suits the identity."""
    dark = np.array([0.36, 0.24, 0.18])
    middle = np.array([0.78, 0.60, 0.47])
    pale = np.array([0.90, 0.74, 0.65])
    shares = [bodies.trait(identity, n) for n in ("african", "asian", "caucasian")]
    colour = shares[0] * dark + shares[1] * middle + shares[2] * pale
    colour = np.clip(colour * np.exp(rng.normal(0, 0.08)) + rng.normal(0, 0.012, 3), 0.12, 0.97)
    return float(colour[0] ** 2), float(colour[1] ** 2), float(colour[2] ** 2)


_SKINS: dict[int, Texture] = {}


def plain_skin(bodies: Bodies) -> Texture:
    """A skin texture to be tinted: reddish lips, darker brows and soft blotches on white."""
    if id(bodies) not in _SKINS:
        masks = _paint_masks(bodies)
        rng = np.random.default_rng(4)
        n = masks["lips"].shape[0]
        blotch = ndimage.gaussian_filter(rng.normal(size=(n, n)), 6) * 8
        fine = ndimage.gaussian_filter(rng.normal(size=(n, n)), 1)
        base = np.ones(3) * (1 + 0.03 * blotch + 0.03 * fine)[..., None]
        for name, colour, share in (
            ("lips", (0.82, 0.55, 0.55), 0.85),
            ("cheeks", (1.0, 0.86, 0.84), 0.6),
            ("brows", (0.20, 0.18, 0.17), 0.8),
        ):
            m = masks[name][..., None] * share
            base = base * (1 - m) + np.array(colour) * m
        rgba = np.concatenate((base, np.ones((n, n, 1))), -1)
        _SKINS[id(bodies)] = texture_of(rgba.astype(np.float32))
    return _SKINS[id(bodies)]


def _paint_masks(bodies: Bodies) -> dict[str, FloatArray]:
    """Texture-space masks of lips, brows and cheeks, from places on the first body."""
    n = 512
    rest = bodies.rest(0, {})
    eyes = np.stack([rest[14598:14670].mean(0), rest[14670:14742].mean(0)])
    eye_y, eye_x = float(eyes[:, 1].mean()), float(np.abs(eyes[:, 0]).mean())
    points, uv = rest[bodies.faces].reshape(-1, 3), bodies.uv[bodies.uv_faces].reshape(-1, 2)
    front = (points[:, 2] < eyes[:, 2].mean() + 0.02) & (
        bodies.weights[bodies.faces].reshape(-1, len(bodies.weights[0]))[:, HEAD] > 0.5
    )
    x, y = points[:, 0], points[:, 1] - eye_y
    lips = np.exp(-((x / 0.026) ** 4) - ((y - 0.072) / 0.009) ** 4) * front
    brows = (
        np.exp(
            -(((np.abs(x) - eye_x) / 0.022) ** 4)
            - ((y + 0.021 + 0.1 * np.abs(np.abs(x) - eye_x)) / 0.0045) ** 4
        )
        * front
    )
    cheeks = np.exp(-(((np.abs(x) - 0.042) / 0.02) ** 2) - ((y - 0.04) / 0.022) ** 2) * front
    result = {}
    column = np.clip((uv[:, 0] * n).astype(int), 0, n - 1)
    row = np.clip(((1 - uv[:, 1]) * n).astype(int), 0, n - 1)
    for name, values in (("lips", lips), ("brows", brows), ("cheeks", cheeks)):
        near = np.nonzero(front)[0]
        picture = np.zeros((n, n), np.float32)
        x0, x1 = column[near].min(), column[near].max() + 1
        y0, y1 = row[near].min(), row[near].max() + 1
        gx, gy = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        _, first = np.unique(row[near] * n + column[near], return_index=True)
        pick = near[first]
        picture[y0:y1, x0:x1] = griddata(
            (column[pick], row[pick]), values[pick], (gx, gy), fill_value=0.0
        )
        result[name] = ndimage.gaussian_filter(picture, 1.0)
    return result


def plain_hair(
    bodies: Bodies, rest: FloatArray, skull: Skull, style: str, rng: np.random.Generator
) -> PlainMesh:
    """Hair as a thick shell over the scalp; "long" and "bob" also hang down around the face."""
    s = skull.size
    weights = bodies.weights
    length = {"cap": 0.0, "short": 0.02, "bob": 0.13, "long": 0.30}[style] * s
    thick = rng.uniform(0.006, 0.014) if style in ("cap", "short") else rng.uniform(0.012, 0.026)
    middle_z = (skull.front + skull.back) / 2
    y, z, x = rest[:, 1], rest[:, 2], np.abs(rest[:, 0])
    line = skull.eye_y - rng.uniform(0.058, 0.075) * s  # hairline at the forehead
    behind = np.clip((z - (skull.front + 0.055 * s)) / (0.06 * s), 0, 1)
    limit = line + behind * (skull.eye_y + 0.035 * s - line)
    limit = np.where(
        z > skull.ear_z + 0.015, skull.eye_y + 0.06 * s + np.minimum(length, 0.03), limit
    )
    is_ear = (
        (x > skull.half_width * 0.98)
        & (y > skull.eye_y - 0.03 * s)
        & (np.abs(z - skull.ear_z) < 0.05)
    )
    grows = (weights[:, HEAD] > 0.5) & (y < limit) & ~is_ear
    faces = bodies.faces[grows[bodies.faces].all(1)]
    normals = smooth_normals(rest, faces)
    lift = thick * np.clip((limit - y) / (0.02 * s), 0.1, 1)
    wave = 1 + 0.2 * np.sin(rest[:, 0] * 160) * np.sin(rest[:, 2] * 140)
    points = rest + normals * (lift * wave)[:, None]
    used = np.unique(faces)
    renumber = np.zeros(len(rest), np.int32)
    renumber[used] = np.arange(len(used))
    faces = renumber[faces].astype(np.int32)
    points, hair_weights = points[used].astype(np.float32), weights[used]
    if length > 0.05:
        sheet = _curtain(skull, middle_z, thick, length)
        curtain_weights = np.zeros((len(sheet[0]), weights.shape[1]), np.float32)
        curtain_weights[:, HEAD] = 1
        faces = np.concatenate((faces, sheet[1] + len(points))).astype(np.int32)
        points = np.concatenate((points, sheet[0]))
        hair_weights = np.concatenate((hair_weights, curtain_weights))
    angle = np.arctan2(points[:, 0], points[:, 2] - middle_z)
    uv = np.stack((angle / (2 * np.pi) * 6, points[:, 1] * 1.7), 1).astype(np.float32)
    return PlainMesh(points, hair_weights, faces, uv[faces], _strands().levels[1])


def _curtain(
    skull: Skull, middle_z: float, thick: float, length: float
) -> tuple[FloatArray, IntArray]:
    half_depth = (skull.back - skull.front) / 2

    def place(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        angle = (u - 0.5) * 2 * 2.05  # around the back, from cheek to cheek
        flare = 1 + 0.25 * v
        px = np.sin(angle) * (skull.half_width + thick * 1.2) * flare
        pz = middle_z + np.cos(angle) * (half_depth + thick) * (1 - 0.1 * v)
        py = skull.eye_y - 0.05 + v * (length + 0.05) * (1 - 0.15 * np.abs(np.sin(angle)))
        return np.stack((px, py, pz), 1)

    mesh = grid(33, 9, place)
    return mesh[0], mesh[1]


@lru_cache(maxsize=1)
def _strands() -> Texture:
    rng = np.random.default_rng(5)
    noise = ndimage.gaussian_filter(rng.normal(size=(256, 256)), (9, 0.7), mode="wrap")
    noise = noise / noise.std()
    grey = np.clip(1.0 + 0.16 * noise, 0.45, 1.35)[..., None].repeat(3, -1)
    return texture_of(np.concatenate((grey, np.ones((256, 256, 1))), -1).astype(np.float32))


@lru_cache(maxsize=1)
def _cloth() -> Texture:
    rng = np.random.default_rng(6)
    folds = ndimage.gaussian_filter(rng.normal(size=(256, 256)), (10, 5), mode="wrap")
    grey = np.clip(0.97 + 0.07 * folds / folds.std(), 0.7, 1.15)[..., None].repeat(3, -1)
    return texture_of(np.concatenate((grey, np.ones((256, 256, 1))), -1).astype(np.float32))


def plain_top(bodies: Bodies, rest: FloatArray, style: str, rng: np.random.Generator) -> PlainMesh:
    """A shirt as the body's own skin from the neck down, a little larger; sleeves by `style`."""
    weights = bodies.weights
    arms = weights[:, FOREARMS].sum(1)
    neck = {"shirt": -0.045, "jumper": -0.025, "t-shirt": 0.0}.get(style, -0.01)
    collar = neck + 0.55 * np.clip(-rest[:, 2] - 0.02, 0, None) + rng.uniform(-0.008, 0.012)
    covers = (weights[:, HEAD] < 0.05) & (rest[:, 1] > collar)
    if style == "t-shirt":
        covers &= arms < 0.3
    waist = 0.5 * (float(rest[:13000, 1].max()) + collar.min()) * 0.82
    if style == "trousers":
        covers = (
            (rest[:, 1] > waist - 0.03) & (arms < 0.3) & (rest[:, 1] < rest[:13000, 1].max() - 0.08)
        )
    else:
        covers &= (np.abs(rest[:, 0]) < 0.40) & (rest[:, 1] < waist + 0.08)
    faces = bodies.faces[covers[bodies.faces].all(1)]
    normals = smooth_normals(rest, faces)
    thick = rng.uniform(0.008, 0.014) if style != "trousers" else 0.006
    points = (rest + normals * np.float32(thick)).astype(np.float32)
    uv = np.stack((rest[:, 0] * 2.2, rest[:, 1] * 2.2), 1).astype(np.float32)
    return PlainMesh(points, weights, faces, uv[faces], _cloth().levels[0])

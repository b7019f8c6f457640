"""Ray casting with embree, shading in numpy: triangles in camera space to colours and owners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headsight.data.synth.bodies import FloatArray, IntArray, lengths
from headsight.data.synth.light import Light
from headsight.data.synth.surface import Material, Part
from headsight.errors import require

__all__ = ["Camera", "Frame", "Soup", "first_seen", "nearest", "render", "soup_of"]

MAX_LAYERS = 7
SKIP = np.float32(1e-4)
"""How far a ray goes on behind a see-through hit, metres: less than eyebrows stand off the skin."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, axes as OpenCV; pixel (0, 0) covers [0, 1) x [0, 1)."""

    focal_px: float
    image_wh: tuple[int, int]

    def project(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """(N, 2) pixel positions of camera-space points."""
        centre = np.array(self.image_wh) / 2
        depth = np.maximum(points[:, 2:], 1e-3)
        result: NDArray[np.float64] = (
            points[:, :2].astype(np.float64) * self.focal_px / depth + centre
        )
        return result

    def rays(self, xy: FloatArray) -> FloatArray:
        """(N, 3) unit directions through pixel positions."""
        centre = np.array(self.image_wh, np.float32) / 2
        flat = (xy - centre) / np.float32(self.focal_px)
        rays = np.concatenate((flat, np.ones((len(xy), 1), np.float32)), 1)
        result: FloatArray = rays / lengths(rays)[:, None]
        return result


@dataclass(frozen=True)
class Soup:
    """All triangles of a picture in camera space, with what each belongs to."""

    points: FloatArray
    normals: FloatArray
    extra: FloatArray
    """(V,) a second material's share (beard) at each vertex."""
    faces: IntArray
    corner_uv: FloatArray
    """(F, 3, 2)."""
    face_material: IntArray
    face_owner: IntArray
    """Index of the person; -1 for a thing."""
    face_is_head: NDArray[np.bool_]
    materials: tuple[Material, ...]
    part_starts: tuple[int, ...]
    """Where the points of each piece begin, and the end."""
    handle: Any
    """The embree scene."""


@dataclass(frozen=True)
class Frame:
    """A rendered picture before it is put on a background."""

    colour: FloatArray
    """(H, W, 3) linear light, multiplied by `alpha`."""
    alpha: FloatArray
    """(H, W)."""
    owner: IntArray
    """(H, W) person seen first; -1 nobody, -2 a thing."""
    is_head: NDArray[np.bool_]


def soup_of(parts: list[Part]) -> Soup | None:
    """One mesh of all parts, ready to be traced; None where there is none.

    Raises:
        MissingExtraError: `embreex` is not installed.
    """
    if not parts:
        return None
    scene_module = require("embreex.rtcore_scene")
    mesh_module = require("embreex.mesh_construction")
    starts = np.cumsum([0] + [len(p.points) for p in parts])
    points = np.concatenate([p.points for p in parts]).astype(np.float32)
    faces = np.concatenate([p.faces + s for p, s in zip(parts, starts[:-1], strict=True)])
    faces = np.ascontiguousarray(faces, np.int32)
    handle = scene_module.EmbreeScene()
    mesh_module.TriangleMesh(handle, points, faces)
    counts = [len(p.faces) for p in parts]
    return Soup(
        points=points,
        normals=np.concatenate([p.normals for p in parts]).astype(np.float32),
        extra=np.concatenate([p.extra for p in parts]).astype(np.float32),
        faces=faces,
        corner_uv=np.concatenate([p.corner_uv for p in parts]).astype(np.float32),
        face_material=np.repeat(np.arange(len(parts), dtype=np.int32), counts),
        face_owner=np.repeat(np.array([p.owner for p in parts], np.int32), counts),
        face_is_head=np.concatenate([p.is_head for p in parts]),
        materials=tuple(p.material for p in parts),
        part_starts=tuple(int(s) for s in starts),
        handle=handle,
    )


@dataclass
class _Hits:
    ray: NDArray[np.int64]
    face: IntArray
    bary: FloatArray
    place: FloatArray
    uv: FloatArray


def _cast(soup: Soup, origins: FloatArray, rays: FloatArray) -> _Hits:
    found = soup.handle.run(origins, rays, output=1)
    ray = np.nonzero(found["primID"] >= 0)[0]
    face = found["primID"][ray]
    u, v = found["u"][ray], found["v"][ray]
    bary = np.stack((1 - u - v, u, v), 1)
    corners = soup.corner_uv[face]
    uv = bary[:, :1] * corners[:, 0] + bary[:, 1:2] * corners[:, 1] + bary[:, 2:] * corners[:, 2]
    place = origins[ray] + found["tfar"][ray, None] * rays[ray]
    return _Hits(ray, face, bary, place, uv)


def _opacity(soup: Soup, hits: _Hits) -> FloatArray:
    """(N,) opacity of each hit, from the textures of cut-out materials."""
    alpha = np.ones(len(hits.ray), np.float32)
    material = soup.face_material[hits.face]
    for m in np.unique(material):
        if soup.materials[m].is_cutout:
            at = np.nonzero(material == m)[0]
            alpha[at] = soup.materials[m].opacity(hits.uv[at])
    return alpha


def is_blocked(soup: Soup, origins: FloatArray, rays: FloatArray, reach: float) -> FloatArray:
    """(N,) share of light lost on the way, cut-outs respected, within `reach` metres."""
    lost = np.zeros(len(origins), np.float32)
    ids = np.arange(len(origins))
    start, left = origins, np.full(len(origins), reach, np.float32)
    for _ in range(3):
        if not len(ids):
            break
        hits = _cast(soup, start, rays[ids])
        distance = lengths(hits.place - start[hits.ray])
        near = distance < left[hits.ray]
        hits = _Hits(*(getattr(hits, n)[near] for n in ("ray", "face", "bary", "place", "uv")))
        distance = distance[near]
        alpha = _opacity(soup, hits)
        lost[ids[hits.ray]] += (1 - lost[ids[hits.ray]]) * alpha
        more = alpha < 0.95
        left = left[hits.ray][more] - distance[more]
        ids = ids[hits.ray][more]
        start = hits.place[more] + rays[ids] * SKIP
    return lost


def first_seen(soup: Soup, xy: FloatArray, camera: Camera, owner: int) -> tuple[float, int]:
    """Share of the rays that meet the head of `owner` at all that meet it first; their count."""
    rays = camera.rays(xy)
    origins = np.zeros_like(rays)
    ids = np.arange(len(rays))
    is_free = np.ones(len(rays), bool)
    meets, seen = 0, 0
    for _ in range(MAX_LAYERS):
        if not len(ids):
            break
        hits = _cast(soup, origins, rays[ids])
        solid = _opacity(soup, hits) > 0.4
        own = (soup.face_owner[hits.face] == owner) & soup.face_is_head[hits.face] & solid
        meets += int(own.sum())
        w, h = camera.image_wh
        at = xy[ids[hits.ray]]
        inside = (at >= 0).all(1) & (at < (w, h)).all(1)
        seen += int((own & is_free[ids[hits.ray]] & inside).sum())
        is_free[ids[hits.ray[solid & ~own]]] = False
        ids_next = ids[hits.ray][~own]
        origins = (hits.place + rays[ids[hits.ray]] * SKIP)[~own]
        ids = ids_next
    return (seen / meets if meets else 0.0), meets


def nearest(soup: Soup, xy: FloatArray, camera: Camera) -> tuple[IntArray, FloatArray]:
    """(N,) owner of the first surface through each pixel position, and metres to it.

    Cut-outs count as solid. Where there is nothing: owner -9, distance 0.
    """
    rays = camera.rays(xy)
    found = soup.handle.run(np.zeros_like(rays), rays, output=1)
    hit = found["primID"] >= 0
    owner = np.where(hit, soup.face_owner[np.maximum(found["primID"], 0)], -9)
    return owner.astype(np.int32), np.where(hit, found["tfar"], 0).astype(np.float32)


def render(
    soup: Soup | None, camera: Camera, light: Light, rng: np.random.Generator, *, fine: FloatArray
) -> Frame:
    """The picture of `soup`; `fine` (H, W) asks for more rays where it is above one half."""
    w, h = camera.image_wh
    if soup is None:
        empty = np.zeros((h, w), np.float32)
        return Frame(
            np.zeros((h, w, 3), np.float32), empty, np.full((h, w), -1, np.int32), empty > 0
        )
    pixel = np.arange(h * w)
    centre = np.stack((pixel % w, pixel // w), 1).astype(np.float32) + np.float32(0.5)
    near = _window(soup, camera)
    window = pixel[near]
    pixel, centre = window, centre[near]
    shadow, cavity, depth_owner, is_head, met = _visibility(soup, camera, light, pixel, centre, rng)
    pixel, centre = pixel[met], centre[met]
    colour = np.zeros((h * w, 3), np.float32)
    alpha = np.zeros(h * w, np.float32)
    colour[pixel], alpha[pixel] = _shade(soup, camera, light, centre, pixel, shadow, cavity)
    edges = _edges(colour.reshape(h, w, 3), alpha.reshape(h, w), depth_owner) | (fine > 0.5)
    again = window[edges.ravel()[window]]
    for dx, dy in ((0.2, -0.3), (-0.3, -0.2), (0.3, 0.2), (-0.2, 0.3)) if len(again) else ():
        at = np.stack((again % w + 0.5 + dx, again // w + 0.5 + dy), 1).astype(np.float32)
        more_colour, more_alpha = _shade(soup, camera, light, at, again, shadow, cavity)
        colour[again] += more_colour
        alpha[again] += more_alpha
    colour[again] /= 5
    alpha[again] /= 5
    return Frame(colour.reshape(h, w, 3), alpha.reshape(h, w), depth_owner, is_head)


def _window(soup: Soup, camera: Camera) -> NDArray[np.int64]:
    """Pixels that any triangle can touch: the box of all projected points."""
    w, h = camera.image_wh
    mask = np.zeros((h, w), bool)
    everywhere = camera.project(soup.points)
    in_front = soup.points[:, 2] > 0.02
    for start, stop in zip(soup.part_starts[:-1], soup.part_starts[1:], strict=True):
        at = everywhere[start:stop][in_front[start:stop]]
        if not len(at):
            continue
        x1, y1 = np.clip(np.floor(at.min(0)) - 1, 0, (w, h)).astype(int)
        x2, y2 = np.clip(np.ceil(at.max(0)) + 1, 0, (w, h)).astype(int)
        mask[y1:y2, x1:x2] = True
    return np.nonzero(mask.ravel())[0]


def _visibility(
    soup: Soup,
    camera: Camera,
    light: Light,
    pixel: NDArray[np.int64],
    centre: FloatArray,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, IntArray, NDArray[np.bool_], NDArray[np.int64]]:
    """Per pixel: main light, light all around, owner, head or not; and the rays that met any."""
    w, h = camera.image_wh
    rays = camera.rays(centre)
    owner = np.full(h * w, -1, np.int32)
    is_head = np.zeros(h * w, bool)
    sun = np.ones(h * w, np.float32)
    sky = np.ones(h * w, np.float32)
    origins, ids = np.zeros_like(rays), np.arange(len(rays))
    met: NDArray[np.int64] | None = None
    for _ in range(4):
        hits = _cast(soup, origins, rays[ids])
        met = hits.ray if met is None else met
        solid = _opacity(soup, hits) > 0.4
        where = ids[hits.ray[solid]]
        face = hits.face[solid]
        belongs = soup.face_owner[face]
        owner[pixel[where]] = np.where(belongs < 0, -2, belongs)
        is_head[pixel[where]] = soup.face_is_head[face]
        normal = _normals(soup, face, hits.bary[solid], rays[where])
        start = hits.place[solid] + normal * np.float32(2e-3)
        toward = light.key_direction + light.softness * rng.normal(size=normal.shape)
        toward = (toward / lengths(toward)[:, None]).astype(np.float32)
        faces_light = (normal * toward).sum(1) > 0
        if light.has_shadows:
            lit = np.ones(len(where), np.float32)
            lit[faces_light] = 1 - is_blocked(soup, start[faces_light], toward[faces_light], 3.0)
            sun[pixel[where]] = lit
        around = normal + 0.95 * _sphere(rng, len(where))
        around = (around / lengths(around)[:, None]).astype(np.float32)
        sky[pixel[where]] = 1 - is_blocked(soup, start, around, 0.12)
        origins = hits.place[~solid] + rays[ids[hits.ray[~solid]]] * SKIP
        ids = ids[hits.ray[~solid]]
        if not len(ids):
            break
    owner_image = owner.reshape(h, w)
    sun_image = _smooth_within(sun.reshape(h, w), owner_image, 0.8)
    sky_image = _smooth_within(sky.reshape(h, w), owner_image, 1.6)
    met = np.zeros(0, np.int64) if met is None else met
    return sun_image.ravel(), sky_image.ravel(), owner_image, is_head.reshape(h, w), met


def _sphere(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    points = rng.normal(size=(n, 3))
    unit: NDArray[np.float64] = points / lengths(points)[:, None]
    return unit


def _smooth_within(values: FloatArray, owner: IntArray, sigma: float) -> FloatArray:
    mask = (owner != -1).astype(np.float32)
    total = ndimage.gaussian_filter(values * mask, sigma)
    weight = ndimage.gaussian_filter(mask, sigma)
    result: FloatArray = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), 1).astype(
        np.float32
    )
    return result


def _edges(colour: FloatArray, alpha: FloatArray, owner: IntArray) -> NDArray[np.bool_]:
    """Pixels whose neighbours look different enough to need more rays."""
    grey = np.sqrt(np.maximum(colour.sum(-1), 0))
    result = np.zeros(owner.shape, bool)
    for axis in (0, 1):
        step = (
            (np.abs(np.diff(grey, axis=axis)) > 0.12)
            | (np.abs(np.diff(alpha, axis=axis)) > 0.05)
            | (np.diff(owner, axis=axis) != 0)
        )
        if axis == 0:
            result[:-1] |= step
            result[1:] |= step
        else:
            result[:, :-1] |= step
            result[:, 1:] |= step
    return result


def _normals(soup: Soup, face: IntArray, bary: FloatArray, rays: FloatArray) -> FloatArray:
    corners = soup.normals[soup.faces[face]]
    normal = (
        bary[:, :1] * corners[:, 0] + bary[:, 1:2] * corners[:, 1] + bary[:, 2:] * corners[:, 2]
    )
    normal /= np.maximum(lengths(normal), 1e-6)[:, None]
    away = (normal * rays).sum(1) > 0
    normal[away] *= -1
    result: FloatArray = normal
    return result


def _shade(
    soup: Soup,
    camera: Camera,
    light: Light,
    xy: FloatArray,
    pixel: NDArray[np.int64],
    sun: FloatArray,
    sky: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Colour (premultiplied) and opacity along rays, front to back through cut-outs."""
    rays = camera.rays(xy)
    colour = np.zeros((len(xy), 3), np.float32)
    through = np.ones(len(xy), np.float32)
    origins, ids = np.zeros_like(rays), np.arange(len(rays))
    for _ in range(MAX_LAYERS):
        if not len(ids):
            break
        hits = _cast(soup, origins, rays[ids])
        at = ids[hits.ray]
        alpha = _opacity(soup, hits)
        shown = alpha > 0.02
        lit = np.zeros((len(at), 3), np.float32)
        material = soup.face_material[hits.face]
        normal = _normals(soup, hits.face, hits.bary, rays[at])
        for m in np.unique(material[shown]):
            sel = np.nonzero((material == m) & shown)[0]
            extra = (hits.bary[sel] * soup.extra[soup.faces[hits.face[sel]]]).sum(1)
            albedo = soup.materials[m].albedo(hits.uv[sel], extra, hits.bary[sel])
            lit[sel] = light.shade(
                albedo,
                normal[sel],
                rays[at[sel]],
                soup.materials[m],
                sun[pixel[at[sel]]],
                sky[pixel[at[sel]]],
            )
        colour[at] += (through[at] * alpha)[:, None] * lit
        through[at] *= 1 - alpha
        more = through[at] > 0.04
        origins = hits.place[more] + rays[at[more]] * SKIP
        ids = at[more]
    return colour, 1 - through

"""A picture of one or two objects and its exact truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.backdrop import backdrop, list_pictures
from headsight.data.synth.finish import finish
from headsight.data.synth.light import random_light
from headsight.data.synth.objects.categories import CATEGORIES, names_of
from headsight.data.synth.objects.category import Category, View, object_schema
from headsight.data.synth.objects.config import ObjectLabel, ObjectScene, ObjectsConfig
from headsight.data.synth.objects.placing import Stand, ground_shadow, stand
from headsight.data.synth.obstacles import obstacles
from headsight.data.synth.scene import shoulder
from headsight.data.synth.trace import Camera, Soup, first_seen, nearest, render, soup_of

__all__ = ["render_objects"]

LEAST_VISIBLE = 0.12
"""A second object of which less is seen has no label."""
SLACK = 0.012
"""Of the depth of a point, in object sizes: meshes have corners where shapes are round."""


def render_objects(seed: int, index: int, config: ObjectsConfig) -> ObjectScene:
    """Picture number `index` of the set `seed`; the same on every machine and in every process.

    Categories take turns, so that every set holds each equally often.

    Raises:
        MissingExtraError: `embreex` is not installed.
        InputError: the backgrounds of `config` cannot be used.
    """
    rng = np.random.default_rng([seed, index, int(config.split == "unseen"), 5])
    w, h = config.image_wh
    names = config.categories or names_of(config.split)
    shown = [CATEGORIES[names[index % len(names)]]]
    camera = Camera(float(rng.uniform(1.2, 3.0) * max(w, h)), config.image_wh)
    if rng.random() < config.second_share:
        shown.append(CATEGORIES[names[int(rng.integers(len(names)))]])
    standing = _stand_all(rng, shown, camera, config)
    shown = shown[: len(standing)]
    parts = [p for k, s in enumerate(standing) for p in s.model.parts(s.rotation, s.shift, k)]
    parts += obstacles(
        rng,
        camera,
        [s.points for s in standing[:1]],
        share=config.occluder_share,
        aside=(0.2, 0.7),
        below=(-0.45, 0.5),
    )
    soup = soup_of(parts)
    photographs = list_pictures(config.backgrounds) if config.backgrounds else ()
    if rng.random() >= config.photo_share:
        photographs = ()
    linear = (backdrop(rng, config.image_wh, photographs).astype(np.float32) / 255) ** 2
    up = standing[0].rotation @ np.array([0.0, 0.0, 1.0])
    halves = np.stack([linear[: h // 2].mean((0, 1)), linear[h // 2 :].mean((0, 1))])
    light = random_light(rng, halves, up)
    for category, placed in zip(shown, standing, strict=True):
        if category.view.has_ground and rng.random() < 0.7 and placed.view_deg[1] > 3:
            linear = linear * ground_shadow(placed, camera, rng.uniform(0.25, 0.8))[..., None]
    frame = render(soup, camera, light, rng, fine=np.zeros((h, w), np.float32))
    picture = shoulder(frame.colour + linear * (1 - frame.alpha)[..., None])
    shown_light = np.sqrt(np.clip(picture, 0, 1)).astype(np.float32)
    image = finish(shown_light, rng, strength=config.finish)
    assert soup is not None  # there is at least one object
    labels = []
    for k, (category, placed) in enumerate(zip(shown, standing, strict=True)):
        label = _label(category, placed, k, soup, camera, frame.owner)
        if k == 0 or label.visible >= LEAST_VISIBLE:
            labels.append(label)
    return ObjectScene(image, tuple(labels), frame.owner)


def _stand_all(
    rng: np.random.Generator, shown: list[Category], camera: Camera, config: ObjectsConfig
) -> list[Stand]:
    """The main object, and the second where it finds room beside, before or behind it."""
    side = min(config.image_wh)
    low, high = config.size_share
    if len(shown) > 1:
        high = max(low, min(high, 0.68))
    standing: list[Stand] = []
    for k, category in enumerate(shown):
        model = category.model(rng)
        view = _view(category.view, config)
        for _ in range(6):
            cut = rng.random() < config.cut_share
            placed = stand(rng, model, view, camera, rng.uniform(low, high) * side, cut=cut)
            if k == 0 or _apart(standing[0], placed, camera):
                standing.append(placed)
                break
    return standing


def _view(view: View, config: ObjectsConfig) -> View:
    from dataclasses import replace

    return replace(
        view,
        azimuth=config.azimuth_deg or view.azimuth,
        elevation=config.elevation_deg or view.elevation,
    )


def _apart(first: Stand, second: Stand, camera: Camera) -> bool:
    """Boxes overlap little, and where they do, one object is wholly before the other."""
    a, b = (_box(s, camera) for s in (first, second))
    common = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (common <= 0).any():
        return True
    smaller = min(float((box[2:] - box[:2]).prod()) for box in (a, b))
    is_before = abs(float(first.shift[2] - second.shift[2])) > 0.9
    return float(common.prod()) < 0.25 * smaller and is_before


def _box(standing: Stand, camera: Camera) -> NDArray[np.float64]:
    at = camera.project(standing.points)
    return np.concatenate((at.min(0), at.max(0)))


def _label(
    category: Category,
    placed: Stand,
    owner: int,
    soup: Soup,
    camera: Camera,
    owners: NDArray[np.int32],
) -> ObjectLabel:
    w, h = camera.image_wh
    marks = [placed.model.marks[name] for name in object_schema(category.schema).names]
    places = placed.to_camera(np.stack([m.at for m in marks]))
    at = camera.project(places)
    inside = (at >= 0).all(1) & (at < (w, h)).all(1)
    met, distance = nearest(soup, at.astype(np.float32), camera)
    slack = np.array([m.depth for m in marks]) + SLACK
    seen = (met == owner) & (distance > np.linalg.norm(places, axis=1) - slack)
    box = _box(placed, camera)
    return ObjectLabel(
        category=category.name,
        keypoints=np.column_stack((at, np.where(inside, 1 + seen, 0))),
        box=np.clip(box, 0, (w, h, w, h)),
        area=int((owners == owner).sum()),
        visible=_visible_share(soup, camera, box, owner),
        view_deg=placed.view_deg,
    )


def _visible_share(soup: Soup, camera: Camera, box: NDArray[np.float64], owner: int) -> float:
    n = 20
    x, y = (np.linspace(box[k], box[k + 2], 2 * n + 1)[1::2] for k in range(2))
    xy = np.stack([a.ravel() for a in np.meshgrid(x, y)], 1).astype(np.float32)
    return first_seen(soup, xy, camera, owner)[0]

"""A whole scene: who stands where, how the camera looks, the picture and its exact truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from headsight.data.synth.assets import Assets, load_assets
from headsight.data.synth.backdrop import backdrop, list_pictures
from headsight.data.synth.bodies import Bodies, FloatArray, load_bodies
from headsight.data.synth.config import HeadLabel, Kind, Scene, SceneConfig
from headsight.data.synth.finish import finish
from headsight.data.synth.landmarks import LANDMARKS
from headsight.data.synth.light import random_light
from headsight.data.synth.looks import Look, random_look
from headsight.data.synth.obstacles import obstacles
from headsight.data.synth.people import Person, build_person
from headsight.data.synth.placing import Placement, place_people
from headsight.data.synth.surface import Part
from headsight.data.synth.trace import Camera, Frame, Soup, first_seen, render, soup_of
from headsight.geometry.line_of_sight import to_allocentric
from headsight.geometry.rotations import ypr_to_matrix

__all__ = ["render_scene", "shoulder"]


@dataclass(frozen=True)
class _Standing:
    """One person in camera space."""

    look: Look
    person: Person
    parts: list[Part]
    rotation: NDArray[np.float64]
    outline: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    depth: float


def render_scene(seed: int, index: int, config: SceneConfig) -> Scene:
    """Scene number `index` of the set `seed`; the same on every machine and in every process.

    Raises:
        MissingExtraError: `embreex`, or on first use `anny`, is not installed.
        InputError: the assets or backgrounds of `config` cannot be used.
    """
    heldout = config.split == "heldout"
    rng = np.random.default_rng([seed, index, int(heldout)])
    bodies = load_bodies()
    assets = load_assets(config.assets) if config.assets else None
    kind = _kind(rng, config)
    w, h = config.image_wh
    placements, camera_ypr, focal = place_people(rng, kind, config)
    camera = Camera(focal, config.image_wh)
    tilt = ypr_to_matrix(np.array(camera_ypr))
    standing = []
    for owner, placement in enumerate(placements):
        look = random_look(rng, bodies, assets, config.split)
        standing.append(_stand(look, placement, tilt, camera, owner, bodies, assets, rng))
    parts = [part for s in standing for part in s.parts]
    up = tilt @ np.array([0.0, -1.0, 0.0])
    parts += obstacles(
        rng, camera, [s.outline for s in standing], share=0.12 if kind == "portrait" else 0.28
    )
    soup = soup_of(parts)
    photographs = list_pictures(config.backgrounds) if config.backgrounds else ()
    if rng.random() >= config.photo_share:
        photographs = ()
    background = backdrop(rng, config.image_wh, photographs).astype(np.float32) / 255
    linear = background**2
    light = random_light(
        rng, np.stack([linear[: h // 2].mean((0, 1)), linear[h // 2 :].mean((0, 1))]), up
    )
    fine = np.zeros((h, w), np.float32)
    full = np.array([_box(camera.project(s.outline)) for s in standing]).reshape(-1, 4)
    for x1, y1, x2, y2 in full:
        if y2 - y1 < 40:
            fine[max(int(y1) - 2, 0) : int(y2) + 3, max(int(x1) - 2, 0) : int(x2) + 3] = 1
    frame = render(soup, camera, light, rng, fine=fine)
    picture = frame.colour + linear * (1 - frame.alpha)[..., None]
    shown = np.sqrt(np.clip(shoulder(picture), 0, 1))
    image = finish(shown.astype(np.float32), rng, strength=config.finish)
    return _labelled(image, kind, standing, full, soup, camera, frame)


def _kind(rng: np.random.Generator, config: SceneConfig) -> Kind:
    draw = rng.random()
    if draw < config.portrait_share:
        return "portrait"
    return "crowd" if draw < config.portrait_share + config.crowd_share else "group"


def shoulder(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Highlights rolled off softly toward 1."""
    return np.where(light < 0.7, light, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.3))


def _stand(
    look: Look,
    placement: Placement,
    tilt: NDArray[np.float64],
    camera: Camera,
    owner: int,
    bodies: Bodies,
    assets: Assets | None,
    rng: np.random.Generator,
) -> _Standing:
    body = tilt @ ypr_to_matrix(np.array([placement.body_yaw_deg, 0.0, placement.body_roll_deg]))
    neck = Rotation.from_matrix(
        body.T @ ypr_to_matrix(np.array(placement.head_ypr_deg))
    ).as_rotvec()
    angle = float(np.linalg.norm(neck))
    if angle > placement.neck_limit_rad:
        neck *= placement.neck_limit_rad / angle
    turns = {
        name: Rotation.from_rotvec(neck * share).as_matrix()
        for name, share in (("neck01", 0.2), ("neck02", 0.2), ("neck03", 0.2), ("head", 0.4))
    }
    turns |= _arms(rng)
    person = build_person(
        look,
        bodies,
        assets,
        turns=turns,
        owner=owner,
        px_per_metre=placement.head_px / 0.235,
    )
    depth = camera.focal_px * person.height / placement.head_px
    centre = np.array(camera.image_wh) / 2
    flat = (np.array(placement.centre_px) - centre) / camera.focal_px * depth
    shift = np.array([flat[0], flat[1], depth]) - body @ person.centre

    def to_camera(points: FloatArray) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = points @ body.T + shift
        return moved

    parts = [_moved(part, body, shift, camera) for part in person.parts]
    return _Standing(
        look=look,
        person=person,
        parts=[p for p in parts if len(p.faces)],
        rotation=body @ person.rotation,
        outline=to_camera(person.outline),
        landmarks=to_camera(person.landmarks),
        depth=depth,
    )


def _arms(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Arms that hang, bend or reach forward."""
    turns = {}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        hang = Rotation.from_euler("z", sign * rng.uniform(22, 40), degrees=True)
        swing = Rotation.from_euler("x", -rng.normal(4, 10), degrees=True)
        turns[f"upperarm01.{side}"] = (swing * hang).as_matrix()
        bend = rng.uniform(0, 25) if rng.random() < 0.75 else rng.uniform(20, 100)
        turns[f"lowerarm01.{side}"] = Rotation.from_euler("x", -bend, degrees=True).as_matrix()
    return turns


def _moved(
    part: Part, body: NDArray[np.float64], shift: NDArray[np.float64], camera: Camera
) -> Part:
    """`part` in camera space, without the triangles far outside the picture."""
    points = (part.points @ body.T + shift).astype(np.float32)
    w, h = camera.image_wh
    margin = 0.15 * max(w, h)
    at = camera.project(points)
    out = (
        (at[:, 0] < -margin)
        | (at[:, 0] > w + margin)
        | (at[:, 1] < -margin)
        | (at[:, 1] > h + margin)
        | (points[:, 2] < 0.05)
    )
    keep = ~out[part.faces].all(1)
    return Part(
        points=points,
        normals=(part.normals @ body.T).astype(np.float32),
        faces=part.faces[keep],
        corner_uv=part.corner_uv[keep],
        material=part.material,
        owner=part.owner,
        is_head=part.is_head[keep],
        extra=part.extra,
    )


def _box(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate((points.min(0), points.max(0)))


def _labelled(
    image: NDArray[np.uint8],
    kind: Kind,
    standing: list[_Standing],
    full: NDArray[np.float64],
    soup: Soup | None,
    camera: Camera,
    frame: Frame,
) -> Scene:
    """The scene of everyone whose head has some part in the picture."""
    w, h = camera.image_wh
    order = np.argsort(np.argsort([s.depth for s in standing]))
    keep, visible, people, marks = [], [], [], []
    for owner, person in enumerate(standing):
        x1, y1, x2, y2 = full[owner]
        if x2 <= 1 or y2 <= 1 or x1 >= w - 1 or y1 >= h - 1 or soup is None:
            continue
        share = _visible_share(soup, camera, full[owner], owner)
        if share < 0.02:
            continue
        keep.append(owner)
        visible.append(share)
        people.append(_seen_box(frame.owner == owner))
        marks.append(_landmarks(person.landmarks, camera, frame, owner))
    boxes_full = full[keep].reshape(-1, 4)
    rotations = np.array([standing[k].rotation for k in keep]).reshape(-1, 3, 3)
    rays = np.full((len(keep), 3), camera.focal_px)
    rays[:, :2] = (boxes_full[:, :2] + boxes_full[:, 2:] - (w, h)) / 2
    return Scene(
        image=image,
        kind=kind,
        boxes=np.clip(boxes_full, 0, (w, h, w, h)),
        boxes_full=boxes_full,
        rotations=to_allocentric(rotations, rays),
        camera_rotations=rotations,
        focal_px=camera.focal_px,
        landmarks=np.array(marks).reshape(len(keep), len(LANDMARKS), 3),
        visible=np.array(visible),
        people=np.array(people).reshape(-1, 4),
        labels=tuple(_label(standing[k].look, int(order[k])) for k in keep),
    )


def _visible_share(soup: Soup, camera: Camera, box: NDArray[np.float64], owner: int) -> float:
    n = 24
    x = np.linspace(box[0], box[2], n * 2 + 1)[1::2]
    y = np.linspace(box[1], box[3], n * 2 + 1)[1::2]
    xy = np.stack([a.ravel() for a in np.meshgrid(x, y)], 1).astype(np.float32)
    return first_seen(soup, xy, camera, owner)[0]


def _seen_box(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if not len(rows):
        return np.full(4, np.nan)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _landmarks(
    points: NDArray[np.float64], camera: Camera, frame: Frame, owner: int
) -> NDArray[np.float64]:
    w, h = camera.image_wh
    at = camera.project(points)
    inside = (at[:, 0] >= 0) & (at[:, 1] >= 0) & (at[:, 0] < w) & (at[:, 1] < h)
    column = np.clip(at[:, 0], 0, w - 1).astype(int)
    row = np.clip(at[:, 1], 0, h - 1).astype(int)
    seen = frame.owner[row, column] == owner
    return np.concatenate((at, np.where(inside, 1 + seen, 0)[:, None]), 1)


def _label(look: Look, distance: int) -> HeadLabel:
    bodies = load_bodies()
    is_child = bodies.trait(look.identity, "age") < 0.52
    is_woman = bodies.trait(look.identity, "gender") > 0.5
    return HeadLabel(
        hat=look.hat,
        hat_color=look.hat_name,
        hair=look.hair,
        hair_color=look.hair_name if look.hair != "bald" else "none",
        glasses=look.glasses,
        clothes_color=look.clothes_name,
        gender="child" if is_child else "woman" if is_woman else "man",
        beard=look.beard > 0.3,
        distance=distance,
    )

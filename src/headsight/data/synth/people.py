"""One person: who it is, what is worn, and the mesh pieces with the exact head rotation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from headsight.data.synth.assets import Assets, Garment, Texture, load_texture
from headsight.data.synth.bodies import HEAD, Bodies, FloatArray, IntArray, Pose, smooth_normals
from headsight.data.synth.colours import CLOTHES, EYES, HAIR, HARD_HATS, clothes_colour, hair_colour
from headsight.data.synth.plain import plain_hair, plain_skin, plain_top, skin_tone
from headsight.data.synth.shapes import Mesh
from headsight.data.synth.surface import Material, Part
from headsight.data.synth.wear import HATS, Skull, glasses_mesh, hat_mesh, measure_skull
from headsight.geometry.rotations import ypr_to_matrix

__all__ = ["LANDMARKS", "NEUTRAL_PITCH_DEG", "Look", "Person", "build_person", "random_look"]

NEUTRAL_PITCH_DEG = 0.0
"""Pitch that 300W-LP's annotation gives the unposed head."""

LANDMARKS: dict[str, int] = {}
"""Vertices of the base mesh."""

SKIN_WRAP = (0.30, 0.17, 0.12)


@dataclass(frozen=True)
class Look:
    """Everything that is drawn at random about a person, apart from place and pose."""

    identity: int
    skin: str
    """Texture name, or "" for plain skin."""
    hair: str
    """Garment name, "bald", or a plain style."""
    hair_name: str
    clothes: str
    clothes_name: str
    hat: str
    hat_name: str
    glasses: str
    eye_name: str
    beard: float
    actions: tuple[tuple[str, float], ...]
    seed: int


class Person(NamedTuple):
    """Mesh pieces in the body frame, posed."""

    parts: list[Part]
    outline: FloatArray
    """Points whose projection spans the head's box."""
    landmarks: FloatArray
    rotation: NDArray[np.float64]
    """Head label frame to body frame."""
    centre: NDArray[np.float64]
    """Middle of the head."""
    height: float
    """Of the head, metres."""


def random_look(rng: np.random.Generator, bodies: Bodies, assets: Assets | None, split: str) -> Look:
    """A person's look; held-out looks use other identities."""
    edge = len(bodies) * 4 // 5
    identity = int(rng.integers(0, edge) if split == "train" else rng.integers(edge, len(bodies)))
    is_woman = bodies.trait(identity, "gender") > 0.5
    age = bodies.trait(identity, "age")
    hair_name = str(rng.choice(list(HAIR), p=_hair_odds(bodies, identity)))
    hat = str(rng.choice(("none", *HATS), p=(0.62, 0.17, 0.09, 0.06, 0.06)))
    hat_name = str(rng.choice(HARD_HATS, p=(0.32, 0.27, 0.14, 0.12, 0.10, 0.05)))
    if hat != "hard hat":
        hat_name = str(rng.choice(list(CLOTHES)))
    is_child = age < 0.52
    beard = 0.0
    if not is_woman and not is_child and rng.random() < 0.45:
        beard = float(rng.uniform(0.15, 0.95))
    glasses = str(rng.choice(("none", "glasses", "sunglasses"), p=(0.74, 0.19, 0.07)))
    return Look(
        identity=identity,
        skin=_skin_name(rng, bodies, identity, assets),
        hair=_hair_style(rng, is_woman, age, assets),
        hair_name=hair_name,
        clothes=_clothes_style(rng, is_woman, assets),
        clothes_name=str(rng.choice(list(CLOTHES))),
        hat=hat,
        hat_name=hat_name if hat != "none" else "none",
        glasses=glasses if not is_child else "none",
        eye_name=str(rng.choice(list(EYES), p=(0.35, 0.3, 0.17, 0.1, 0.08))),
        beard=beard,
        actions=_expression(rng),
        seed=int(rng.integers(0, 2**31)),
    )


def build_person(
    look: Look,
    bodies: Bodies,
    assets: Assets | None,
    *,
    turns: dict[str, NDArray[np.float64]],
    owner: int,
    px_per_metre: float,
) -> Person:
    """The posed mesh pieces of `look`; textures are taken at the resolution that `px_per_metre` needs."""
    rng = np.random.default_rng(look.seed)
    rest = bodies.rest(look.identity, dict(look.actions))
    pose = bodies.pose(look.identity, turns)
    is_head = _head_vertices(bodies)
    skull = measure_skull(rest, is_head)
    maker = _Maker(look, bodies, assets, rest, pose, skull, owner, px_per_metre, rng)
    maker.add_skin()
    maker.add_eyes()
    maker.add_clothes()
    rim = maker.add_hat()
    maker.add_hair(rim)
    maker.add_glasses()
    neutral = ypr_to_matrix(np.array([0.0, -NEUTRAL_PITCH_DEG, 0.0]))
    outline = np.concatenate(maker.outline)
    marks = bodies.weights[list(LANDMARKS.values())]
    middle = np.array([0.0, (skull.top + skull.chin) / 2, (skull.front + skull.back) / 2])
    return Person(
        parts=maker.parts,
        outline=outline,
        landmarks=pose.skin(rest[list(LANDMARKS.values())], marks),
        rotation=pose.head @ neutral.T,
        centre=pose.head @ middle + pose.offset[HEAD],
        height=skull.chin - skull.top,
    )


class _Maker:
    """Collects the pieces of one person."""

    def __init__(
        self,
        look: Look,
        bodies: Bodies,
        assets: Assets | None,
        rest: FloatArray,
        pose: Pose,
        skull: Skull,
        owner: int,
        px_per_metre: float,
        rng: np.random.Generator,
    ) -> None:
        self.look, self.bodies, self.assets = look, bodies, assets
        self.rest, self.pose, self.skull = rest, pose, skull
        self.owner, self.px_per_metre, self.rng = owner, px_per_metre, rng
        self.hair_rgb = hair_colour(look.hair_name, rng)
        self.skin_points = pose.skin(rest, bodies.weights)
        self.parts: list[Part] = []
        self.outline: list[FloatArray] = []

    def add(
        self,
        points: FloatArray,
        faces: IntArray,
        corner_uv: FloatArray,
        material: Material,
        *,
        is_head: NDArray[np.bool_] | bool,
        extra: FloatArray | None = None,
    ) -> None:
        """Add one piece, already posed."""
        self.parts.append(
            Part(
                points=points,
                normals=smooth_normals(points, faces),
                faces=faces,
                corner_uv=corner_uv,
                material=material,
                owner=self.owner,
                is_head=np.broadcast_to(np.asarray(is_head), (len(faces),)),
                extra=np.zeros(len(points), np.float32) if extra is None else extra,
            )
        )

    def add_mesh(self, mesh: Mesh, material: Material, *, in_outline: bool = True) -> None:
        """Add something rigidly fixed to the skull."""
        linear, offset = self.pose.linear[HEAD], self.pose.offset[HEAD]
        points = (mesh[0] @ linear.T + offset).astype(np.float32)
        self.add(points, mesh[1], mesh[2][mesh[1]], material, is_head=True)
        if in_outline:
            self.outline.append(points)

    def level(self, texture: Texture, texels_per_metre: float) -> FloatArray:
        """The mip level of `texture` that this person's size needs."""
        return texture.level_for(texels_per_metre / self.px_per_metre)

    def add_skin(self) -> None:
        bodies, is_head = self.bodies, _head_vertices(self.bodies)
        faces, uv_faces = bodies.faces, bodies.uv_faces
        hidden = self._hidden_base()
        if len(hidden):
            covered = np.zeros(len(self.rest), bool)
            covered[hidden] = True
            keep = ~covered[faces].all(1)
            faces, uv_faces = faces[keep], uv_faces[keep]
        tone = float(np.exp(self.rng.normal(0, 0.10)))
        common = {"wrap": SKIN_WRAP, "specular": float(self.rng.uniform(0.02, 0.09)), "gloss": 14.0}
        if self.look.skin and self.assets is not None:
            texture = load_texture(self.assets.skins[self.look.skin])
            tint = (tone * float(1 + self.rng.normal(0, 0.03)), tone, tone * float(1 + self.rng.normal(0, 0.05)))
            material = Material(
                texture=self.level(texture, 620), tint=tint, extra_colour=self.hair_rgb, grain=0.06, **common
            )
        else:
            texture = plain_skin(bodies, skin_tone(bodies, self.look.identity, self.rng))
            material = Material(
                texture=self.level(texture, 620), extra_colour=self.hair_rgb, grain=0.05, **common
            )
        of_head = is_head[faces].all(1)
        self.add(
            self.skin_points,
            faces,
            bodies.uv[uv_faces],
            material,
            is_head=of_head,
            extra=self._beard(),
        )
        self.outline.append(self.skin_points[: len(is_head)][is_head])

    def _beard(self) -> FloatArray | None:
        if self.look.beard <= 0:
            return None
        skull, points = self.skull, self.rest
        s = skull.size
        mouth_y = skull.eye_y + 0.62 * (skull.chin - skull.eye_y)
        x, y, z = points[:, 0] / s, (points[:, 1] - mouth_y) / s, points[:, 2]
        front = np.clip((skull.ear_z - 0.012 - z) / 0.02, 0, 1)
        lower = np.clip((y + 0.012 - 0.35 * np.clip(np.abs(x) - 0.03, 0, None) * -1.6) / 0.010, 0, 1)
        cheeks = np.clip((y + 0.045 * np.clip((np.abs(x) - 0.035) / 0.03, 0, 1)) / 0.014, 0, 1)
        lips = np.exp(-((x / 0.024) ** 4) - ((y + 0.001) / 0.0085) ** 4)
        stop = np.clip((skull.chin + 0.02 - points[:, 1]) / 0.02, 0, 1)
        share = np.maximum(lower * cheeks, 0) * front * stop * (1 - lips)
        noise = 0.75 + 0.25 * np.sin(points[:, 0] * 900) * np.sin(points[:, 1] * 1100)
        result: FloatArray = (share * noise * self.look.beard * 0.85).astype(np.float32)
        result[len(_head_vertices(self.bodies)) :] = 0
        return result

    def add_eyes(self) -> None:
        bodies = self.bodies
        if self.assets is None:
            points = self.skin_points
            texture = plain_eye(self.look.eye_name)
            uv = _eye_uv(self.rest, bodies.eye_faces, self.skull)
            material = Material(texture=self.level(texture, 5000), specular=0.5, gloss=120.0)
            self.add(points, bodies.eye_faces, uv, material, is_head=True)
            return
        eyes = self.assets.eyes
        points = self.pose.skin(eyes.fit(self.rest), _garment_weights(bodies, eyes))
        texture = _eye_texture(eyes.texture, self.look.eye_name) if eyes.texture else None
        material = Material(
            texture=self.level(texture, 9000) if texture else None,
            is_cutout=True,
            specular=0.5,
            gloss=120.0,
        )
        self.add(points, eyes.faces, eyes.uv[eyes.uv_faces], material, is_head=True)
        brows = self.assets.eyebrows
        if brows:
            brow = brows[int(self.rng.integers(len(brows)))]
            self._add_garment(brow, tuple(0.75 * c for c in self.hair_rgb), texels=3000.0, is_head=True)

    def _add_garment(
        self,
        garment: Garment,
        colour: tuple[float, ...],
        *,
        texels: float,
        is_head: bool,
        keep: NDArray[np.bool_] | None = None,
        weights: FloatArray | None = None,
        specular: float = 0.0,
        is_cutout: bool = True,
    ) -> FloatArray:
        weights = _garment_weights(self.bodies, garment) if weights is None else weights
        points = self.pose.skin(garment.fit(self.rest), weights)
        faces, uv_faces = garment.faces, garment.uv_faces
        if keep is not None:
            faces, uv_faces = faces[keep], uv_faces[keep]
        texture = garment.texture
        bright = _brightness(garment.name, texture) if texture else 1.0
        material = Material(
            texture=self.level(texture, texels) if texture else None,
            tint=(colour[0] / bright, colour[1] / bright, colour[2] / bright),
            grey_share=0.9,
            is_cutout=is_cutout,
            specular=specular,
            gloss=18.0,
            wrap=(0.1, 0.1, 0.1),
        )
        if len(faces):
            self.add(points, faces, garment.uv[uv_faces], material, is_head=is_head)
        return points

    def _garment_named(self, group: tuple[Garment, ...], name: str) -> Garment | None:
        return next((g for g in group if g.name == name), None)

    def _hidden_base(self) -> IntArray:
        if self.assets is None:
            return np.zeros(0, np.int32)
        suit = self._garment_named(self.assets.clothes, self.look.clothes)
        return suit.hidden_base if suit else np.zeros(0, np.int32)

    def add_clothes(self) -> None:
        colour = clothes_colour(self.look.clothes_name, self.rng)
        suit = self._garment_named(self.assets.clothes, self.look.clothes) if self.assets else None
        if suit is not None:
            self._add_garment(suit, colour, texels=330.0, is_head=False, is_cutout=False)
            return
        mesh = plain_top(self.bodies, self.rest, self.look.clothes, self.rng)
        points = self.pose.skin(mesh.points, mesh.weights)
        material = Material(
            tint=colour, texture=mesh.texture, grain=0.08, wrap=(0.1, 0.1, 0.1)
        )
        self.add(points, mesh.faces, mesh.corner_uv, material, is_head=False)

    def add_hat(self) -> float | None:
        """Add the hat; level of its rim, or None without one."""
        if self.look.hat == "none":
            return None
        pad = 0.010 if self.look.hair != "bald" else 0.002
        meshes, rim = hat_mesh(self.look.hat, self.skull, self.rng, pad=pad)
        colour = clothes_colour(self.look.hat_name, self.rng)
        is_hard = self.look.hat == "hard hat"
        shell = Material(
            tint=colour,
            specular=float(self.rng.uniform(0.15, 0.5)) if is_hard else 0.01,
            gloss=60.0 if is_hard else 8.0,
            grain=0.0 if is_hard else 0.15,
        )
        second = Material(tint=tuple(0.8 * c for c in colour), grain=0.15)  # type: ignore[arg-type]
        if self.look.hat == "wide-brim hat":
            second = Material(tint=clothes_colour(str(self.rng.choice(list(CLOTHES))), self.rng))
        for k, mesh in enumerate(meshes):
            self.add_mesh(mesh, shell if k == 0 else second)
        return rim

    def add_hair(self, rim: float | None) -> None:
        if self.look.hair == "bald":
            return
        garment = self._garment_named(self.assets.hair, self.look.hair) if self.assets else None
        if garment is None:
            mesh = plain_hair(self.bodies, self.rest, self.skull, self.look.hair, self.rng)
            points, faces, weights = mesh.points, mesh.faces, mesh.weights
            if rim is not None:
                keep = (points[:, 1][faces] > rim - 0.004).any(1)
                faces, corner_uv = faces[keep], mesh.corner_uv[keep]
            else:
                corner_uv = mesh.corner_uv
            material = Material(
                tint=self.hair_rgb, texture=mesh.texture, is_cutout=True, specular=0.10, gloss=16.0
            )
            posed = self.pose.skin(points, weights)
            self.add(posed, faces, corner_uv, material, is_head=True)
            self._outline_hair(points, posed, np.unique(faces))
            return
        points = garment.fit(self.rest)
        keep_faces = None
        if rim is not None:
            # Hair above the rim is under the hat; a little below it would poke through.
            keep_faces = (points[:, 1][garment.faces] > rim + 0.012).all(1)
        weights = _garment_weights(self.bodies, garment).copy()
        weights[points[:, 1] < self.skull.chin + 0.02] = np.eye(weights.shape[1])[HEAD]
        posed = self._add_garment(
            garment,
            self.hair_rgb,
            texels=1500.0,
            is_head=True,
            keep=keep_faces,
            weights=weights,
            specular=0.08,
        )
        faces = garment.faces if keep_faces is None else garment.faces[keep_faces]
        self._outline_hair(points, posed, _opaque_vertices(garment, faces))

    def _outline_hair(self, points: FloatArray, posed: FloatArray, used: NDArray[np.int64]) -> None:
        """Hair counts for the head's box down to the chin."""
        if len(used):
            near = used[points[used, 1] < self.skull.chin]
            self.outline.append(posed[near])

    def add_glasses(self) -> None:
        if self.look.glasses == "none":
            return
        frame, lenses = glasses_mesh(self.look.glasses, self.skull, self.rng)
        is_dark = self.look.glasses == "sunglasses"
        shade = float(self.rng.choice([0.01, 0.02, 0.1, 0.3]))
        warm = float(self.rng.uniform(0.5, 1.0))
        self.add_mesh(frame, Material(tint=(shade, shade * warm, shade * warm**2), specular=0.3, gloss=40.0), in_outline=False)
        lens = Material(
            tint=(0.01, 0.01, 0.012) if is_dark else (0.6, 0.65, 0.7),
            is_cutout=True,
            opacity_scale=float(self.rng.uniform(0.75, 0.98)) if is_dark else 0.06,
            specular=0.6,
            gloss=90.0,
        )
        self.add_mesh(lenses, lens, in_outline=False)


@lru_cache(maxsize=2)
def _head_vertices_of(key: int, bodies_ref: "_Ref") -> NDArray[np.bool_]:
    bodies = bodies_ref.bodies
    used = np.zeros(len(bodies.weights), bool)
    used[bodies.faces] = True
    result: NDArray[np.bool_] = (bodies.weights[:, HEAD] > 0.5) & used
    return result[:13606]


class _Ref(NamedTuple):
    bodies: Bodies

    def __hash__(self) -> int:
        return id(self.bodies)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ref) and other.bodies is self.bodies


def _head_vertices(bodies: Bodies) -> NDArray[np.bool_]:
    """(V',) skin vertices that belong to the head."""
    return _head_vertices_of(id(bodies), _Ref(bodies))


_WEIGHTS: dict[tuple[str, int], FloatArray] = {}


def _garment_weights(bodies: Bodies, garment: Garment) -> FloatArray:
    key = (garment.name, id(bodies))
    if key not in _WEIGHTS:
        _WEIGHTS[key] = garment.joint_weights(bodies.weights)
    return _WEIGHTS[key]


_BRIGHT: dict[str, float] = {}


def _brightness(name: str, texture: Texture) -> float:
    """Mean linear brightness of the opaque part of a texture."""
    if name not in _BRIGHT:
        top = texture.levels[1]
        weight = top[..., 3] > 0.3
        _BRIGHT[name] = max(float((top[..., :3] ** 2)[weight].mean()) if weight.any() else 1.0, 0.02)
    return _BRIGHT[name]


_OPAQUE: dict[str, NDArray[np.bool_]] = {}


def _opaque_vertices(garment: Garment, faces: IntArray) -> NDArray[np.int64]:
    """Vertices of a cut-out mesh where its texture is opaque."""
    if garment.name not in _OPAQUE:
        flags = np.zeros(len(garment.base_ids), bool)
        if garment.texture is None:
            flags[:] = True
        else:
            alpha = Material(texture=garment.texture.levels[1]).opacity(garment.uv[garment.uv_faces.ravel()])
            np.logical_or.at(flags, garment.faces.ravel(), alpha > 0.5)
        _OPAQUE[garment.name] = flags
    used = np.unique(faces)
    return used[_OPAQUE[garment.name][used]]


def _eye_uv(rest: FloatArray, faces: IntArray, skull: Skull) -> FloatArray:
    """Texture positions of the eyeballs as seen from the front: 0.5, 0.5 is the middle of the iris."""
    left = rest[faces][:, :, 0].mean(1) > 0
    centre = np.where(left[:, None], skull.eyes[0], skull.eyes[1])
    radius = 0.017 * skull.size
    at = (rest[faces][..., :2] - centre[:, None, :2]) / (2 * radius) + 0.5
    result: FloatArray = np.clip(at, 0.01, 0.99).astype(np.float32)
    return result


@lru_cache(maxsize=8)
def plain_eye(name: str) -> Texture:
    """A drawn eyeball of the named colour, iris in the middle."""
    from headsight.data.synth.assets import texture_of

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


def _eye_texture(texture: Texture, name: str) -> Texture:
    """`texture` with its brown iris in another colour; the white stays."""
    from headsight.data.synth.assets import texture_of

    if name not in _EYE_TEXTURES:
        rgba = texture.levels[0].copy()
        rgb = rgba[..., :3]
        bright = rgb.mean(-1, keepdims=True)
        share = np.clip((0.50 - bright) / 0.12, 0, 1) * np.clip((rgb.max(-1, keepdims=True) - 0.12) / 0.05, 0, 1)
        target = np.array(EYES[name], np.float32) * bright / 0.30
        rgba[..., :3] = rgb * (1 - share) + np.clip(target, 0, 1) * share
        _EYE_TEXTURES[name] = texture_of(rgba)
    return _EYE_TEXTURES[name]


def _hair_odds(bodies: Bodies, identity: int) -> NDArray[np.float64]:
    pale = bodies.trait(identity, "caucasian")
    age = bodies.trait(identity, "age")
    odds = np.array([0.55, 0.25, 0.1, 0.02, 0.01, 0.02, 0.01]) * (1 - pale)
    odds += np.array([0.12, 0.24, 0.28, 0.22, 0.08, 0.04, 0.02]) * pale
    odds[5:] += np.array([0.6, 0.4]) * float(np.clip((age - 0.8) * 4, 0, 0.8))
    result: NDArray[np.float64] = odds / odds.sum()
    return result


def _skin_name(rng: np.random.Generator, bodies: Bodies, identity: int, assets: Assets | None) -> str:
    if assets is None:
        return ""
    age = bodies.trait(identity, "age")
    words = (
        "old" if age > 0.9 else "middleage" if age > 0.76 else "young",
        "darkskinned" if bodies.trait(identity, "african") > rng.uniform(0.3, 0.6) else "lightskinned",
        "female" if bodies.trait(identity, "gender") > 0.5 else "male",
    )
    fitting = [n for n in assets.skins if n.split("_")[:3] == list(words)]
    return str(rng.choice(fitting or list(assets.skins)))


def _hair_style(rng: np.random.Generator, is_woman: bool, age: float, assets: Assets | None) -> str:
    if rng.random() < (0.03 if is_woman else 0.10 + 0.25 * (age > 0.85)):
        return "bald"
    if assets is None:
        styles = ("cap", "bob", "long", "short") if is_woman else ("short", "cap", "short", "bob")
        return str(rng.choice(styles))
    wanted = "female" if is_woman else "male"
    fitting = [g.name for g in assets.hair if wanted in g.tags or not {"male", "female"} & set(g.tags)]
    if rng.random() < 0.12:
        fitting = [g.name for g in assets.hair]
    return str(rng.choice(fitting or [g.name for g in assets.hair]))


def _clothes_style(rng: np.random.Generator, is_woman: bool, assets: Assets | None) -> str:
    if assets is None or rng.random() < 0.25:
        return str(rng.choice(("shirt", "t-shirt", "jumper")))
    wanted = "female" if is_woman else "male"
    fitting = [g.name for g in assets.clothes if g.name.startswith(wanted)]
    return str(rng.choice(fitting or [g.name for g in assets.clothes]))


def _expression(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Facial actions: rest, smile, speech, surprise or frown, with eyes that look and blink."""
    actions: dict[str, float] = {}

    def both(name: str, strength: float) -> None:
        for side in ("Left", "Right"):
            actions[name + side] = float(np.clip(strength * rng.uniform(0.85, 1.15), 0, 1))

    kind = rng.choice(("rest", "smile", "speech", "surprise", "frown"), p=(0.35, 0.3, 0.2, 0.07, 0.08))
    if kind == "smile":
        strength = rng.uniform(0.2, 0.9)
        both("mouthSmile", strength)
        both("cheekSquint", 0.6 * strength)
        if rng.random() < 0.5:
            actions["jawOpen"] = float(rng.uniform(0.02, 0.18))
    elif kind == "speech":
        actions["jawOpen"] = float(rng.uniform(0.05, 0.4))
        actions[str(rng.choice(("mouthFunnel", "mouthPucker", "mouthShrugUpper")))] = float(rng.uniform(0, 0.4))
    elif kind == "surprise":
        actions["jawOpen"] = float(rng.uniform(0.2, 0.6))
        actions["browInnerUp"] = float(rng.uniform(0.3, 0.9))
        both("eyeWide", rng.uniform(0.2, 0.8))
    elif kind == "frown":
        both("browDown", rng.uniform(0.3, 0.9))
        both("mouthFrown", rng.uniform(0.1, 0.7))
    both("eyeBlink", 1.0 if rng.random() < 0.07 else rng.uniform(0.0, 0.28))
    side = rng.normal(0, 0.35)
    for eye, other in (("Left", "Right"), ("Right", "Left")):
        toward = side if eye == "Left" else -side
        actions["eyeLook" + ("Out" if toward > 0 else "In") + eye] = float(min(abs(toward), 0.8))
        del other
    both("eyeLookDown" if rng.random() < 0.5 else "eyeLookUp", abs(rng.normal(0, 0.2)))
    return tuple(actions.items())

"""One person: who it is, what is worn, and the mesh pieces with the exact head rotation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.assets import Assets, Garment, Texture, load_texture
from headsight.data.synth.bodies import HEAD, Bodies, FloatArray, IntArray, Pose, smooth_normals
from headsight.data.synth.colours import CLOTHES, clothes_colour, hair_colour
from headsight.data.synth.eyes import eye_uv, plain_eye, recoloured_eye
from headsight.data.synth.fitting import (
    brightness,
    coarse_faces,
    garment_weights,
    head_vertices,
    opaque_vertices,
)
from headsight.data.synth.landmarks import LANDMARKS, NEUTRAL_PITCH_DEG
from headsight.data.synth.looks import Look
from headsight.data.synth.plain import plain_hair, plain_skin, plain_top, skin_tone
from headsight.data.synth.shapes import Mesh
from headsight.data.synth.surface import Material, Part
from headsight.data.synth.wear import Hat, Skull, glasses_mesh, hat_mesh, measure_skull
from headsight.geometry.rotations import ypr_to_matrix

__all__ = ["Person", "build_person"]

COARSE_BELOW = 52 / 0.235
"""Resolution (px per metre) below which meshes are thinned out."""

SKIN_WRAP = (0.30, 0.17, 0.12)


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


def build_person(
    look: Look,
    bodies: Bodies,
    assets: Assets | None,
    *,
    turns: dict[str, NDArray[np.float64]],
    owner: int,
    px_per_metre: float,
) -> Person:
    """The posed mesh pieces of `look`, textures and meshes as fine as `px_per_metre` needs."""
    rng = np.random.default_rng(look.seed)
    rest = bodies.rest(look.identity, dict(look.actions))
    pose = bodies.pose(look.identity, turns)
    is_head = head_vertices(bodies)
    skull = measure_skull(rest, is_head)
    maker = _Maker(look, bodies, assets, rest, pose, skull, owner, px_per_metre, rng)
    maker.add_skin()
    maker.add_eyes()
    maker.add_clothes()
    hat = maker.add_hat()
    maker.add_hair(hat)
    maker.add_glasses()
    neutral = ypr_to_matrix(np.array([0.0, NEUTRAL_PITCH_DEG, 0.0]))
    outline = np.concatenate(maker.outline)
    marks = bodies.weights[list(LANDMARKS.values())]
    middle = np.array([0.0, (skull.top + skull.chin) / 2, (skull.front + skull.back) / 2])
    return Person(
        parts=maker.parts,
        outline=outline,
        landmarks=pose.skin(rest[list(LANDMARKS.values())], marks),
        rotation=pose.head @ neutral,
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
        self.is_small = px_per_metre < COARSE_BELOW
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
        if not len(faces):
            return
        used = np.zeros(len(points), bool)
        used[faces] = True
        renumber = np.cumsum(used, dtype=np.int32) - 1
        points, faces = points[used], renumber[faces]
        self.parts.append(
            Part(
                points=points,
                normals=smooth_normals(points, faces),
                faces=faces,
                corner_uv=corner_uv,
                material=material,
                owner=self.owner,
                is_head=np.broadcast_to(np.asarray(is_head), (len(faces),)),
                extra=np.zeros(len(points), np.float32) if extra is None else extra[used],
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
        bodies, is_head = self.bodies, head_vertices(self.bodies)
        faces, uv_faces = bodies.faces, bodies.uv_faces
        if self.is_small:
            left, faces = coarse_faces(bodies, "", bodies.rest(0, {}), faces)
            uv_faces = uv_faces[left]
        hidden = self._hidden_base()
        if len(hidden):
            covered = np.zeros(len(self.rest), bool)
            covered[hidden] = True
            keep = ~covered[faces].all(1)
            faces, uv_faces = faces[keep], uv_faces[keep]
        tone = float(np.exp(self.rng.normal(0, 0.10)))
        if self.look.skin and self.assets is not None:
            texture = load_texture(self.assets.skins[self.look.skin])
            red, blue = (float(1 + self.rng.normal(0, spread)) for spread in (0.03, 0.05))
            tint = (tone * red, tone, tone * blue)
        else:
            texture = plain_skin(bodies)
            tint = skin_tone(bodies, self.look.identity, self.rng)
        material = Material(
            texture=self.level(texture, 620.0),
            tint=tint,
            extra_colour=self.hair_rgb,
            grain=0.06,
            wrap=SKIN_WRAP,
            specular=float(self.rng.uniform(0.02, 0.09)),
            gloss=14.0,
        )
        of_head: NDArray[np.bool_] = np.all(is_head[faces], axis=1)
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
        lower = np.clip(
            (y + 0.012 - 0.35 * np.clip(np.abs(x) - 0.03, 0, None) * -1.6) / 0.010, 0, 1
        )
        cheeks = np.clip((y + 0.045 * np.clip((np.abs(x) - 0.035) / 0.03, 0, 1)) / 0.014, 0, 1)
        lips = np.exp(-((x / 0.024) ** 4) - ((y + 0.001) / 0.0085) ** 4)
        stop = np.clip((skull.chin + 0.02 - points[:, 1]) / 0.02, 0, 1)
        share = np.maximum(lower * cheeks, 0) * front * stop * (1 - lips)
        noise = 0.75 + 0.25 * np.sin(points[:, 0] * 900) * np.sin(points[:, 1] * 1100)
        result: FloatArray = (share * noise * self.look.beard * 0.85).astype(np.float32)
        result *= self.bodies.weights[:, HEAD]  # none on the neck
        result[len(head_vertices(self.bodies)) :] = 0
        return result

    def add_eyes(self) -> None:
        bodies = self.bodies
        if self.assets is None:
            points = self.skin_points
            texture = plain_eye(self.look.eye_name)
            uv = eye_uv(self.rest, bodies.eye_faces, self.skull)
            material = Material(texture=self.level(texture, 5000.0), specular=0.5, gloss=120.0)
            self.add(points, bodies.eye_faces, uv, material, is_head=True)
            return
        eyes = self.assets.eyes
        points = self.pose.skin(eyes.fit(self.rest), garment_weights(bodies, eyes))
        coloured = recoloured_eye(eyes.texture, self.look.eye_name) if eyes.texture else None
        material = Material(
            texture=self.level(coloured, 9000.0) if coloured else None,
            is_cutout=True,
            specular=0.5,
            gloss=120.0,
        )
        self.add(points, eyes.faces, eyes.uv[eyes.uv_faces], material, is_head=True)
        brows = self.assets.eyebrows
        if brows:
            brow = brows[int(self.rng.integers(len(brows)))]
            self._add_garment(
                brow, tuple(0.75 * c for c in self.hair_rgb), texels=3000.0, is_head=True
            )

    def _add_garment(
        self,
        garment: Garment,
        colour: tuple[float, ...],
        *,
        texels: float,
        is_head: bool,
        weights: FloatArray | None = None,
        points: FloatArray | None = None,
        specular: float = 0.0,
        is_cutout: bool = True,
    ) -> FloatArray:
        weights = garment_weights(self.bodies, garment) if weights is None else weights
        points = self.pose.skin(garment.fit(self.rest) if points is None else points, weights)
        texture = garment.texture
        bright = brightness(garment.name, texture) if texture else 1.0
        material = Material(
            texture=self.level(texture, texels) if texture else None,
            tint=(colour[0] / bright, colour[1] / bright, colour[2] / bright),
            grey_share=0.9,
            is_cutout=is_cutout,
            specular=specular,
            gloss=18.0,
            wrap=(0.1, 0.1, 0.1),
        )
        faces, uv_faces = garment.faces, garment.uv_faces
        if self.is_small:
            left, faces = coarse_faces(
                self.bodies, garment.name, garment.fit(self.bodies.rest(0, {})), faces
            )
            uv_faces = uv_faces[left]
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
        below = clothes_colour(str(self.rng.choice(("blue", "black", "grey", "brown"))), self.rng)
        for style, tint in (
            (self.look.clothes, colour),
            ("trousers", tuple(0.5 * c for c in below)),
        ):
            mesh = plain_top(self.bodies, self.rest, style, self.rng)
            points = self.pose.skin(mesh.points, mesh.weights)
            material = Material(
                tint=tint,  # type: ignore[arg-type]
                texture=mesh.texture,
                grain=0.08,
                wrap=(0.1, 0.1, 0.1),
            )
            self.add(points, mesh.faces, mesh.corner_uv, material, is_head=False)

    def add_hat(self) -> Hat | None:
        """Add the hat, if one is worn."""
        if self.look.hat == "none":
            return None
        pad = 0.010 if self.look.hair != "bald" else 0.002
        hat = hat_mesh(self.look.hat, self.skull, self.rng, pad=pad)
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
        for k, mesh in enumerate(hat.meshes):
            self.add_mesh(mesh, shell if k == 0 else second)
        return hat

    def add_hair(self, hat: Hat | None) -> None:
        if self.look.hair == "bald":
            return
        garment = self._garment_named(self.assets.hair, self.look.hair) if self.assets else None
        if garment is None:
            mesh = plain_hair(self.bodies, self.rest, self.skull, self.look.hair, self.rng)
            points, faces, weights = mesh.points, mesh.faces, mesh.weights
            if hat is not None:
                points = hat.tuck(points)
            material = Material(
                tint=self.hair_rgb, texture=mesh.texture, is_cutout=True, specular=0.10, gloss=16.0
            )
            posed = self.pose.skin(points, weights)
            self.add(posed, faces, mesh.corner_uv, material, is_head=True)
            self._outline_hair(points, posed, np.unique(faces))
            return
        points = garment.fit(self.rest)
        if hat is not None:
            points = hat.tuck(points)
        weights = garment_weights(self.bodies, garment).copy()
        weights[points[:, 1] < self.skull.chin + 0.02] = np.eye(weights.shape[1])[HEAD]
        posed = self._add_garment(
            garment,
            self.hair_rgb,
            texels=1500.0,
            is_head=True,
            weights=weights,
            specular=0.08,
            points=points,
        )
        self._outline_hair(points, posed, opaque_vertices(garment, garment.faces))

    def _outline_hair(
        self, points: FloatArray, posed: FloatArray, used: NDArray[np.integer]
    ) -> None:
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
        self.add_mesh(
            frame,
            Material(tint=(shade, shade * warm, shade * warm**2), specular=0.3, gloss=40.0),
            in_outline=False,
        )
        lens = Material(
            tint=(0.01, 0.01, 0.012) if is_dark else (0.6, 0.65, 0.7),
            is_cutout=True,
            opacity_scale=float(self.rng.uniform(0.75, 0.98)) if is_dark else 0.06,
            specular=0.6,
            gloss=90.0,
        )
        self.add_mesh(lenses, lens, in_outline=False)

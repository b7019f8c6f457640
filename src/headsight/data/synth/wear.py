"""Things worn on a head, built in the unposed body frame of one identity: hats and glasses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from headsight.data.synth.bodies import FloatArray
from headsight.data.synth.shapes import Mesh, brim, dome, grid, merge, tube

__all__ = ["GLASSES", "HATS", "Hat", "Skull", "glasses_mesh", "hat_mesh", "measure_skull"]

HATS = ("hard hat", "cap", "beanie", "wide-brim hat")
GLASSES = ("glasses", "sunglasses")


@dataclass(frozen=True)
class Skull:
    """Where the parts of one head are (metres, unposed body frame)."""

    eyes: NDArray[np.float64]
    """(2, 3) centres of the eyeballs, the person's left first."""
    half_width: float
    """Of the cranium above the ears."""
    top: float
    """y of the crown."""
    front: float
    """z of the forehead."""
    back: float
    chin: float
    """y of the chin."""
    nose: float
    """z of the tip of the nose."""
    ear_z: float
    face_half_width: float
    """At the level of the eyes, ears included."""

    @property
    def eye_y(self) -> float:
        """Level of the eyes."""
        return float(self.eyes[:, 1].mean())

    @property
    def size(self) -> float:
        """Height of the head against an ordinary adult's."""
        return (self.chin - self.top) / 0.235


@dataclass(frozen=True)
class Hat:
    """A hat's meshes (main piece first), in place on the unposed head, and its hollow."""

    meshes: list[Mesh]
    radii: tuple[float, float, float]
    at: NDArray[np.float64]
    turn: Rotation

    def tuck(self, points: FloatArray) -> FloatArray:
        """`points` of hair, moved inside the hat where they are above its rim."""
        local = self.turn.inv().apply(points - self.at)
        radii = np.array(self.radii) - 0.006
        reach = np.sqrt(((local / radii) ** 2).sum(1))
        above = np.clip((0.012 - local[:, 1]) / 0.02, 0, 1)
        share = np.where(reach > 0.93, 0.93 / np.maximum(reach, 1e-6), 1.0)
        local *= (1 - above * (1 - share))[:, None]
        result: FloatArray = (self.turn.apply(local) + self.at).astype(np.float32)
        return result


def measure_skull(rest: FloatArray, is_head: NDArray[np.bool_]) -> Skull:
    """The skull of the shape `rest` (all base vertices); `is_head` marks the skin of the head."""
    eyes = np.stack([rest[14598:14670].mean(0), rest[14670:14742].mean(0)]).astype(np.float64)
    eyes = eyes[np.argsort(-eyes[:, 0])]
    head = rest[: len(is_head)][is_head]
    eye_y = float(eyes[:, 1].mean())
    size = (eye_y - float(head[:, 1].min())) / 0.115
    cranium = head[head[:, 1] < eye_y - 0.045 * size]
    level = head[np.abs(head[:, 1] - eye_y) < 0.012]
    ears = level[np.abs(level[:, 0]) > 0.92 * np.abs(level[:, 0]).max()]
    middle = head[np.abs(head[:, 0]) < 0.02 * size]
    front_low = middle[middle[:, 2] < float(eyes[:, 2].mean())]
    return Skull(
        eyes=eyes,
        half_width=float(np.abs(cranium[:, 0]).max()),
        top=float(head[:, 1].min()),
        front=float(cranium[:, 2].min()),
        back=float(cranium[:, 2].max()),
        chin=float(front_low[:, 1].max()) if len(front_low) else eye_y + 0.12,
        nose=float(middle[:, 2].min()),
        ear_z=float(ears[:, 2].mean()),
        face_half_width=float(np.abs(level[:, 0]).max()),
    )


def hat_mesh(kind: str, skull: Skull, rng: np.random.Generator, *, pad: float) -> Hat:
    """A hat of the named kind on `skull`; `pad` is the thickness of the hair below it."""
    centre_z = (skull.front + skull.back) / 2
    half_depth = (skull.back - skull.front) / 2
    s = skull.size
    if kind == "hard hat":
        rim = skull.eye_y - rng.uniform(0.026, 0.046) * s
        room = pad * 0.6 + rng.uniform(0.008, 0.015)
        radii = (
            skull.half_width + room,
            rim - skull.top + room + rng.uniform(0.012, 0.026),
            half_depth + room + 0.006,
        )
        has_ridge = rng.random() < 0.8
        main = dome(
            radii,
            squareness=rng.uniform(2.0, 2.35),
            droop=0.012,
            ridge=rng.uniform(0.003, 0.008) if has_ridge else 0.0,
            ridge_width=rng.uniform(0.06, 0.14),
        )
        full = rng.random() < 0.1
        edge = brim(
            (radii[0] * 0.985, radii[2] * 0.985),
            front=rng.uniform(0.035, 0.055),
            side=0.045 if full else rng.uniform(0.006, 0.014),
            back=0.05 if full else rng.uniform(0.006, 0.016),
            fall=rng.uniform(0.12, 0.4),
        )
        meshes = [merge([main, edge])]
    elif kind == "cap":
        rim = skull.eye_y - rng.uniform(0.03, 0.05) * s
        room = pad * 0.7 + 0.006
        radii = (skull.half_width + room, rim - skull.top + room + 0.006, half_depth + room)
        main = dome(radii, squareness=2.2, droop=0.03)
        length = rng.uniform(0.055, 0.075)

        def visor(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
            angle = (u - 0.5) * 2.2
            reach = v * length * np.cos(angle * 0.75) ** 0.5
            x = np.sin(angle) * (radii[0] + reach * 0.15)
            z = -np.cos(angle) * radii[2] - reach
            y = 0.25 * reach + 0.012 * (np.abs(u - 0.5) * 2) ** 2
            return np.stack((x, y, z), 1)

        meshes = [main, grid(17, 5, visor)]
    elif kind == "beanie":
        rim = skull.eye_y - rng.uniform(0.022, 0.045) * s
        room = pad * 0.7 + rng.uniform(0.008, 0.014)
        radii = (
            skull.half_width + room,
            rim - skull.top + room + rng.uniform(0.005, 0.05),
            half_depth + room,
        )
        main = dome(radii, squareness=rng.uniform(1.9, 2.4), droop=0.03)
        fold = brim((radii[0], radii[2]), front=0.004, side=0.004, back=0.004, fall=0.0)
        points = fold[0].copy()
        points[:, 1] -= fold[2][:, 1] * 0.045
        points[:, 1] += 0.03 * np.clip(points[:, 2] / radii[2], 0, 1)
        meshes = [main, (points, fold[1], fold[2])]
    else:
        rim = skull.eye_y - rng.uniform(0.028, 0.045) * s
        room = pad * 0.8 + 0.008
        radii = (
            skull.half_width + room,
            rim - skull.top + room + rng.uniform(0.01, 0.04),
            half_depth + room,
        )
        main = dome(radii, squareness=rng.uniform(2.4, 3.4), droop=0.012)
        width = rng.uniform(0.055, 0.10)
        edge = brim(
            (radii[0] * 0.98, radii[2] * 0.98),
            front=width,
            side=width,
            back=width,
            fall=float(rng.uniform(-0.15, 0.35)),
        )
        band = brim(
            (radii[0] + 0.001, radii[2] + 0.001), front=0.002, side=0.002, back=0.002, fall=0.0
        )
        points = band[0].copy()
        points[:, 1] -= band[2][:, 1] * 0.022
        meshes = [merge([main, edge]), (points, band[1], band[2])]
    # Hats sit lower behind than in front.
    turn = Rotation.from_euler("x", -rng.normal(6, 4), degrees=True)
    at = np.array([0.0, rim, centre_z])
    placed = [((turn.apply(m[0]) + at).astype(np.float32), m[1], m[2]) for m in meshes]
    return Hat(placed, radii, at, turn)


def glasses_mesh(kind: str, skull: Skull, rng: np.random.Generator) -> tuple[Mesh, Mesh]:
    """Frame and lenses."""
    s = skull.size
    width, height = rng.uniform(0.022, 0.029) * s, rng.uniform(0.016, 0.023) * s
    power = rng.uniform(2.0, 4.5)
    radius = rng.uniform(0.0010, 0.0026)
    plane = min(float(skull.eyes[:, 2].mean()) - 0.020 * s, skull.nose + 0.022 * s)
    y = skull.eye_y + 0.003 * s
    angle = np.linspace(0, 2 * np.pi, 25)
    cos, sin = np.cos(angle), np.sin(angle)
    ring_x = np.sign(cos) * np.abs(cos) ** (2 / power) * width
    ring_y = np.sign(sin) * np.abs(sin) ** (2 / power) * height
    frames: list[Mesh] = []
    lenses: list[Mesh] = []
    spread = float(np.abs(skull.eyes[:, 0]).mean()) + 0.002
    for sign in (1, -1):
        x = sign * spread + ring_x
        z = plane + 0.35 * np.abs(np.clip(np.abs(x) - 0.02, 0, None)) ** 1.0 * 0.4
        ring = np.stack((x, y + ring_y, z), 1)
        frames.append(tube(ring, radius))
        outer = np.array([sign * (spread + width), y - 0.4 * height, float(z.max())])
        hinge = np.array([sign * (skull.face_half_width * 0.93), y - 0.3 * height, plane + 0.03])
        ear = np.array([sign * skull.face_half_width * 0.93, y - 0.002, skull.ear_z])
        frames.append(tube(np.stack((outer, hinge, ear)), radius * 1.1, sides=5))

        def lens(
            u: NDArray[np.float64], v: NDArray[np.float64], ring: NDArray[np.float64] = ring
        ) -> NDArray[np.float64]:
            rim = ring[np.round(u * 24).astype(int)]
            middle = ring.mean(0)
            placed: NDArray[np.float64] = middle + (rim - middle) * v[:, None]
            return placed

        lenses.append(grid(25, 3, lens))
    left, right = spread - width, -(spread - width)
    bridge = np.array(
        [
            [left, y - 0.2 * height, plane],
            [0, y - 0.4 * height, plane - 0.002],
            [right, y - 0.2 * height, plane],
        ]
    )
    frames.append(tube(bridge, radius))
    return merge(frames), merge(lenses)

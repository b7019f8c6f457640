"""A MakeHuman-format folder of skins, hair, eyes, eyebrows and clothes, fitted to the base mesh.

Layout: `skins/*.png`, `hair/NAME/NAME.obj|mhclo|_diffuse.png`, `clothes/...` alike,
`eyebrows/NAME/NAME.png`, `eyes/low-poly`, `eyes/materials/*.png`. The `.mhclo` rule: a vertex is a
weighted sum of three base vertices plus a scaled offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headsight.data.synth.bodies import FloatArray, IntArray, quads_to_triangles
from headsight.errors import InputError

__all__ = ["Assets", "Garment", "Texture", "load_assets", "load_texture"]

MAKEHUMAN_TO_BODY = np.array([1, -1, -1], np.float32)


@dataclass(frozen=True)
class Texture:
    """A picture with smaller copies of itself (mip levels), RGBA in [0, 1], row 0 at the top."""

    levels: tuple[FloatArray, ...]

    def level_for(self, texels_per_pixel: float) -> FloatArray:
        """The copy whose texels are about as large as a pixel."""
        step = int(
            np.clip(np.floor(np.log2(max(texels_per_pixel, 1.0)) + 0.4), 0, len(self.levels) - 1)
        )
        return self.levels[step]


@dataclass(frozen=True)
class Garment:
    """Something fitted to the base mesh: hair, eyes, eyebrows or clothes."""

    name: str
    base_ids: IntArray
    """(V, 3) base vertices that carry each vertex."""
    base_weights: FloatArray
    """(V, 3)."""
    offsets: FloatArray
    """(V, 3) in units of the scale rulers, body frame axes."""
    rulers: tuple[tuple[int, int, float], ...]
    """Per axis x, y, z: two base vertices and the distance that counts as 1."""
    faces: IntArray
    uv_faces: IntArray
    uv: FloatArray
    hidden_base: NDArray[np.int32]
    """Base vertices that this garment covers."""
    texture: Texture | None
    tags: tuple[str, ...]

    def fit(self, base: FloatArray) -> FloatArray:
        """(V, 3) vertices on the base shape `base` (all base vertices, unposed)."""
        scale = np.array(
            [abs(base[a, k] - base[b, k]) / d for k, (a, b, d) in enumerate(self.rulers)],
            np.float32,
        )
        carried = np.einsum("vk,vki->vi", self.base_weights, base[self.base_ids])
        result: FloatArray = (carried + self.offsets * scale).astype(np.float32)
        return result

    def joint_weights(self, base_weights: FloatArray) -> FloatArray:
        """(V, J) skinning weights, taken over from the base vertices that carry each vertex."""
        share = np.clip(self.base_weights, 0, None)
        share = share / np.maximum(share.sum(1, keepdims=True), 1e-6)
        mixed = np.einsum("vk,vkj->vj", share, base_weights[self.base_ids])
        result: FloatArray = (mixed / np.maximum(mixed.sum(1, keepdims=True), 1e-6)).astype(
            np.float32
        )
        return result


@dataclass(frozen=True)
class Assets:
    """Everything a folder offers."""

    skins: dict[str, Path]
    """Textures by file stem, such as `young_lightskinned_female_diffuse`."""
    hair: tuple[Garment, ...]
    eyebrows: tuple[Garment, ...]
    eyes: Garment
    clothes: tuple[Garment, ...]


@lru_cache(maxsize=2)
def load_assets(folder: Path) -> Assets:
    """The assets in `folder`.

    Raises:
        InputError: the folder is missing or lacks skins, hair, eyes, eyebrows or clothes.
    """
    wanted = ("skins", "hair", "eyes", "eyebrows", "clothes")
    missing = [name for name in wanted if not (folder / name).is_dir()]
    if missing:
        found = "that is no folder" if not folder.is_dir() else f"it lacks {', '.join(missing)}"
        raise InputError(
            f"Assets folder {str(folder)!r}: {found}. Expected a MakeHuman-format folder with"
            " skins/, hair/, eyes/, eyebrows/ and clothes/; leave --assets out for plain ones."
        )
    iris = sorted((folder / "eyes" / "materials").glob("*.png"))
    return Assets(
        skins={p.stem: p for p in sorted((folder / "skins").glob("*.png"))},
        hair=_garments(folder / "hair"),
        eyebrows=_garments(folder / "eyebrows"),
        eyes=_garment(folder / "eyes" / "low-poly", iris[0] if iris else None),
        clothes=_garments(folder / "clothes"),
    )


@lru_cache(maxsize=64)
def load_texture(path: Path) -> Texture:
    """The picture at `path` with its mip levels.

    Raises:
        InputError: it cannot be read as a picture.
    """
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGBA")
    except OSError as error:
        raise InputError(
            f"Texture {str(path)!r} cannot be read: {error}. Expected a PNG picture."
        ) from error
    return texture_of(np.asarray(image, np.float32) / 255)


def texture_of(rgba: NDArray[np.floating]) -> Texture:
    """Mip levels of an (H, W, 4) picture, halved down to 8 px; see-through colours do not count."""
    levels = [np.ascontiguousarray(rgba, np.float32)]
    while min(levels[-1].shape[:2]) >= 16:
        last = levels[-1]
        h, w = last.shape[0] // 2 * 2, last.shape[1] // 2 * 2
        blocks = last[:h, :w].reshape(h // 2, 2, w // 2, 2, 4)
        alpha = blocks[..., 3:]
        colour = (blocks[..., :3] * (alpha + 1e-3)).sum((1, 3)) / (alpha + 1e-3).sum((1, 3))
        levels.append(np.concatenate((colour, alpha.mean((1, 3))), -1).astype(np.float32))
    return Texture(tuple(levels))


def _garments(folder: Path) -> tuple[Garment, ...]:
    return tuple(
        _garment(sub, next(iter(sorted(sub.glob("*.png"))), None))
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
    )


def _garment(folder: Path, picture: Path | None) -> Garment:
    try:
        fit_text = next(folder.glob("*.mhclo")).read_text("utf-8")
        mesh_text = next(folder.glob("*.obj")).read_text("utf-8")
        ids, weights, offsets, rulers, hidden, tags = _read_fit(fit_text)
        faces, uv_faces, uv = _read_mesh(mesh_text)
    except (StopIteration, OSError, ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"Asset {str(folder)!r} cannot be read ({type(error).__name__}: {error})."
            " Expected one .obj and one .mhclo file."
        ) from error
    return Garment(
        name=folder.name,
        base_ids=ids,
        base_weights=weights,
        offsets=offsets,
        rulers=rulers,
        faces=faces,
        uv_faces=uv_faces,
        uv=uv,
        hidden_base=hidden,
        texture=load_texture(picture) if picture else None,
        tags=tags,
    )


def _read_fit(
    text: str,
) -> tuple[
    IntArray, FloatArray, FloatArray, tuple[tuple[int, int, float], ...], IntArray, tuple[str, ...]
]:
    ids, weights, offsets = [], [], []
    rulers: dict[str, tuple[int, int, float]] = {}
    hidden: list[str] = []
    tags = []
    section = ""
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("x_scale", "y_scale", "z_scale"):
            rulers[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]) / 10)
        elif words[0] == "tag":
            tags.append(" ".join(words[1:]).lower())
        elif words[0] in ("verts", "delete_verts"):
            section = words[0]
        elif section == "delete_verts":
            hidden += words
        elif section == "verts" and words[0].isdigit():
            if len(words) == 1:
                ids.append([int(words[0])] * 3)
                weights.append([1.0, 0.0, 0.0])
                offsets.append([0.0, 0.0, 0.0])
            else:
                ids.append([int(w) for w in words[:3]])
                weights.append([float(w) for w in words[3:6]])
                offsets.append([float(w) for w in words[6:9]])
    # Offsets are in decimetres; the ratio of ruler to distance has no unit.
    moved = np.array(offsets, np.float32).reshape(-1, 3) * MAKEHUMAN_TO_BODY / np.float32(10)
    return (
        np.array(ids, np.int32).reshape(-1, 3),
        np.array(weights, np.float32).reshape(-1, 3),
        moved,
        (rulers["x"], rulers["y"], rulers["z"]),
        np.array(_ranges(hidden), np.int32),
        tuple(tags),
    )


def _ranges(words: list[str]) -> list[int]:
    """Numbers of `3 5 - 8 9`: a dash joins its neighbours to a range."""
    result: list[int] = []
    for k, word in enumerate(words):
        if word == "-":
            result += range(int(words[k - 1]) + 1, int(words[k + 1]))
        else:
            result.append(int(word))
    return result


def _read_mesh(text: str) -> tuple[IntArray, IntArray, FloatArray]:
    uv, corners, uv_corners = [], [], []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "vt":
            uv.append([float(words[1]), float(words[2])])
        elif words[0] == "f":
            pairs = [word.split("/") for word in words[1:5]]
            pairs += [pairs[-1]] * (4 - len(pairs))
            corners.append([int(p[0]) - 1 for p in pairs])
            uv_corners.append([int(p[1]) - 1 for p in pairs])
    faces = quads_to_triangles(np.array(corners, np.int32))
    uv_faces = quads_to_triangles(np.array(uv_corners, np.int32))
    keep = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    )
    return faces[keep], uv_faces[keep], np.array(uv, np.float32)

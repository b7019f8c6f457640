"""Head rotation and head box from 3D face points: how AGORA-HPE and CMU-HPE labels are made.

A reference head is fitted to the points by a similarity (Umeyama); the box is that of a sphere
around the fitted head, projected (DirectMHP, arXiv:2302.01110). Reference axes: x to the subject's
left, y up, z out of the face. Works on numpy arrays and torch tensors alike.
"""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = [
    "REFERENCE_NAMES",
    "REFERENCE_POINTS",
    "Similarity",
    "fit_head",
    "flat_head_box",
    "head_rotation",
    "helmet_box",
]

import math
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
from jaxtyping import Bool, Float

from headsight.geometry.arrays import ArrayT, namespace

REFERENCE_NAMES = (
    "brow_right_outer",
    "brow_right_inner",
    "brow_left_outer",
    "brow_left_inner",
    "eye_left_outer",
    "eye_left_inner",
    "eye_right_inner",
    "eye_right_outer",
    "nose_left",
    "nose_right",
    "mouth_left",
    "mouth_right",
    "lower_lip",
    "chin",
)
REFERENCE_POINTS = (
    (-6.825897, 6.760612, 4.402142),
    (-1.330353, 7.122144, 6.903745),
    (6.825897, 6.760612, 4.402142),
    (1.330353, 7.122144, 6.903745),
    (5.311432, 5.485328, 3.987654),
    (1.789930, 5.393625, 4.413414),
    (-1.789930, 5.393625, 4.413414),
    (-5.311432, 5.485328, 3.987654),
    (1.930245, 0.424351, 5.914376),
    (-1.930245, 0.424351, 5.914376),
    (2.774015, -2.080775, 5.048531),
    (-2.774015, -2.080775, 5.048531),
    (0.0, -3.116408, 6.097667),
    (0.0, -7.415691, 4.070434),
)
"""The reference head; AGORA uses the first 13 points, CMU all 14."""

FEWEST_POINTS = 7
SPHERE_RADIUS, SPHERE_CENTRE = 18.0, (0.0, 5.0, -5.0)
LONGEST_ASPECT, LARGEST_SHARE = 1.5, 0.7


@dataclass(frozen=True)
class Similarity(Generic[ArrayT]):
    """`points = scale * rotation @ reference + translation`; NaN where nothing could be fitted."""

    rotation: Float[ArrayT, "*batch 3 3"]
    scale: Float[ArrayT, "*batch"]
    translation: Float[ArrayT, "*batch 3"]


def fit_head(
    points: Float[ArrayT, "*batch n 3"],
    weights: Float[ArrayT, "*batch n"] | None = None,
    *,
    fewest: int = FEWEST_POINTS,
) -> Similarity[ArrayT]:
    """The similarity that takes the first n reference points to `points`.

    NaN points and points of weight 0 are left out; with less than `fewest` left the fit is NaN.
    """
    xp = namespace(points)
    is_known = xp.isfinite(points).all(-1)
    weights = is_known * (1.0 if weights is None else weights)
    known = xp.where(is_known[..., None], points, xp.zeros_like(points))
    reference = _constant(xp, REFERENCE_POINTS, points)[: points.shape[-2]]
    total = weights.sum(-1)
    share = (weights / xp.where(total > 0, total, xp.ones_like(total))[..., None])[..., None]
    mean, mean_reference = (share * known).sum(-2), (share * reference).sum(-2)
    centred, centred_reference = (
        known - mean[..., None, :],
        reference - mean_reference[..., None, :],
    )
    u, s, vh = xp.linalg.svd((share * centred).swapaxes(-1, -2) @ centred_reference)
    # A mirror image would fit flat points as well: the smallest axis is turned over.
    sign = xp.where(xp.linalg.det(u @ vh) < 0, -1.0, 1.0)
    flip = xp.stack((xp.ones_like(sign), xp.ones_like(sign), sign), -1)
    rotation = (u * flip[..., None, :]) @ vh
    variance = (share * centred_reference**2).sum(-1).sum(-1)
    scale = (s * flip).sum(-1) / xp.where(variance > 0, variance, xp.ones_like(variance))
    moved = (rotation @ mean_reference[..., None])[..., 0]
    is_fitted = ((weights > 0).sum(-1) >= fewest) & (scale > 0)
    nan = float("nan")
    return Similarity(
        xp.where(is_fitted[..., None, None], rotation, nan),
        xp.where(is_fitted, scale, nan),
        xp.where(is_fitted[..., None], mean - scale[..., None] * moved, nan),
    )


def head_rotation(
    fit: Similarity[ArrayT], camera_rotation: Float[ArrayT, "*#batch 3 3"] | None = None
) -> Float[ArrayT, "*batch 3 3"]:
    """R_cv of a fitted head, seen by a camera with the given world-to-camera rotation."""
    rotation = fit.rotation if camera_rotation is None else camera_rotation @ fit.rotation
    xp = namespace(rotation)
    return rotation * _constant(xp, (1.0, -1.0, -1.0), rotation)


def helmet_box(
    fit: Similarity[ArrayT],
    intrinsics: Float[ArrayT, "3 3"],
    image_wh: tuple[int, int],
    *,
    camera_rotation: Float[ArrayT, "3 3"] | None = None,
    camera_translation: Float[ArrayT, 3] | None = None,
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0),
) -> tuple[Float[ArrayT, "*batch 4"], Bool[ArrayT, "*batch"]]:
    """Boxes x1, y1, x2, y2 of whole pixels around fitted heads, and which of them are usable.

    The camera is OpenCV's: world-to-camera rotation and translation, `distortion` k1, k2, p1, p2,
    k3. Not usable: no area in the picture, sides that differ by 1.5 times or more, more than 0.7 of
    a side of the picture, or a head that is not wholly in front of the camera.
    """
    xp = namespace(fit.rotation)
    sphere = _constant(xp, _SPHERE, fit.rotation)
    world = (
        fit.scale[..., None, None] * (sphere @ fit.rotation.swapaxes(-1, -2))
        + fit.translation[..., None, :]
    )
    camera = world if camera_rotation is None else world @ camera_rotation.swapaxes(-1, -2)
    if camera_translation is not None:
        camera = camera + camera_translation
    depth = camera[..., 2]
    is_in_front = (depth > 0).all(-1)
    safe = xp.where(depth > 0, depth, xp.ones_like(depth))[..., None]
    pixels = _distort(xp, camera[..., :2] / safe, distortion) @ intrinsics[:2, :2].swapaxes(0, 1)
    pixels = pixels + intrinsics[:2, 2]
    limit = _constant(xp, image_wh, pixels)
    low = xp.trunc(xp.minimum(xp.clip(_least(xp, pixels), 0, None), limit))
    high = xp.trunc(xp.minimum(xp.clip(-_least(xp, -pixels), 0, None), limit))
    sides = high - low
    width, height = sides[..., 0], sides[..., 1]
    has_shape = (width < LONGEST_ASPECT * height) & (height < LONGEST_ASPECT * width)
    is_small = (sides < LARGEST_SHARE * limit).all(-1)
    is_usable = is_in_front & (width > 0) & (height > 0) & has_shape & is_small
    return xp.concatenate((low, high), -1), is_usable


def flat_head_box(
    landmarks: Float[ArrayT, "*batch n 2"],
    rotations: Float[ArrayT, "*batch 3 3"],
    *,
    half_axes: tuple[float, float, float] = (SPHERE_RADIUS,) * 3,
    centre: tuple[float, float, float] = SPHERE_CENTRE,
) -> Float[ArrayT, "*batch 4"]:
    """Boxes x1, y1, x2, y2 px of an ellipsoid around heads of which a picture shows the points.

    The camera is taken to be far away (weak perspective), so that scale and place of the head come
    from the first n reference points in the picture and its known rotation R_cv. `half_axes` and
    `centre` are in units and axes of the reference head; unless told, they are `helmet_box`'s.
    """
    xp = namespace(landmarks)
    towards_viewer = _constant(xp, (1.0, -1.0, -1.0), landmarks)
    reference = _constant(xp, REFERENCE_POINTS, landmarks)[: landmarks.shape[-2]] * towards_viewer
    middle = _constant(xp, centre, landmarks) * towards_viewer
    flat = (reference @ rotations.swapaxes(-1, -2))[..., :2]
    mean, mean_flat = landmarks.mean(-2), flat.mean(-2)
    p, q = flat - mean_flat[..., None, :], landmarks - mean[..., None, :]
    scale = ((p * q).sum(-1).sum(-1) / (p * p).sum(-1).sum(-1))[..., None]
    seen = mean + scale * ((rotations @ middle[:, None])[..., :2, 0] - mean_flat)
    axes = _constant(xp, half_axes, landmarks)
    reach = scale * xp.sqrt(((rotations[..., :2, :] * axes) ** 2).sum(-1))
    return xp.concatenate((seen - reach, seen + reach), -1)


def _sphere() -> tuple[tuple[float, float, float], ...]:
    """648 points on the sphere around the reference head."""
    x, y, z = SPHERE_CENTRE
    points = []
    for theta in range(0, 360, 10):
        for phi in range(0, 180, 10):
            t, p = math.radians(theta), math.radians(phi)
            ring = SPHERE_RADIUS * math.sin(p)
            points.append(
                (
                    x + ring * math.cos(t),
                    y + ring * math.sin(t),
                    z + SPHERE_RADIUS * math.cos(p),
                )
            )
    return tuple(points)


_SPHERE = _sphere()


def _distort(xp: Any, rays: Any, distortion: tuple[float, float, float, float, float]) -> Any:
    k1, k2, p1, p2, k3 = distortion
    x, y = rays[..., 0], rays[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return xp.stack(
        (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ),
        -1,
    )


def _least(xp: Any, points: Any) -> Any:
    """Smallest x and y over the points."""
    return points.min(-2) if xp is np else points.amin(-2)


def _constant(xp: Any, values: Any, like: Any) -> Any:
    return xp.asarray(values, dtype=like.dtype, device=like.device)

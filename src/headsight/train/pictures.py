"""Labelled pictures in, augmented square canvases out; the labels of a canvas stay exact."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from headsight.geometry.rotations import mirror, rotate_in_plane
from headsight.train.labels import LabelledPicture

__all__ = ["Augmentation", "Canvas", "augment", "mosaic", "recolor"]


@dataclass(frozen=True)
class Canvas:
    """A square picture ready for the encoder; boxes in px of the square."""

    pixels: NDArray[np.uint8]
    """(S, S, 3)."""
    boxes: NDArray[np.float32]
    rotations: NDArray[np.float32]
    pose_weights: NDArray[np.float32]
    attributes: tuple[dict[str, Any], ...]
    ignore: NDArray[np.float32]
    content_wh_rel: tuple[float, float]
    """Share of the square that the picture covers."""
    landmarks: NDArray[np.float32] | None = None
    """(N, P, 3) as in the labels, px of the square; a mirrored view keeps their order."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a training picture is varied."""

    image_size: int = 384
    """Side of the square, px."""
    zoom_range: tuple[float, float] = (0.6, 3.0)
    """Smallest and largest crop zoom against the fitted picture."""
    max_turn_deg: float = 20.0
    """Largest rotation in the image plane."""
    turn_share: float = 0.3
    """Share of pictures turned in the plane."""
    plain_share: float = 0.15
    """Share of pictures left as they are."""
    min_visible: float = 0.45
    """A head of which less is left after cropping is ignored, not learned."""
    min_side: float = 7.0
    """A head smaller than this after scaling, px, is ignored."""
    recolor_share: float = 1.0
    """Share of the varied pictures whose colours, sharpness and noise are varied too."""


def augment(picture: LabelledPicture, config: Augmentation, rng: np.random.Generator) -> Canvas:
    """A varied square view of `picture` with its labels carried along exactly.

    In-plane turns loosen upright boxes: the box kept is the box of the turned ellipse inscribed in
    the old one.
    """
    image = Image.open(io.BytesIO(picture.encoded)).convert("RGB")
    size = config.image_size
    fit = size / max(image.size)
    is_plain = rng.random() < config.plain_share
    zoom = 1.0 if is_plain else float(np.exp(rng.uniform(*np.log(config.zoom_range))))
    scale = fit * zoom
    turn = 0.0
    if not is_plain and rng.random() < config.turn_share:
        turn = float(rng.uniform(-config.max_turn_deg, config.max_turn_deg))
    flips = bool(rng.random() < 0.5)
    # the view: a window of the scaled picture, at most the square, placed at its top left corner
    wanted = np.array(image.size) * scale
    window = np.minimum(wanted, size).round().clip(16)
    slack = wanted - window
    corner = rng.uniform(0, 1, 2) * slack
    if len(picture.boxes) and rng.random() < 0.7:  # keep a head in view
        box = picture.boxes[rng.integers(len(picture.boxes))]
        middle = (box[:2] + box[2:]) / 2 * scale
        corner = (middle - window * rng.uniform(0.25, 0.75, 2)).clip(0, slack.clip(0))
    matrix = _view_matrix(image.size, scale, corner, window, turn, flips)
    view = _warp(image, matrix, window)
    boxes, kept_share = _carry_boxes(picture.boxes, matrix, window, scale)
    ignore, _ = _carry_boxes(picture.ignore, matrix, window, scale)
    rotations = picture.rotations
    if turn:
        rotations = rotate_in_plane(rotations, turn)
    if flips:
        rotations = mirror(rotations)
    good = (kept_share >= config.min_visible) & (
        (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= config.min_side
    )
    partly = ~good & (kept_share > 0)
    if not is_plain and rng.random() < config.recolor_share:
        view = recolor(view, rng)
    pixels = np.full((size, size, 3), 114, np.uint8)
    width, height = int(window[0]), int(window[1])
    pixels[:height, :width] = np.asarray(view)
    return Canvas(
        pixels=pixels,
        boxes=boxes[good],
        rotations=rotations[good].astype(np.float32),
        pose_weights=picture.pose_weights[good],
        attributes=tuple(a for a, g in zip(picture.attributes, good, strict=True) if g),
        ignore=np.concatenate([ignore, boxes[partly]]),
        content_wh_rel=(width / size, height / size),
        landmarks=None
        if picture.landmarks is None
        else _carry_points(picture.landmarks[good], matrix),
    )


def mosaic(canvases: Sequence[Canvas]) -> Canvas:
    """Canvases of one size (n * n of them, row by row) as the tiles of one of n times the side."""
    number = math.isqrt(len(canvases))
    side = canvases[0].pixels.shape[0]
    corners = [(side * column, side * row) for row in range(number) for column in range(number)]
    pixels = np.concatenate(
        [
            np.concatenate([c.pixels for c in canvases[k : k + number]], 1)
            for k in range(0, number**2, number)
        ]
    )
    shift = [np.array(corner * 2, np.float32) for corner in corners]
    return Canvas(
        pixels=pixels,
        boxes=np.concatenate([c.boxes + s for c, s in zip(canvases, shift, strict=True)]),
        rotations=np.concatenate([c.rotations for c in canvases]),
        pose_weights=np.concatenate([c.pose_weights for c in canvases]),
        attributes=tuple(a for c in canvases for a in c.attributes),
        ignore=np.concatenate([c.ignore + s for c, s in zip(canvases, shift, strict=True)]),
        content_wh_rel=(1.0, 1.0),
    )


def _view_matrix(
    image_wh: tuple[int, int],
    scale: float,
    corner: NDArray[np.float64],
    window: NDArray[np.float64],
    turn_deg: float,
    flips: bool,
) -> NDArray[np.float64]:
    """3x3 from original pixels to view pixels.

    Scale, crop, turn clockwise about the view's middle, flip.
    """
    matrix = np.diag([scale, scale, 1.0])
    matrix[:2, 2] = -corner
    if turn_deg:
        c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
        middle = window / 2
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        turn[:2, 2] = middle - turn[:2, :2] @ middle
        matrix = turn @ matrix
    if flips:
        matrix = np.array([[-1, 0, window[0]], [0, 1, 0], [0, 0, 1.0]]) @ matrix
    return matrix


def _warp(
    image: Image.Image, matrix: NDArray[np.float64], window: NDArray[np.float64]
) -> Image.Image:
    shrink = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if shrink < 0.75:  # resample in two steps, so that shrinking does not alias
        smaller = tuple(max(1, round(side * shrink)) for side in image.size)
        back = np.diag([image.width / smaller[0], image.height / smaller[1], 1.0])
        image = image.resize(smaller, Image.Resampling.BILINEAR, reducing_gap=2.0)
        matrix = matrix @ back
    inverse = np.linalg.inv(matrix)
    return image.transform(
        (int(window[0]), int(window[1])),
        Image.Transform.AFFINE,
        tuple(inverse[:2].ravel()),
        Image.Resampling.BILINEAR,
        fillcolor=(114, 114, 114),
    )


def _carry_boxes(
    boxes: NDArray[np.float32],
    matrix: NDArray[np.float64],
    window: NDArray[np.float64],
    scale: float,
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, " n"]]:
    """Boxes in the view, clipped, and the share of each that is left."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    linear = matrix[:2, :2]
    middle = middle @ linear.T + matrix[:2, 2]
    half = np.sqrt((half**2) @ (linear**2).T)  # box of the mapped ellipse
    moved = np.concatenate([middle - half, middle + half], 1)
    clipped = moved.copy()
    clipped[:, 0::2] = clipped[:, 0::2].clip(0, window[0])
    clipped[:, 1::2] = clipped[:, 1::2].clip(0, window[1])
    area = (clipped[:, 2:] - clipped[:, :2]).prod(1)
    full = (moved[:, 2:] - moved[:, :2]).prod(1).clip(1e-6)
    return clipped.astype(np.float32), (area / full).astype(np.float32)


def _carry_points(
    points: NDArray[np.float32], matrix: NDArray[np.float64]
) -> Float[np.ndarray, "n p 3"]:
    """Points in the view, their visibility as it was."""
    places = points[..., :2] @ matrix[:2, :2].T + matrix[:2, 2]
    return np.concatenate([places, points[..., 2:]], -1).astype(np.float32)


def recolor(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast, saturation, blur, low resolution, noise and JPEG, each now and then."""
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        if rng.random() < 0.6:
            view = enhancer(view).enhance(float(rng.uniform(0.55, 1.45)))
    if rng.random() < 0.08:
        view = view.convert("L").convert("RGB")
    if rng.random() < 0.15:
        view = view.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.8))))
    if rng.random() < 0.15:
        factor = float(rng.uniform(0.3, 0.9))
        small = (max(8, int(view.width * factor)), max(8, int(view.height * factor)))
        view = view.resize(small, Image.Resampling.BILINEAR).resize(
            view.size, Image.Resampling.BICUBIC
        )
    if rng.random() < 0.25:
        gain = rng.uniform(0.85, 1.15, 3)
        noise = rng.normal(0, rng.uniform(1, 9), (view.height, view.width, 1))
        view = Image.fromarray((np.asarray(view) * gain + noise).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.2:
        buffer = io.BytesIO()
        view.save(buffer, "JPEG", quality=int(rng.integers(25, 90)))
        view = Image.open(buffer).convert("RGB")
    return view

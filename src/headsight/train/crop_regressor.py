"""Training a crop regressor: one head a crop, the angle to its true rotation as loss.

After 6DRepNet (arXiv 2202.12555): a random part of the crop, mirrored half of the time, now and
then blurred. Ours besides, off by default: box edges that jitter, turns in the picture plane with
exact labels, and colours.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor, nn

from headsight.errors import AnnotationError, ConfigError
from headsight.eval.headpose_metrics import headpose_metrics
from headsight.geometry.rotations import mirror, rotate_in_plane
from headsight.models.headpose.config import SixDRepNetConfig
from headsight.models.headpose.crops import HeadCropper, cut, square_windows
from headsight.models.headpose.geodesic import geodesic_angle
from headsight.models.headpose.model import SixDRepNet
from headsight.models.headpose.pretrained import pretrained
from headsight.train.checkpoint import load_average_
from headsight.train.labels import LabelledPicture
from headsight.train.loop import run_stage
from headsight.train.pictures import Augmentation, recolor

if TYPE_CHECKING:
    from headsight.train.recipe import Recipe, Stage

__all__ = [
    "CropAugmentation",
    "CropBatch",
    "CropJob",
    "CropSource",
    "augmented_crop",
    "build_regressor",
    "run_crop_regressor",
]

_VALIDATION_HEADS = 400
_ROWS = 64
_TURN_RIM = (2**0.5 - 1) / 2
Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class CropAugmentation:
    """How far a crop is varied; the defaults are those of the published 6DRepNet."""

    area_range: tuple[float, float] = (0.8, 1.0)
    """Smallest and largest share of the window's area that is kept."""
    ratio_range: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width over height of the part that is kept; it is made square."""
    flip_share: float = 0.5
    """Share of mirrored crops."""
    blur_share: float = 0.05
    """Share of blurred crops."""
    jitter: float = 0.0
    """Each edge of the box moves by up to so much of the side, before it is made square."""
    turn_share: float = 0.0
    """Share of crops turned in the picture plane."""
    max_turn_deg: float = 20.0
    """Largest turn."""
    recolor_share: float = 0.0
    """Share of crops whose colours, sharpness and noise are varied."""

    def __post_init__(self) -> None:
        if not 0 < self.area_range[0] <= self.area_range[1] <= 1:
            raise ConfigError(
                f"area_range is {self.area_range}, but must be two shares in (0, 1], the smaller"
                " first."
            )
        for name in ("flip_share", "blur_share", "turn_share", "recolor_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be in [0, 1].")


@dataclass(frozen=True)
class CropSource:
    """Pictures whose heads are drawn, and how often."""

    pictures: Sequence[LabelledPicture]
    share: float
    least_side: float = 12.0
    """Heads with a smaller longer side, px, show no pose and are passed over."""

    def heads(self) -> list[tuple[int, int]]:
        """Picture and row of every head that can be learned from."""
        return [
            (number, int(row))
            for number, picture in enumerate(self.pictures)
            for row in np.flatnonzero(
                np.isfinite(picture.rotations).all((1, 2))
                & (picture.pose_weights > 0)
                & ((picture.boxes[:, 2:] - picture.boxes[:, :2]).max(1, initial=0)
                   >= self.least_side)
            )
        ]  # fmt: skip


@dataclass(frozen=True)
class CropBatch:
    """Crops and their truth (B heads)."""

    pixel_values: Float[Tensor, "b 3 s s"]
    rotations: Float[Tensor, "b 3 3"]
    weights: Float[Tensor, " b"]


class CropJob:
    """The stage that trains a `SixDRepNet` on the heads of labelled pictures."""

    def __init__(
        self,
        module: SixDRepNet,
        sources: Sequence[CropSource],
        validation: Sequence[LabelledPicture],
        *,
        batch_size: int,
        lr: float,
        seed: int,
        augmentation: CropAugmentation | None = None,
    ) -> None:
        self.module = module
        self._heads = [(s, s.heads()) for s in sources]
        self._heads = [(s, heads) for s, heads in self._heads if heads]
        if not self._heads:
            raise AnnotationError(
                "None of the sources has a head with a known pose that is large enough to learn"
                " from. Check the label files."
            )
        self._shares = np.array([s.share for s, _ in self._heads])
        self._shares /= self._shares.sum()
        self._validation = CropSource(validation, 1.0)
        self._batch_size, self._lr, self._seed = batch_size, lr, seed
        self._augmentation = augmentation or CropAugmentation()
        self._cropper = HeadCropper.for_model(module.config)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All at one rate."""
        return [{"params": list(self.module.parameters()), "lr": self._lr}]

    def batch(self, step: int) -> CropBatch:
        """Heads drawn from the sources by their shares, varied."""
        rng = np.random.default_rng([self._seed, step])
        crops, rotations, weights = [], [], []
        for _ in range(self._batch_size):
            source, heads = self._heads[int(rng.choice(len(self._heads), p=self._shares))]
            number, row = heads[int(rng.integers(len(heads)))]
            picture = source.pictures[number]
            crop, rotation = augmented_crop(
                _decoded(picture), picture.boxes[row], picture.rotations[row],
                self._augmentation, self._cropper, rng,
            )  # fmt: skip
            crops.append(crop)
            rotations.append(rotation)
            weights.append(float(picture.pose_weights[row]))
        return CropBatch(
            self._cropper.to_input(np.stack(crops)),
            torch.tensor(np.stack(rotations), dtype=torch.float32),
            torch.tensor(weights),
        )

    def loss(
        self, batch: CropBatch, module: nn.Module | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """The weighted mean angle in radians, of the crops for which a rotation was said."""
        device = self.module.device
        pixels = batch.pixel_values.to(device).contiguous(memory_format=torch.channels_last)
        self.module.train()
        seen: Tensor = self.module(pixels).rotations
        is_told = torch.isfinite(seen).flatten(1).all(1)
        angle = geodesic_angle(seen[is_told], batch.rotations.to(device)[is_told])
        weights = batch.weights.to(device)[is_told]
        loss = (angle * weights).sum() / weights.sum().clamp(min=1e-6)
        return loss, {"degrees": float(loss.detach().rad2deg())}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Errors in degrees on plain crops of held-out heads."""
        self.module.eval()
        heads = self._validation.heads()[:_VALIDATION_HEADS]
        pictures = self._validation.pictures
        read, truth = [np.zeros((0, 3, 3))], [np.zeros((0, 3, 3))]
        for start in range(0, len(heads), _ROWS):
            part = heads[start : start + _ROWS]
            crops = [self._cropper(_decoded(pictures[n]), pictures[n].boxes[[r]]) for n, r in part]
            pixels = self._cropper.to_input(np.concatenate(crops)).to(self.module.device)
            read.append(self.module.rotations(pixels).double().cpu().numpy())
            truth.append(np.stack([pictures[n].rotations[r] for n, r in part]).astype(np.float64))
        figures = headpose_metrics(np.concatenate(read), np.concatenate(truth))["full"]
        return {n: figures[n] for n in ("mae", "geodesic_mean", "geodesic_median", "over_90")}


def augmented_crop(
    image: Image.Image,
    box: Float[Array, 4],
    rotation: Float[Array, "3 3"],
    config: CropAugmentation,
    cropper: HeadCropper,
    rng: np.random.Generator,
) -> tuple[UInt8[Array, "side side 3"], Float[Array, "3 3"]]:
    """A varied crop of one head, and the rotation that is seen in it."""
    size = cropper.image_size
    edges = np.asarray(box, np.float64)
    side = float((edges[2:] - edges[:2]).max())
    edges = edges + rng.uniform(-config.jitter, config.jitter, 4) * side
    window = _part(square_windows(edges[None], margin=cropper.margin)[0], config, rng)
    turn = 0.0
    if rng.random() < config.turn_share:
        turn = float(rng.uniform(-config.max_turn_deg, config.max_turn_deg))
    crop = _turned(image, window, turn, size) if turn else Image.fromarray(cut(image, window, size))
    if turn:
        rotation = rotate_in_plane(rotation, turn)
    if rng.random() < config.flip_share:
        crop, rotation = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT), mirror(rotation)
    if rng.random() < config.blur_share:
        crop = crop.filter(ImageFilter.BLUR)
    if rng.random() < config.recolor_share:
        crop = recolor(crop, rng)
    return np.asarray(crop), rotation


def _part(
    window: Float[Array, 4], config: CropAugmentation, rng: np.random.Generator
) -> Float[Array, 4]:
    """A random part of the window, of random area and aspect."""
    sides = window[2:] - window[:2]
    area = rng.uniform(*config.area_range)
    ratio = float(np.exp(rng.uniform(*np.log(config.ratio_range))))
    part = np.minimum(sides * np.sqrt([area * ratio, area / ratio]), sides)
    low = window[:2] + rng.uniform(0, 1, 2) * (sides - part)
    return np.concatenate([low, low + part])


def _turned(image: Image.Image, window: Float[Array, 4], deg: float, size: int) -> Image.Image:
    """The window, turned clockwise about its middle."""
    rim = math.ceil(size * _TURN_RIM)  # the corners of the turned square come from there
    middle, half = (window[:2] + window[2:]) / 2, (window[2:] - window[:2]) / 2
    half = half * (size + 2 * rim) / size
    room = cut(image, np.concatenate([middle - half, middle + half]), size + 2 * rim)
    turned = Image.fromarray(room).rotate(-deg, Image.Resampling.BILINEAR)
    return turned.crop((rim, rim, rim + size, rim + size))


def _decoded(picture: LabelledPicture) -> Image.Image:
    return Image.open(io.BytesIO(picture.encoded)).convert("RGB")


_OWN_OPTIONS = ("augmentation", "pretrained", "least_side")


def build_regressor(stage: Stage) -> SixDRepNet:
    """The untrained model of a stage, from its options.

    Options are those of `SixDRepNetConfig`, besides `pretrained` (a folder or hub id of a picture
    model of transformers), `augmentation` and `least_side`.

    Raises:
        ConfigError: an unknown option.
    """
    own = {k: v for k, v in stage.options.items() if k not in _OWN_OPTIONS}
    known = set(SixDRepNetConfig.__annotations__) - {"model_type"}
    _require_known(own, known | set(_OWN_OPTIONS), f"options of stage {stage.name!r}")
    if start := stage.options.get("pretrained"):
        return pretrained(start, **own)
    return SixDRepNet(SixDRepNetConfig(**own))


def run_crop_regressor(
    recipe: Recipe,
    stage: Stage,
    starts: Sequence[tuple[str, Path]],
    validation: Sequence[LabelledPicture],
    *,
    mark: str,
    quiet: bool,
) -> Path:
    """Train the stage and return its checkpoint.

    Raises:
        ConfigError: an unknown option.
        AnnotationError: no head to learn from.
    """
    from headsight.train.run import read_sources

    model = build_regressor(stage)
    for kind, checkpoint in starts:
        if kind == stage.kind:
            load_average_(model, checkpoint)
    values = dict(stage.options.get("augmentation", {}))
    _require_known(
        values, {f.name for f in fields(CropAugmentation)}, f"augmentation of {stage.name!r}"
    )
    values = {
        k: tuple(map(float, v)) if isinstance(v, list) else float(v) for k, v in values.items()
    }
    least = float(stage.options.get("least_side", CropSource.least_side))
    sources = [
        CropSource(pictures, share, least)
        for pictures, share, _ in read_sources(stage, Augmentation())
    ]
    job = CropJob(
        model.to(memory_format=torch.channels_last),  # type: ignore[call-arg]
        sources,
        validation,
        batch_size=stage.batch_size,
        lr=stage.lr,
        seed=int(np.random.SeedSequence([recipe.seed, len(stage.name)]).generate_state(1)[0]),
        augmentation=CropAugmentation(**values),
    )
    return run_stage(job, stage.loop, recipe.output / stage.name, fingerprint=mark, quiet=quiet)


def _require_known(values: Mapping[str, Any], known: set[str], where: str) -> None:
    import difflib

    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(known))}."
            raise ConfigError(f"{where}: unknown key '{key}'. {hint}")

"""Training nano's encoder: the dense reading of heads, supervised cell by cell (training only).

Centre map: focal loss on Gaussians (CenterNet, arXiv 1904.07850). Boxes: generalised IoU (arXiv
1902.09630) and log-side distances. Rotation: angle between the read and the true matrix, from six
numbers (arXiv 1812.07035).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from headsight.geometry.rotations import geodesic_deg, matrix_to_sixd, sixd_to_matrix
from headsight.models.grounding.headgrid import COLORS, HeadGrid, HeadReading, local_maxima
from headsight.models.headpose.geodesic import geodesic_angle
from headsight.train.labels import LabelledPicture
from headsight.train.optimizers import encoder_groups
from headsight.train.pictures import Augmentation, Canvas, augment, mosaic

__all__ = [
    "DenseBatch",
    "DenseJob",
    "DenseSource",
    "DenseWeights",
    "dense_loss",
    "dense_targets",
    "pixels_to_input",
]

_MEAN = (127.0, 127.0, 127.0)
_STD = (128.0, 128.0, 128.0)


@dataclass(frozen=True, kw_only=True)
class DenseWeights:
    """Weights of the parts of the loss."""

    center: float = 1.0
    box: float = 1.0
    pose: float = 1.0
    attribute: float = 1.0


@dataclass(frozen=True)
class DenseBatch:
    """Pictures and per-cell targets (B pictures, G x G cells)."""

    pixel_values: Float[Tensor, "b 3 s s"]
    heat: Float[Tensor, "b g g"]
    """Gaussian target; -1 = nothing may be learned here."""
    weight: Float[Tensor, "b g g"]
    """Weight of the cell's box, pose and attributes; 0 = background."""
    boxes: Float[Tensor, "b g g 4"]
    rotations: Float[Tensor, "b g g 3 3"]
    pose_weight: Float[Tensor, "b g g"]
    attributes: Float[Tensor, "b g g a"]
    """1 / 0 for yes/no, a class number for several logits, -1 = unknown; one column a group."""


@dataclass(frozen=True, kw_only=True)
class DenseSource:
    """Labelled pictures, how often a canvas is made of them, and how they are varied."""

    pictures: Sequence[LabelledPicture]
    share: float
    augmentation: Augmentation
    mosaic: int = 1
    """Pictures along each side of a canvas; those of sources with the same number mix."""


class DenseJob:
    """The stage that trains a `HeadGrid` on labelled pictures."""

    def __init__(
        self,
        module: HeadGrid,
        sources: Sequence[DenseSource],
        validation: Sequence[LabelledPicture],
        *,
        batch_size: int,
        lr: float,
        backbone_lr: float,
        frozen_blocks: int,
        seed: int,
        weights: DenseWeights | None = None,
    ) -> None:
        self.module = module
        self._sources = [s for s in sources if len(s.pictures)]
        self._validation = validation
        self._batch_size = batch_size
        self._lr, self._backbone_lr = lr, backbone_lr
        self._frozen_blocks = frozen_blocks
        self._seed = seed
        self._weights = weights or DenseWeights()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """New layers learn at `lr`, the backbone at `backbone_lr`; see `encoder_groups`."""
        frozen = ("stem.", *(f"blocks.{i}." for i in range(self._frozen_blocks)))
        learning = []
        for name, parameter in self.module.named_parameters():
            if self._frozen_blocks and name.startswith(frozen):
                parameter.requires_grad_(False)
            elif not name.startswith(("read_in", "feature_in", "position")):
                learning.append((name, parameter))
        return encoder_groups(learning, lr=self._lr, backbone_lr=self._backbone_lr)

    def batch(self, step: int) -> DenseBatch:
        """Canvases drawn from the sources by their shares, augmented."""
        rng = np.random.default_rng([self._seed, step])
        canvases = []
        for _ in range(self._batch_size):
            number = _drawn(self._sources, rng).mosaic
            alike = [s for s in self._sources if s.mosaic == number]
            tiles = [self._view(_drawn(alike, rng), rng) for _ in range(number**2)]
            canvases.append(mosaic(tiles) if number > 1 else tiles[0])
        return dense_targets(canvases, self.module)

    def _view(self, source: DenseSource, rng: np.random.Generator) -> Canvas:
        side = self.module.config.image_size // source.mosaic
        augmentation = replace(source.augmentation, image_size=side)
        return augment(source.pictures[int(rng.integers(len(source.pictures)))], augmentation, rng)

    def loss(
        self, batch: DenseBatch, module: nn.Module | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum and its parts."""
        batch = DenseBatch(**{k: v.to(self.module.position.device) for k, v in vars(batch).items()})
        pixels = batch.pixel_values.contiguous(memory_format=torch.channels_last)
        features = self.module.features(pixels, frozen_blocks=self._frozen_blocks)
        parts = dense_loss(
            self.module.read(features), batch, attributes=self.module.config.attributes
        )
        total = sum((getattr(self._weights, k) * v for k, v in parts.items()), pixels.new_zeros(()))
        return total, {k: float(v.detach()) for k, v in parts.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Recall and precision (IoU 0.5, peaks over 0.3) and median angle, on plain views."""
        plain = Augmentation(image_size=self.module.config.image_size, plain_share=1.0)
        hits = peaks = truths = 0
        angles: list[float] = []
        for index, picture in enumerate(self._validation):
            canvas = augment(picture, plain, np.random.default_rng(index))
            pixels = pixels_to_input([canvas]).to(self.module.position.device)
            reading = self.module.read(self.module.features(pixels))
            found, matched, errors = _score(reading, canvas)
            hits, peaks, truths = hits + matched, peaks + found, truths + len(canvas.boxes)
            angles += errors
        return {
            "recall": hits / max(truths, 1),
            "precision": hits / max(peaks, 1),
            "median_deg": float(np.median(angles)) if angles else float("nan"),
        }


def _drawn(sources: Sequence[DenseSource], rng: np.random.Generator) -> DenseSource:
    shares = np.array([s.share for s in sources])
    return sources[int(rng.choice(len(sources), p=shares / shares.sum()))]


def pixels_to_input(canvases: Sequence[Canvas]) -> Float[Tensor, "b 3 s s"]:
    """Normalised pixels as EfficientNet-Lite0 expects them, in about [-1, 1]."""
    pixels = torch.from_numpy(np.stack([c.pixels for c in canvases])).permute(0, 3, 1, 2)
    mean = torch.tensor(_MEAN)[:, None, None]
    return (pixels.float() - mean) / torch.tensor(_STD)[:, None, None]


def dense_targets(canvases: Sequence[Canvas], module: HeadGrid) -> DenseBatch:
    """Per-cell targets: a Gaussian a head, its box and pose on the cells near its centre."""
    grid = module.grid_hw[0]
    size = module.config.image_size
    names = list(module.config.attributes.items())
    batch = len(canvases)
    heat = np.zeros((batch, grid, grid), np.float32)
    weight = np.zeros_like(heat)
    boxes = np.zeros((batch, grid, grid, 4), np.float32)
    rotations = np.full((batch, grid, grid, 3, 3), np.nan, np.float32)
    pose_weight = np.zeros_like(heat)
    attributes = np.full((batch, grid, grid, len(names)), -1, np.float32)
    centers = (np.arange(grid) + 0.5) * size / grid
    for b, canvas in enumerate(canvases):
        for x1, y1, x2, y2 in canvas.ignore:
            inside = ((centers > y1) & (centers < y2))[:, None] & ((centers > x1) & (centers < x2))
            heat[b][inside] = -1
        # large heads first, so that a small one in front keeps its cells
        for i in np.argsort(-(canvas.boxes[:, 2:] - canvas.boxes[:, :2]).prod(1)):
            box = canvas.boxes[i]
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            spread = np.maximum((box[2:] - box[:2]) / 6, 0.35 * size / grid)
            column = min(int(x * grid / size), grid - 1)
            row = min(int(y * grid / size), grid - 1)
            gauss = np.exp(
                -(((centers[None] - centers[column]) / spread[0]) ** 2
                  + ((centers[:, None] - centers[row]) / spread[1]) ** 2) / 2
            )  # fmt: skip
            heat[b] = np.where(
                heat[b] < 0, np.where(gauss > 0.3, gauss, heat[b]), np.maximum(heat[b], gauss)
            )
            heat[b, row, column] = 1
            near = (gauss > 0.4) & (gauss >= weight[b])
            weight[b][near] = gauss[near]
            boxes[b][near] = box / size
            rotations[b][near] = canvas.rotations[i]
            pose_weight[b][near] = canvas.pose_weights[i] * np.isfinite(canvas.rotations[i]).all()
            attributes[b][near] = [_attribute(canvas.attributes[i], n) for n, _ in names]
    tensors = (heat, weight, boxes, rotations, pose_weight, attributes)
    return DenseBatch(pixels_to_input(canvases), *(torch.from_numpy(t) for t in tensors))


def dense_loss(
    reading: HeadReading, batch: DenseBatch, *, attributes: Mapping[str, int]
) -> dict[str, Tensor]:
    """The parts of the loss, each normalised by the weight of its positives."""
    is_known = batch.heat >= 0
    number = (batch.heat == 1).sum().clamp(min=1)
    center = _gaussian_focal(reading.center_logits, batch.heat.clamp(min=0))
    near = batch.weight > 0
    weight = batch.weight[near]
    total = weight.sum().clamp(min=1)
    box = (_box_distance(reading.boxes[near], batch.boxes[near]) * weight).sum() / total
    has_pose = near & (batch.pose_weight > 0)
    trust = (batch.weight * batch.pose_weight)[has_pose]
    pose = _pose_distance(reading.sixd[has_pose], batch.rotations[has_pose])
    attribute = _attribute_loss(
        reading.attribute_logits[near], batch.attributes[near], weight, attributes
    )
    return {
        "center": (center * is_known).sum() / number,
        "box": box,
        "pose": (pose * trust).sum() / trust.sum().clamp(min=1),
        "attribute": attribute,
    }


def _gaussian_focal(logits: Tensor, heat: Tensor) -> Tensor:
    probability = logits.sigmoid()
    positive = -F.logsigmoid(logits) * (1 - probability) ** 2
    negative = -F.logsigmoid(-logits) * probability**2 * (1 - heat) ** 4
    return torch.where(heat == 1, positive, negative)


def _box_distance(read: Tensor, true: Tensor) -> Tensor:
    """1 - GIoU, plus the mean absolute difference of the edges in units of the true side."""
    top_left = torch.maximum(read[:, :2], true[:, :2])
    bottom_right = torch.minimum(read[:, 2:], true[:, 2:])
    overlap = (bottom_right - top_left).clamp(min=0).prod(-1)
    area_read = (read[:, 2:] - read[:, :2]).clamp(min=0).prod(-1)
    side = (true[:, 2:] - true[:, :2]).clamp(min=1e-4)
    union = area_read + side.prod(-1) - overlap
    hull_low = torch.minimum(read[:, :2], true[:, :2])
    hull = (torch.maximum(read[:, 2:], true[:, 2:]) - hull_low).prod(-1).clamp(min=1e-8)
    giou = overlap / union.clamp(min=1e-8) - (hull - union) / hull
    edges = ((read - true).abs() / side.repeat(1, 2)).clamp(max=4).mean(-1)
    return 1 - giou + edges


def _pose_distance(sixd: Tensor, true: Tensor) -> Tensor:
    """The angle in radians plus the squared distance of the six numbers.

    The angle alone leaves their length free: it grows, and the angle then hardly moves. The squared
    distance holds the length at one and points the way from the first step.
    """
    distance = (sixd - matrix_to_sixd(true)).square().sum(-1)
    return geodesic_angle(sixd_to_matrix(sixd), true) + 0.5 * distance


def _attribute_loss(
    logits: Tensor, targets: Tensor, weight: Tensor, attributes: Mapping[str, int]
) -> Tensor:
    """Mean over groups of the cross entropy on the cells where the group is known."""
    losses = []
    for column, part in enumerate(torch.split(logits, list(attributes.values()), -1)):
        target = targets[:, column]
        known = target >= 0
        if part.shape[-1] == 1:
            loss = F.binary_cross_entropy_with_logits(
                part[known, 0], target[known], reduction="none"
            )
        else:
            loss = F.cross_entropy(part[known], target[known].long(), reduction="none")
        losses.append((loss * weight[known]).sum() / weight[known].sum().clamp(min=1))
    return torch.stack(losses).mean()


def _attribute(said: Mapping[str, Any], name: str) -> float:
    """The target of one attribute group; -1 where the label does not say."""
    if name == "hat" and "hat" in said:
        return float(said["hat"] not in (None, "none", False))
    if name == "male" and "gender" in said:
        return float(said["gender"] == "male")
    value = said.get(name)
    if isinstance(value, bool):
        return float(value)
    return float(COLORS.index(value)) if value in COLORS else -1.0


def _score(reading: HeadReading, canvas: Canvas) -> tuple[int, int, list[float]]:
    """Peaks over 0.3, how many are heads (one to one, IoU >= 0.5), their angles in degrees."""
    size = canvas.pixels.shape[0]
    probability = reading.center_logits[0].sigmoid()
    rows, columns = torch.nonzero(local_maxima(probability[None])[0] & (probability > 0.3)).T
    order = probability[rows, columns].argsort(descending=True)
    rows, columns = rows[order], columns[order]
    boxes = (reading.boxes[0, rows, columns] * size).cpu().numpy()
    free = np.ones(len(canvas.boxes), bool)
    errors = []
    matched = found = 0
    for k, box in enumerate(boxes):
        middle = (box[:2] + box[2:]) / 2
        skip = canvas.ignore
        if ((middle > skip[:, :2]) & (middle < skip[:, 2:])).all(1).any():
            continue
        found += 1
        if not free.any():
            continue
        iou = np.where(free, _iou(box, canvas.boxes), -1)
        best = int(iou.argmax())
        if iou[best] < 0.5:
            continue
        free[best] = False
        matched += 1
        if np.isfinite(canvas.rotations[best]).all():
            read = sixd_to_matrix(reading.sixd[0, rows[k], columns[k]]).cpu()
            errors.append(float(geodesic_deg(read, torch.from_numpy(canvas.rotations[best]))))
    return found, matched, errors


def _iou(box: NDArray[Any], boxes: NDArray[Any]) -> NDArray[Any]:
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    overlap = (high - low).clip(0).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return overlap / (area - overlap).clip(1e-9)  # type: ignore[no-any-return]

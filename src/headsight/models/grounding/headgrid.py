"""nano's vision encoder: EfficientNet-Lite0, a small neck, a dense reading fed into the tokens.

Backbone: EfficientNet-Lite0 (arXiv 1905.11946 without squeeze-excitation and swish) with its batch
norms folded into the convolutions. Neck: strides 8, 16, 32 and 64 summed on the stride-16 grid.
Every grid cell also answers "is the centre of a head here, which box, which rotation, which
attributes" in the manner of CenterNet (arXiv 1904.07850); that reading, kept only at local maxima
of the centre map, is written back into the cell's token as Fourier features of the very numbers the
decoder will have to say. The dense reading is trained directly, so the decoder starts from tokens
that already say what is where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headsight.errors import ConfigError
from headsight.geometry.rotations import matrix_to_ypr, sixd_to_matrix
from headsight.models.grounding.depthwise import Depthwise

__all__ = ["HeadGrid", "HeadGridConfig", "HeadReading", "fourier_features", "local_maxima"]

# kernel, stride, expansion, channels of the 16 blocks
_LITE0_BLOCKS = (
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (3, 1, 6, 24),
    (5, 2, 6, 40),
    (5, 1, 6, 40),
    (3, 2, 6, 80),
    (3, 1, 6, 80),
    (3, 1, 6, 80),
    (5, 1, 6, 112),
    (5, 1, 6, 112),
    (5, 1, 6, 112),
    (5, 2, 6, 192),
    (5, 1, 6, 192),
    (5, 1, 6, 192),
    (5, 1, 6, 192),
    (3, 1, 6, 320),
)
# the last block of strides 8, 16 and 32, with its channels
_TAPS = {4: 40, 10: 112, 15: 320}
_STRIDE = 16
_NUM_FREQUENCIES = 10

ATTRIBUTES: dict[str, int] = {
    "hard_hat": 1,
    "hat": 1,
    "glasses": 1,
    "male": 1,
    "clothes_color": 11,
    "hat_color": 11,
    "hair_color": 11,
}
COLORS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HeadGridConfig:
    """Shape of the encoder."""

    image_size: int = 384
    """Side of the square input, px; a multiple of 64."""
    neck_channels: int = 192
    """Channels of the stride-16 grid."""
    hidden_size: int = 256
    """Width of the tokens handed to the adapter."""
    peak_threshold: float = 0.08
    """Centre probability in [0, 1] under which a cell's reading is not written into its token."""
    keep_tokens: int = 96
    """Cells handed on, those most likely to be a head's centre, in row order; 0 = all."""
    tells_pose: bool = True
    """False keeps the pose that is read out of the tokens: a decoder then has to find it in the
    features."""
    attributes: Mapping[str, int] = field(default_factory=lambda: dict(ATTRIBUTES))
    """Name and number of logits of each attribute; 1 means yes/no."""

    def __post_init__(self) -> None:
        if self.image_size % 64 or self.image_size <= 0:
            raise ConfigError(
                f"image_size is {self.image_size}, but must be a positive multiple of 64."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadGridConfig:
        """The config in `values`; keys of others (such as `model_type`) are passed over."""
        names = {f.name for f in fields(cls)}
        known = {k: v for k, v in values.items() if k in names}
        if "attributes" in known:
            known["attributes"] = dict(known["attributes"])
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a config file.

        Attributes are pairs, because their order is that of the logits and transformers sorts the
        keys of a config.
        """
        return {**asdict(self), "attributes": [list(pair) for pair in self.attributes.items()]}


@dataclass(frozen=True)
class HeadReading:
    """What every cell says (B images, H x W cells); boxes are xyxy in units of the square side."""

    center_logits: Float[Tensor, "b h w"]
    boxes: Float[Tensor, "b h w 4"]
    sixd: Float[Tensor, "b h w 6"]
    attribute_logits: Float[Tensor, "b h w a"]


class HeadGrid(nn.Module):
    """Encoder from a square picture to one token a stride-16 cell."""

    def __init__(self, config: HeadGridConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if not isinstance(config, HeadGridConfig):
            config = HeadGridConfig.from_dict(config or {})
        self.config = config
        channels = config.neck_channels
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        blocks: list[nn.Module] = []
        width = 32
        for kernel, stride, expansion, out in _LITE0_BLOCKS:
            blocks.append(_InvertedResidual(width, out, kernel, stride, expansion))
            width = out
        self.blocks = nn.ModuleList(blocks)
        self.lateral8 = nn.Conv2d(40 * 4, channels, 1)
        self.lateral16 = nn.Conv2d(112, channels, 1)
        self.lateral32 = nn.Conv2d(320, channels, 1)
        self.down64 = nn.Conv2d(320, channels, 3, stride=2, padding=1)
        self.mix64 = _Residual(channels, kernel=5)
        self.mix32 = _Residual(channels, kernel=5)
        self.mix16 = nn.Sequential(_Residual(channels, kernel=5), _Residual(channels, kernel=5))
        self.place = _Residual(channels, kernel=5)
        self.look = _Residual(channels, kernel=5)
        self.center = _Head(channels, 1)
        self.box = _Head(channels, 4)
        self.pose = _Head(channels, 6)
        self.attribute = _Head(channels, sum(config.attributes.values()))
        reading = 7 * 2 * _NUM_FREQUENCIES + 2 + sum(config.attributes.values())
        self.read_in = nn.Linear(reading, config.hidden_size)
        self.feature_in = nn.Linear(channels, config.hidden_size)
        cells = self.grid_hw[0] * self.grid_hw[1]
        self.position = nn.Parameter(torch.zeros(cells, config.hidden_size))
        nn.init.normal_(self.position, std=0.02)
        nn.init.constant_(self.center.out.get_parameter("bias"), -4.0)
        # exp(0.7) * 16 px: a head of 64 px
        nn.init.constant_(self.box.out.get_parameter("bias"), 0.7)

    @property
    def hidden_size(self) -> int:
        """Width of one token."""
        return self.config.hidden_size

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the token grid."""
        side = self.config.image_size // _STRIDE
        return side, side

    @property
    def num_tokens(self) -> int:
        """Tokens a picture, in row order."""
        cells = self.grid_hw[0] * self.grid_hw[1]
        return min(self.config.keep_tokens or cells, cells)

    def features(
        self, pixel_values: Float[Tensor, "b 3 s s"], *, frozen_blocks: int = 0
    ) -> Float[Tensor, "b c h w"]:
        """The neck's output; the first `frozen_blocks` backbone blocks get no gradient."""
        taps = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and frozen_blocks == 0):
            x = F.relu6(self.stem(pixel_values))
        for index, block in enumerate(self.blocks):
            with torch.set_grad_enabled(torch.is_grad_enabled() and index >= frozen_blocks):
                x = block(x)
            if index in _TAPS:
                taps.append(x)
        x8, x16, x32 = taps
        # the backbone has no norms left: without these the neck's own layers would hardly count
        y64 = self.mix64(_normed(self.down64(x32)))
        y32 = self.mix32(_normed(self.lateral32(x32) + _upsample(y64)))
        y16 = self.lateral16(x16) + _upsample(y32) + self.lateral8(F.pixel_unshuffle(x8, 2))
        return self.mix16(_normed(y16))  # type: ignore[no-any-return]

    def read(self, features: Float[Tensor, "b c h w"]) -> HeadReading:
        """What every cell says about a head centred in it."""
        _, _, height, width = features.shape
        rows = (torch.arange(height, device=features.device) + 0.5)[:, None].expand(height, width)
        columns = (torch.arange(width, device=features.device) + 0.5)[None].expand(height, width)
        center = torch.stack([columns, rows], -1) / height  # (H, W, 2)
        place, look = self.place(features), self.look(features)
        reach = self.box(place).float().permute(0, 2, 3, 1).clamp(-4, 4).exp() / height
        boxes = torch.cat([center - reach[..., :2], center + reach[..., 2:]], -1)
        return HeadReading(
            center_logits=self.center(place).float()[:, 0],
            boxes=boxes,
            sixd=self.pose(look).float().permute(0, 2, 3, 1),
            attribute_logits=self.attribute(look).float().permute(0, 2, 3, 1),
        )

    def tokens(
        self,
        features: Float[Tensor, "b c h w"],
        reading: HeadReading,
        content_wh_rel: Float[Tensor, "b 2"],
    ) -> Float[Tensor, "b n d"]:
        """Features of the kept cells plus, where a head is read, the reading.

        The reading is added at local maxima of the centre map, as Fourier features.
        `content_wh_rel` is the share of the square that the picture covers, in (0, 1]: numbers are
        written in thousandths of the original picture, as the answers are.
        """
        cells = self.kept_cells(reading)  # (B, N)
        center = reading.center_logits.sigmoid()
        is_peak = local_maxima(center) & (center > self.config.peak_threshold)
        boxes, sixd, logits = (
            _take(x.flatten(1, 2), cells)
            for x in (reading.boxes, reading.sixd, reading.attribute_logits)
        )
        gate = is_peak.flatten(1).gather(1, cells)[..., None]
        probability = center.flatten(1).gather(1, cells)[..., None]
        places = (boxes / content_wh_rel.float().repeat(1, 2)[:, None]).clamp(0, 0.999)
        ypr_deg, _ = matrix_to_ypr(sixd_to_matrix(sixd))
        angles = torch.remainder(torch.nan_to_num(ypr_deg), 360) / 1000
        turned = fourier_features(angles) * float(self.config.tells_pose)
        said = torch.cat(
            [
                torch.cat([fourier_features(places), turned], -2).flatten(-2),
                probability,
                torch.ones_like(probability),
                _attribute_probabilities(logits, self.config.attributes),
            ],
            -1,
        )
        kept = _take(features.flatten(2).transpose(1, 2), cells)
        kept = F.layer_norm(kept, kept.shape[-1:])  # the neck's scale is free, the token's is not
        tokens = self.feature_in(kept) + self.read_in((said * gate).to(kept.dtype))
        return tokens + self.position[cells]  # type: ignore[no-any-return]

    def kept_cells(self, reading: HeadReading) -> Int[Tensor, "b n"]:
        """Flat indices of the cells that become tokens, ascending: the likeliest centres."""
        flat = reading.center_logits.flatten(1)
        return flat.topk(self.num_tokens, dim=1).indices.sort(1).values

    def forward(
        self,
        pixel_values: Float[Tensor, "b 3 s s"],
        *,
        content_wh_rel: Float[Tensor, "b 2"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Tokens in row order; without `content_wh_rel` the picture is taken to fill the square."""
        if content_wh_rel is None:
            content_wh_rel = pixel_values.new_ones(len(pixel_values), 2)
        features = self.features(pixel_values)
        return self.tokens(features, self.read(features), content_wh_rel)


def fourier_features(values: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch f"]:
    """Cosines and sines of `values` in [0, 1] at frequencies 1/2, 1, 2, ... 256.

    Neighbours come out alike, far ones not.
    """
    frequency = torch.pi * 2.0 ** torch.arange(
        _NUM_FREQUENCIES, device=values.device, dtype=values.dtype
    )
    angle = values[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


def local_maxima(heat: Float[Tensor, "b h w"], *, kernel: int = 3) -> Bool[Tensor, "b h w"]:
    """True where a cell is the largest of `kernel` x `kernel` around it (arXiv 1904.07850)."""
    pooled = F.max_pool2d(heat[:, None], kernel, stride=1, padding=kernel // 2)[:, 0]
    return heat == pooled


def _take(x: Float[Tensor, "b m c"], cells: Int[Tensor, "b n"]) -> Float[Tensor, "b n c"]:
    return x.gather(1, cells[..., None].expand(-1, -1, x.shape[-1]))


def _attribute_probabilities(
    logits: Float[Tensor, "*batch a"], attributes: Mapping[str, int]
) -> Float[Tensor, "*batch a"]:
    parts = torch.split(logits, list(attributes.values()), -1)
    return torch.cat([p.sigmoid() if p.shape[-1] == 1 else p.softmax(-1) for p in parts], -1)


def _normed(x: Tensor) -> Tensor:
    return F.group_norm(x, 8)


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class _InvertedResidual(nn.Module):
    """Expand, depthwise, project; ReLU6; batch norms folded away."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Conv2d(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = Depthwise(hidden, kernel=kernel, stride=stride)
        self.project = nn.Conv2d(hidden, outputs, 1)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.has_skip else y


class _Residual(nn.Module):
    """Depthwise convolution and a two-layer channel mix, pre-normalised."""

    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels, kernel=kernel)
        self.norm = nn.GroupNorm(8, channels)
        self.widen = nn.Conv2d(channels, channels * 2, 1)
        self.narrow = nn.Conv2d(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x))
        return x + self.narrow(F.relu(self.widen(y)))  # type: ignore[no-any-return]


class _Head(nn.Module):
    """One hidden layer a cell and a linear reading."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.hidden = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, outputs, 1)
        nn.init.normal_(self.out.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.hidden(self.norm(x))))  # type: ignore[no-any-return]

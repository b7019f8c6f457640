"""The encoder of the reproduction: which cell of a crop shows which named point.

It stands for DINOv2, whose tokens tell parts of things apart: nano's backbone and a neck, trained
to find the points of the *seen* categories by the words of their names. No description is read, and
no picture of an unseen category. Afterwards all of it is frozen.

    python reproductions/capellm/encoder.py --objects runs/capellm/seen --out runs/capellm/encoder
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors import safe_open
from torch import nn

from headsight.cut_out import Cut, cut_out
from headsight.data.keypoint_files import read_keypoints
from headsight.geometry.keypoints import Crop, crop_of
from headsight.language.schema_lint import mirrored_text
from headsight.models.base import NANO
from headsight.models.grounding.headgrid import HeadGrid
from headsight.models.grounding.weights import weight_files
from headsight.picture import open_picture
from headsight.train.checkpoint import load_average_
from headsight.train.loop import LoopConfig, run_stage
from headsight.train.optimizers import encoder_groups
from headsight.train.recipe import fingerprint

SIDE = 192
VISION = {
    "encoder": "headgrid", "image_size": SIDE, "keep_tokens": 0, "peak_threshold": 1.0,
    "neck_channels": 192, "hidden_size": 192,
}  # fmt: skip
STEPS = (2800, 1600, 1600)
"""Of the rounds; each goes on from the one before with its rate warmed up again."""
WILD = 2
"""Rounds before crops are also turned all around, stretched and recoloured, so that bodies and
paints that no seen category has look less strange."""
BATCH, RATE, BACKBONE_RATE = 32, 1e-3, 5e-3
"""The backbone's is in sizes of the weights of a layer: their scales lie a hundredfold apart."""
FROZEN = 5
"""Blocks of the backbone that do not learn: edges and corners look the same everywhere."""
SPREAD = 0.6
"""Of the target around a point, in cells."""
HELD_OUT = 320
"""Objects for validation, of few a fifth."""


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=Path, required=True, help="rendered seen objects")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="of every round")
    options = parser.parse_args()
    train_encoder(options.objects, options.out, steps=options.steps)


def train_encoder(objects: Path, out: Path, *, steps: Sequence[int] = STEPS) -> Path:
    """The checkpoint of a `PointFinder`; what is done already is not done again."""
    checkpoint = None
    for number, length in enumerate(steps):
        job = PointJob(objects, seed=number, is_wild=number >= WILD)
        if checkpoint is not None:
            load_average_(job.module, checkpoint)
        loop = LoopConfig(
            steps=length, warmup_steps=min(50, length // 2), bf16=True, save_every=100,
            log_every=25, validate_every=min(400, length), average_decay=0.99,
        )  # fmt: skip
        settings = (BATCH, RATE, BACKBONE_RATE, FROZEN, SPREAD, SIDE, len(job.instances))
        mark = fingerprint(length, *settings)
        checkpoint = run_stage(job, loop, out / f"round{number + 1}", fingerprint=mark)
    assert checkpoint is not None
    return checkpoint


class PointFinder(nn.Module):
    """A score of every cell for every name, and where in its cell the point lies.

    A name is the sum of its words, so that `left headboard top` can be looked for with what `left`
    and `top` mean elsewhere.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = HeadGrid(VISION)
        load_backbone_(self.encoder)
        channels = self.encoder.config.neck_channels
        # word 0 is no word
        self.words = nn.Embedding(number + 1, channels, padding_idx=0)
        self.shifts = nn.Embedding(number + 1, 2 * channels, padding_idx=0)
        for table, std in ((self.words, 0.2), (self.shifts, 0.02)):
            nn.init.normal_(table.weight[1:], std=std)

    def forward(self, pixels, words):
        """Scores (B, K, cells) and shifts (B, K, cells, 2) in cells of names (B, K, words)."""
        features = self.encoder.features(pixels, frozen_blocks=FROZEN).flatten(2)  # (B, C, cells)
        features = F.layer_norm(features.transpose(1, 2), features.shape[1:2])
        scores = torch.einsum("bnc,bkc->bkn", features, self.words(words).sum(2)) / 4
        shifts = self.shifts(words).sum(2).unflatten(-1, (2, -1))
        return scores, torch.einsum("bnc,bkdc->bknd", features, shifts)


class Words:
    """The words of names, by number; 0 is none."""

    def __init__(self, instances) -> None:
        found = {word for one in instances for name in one.names for word in name.split()}
        self.known = tuple(sorted(found))
        self._index = {word: number for number, word in enumerate(self.known, 1)}

    def __len__(self) -> int:
        return len(self.known)

    def __call__(self, names):
        """Numbers (K, words) of names; words that are not known are left out."""
        rows = [[self._index.get(word, 0) for word in name.split()] for name in names]
        most = max(map(len, rows))
        return torch.tensor([row + [0] * (most - len(row)) for row in rows])


class PointJob:
    """What the training loop needs to know."""

    def __init__(self, objects: Path, *, seed: int = 0, is_wild: bool = False) -> None:
        self._seed, self._is_wild = seed, is_wild
        found = [one for one in read_keypoints(objects).instances if one.visible.any()]
        kept = min(HELD_OUT, len(found) // 5)
        self.instances, self.held_out = found[kept:], found[:kept]
        self.words = Words(found)
        self.module = PointFinder(len(self.words))
        self.module.encoder.to(memory_format=torch.channels_last)

    def parameter_groups(self):
        """The neck, the words and the later blocks; what nothing reads stays."""
        learns = (
            "lateral",
            "down",
            "mix",
            *(f"blocks.{i}." for i in range(FROZEN, len(self.module.encoder.blocks))),
        )
        learning = []
        for name, parameter in self.module.named_parameters():
            inner = name.removeprefix("encoder.")
            if inner == name or inner.startswith(learns):
                learning.append((inner, parameter))
            else:
                parameter.requires_grad_(False)
        return encoder_groups(learning, lr=RATE, backbone_lr=BACKBONE_RATE)

    def batch(self, step: int):
        """Crops scaled, turned, mirrored and moved a little."""
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.integers(len(self.instances), size=BATCH)
        return self._stack([self._view(self.instances[i], rng) for i in chosen])

    def loss(self, batch, module):
        """Cross entropy over cells, and the distance within the cell."""
        pixels, words, points = batch
        grid = SIDE // 16
        scores, shifts = module(pixels.contiguous(memory_format=torch.channels_last), words)
        inside = (points >= 0).all(-1) & (points < 1).all(-1)
        place = points.clamp(0, 0.999) * grid
        cell = place.floor().long()
        axis = torch.arange(grid) + 0.5
        near = -((axis - place[..., None]) ** 2) / (2 * SPREAD**2)  # (B, K, 2, grid)
        target = (near[..., 1, :, None] + near[..., 0, None, :]).flatten(-2).softmax(-1)
        losses = -(target * scores.float().log_softmax(-1)).sum(-1)
        flat = cell[..., 1] * grid + cell[..., 0]
        own = shifts.gather(2, flat[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
        error = (own.float() - (place - cell - 0.5)).abs().sum(-1)
        total = ((losses + error) * inside).sum() / inside.sum().clamp(min=1)
        return total, {"cells": float((losses.detach() * inside).sum() / inside.sum())}

    @torch.no_grad()
    def validate(self):
        """PCK@0.2 of the best cell, in sides of the crop."""
        plain = [self._view(one, None) for one in self.held_out]
        near, total = 0.0, 0.0
        for start in range(0, len(plain), BATCH):
            pixels, words, points = self._stack(plain[start : start + BATCH])
            scores, shifts = self.module(pixels, words)
            found = best_places(scores, shifts)
            inside = (points >= 0).all(-1) & (points < 1).all(-1)
            close = ((found - points).norm(dim=-1) < 0.2) & inside
            near, total = near + float(close.sum()), total + float(inside.sum())
        return {"pck20": near / max(total, 1)}

    def _view(self, one, rng):
        image, places, is_mirrored = view(one, rng, is_wild=self._is_wild)
        names = [mirrored_text(name) for name in one.names] if is_mirrored else one.names
        points = np.where(one.visible[:, None], places, -1.0)
        return to_input(image), self.words(names), points

    def _stack(self, views):
        most = max(len(words) for _, words, _ in views)
        longest = max(words.shape[1] for _, words, _ in views)
        words = torch.zeros(len(views), most, longest, dtype=torch.long)
        points = torch.full((len(views), most, 2), -1.0)
        for row, (_, own, places) in enumerate(views):
            words[row, : len(own), : own.shape[1]] = own
            points[row, : len(own)] = torch.from_numpy(places).float()
        return torch.stack([pixels for pixels, _, _ in views]), words, points


def view(one, rng, *, is_wild=False):
    """A crop of an object, its points (K, 2) in fractions of it, and whether it is mirrored.

    Without `rng` as it is, else scaled, turned, mirrored and moved a little; a wild one more so.
    """
    crop, turn, is_mirrored = crop_of(np.asarray(one.box, np.float64), one.image_wh), 0.0, False
    is_wild = is_wild and rng is not None
    if rng is not None:
        turn = float(rng.uniform(-30, 30)) if rng.random() < 0.5 else 0.0
        side = crop.side * float(rng.uniform(0.85, 1.35))
        moved = np.array(crop.center) + rng.uniform(-0.08, 0.08, 2) * side
        crop = Crop((float(moved[0]), float(moved[1])), side)
        is_mirrored = rng.random() < 0.5
    if is_wild and rng.random() < 0.25:
        turn = float(rng.uniform(-180, 180))
    cut = Cut(crop, turn)
    image, places = cut_out(open_picture(one.image).image, cut, side=SIDE), cut.to_cut(one.points)
    if is_mirrored:
        image, places = ImageOps.mirror(image), places * (-1, 1) + (1, 0)
    if is_wild:
        image, places = stretched(image, places, np.exp(rng.uniform(0, 0.45) * rng.permutation(2)))
        image = recoloured(image, rng)
    return image, places, is_mirrored


def stretched(image, places, factors):
    """Picture and points drawn together towards the middle by the `factors` (x, y)."""
    x, y = factors
    middle = SIDE / 2
    inverse = (x, 0, middle * (1 - x), 0, y, middle * (1 - y))
    smooth = Image.Resampling.BILINEAR
    return image.transform((SIDE, SIDE), Image.Transform.AFFINE, inverse, smooth), (
        (places - 0.5) / factors + 0.5
    )


def recoloured(image, rng):
    """The picture with other gains of its colours, some of them mixed or gone."""
    grey = np.full((3, 3), 1 / 3)
    share = rng.choice([0, rng.random(), 1], p=[0.5, 0.35, 0.15])
    mixed = (1 - share) * np.eye(3)[rng.permutation(3) if rng.random() < 0.2 else slice(None)]
    matrix = (mixed + share * grey) * rng.uniform(0.6, 1.4, (3, 1))
    shift = rng.uniform(-20, 20, (3, 1))
    return image.convert("RGB", tuple(np.hstack([matrix, shift]).ravel().tolist()))


def best_places(scores, shifts):
    """Fractions of the crop (B, K, 2) of the highest cell."""
    grid = SIDE // 16
    cell = scores.argmax(-1)
    own = shifts.gather(2, cell[..., None, None].expand(-1, -1, 1, 2))[:, :, 0].float()
    middle = torch.stack([cell % grid, cell // grid], -1) + 0.5
    return (middle + own) / grid


def to_input(image):
    """Pixels (3, S, S) as nano's processor gives them."""
    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32))
    return ((pixels - 127) / 128).permute(2, 0, 1)


def load_backbone_(encoder: HeadGrid) -> None:
    """Nano's weights where the shapes agree."""
    state = encoder.state_dict()
    for file in weight_files(NANO):
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - safe_open is no dict
                inner = name.removeprefix("model.vision.encoder.")
                if inner != name and state[inner].shape == tuple(
                    stored.get_slice(name).get_shape()
                ):
                    state[inner] = stored.get_tensor(name).float()
    encoder.load_state_dict(state)


if __name__ == "__main__":
    main()

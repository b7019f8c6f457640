"""The encoder of the reproduction: which cell of a crop shows which named point.

It stands for DINOv2, whose tokens tell parts of things apart: a neck on nano's frozen backbone,
trained to find the points of the *seen* categories by name. No description is read, and no picture
of an unseen category. Afterwards all of it is frozen.

    python reproductions/capellm/encoder.py --objects runs/capellm/seen --out runs/capellm/encoder
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from headsight.cut_out import Cut, cut_out
from headsight.data.keypoint_files import read_keypoints
from headsight.geometry.keypoints import Crop, crop_of
from headsight.models.base import NANO
from headsight.models.grounding.headgrid import HeadGrid
from headsight.models.grounding.weights import weight_files
from headsight.picture import open_picture
from headsight.train.loop import LoopConfig, run_stage
from headsight.train.recipe import fingerprint

SIDE = 128
VISION = {
    "encoder": "headgrid", "image_size": SIDE, "keep_tokens": 0, "peak_threshold": 1.0,
    "neck_channels": 192, "hidden_size": 192,
}  # fmt: skip
STEPS, BATCH, RATE = 2000, 32, 1e-3
SPREAD = 0.6
"""Of the target around a point, in cells."""
HELD_OUT = 96
"""Objects for validation, of few a fifth."""


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=Path, required=True, help="rendered seen objects")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    train_encoder(options.objects, options.out, steps=options.steps)


def train_encoder(objects: Path, out: Path, *, steps: int = STEPS) -> Path:
    """The checkpoint of a `PointFinder`."""
    job = PointJob(objects)
    loop = LoopConfig(
        steps=steps, warmup_steps=min(50, steps // 2), bf16=True, save_every=100, log_every=25,
        validate_every=min(200, steps), average_decay=0.99,
    )  # fmt: skip
    mark = fingerprint(steps, BATCH, RATE, SPREAD, SIDE, len(job.instances))
    return run_stage(job, loop, out, fingerprint=mark)


class PointFinder(nn.Module):
    """A score of every cell for every name, and where in its cell the point lies."""

    def __init__(self, number: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = HeadGrid(VISION)
        load_backbone_(self.encoder)
        channels = self.encoder.config.neck_channels
        self.names = nn.Embedding(number, channels)
        self.shifts = nn.Embedding(number, 2 * channels)
        nn.init.normal_(self.names.weight, std=0.2)
        nn.init.normal_(self.shifts.weight, std=0.02)

    def forward(self, pixels, names):
        """Scores (B, K, cells) and shifts (B, K, cells, 2) in cells."""
        frozen = len(self.encoder.blocks)
        features = self.encoder.features(pixels, frozen_blocks=frozen).flatten(2)  # (B, C, cells)
        features = F.layer_norm(features.transpose(1, 2), features.shape[1:2])
        scores = torch.einsum("bnc,bkc->bkn", features, self.names(names)) / 4
        shifts = self.shifts(names).unflatten(-1, (2, -1))
        return scores, torch.einsum("bnc,bkdc->bknd", features, shifts)


class PointJob:
    """What the training loop needs to know."""

    def __init__(self, objects: Path) -> None:
        found = [one for one in read_keypoints(objects).instances if one.visible.any()]
        kept = min(HELD_OUT, len(found) // 5)
        self.instances, self.held_out = found[kept:], found[:kept]
        self.names = sorted({name for one in found for name in one.names})
        self._index = {name: number for number, name in enumerate(self.names)}
        self.module = PointFinder(len(self.names))
        self.module.encoder.to(memory_format=torch.channels_last)

    def parameter_groups(self):
        """The neck and the names; nano's backbone and what nothing reads stay."""
        learning = []
        for name, parameter in self.module.named_parameters():
            inner = name.removeprefix("encoder.")
            if name == inner or inner.startswith(("lateral", "down", "mix")):
                learning.append(parameter)
            else:
                parameter.requires_grad_(False)
        return [{"params": learning, "lr": RATE}]

    def batch(self, step: int):
        """Crops scaled, turned and moved a little."""
        rng = np.random.default_rng([0, step])
        chosen = rng.integers(len(self.instances), size=BATCH)
        return self._stack([self._view(self.instances[i], rng) for i in chosen])

    def loss(self, batch, module):
        """Cross entropy over cells, and the distance within the cell."""
        pixels, names, points = batch
        grid = SIDE // 16
        scores, shifts = module(pixels.contiguous(memory_format=torch.channels_last), names)
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
            pixels, names, points = self._stack(plain[start : start + BATCH])
            scores, shifts = self.module(pixels, names)
            found = best_places(scores, shifts)
            inside = (points >= 0).all(-1) & (points < 1).all(-1)
            close = ((found - points).norm(dim=-1) < 0.2) & inside
            near, total = near + float(close.sum()), total + float(inside.sum())
        return {"pck20": near / max(total, 1)}

    def _view(self, one, rng):
        crop, turn = crop_of(np.asarray(one.box, np.float64), one.image_wh), 0.0
        if rng is not None:
            turn = float(rng.uniform(-30, 30)) if rng.random() < 0.5 else 0.0
            side = crop.side * float(rng.uniform(0.85, 1.35))
            moved = np.array(crop.center) + rng.uniform(-0.08, 0.08, 2) * side
            crop = Crop((float(moved[0]), float(moved[1])), side)
        cut = Cut(crop, turn)
        pixels = cut_out(open_picture(one.image).image, cut, side=SIDE)
        points = np.where(one.visible[:, None], cut.to_cut(one.points), -1.0)
        return to_input(pixels), [self._index[name] for name in one.names], points

    def _stack(self, views):
        most = max(len(names) for _, names, _ in views)
        names = torch.zeros(len(views), most, dtype=torch.long)
        points = torch.full((len(views), most, 2), -1.0)
        for row, (_, own, places) in enumerate(views):
            names[row, : len(own)] = torch.tensor(own)
            points[row, : len(own)] = torch.from_numpy(places).float()
        return torch.stack([pixels for pixels, _, _ in views]), names, points


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

"""Imagined readings: what the encoder would say of heads that never existed.

They teach the decoder to read and write: its task is to turn tokens into text; pictures are not
needed to learn most of it. Heads are drawn at random, written on the grid as the encoder writes
them, with the errors an encoder makes: shifted edges, turned rotations, wrong attributes, faint
centres and centres where nobody is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from headsight.geometry.rotations import ypr_to_matrix
from headsight.models.grounding.headgrid import COLORS, HeadReading
from headsight.train.questions import Subject

__all__ = ["imagine"]

_HATS = ("none", "none", "hardhat", "hardhat", "cap", "beanie", "brim")


def imagine(
    rng: np.random.Generator, grid: int, attributes: Mapping[str, int], *, most: int = 12
) -> tuple[HeadReading, tuple[float, float], list[Subject]]:
    """One imagined picture: its reading, the share of the square it covers, its heads in truth.

    The reading is a batch of one. `most` heads at the most: a decoder that begins with one head
    learns to copy before it learns to choose.
    """
    content = _content(rng)
    size = sum(attributes.values())
    center = rng.uniform(-9, -8, (grid, grid)).astype(np.float32)
    boxes = np.zeros((grid, grid, 4), np.float32)
    sixd = np.zeros((grid, grid, 6), np.float32)
    sixd[..., 0] = sixd[..., 4] = 1
    logits = rng.normal(-3, 1, (grid, grid, size)).astype(np.float32)
    subjects: list[Subject] = []
    wanted = int(rng.choice([0, 1, 2, 3, 4, 5, 6, 8, 12], p=_HEADS))
    for _ in range(min(wanted, most)):
        box = _box(rng, content)
        row, column = _cell(box, grid)
        if center[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].max() > -7:
            continue
        said, known = _traits(rng, attributes)
        rotation = ypr_to_matrix(
            np.array([rng.uniform(-180, 180) if rng.random() < 0.5 else rng.normal(0, 40),
                      rng.normal(0, 22), rng.normal(0, 14)])
        )  # fmt: skip
        center[row, column] = max(-1.5, rng.normal(2.2, 1.5))
        boxes[row, column] = box
        sixd[row, column] = rotation.T[:2].ravel()
        logits[row, column] = said
        relative = (box / np.tile(content, 2)).clip(0, 1)
        subjects.append(Subject(relative, rotation, 1.0, known))
    for _ in range(int(rng.integers(0, 4)) if most > 1 else 0):  # centres where nobody is
        row, column = rng.integers(0, grid, 2)
        if center[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].max() < -7:
            center[row, column] = rng.uniform(-2.4, -1.0)
            boxes[row, column] = _box(rng, content)
    tensors = (torch.from_numpy(a)[None] for a in (center, boxes, sixd, logits))
    return HeadReading(*tensors), content, subjects


def stack(readings: list[HeadReading]) -> HeadReading:
    """Readings of one picture each as one batch."""
    parts: list[Float[Tensor, "b ..."]] = [
        torch.cat([getattr(r, name) for r in readings])
        for name in ("center_logits", "boxes", "sixd", "attribute_logits")
    ]
    return HeadReading(*parts)


_HEADS = (0.04, 0.2, 0.2, 0.16, 0.14, 0.1, 0.08, 0.05, 0.03)


def _content(rng: np.random.Generator) -> tuple[float, float]:
    share = float(rng.uniform(0.5, 1.0)) if rng.random() < 0.85 else 1.0
    return (1.0, share) if rng.random() < 0.7 else (share, 1.0)


def _box(rng: np.random.Generator, content: tuple[float, float]) -> NDArray[np.float64]:
    """A head box inside the picture, in units of the square; now and then cut by the border."""
    height = float(np.exp(rng.uniform(np.log(0.03), np.log(0.7))))
    width = height * rng.uniform(0.65, 1.05)
    middle = rng.uniform(0, 1, 2) * content
    box = np.array([middle[0] - width / 2, middle[1] - height / 2,
                    middle[0] + width / 2, middle[1] + height / 2])  # fmt: skip
    limit = np.tile(content, 2)
    clipped = box.clip(0, limit)
    if (clipped[2:] - clipped[:2]).prod() < 0.5 * width * height:  # mostly outside: moved in
        shift = (clipped - box)[:2] + (clipped - box)[2:]
        clipped = (box + np.tile(shift, 2)).clip(0, limit)
    return clipped


def _cell(box: NDArray[np.float64], grid: int) -> tuple[int, int]:
    x, y = (box[:2] + box[2:]) / 2
    return min(int(y * grid), grid - 1), min(int(x * grid), grid - 1)


def _traits(
    rng: np.random.Generator, attributes: Mapping[str, int]
) -> tuple[NDArray[np.float32], dict[str, object]]:
    """Attribute logits as an encoder would give them, and the truth."""
    hat = str(rng.choice(_HATS))
    truth: dict[str, object] = {
        "hard_hat": hat == "hardhat",
        "hat": hat,
        "glasses": bool(rng.random() < 0.3),
        "gender": str(rng.choice(["male", "female"])),
        "clothes_color": str(rng.choice(COLORS)),
        "hat_color": str(rng.choice(COLORS)) if hat != "none" else None,
        "hair_color": str(rng.choice(COLORS)),
    }
    wanted = {**truth, "hat": hat != "none", "male": truth["gender"] == "male"}
    parts = []
    for name, number in attributes.items():
        value = wanted.get(name)
        strength = rng.gamma(4, 1.0)
        if number == 1:
            parts.append(np.array([strength if value else -strength]) + rng.normal(0, 0.8))
        else:
            part = rng.normal(0, 0.8, number)
            if value is not None:
                part[COLORS.index(str(value))] += strength
            parts.append(part)
    return np.concatenate(parts).astype(np.float32), truth

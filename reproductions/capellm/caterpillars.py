"""Caterpillars: what rounds teach, on five dots that only their neighbours tell apart.

After CapeLLM (arXiv 2411.06869). A picture of 24 x 24 px holds a bent chain of equal dots, the
first of them red; keypoint i is the i-th dot from the red one. A small causal transformer reads 36
patches and rounds of a name and four digits. It is taught one keypoint a picture, in fixed rounds
of three, and in rounds of 1 to 5, and asked point by point or cumulatively; at last it is taught
with one name for all dots.

    python reproductions/capellm/caterpillars.py --out runs/caterpillars

Asserted: fixed rounds beat one keypoint a picture; a model of fixed rounds fails beyond them when
it is asked cumulatively, one of dynamic rounds does not; one name for all falls to picking a dot.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headsight.teach.rounds import dynamic_groups, fixed_groups

SIDE, DOTS, PITCH, PATCH = 24, 5, 4.6, 4
NAMES, DIGITS = DOTS, 10
"""Tokens: names first, then digits."""
THRESHOLDS = (0.05, 0.1, 0.2)
WIDTH, LAYERS, HEADS = 64, 3, 4


@dataclass(frozen=True)
class Way:
    """How a model is taught."""

    name: str
    rounds: str
    k: int
    vague: bool = False


WAYS = (
    Way("one", "dynamic", 1),
    Way("fixed", "fixed", 3),
    Way("dynamic", "dynamic", DOTS),
    Way("vague", "fixed", 3, vague=True),
)


def main() -> int:
    """Teach, ask, print a table, and say whether the facts hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--pictures", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    held, truth = caterpillars(400, np.random.default_rng(10_000 + options.seed))
    found: dict[str, dict[str, list[float]]] = {}
    for way in WAYS:
        model = taught(way, options)
        for mode in ("independent", "cumulative"):
            errors = asked(model, held, truth, vague=way.vague, cumulative=mode == "cumulative")
            found.setdefault(way.name, {})[mode] = [float((errors < t).mean()) for t in THRESHOLDS]
            if way.name == "fixed" and mode == "cumulative":
                last = [float((errors[:, i] < 0.1).mean()) for i in range(DOTS)]
                found["fixed"]["cumulative by keypoint at 0.1"] = last
        print(way.name, json.dumps(found[way.name]), flush=True)
    (options.out / "caterpillars.json").write_text(json.dumps(found, indent=1) + "\n")
    facts = judge(found)
    for fact, holds in facts.items():
        print(f"{'holds' if holds else 'FAILS'}: {fact}")
    return 0 if all(facts.values()) else 1


def judge(found: dict[str, dict[str, list[float]]]) -> dict[str, bool]:
    """Facts of the experiment, by PCK at 0.2."""

    def score(way: str, mode: str) -> float:
        return found[way][mode][-1]

    return {
        "several rounds a picture beat one": score("fixed", "independent")
        > score("one", "independent"),
        "fixed rounds cannot be asked cumulatively": score("fixed", "cumulative")
        < score("fixed", "independent") - 0.1,
        "dynamic rounds can": score("dynamic", "cumulative") > score("fixed", "cumulative") + 0.1,
        "one name for all dots picks any": score("vague", "independent")
        < score("fixed", "independent") - 0.3,
    }


def caterpillars(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 24, 24) in [0, 1] and points (n, 5, 2) in px."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    pictures = np.zeros((count, 3, SIDE, SIDE), np.float32)
    points = np.empty((count, DOTS, 2))
    for n in range(count):
        points[n] = _chain(rng)
        for i, (x, y) in enumerate(points[n]):
            dot = np.exp(-(((columns - x) ** 2 + (rows - y) ** 2) / 1.5))
            color = (1.0, 0.0, 0.0) if i == 0 else (1.0, 1.0, 1.0)
            for channel, value in enumerate(color):
                pictures[n, channel] = np.maximum(pictures[n, channel], value * dot)
    return torch.from_numpy(pictures), torch.from_numpy(points.astype(np.float32))


def _chain(rng: np.random.Generator) -> np.ndarray:
    """A bent chain that lies within the picture."""
    while True:
        turns = rng.uniform(-1.1, 1.1, DOTS - 1)
        heading = rng.uniform(0, 2 * math.pi) + np.concatenate([[0.0], turns[:-1].cumsum()])
        steps = PITCH * np.stack([np.cos(heading), np.sin(heading)], 1)
        chain = np.concatenate([np.zeros((1, 2)), steps.cumsum(0)])
        low, high = chain.min(0), chain.max(0)
        room = SIDE - 4 - (high - low)
        apart = np.linalg.norm(chain[:, None] - chain[None], axis=-1)[np.triu_indices(DOTS, 1)]
        if (room > 0).all() and apart.min() > 0.7 * PITCH:
            return chain - low + 2 + rng.uniform(0, 1, 2) * room


def tokens_of(points: Tensor, ids: Tensor, *, vague: bool) -> Tensor:
    """Rounds (b, r, 5): a name and two digits each of x and y."""
    names = torch.zeros_like(ids) if vague else ids
    chosen = points.gather(1, ids[..., None].expand(-1, -1, 2))
    steps = (chosen / SIDE * 100).round().long().clamp(0, 99)
    digits = torch.stack([steps // 10, steps % 10], -1).flatten(-2)
    return torch.cat([names[..., None], NAMES + digits], -1)


class Reader(nn.Module):
    """Patches, which see each other, and behind them tokens, which see what is before."""

    def __init__(self) -> None:
        super().__init__()
        patches = (SIDE // PATCH) ** 2
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.words = nn.Embedding(NAMES + DIGITS, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(patches + 5 * DOTS, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False
        )
        self.head = nn.Linear(WIDTH, NAMES + DIGITS)

    def forward(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """Scores (b, t, words) of what follows each token."""
        seen = self.patches(pictures).flatten(2).transpose(1, 2)
        count = seen.shape[1]
        whole = torch.cat([seen, self.words(tokens)], 1)
        whole = whole + self.places[: whole.shape[1]]
        shut = torch.ones(whole.shape[1], whole.shape[1], dtype=torch.bool).triu(1)
        shut[:count, :count] = False
        return self.head(self.layers(whole, mask=shut)[:, count:])


def taught(way: Way, options: argparse.Namespace) -> Reader:
    """A model after all steps; rows of a step have as many rounds as its draw has."""
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    pictures, points = caterpillars(options.pictures, rng)
    model = Reader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    for _ in range(options.steps):
        chosen = torch.from_numpy(rng.integers(0, len(pictures), 32))
        groups = [_group(way, rng) for _ in range(len(chosen))]
        longest = max(map(len, groups))
        ids = torch.zeros(len(chosen), longest, dtype=torch.long)
        there = torch.zeros(len(chosen), longest, dtype=torch.bool)
        for row, group in enumerate(groups):
            ids[row, : len(group)] = torch.tensor(group)
            there[row, : len(group)] = True
        rounds = tokens_of(points[chosen], ids, vague=way.vague)
        flat = rounds.flatten(1)
        scores = model(pictures[chosen], flat[:, :-1])
        is_digit = torch.tensor([False, True, True, True, True]).repeat(longest)
        said = (there.repeat_interleave(5, 1) & is_digit)[:, 1:]
        loss = F.cross_entropy(scores[said], flat[:, 1:][said])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def _group(way: Way, rng: np.random.Generator) -> tuple[int, ...]:
    """The keypoints of one row: one of the groups that an object is cut into."""
    cut = fixed_groups if way.rounds == "fixed" else dynamic_groups
    groups = cut(range(DOTS), way.k, rng)
    return groups[int(rng.integers(len(groups)))]


@torch.no_grad()
def asked(
    model: Reader, pictures: Tensor, points: Tensor, *, vague: bool, cumulative: bool
) -> np.ndarray:
    """Errors (n, 5) in sides of the dots' box."""
    before = torch.zeros(len(pictures), 0, dtype=torch.long)
    errors = []
    extent = (points.amax(1) - points.amin(1)).amax(1)
    for i in range(DOTS):
        name = torch.full((len(pictures), 1), 0 if vague else i)
        tokens = torch.cat([before, name], 1)
        for _ in range(4):
            scores = model(pictures, tokens)[:, -1, NAMES:]
            tokens = torch.cat([tokens, NAMES + scores.argmax(-1, keepdim=True)], 1)
        digits = tokens[:, -4:] - NAMES
        place = torch.stack([10 * digits[:, 0] + digits[:, 1], 10 * digits[:, 2] + digits[:, 3]], 1)
        errors.append(torch.linalg.norm(place / 100 * SIDE - points[:, i], dim=1) / extent)
        if cumulative:
            before = tokens
    return torch.stack(errors, 1).numpy()


if __name__ == "__main__":
    sys.exit(main())

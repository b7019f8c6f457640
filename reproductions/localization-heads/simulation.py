"""The whole method on simulated heads of which it is known what they look at.

64 heads on 24 x 24: 3 follow the target (in 9 of 10 samples), 10 have an unrelated clump in a
quarter of the samples, 6 look at all of the picture, 21 are compact but hardly look at the picture,
24 neither. The order of the outcomes is that of table 5 of arXiv 2503.06287; a head that looks at
one place in every picture (a sink) is not seen by the criteria.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.attention.localization import fuse_maps
from headsight.attention.selection import PRESETS, Head, head_statistics, sample_heads
from headsight.attention.selection_counts import Selection, SelectionCounts
from headsight.geometry.boxes import box_iou
from headsight.geometry.heatmaps import map_to_box

SIDE = 24
KINDS = ("target",) * 3 + ("clump",) * 10 + ("diffuse",) * 6 + ("compact",) * 21 + ("weak",) * 24
DRAWN = {"weak": (0.01, 0.08), "clump": (0.35, 0.6), "diffuse": (0.5, 0.9)}
"""Attention on the picture of maps without any clump."""
TRIO = {(2, i) for i in range(3)}
"""Two empty layers stand before the 64 heads, for the first two are never candidates."""
Box = tuple[int, int, int, int]


@dataclass
class Simulation:
    """Heads and the box that the words name."""

    generator: np.random.Generator
    with_sink: bool = False

    def sample(self) -> tuple[Float[NDArray[np.float32], "3 64 h w"], Box]:
        """Maps of all heads, and the box in cells."""
        box = self.box()
        kinds = (*KINDS[:-1], "sink") if self.with_sink else KINDS
        noise = self.generator.standard_exponential((len(kinds), SIDE, SIDE), np.float32)
        noise /= noise.sum((1, 2), keepdims=True)
        maps = np.stack([self.head(kind, box, own) for kind, own in zip(kinds, noise, strict=True)])
        empty = np.zeros((2, *maps.shape))
        return np.concatenate((empty, maps[None])).astype(np.float32), box

    def box(self, low: int = 4, high: int = 13) -> Box:
        """A box of `low` to `high` - 1 cells anywhere."""
        width, height = self.generator.integers(low, high, 2)
        x, y = (int(self.generator.integers(0, SIDE - side + 1)) for side in (width, height))
        return x, y, x + int(width), y + int(height)

    def clump(self, box: Box, share: float, noise: NDArray[Any]) -> NDArray[Any]:
        """`share` of the attention in a box, thinned out, the rest anywhere."""
        x0, y0, x1, y1 = box
        inside = self.generator.standard_gamma(2.0, (y1 - y0, x1 - x0))
        attention = (1 - share) * noise
        attention[y0:y1, x0:x1] += share * inside / inside.sum()
        return attention

    def head(self, kind: str, box: Box, noise: NDArray[Any]) -> NDArray[Any]:
        """One head's map."""
        draw = self.generator.uniform
        if kind == "sink":
            return draw(0.4, 0.7) * self.clump((1, 1, 4, 4), 0.9, noise)
        if kind == "target":
            follows = draw() < 0.9
            return draw(0.4, 0.7) * self.clump(box if follows else self.box(), 0.85, noise)
        if kind == "compact":
            return draw(0.01, 0.06) * self.clump(self.box(2, 5), 0.9, noise)
        if kind == "clump" and draw() < 0.25:
            return draw(0.35, 0.6) * self.clump(self.box(), 0.95, noise)
        return draw(*DRAWN[kind]) * noise


def found(criteria: Any, *, seed: int = 0, with_sink: bool = False, samples: int = 80) -> Selection:
    """The heads that the criteria choose on simulated samples."""
    simulation = Simulation(np.random.default_rng(seed), with_sink)
    counts = SelectionCounts(3, len(KINDS), replace(PRESETS["paper"], criteria=criteria))
    for _ in range(samples):
        counts.add(simulation.sample()[0])
    return counts.selection()


def accuracy(heads: tuple[Head, ...] | None, *, samples: int = 80, seed: int = 99) -> float:
    """Share of other samples whose box is met with an IoU of 0.5; `None` chooses anew in each."""
    simulation, hits = Simulation(np.random.default_rng(seed)), 0
    for _ in range(samples):
        maps, truth = simulation.sample()
        chosen = sample_heads(head_statistics(maps)) if heads is None else heads
        fused = fuse_maps(np.stack([maps[head] for head in chosen]))
        box = map_to_box(fused, (0, 0, SIDE, SIDE)).box
        ious = box_iou(np.array([box or (0, 0, 0, 0)], float), np.array([truth], float))
        hits += bool(ious[0, 0] >= 0.5)
    return hits / samples


def simulate(seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    """Each seed: heads by 300 samples, tried on 200 others."""
    rows = []
    for seed in seeds:
        both = found("both", seed=seed, samples=300)
        tops = {"fixed, both": both.top(3), "greedy, both": None}
        tops |= {
            f"fixed, {name}": found(name, seed=seed, samples=300).top(3)
            for name in ("sum", "entropy")
        }
        sink = found("both", seed=seed, with_sink=True, samples=300)
        rows.append(
            {
                "seed": seed,
                "trio_found": set(both.top(3)) == TRIO,
                "sink_in_top_3": (2, len(KINDS) - 1) in sink.top(3),
                "acc50": {
                    name: accuracy(top, samples=200, seed=1000 + seed) for name, top in tops.items()
                },
            }
        )
    return {"schema": "headsight.localization-heads-simulated/1", "seeds": rows}

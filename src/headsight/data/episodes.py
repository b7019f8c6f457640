"""Episodes of the support-based protocol (MP-100, arXiv 2207.10387), as its authors draw them.

Each episode takes `shots` supports and `queries` queries of one category without replacement; every
query is paired with the supports of its episode. A keypoint counts only where it is labelled in the
query and in every support.
"""

from __future__ import annotations

__all__ = ["Episode", "Episodes", "draw_episodes"]

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from headsight.data.keypoints import KeypointInstance
from headsight.errors import InputError


@dataclass(frozen=True)
class Episode:
    """Supports and queries of one category, as indices into the instances."""

    category: str
    supports: tuple[int, ...]
    queries: tuple[int, ...]


@dataclass(frozen=True)
class Episodes:
    """Everything that was drawn."""

    episodes: tuple[Episode, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    """Categories with too few instances for a support and a query, and how many they have."""

    @property
    def pairs(self) -> list[tuple[int, tuple[int, ...]]]:
        """Every query with the supports of its episode."""
        return [(q, e.supports) for e in self.episodes for q in e.queries]

    def visible(self, instances: Sequence[KeypointInstance]) -> list[Bool[NDArray[np.bool_], " _"]]:
        """Of each pair, the keypoints that are labelled in the query and in every support."""
        masks = []
        for episode in self.episodes:
            supported = np.stack([instances[i].visible for i in episode.supports]).all(0)
            masks += [instances[q].visible & supported for q in episode.queries]
        return masks


def draw_episodes(
    instances: Sequence[KeypointInstance],
    *,
    shots: int = 1,
    episodes: int = 200,
    queries: int = 15,
    seed: int = 1,
    categories: Sequence[str] | None = None,
) -> Episodes:
    """Episodes of every category; the same list for the same instances and seed.

    With the instances of a complete test file in its order this is the published list: Python's own
    generator, seeded with 1, samples each episode in turn. A category of fewer than `shots` +
    `queries` instances has fewer queries.

    Args:
        instances: in the order of their file.
        shots: supports an episode.
        episodes: a category; the authors take 200 for tests and 100 for validation.
        queries: an episode.
        seed: of the drawing.
        categories: order in which they are drawn; absent: as they first appear.

    Raises:
        InputError: a number below 1.
    """
    for what, number in (("shots", shots), ("episodes", episodes), ("queries", queries)):
        if number < 1:
            raise InputError(f"{what} is {number}, but must be at least 1.")
    groups: dict[str, list[int]] = {name: [] for name in categories or ()}
    for index, instance in enumerate(instances):
        groups.setdefault(instance.category, []).append(index)
    draw = random.Random(seed)
    drawn, left_out = [], {}
    for category, members in groups.items():
        if len(members) <= shots:
            if members:
                left_out[category] = len(members)
            continue
        wanted = min(shots + queries, len(members))
        for _ in range(episodes):
            chosen = draw.sample(members, wanted)
            drawn.append(Episode(category, tuple(chosen[:shots]), tuple(chosen[shots:])))
    return Episodes(tuple(drawn), left_out)

"""The samples of a stage in the order in which they are trained on."""

from __future__ import annotations

__all__ = ["Mixture"]

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from headsight.teach.rehearsal import Epoch, Rehearsal, draw_epoch
from headsight.teach.sample import Sample
from headsight.teach.samples import ChangingSource, SampleSource


class Mixture:
    """The endless row of samples that a stage trains on: new ones with old ones among them."""

    def __init__(
        self,
        new: Sequence[SampleSource],
        old: Sequence[SampleSource],
        rehearsal: Rehearsal,
        *,
        old_weights: Sequence[float] | None = None,
        seed: int,
    ) -> None:
        self._new, self._old = tuple(new), tuple(old)
        self._ends = np.cumsum([len(source) for source in self._new])
        self._rehearsal, self._weights, self._seed = rehearsal, old_weights, seed
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    @property
    def num_new(self) -> int:
        """New samples of one epoch."""
        return int(self._ends[-1])

    @property
    def epoch_length(self) -> int:
        """Samples of one epoch, old ones among them."""
        return len(self._epoch(0))

    def counts(self) -> dict[str, int]:
        """New and old samples of one epoch, as they are in truth."""
        source = self._epoch(0).source
        return {"new": int((source == 0).sum()), "old": int((source > 0).sum())}

    def __getitem__(self, place: int) -> Sample:
        """Sample `place` of the row; the same for the same seed."""
        number, inside = divmod(place, self.epoch_length)
        epoch = self._epoch(number)
        source, item = int(epoch.source[inside]), int(epoch.item[inside])
        rng = np.random.default_rng([self._seed, 3, place])
        if source:
            return _draw(self._old[source - 1], item, rng, number)
        which = int(np.searchsorted(self._ends, item, side="right"))
        first = int(self._ends[which - 1]) if which else 0
        return _draw(self._new[which], item - first, rng, number)

    def _draw_epoch(self, number: int) -> Epoch:
        return draw_epoch(
            self._rehearsal,
            self.num_new,
            [len(source) for source in self._old],
            old_weights=self._weights,
            seed=self._seed,
            epoch=number,
        )


def _draw(source: SampleSource, item: int, rng: np.random.Generator, epoch: int) -> Sample:
    if isinstance(source, ChangingSource):
        return source.draw_again(item, rng, epoch=epoch)
    return source.draw(item, rng)

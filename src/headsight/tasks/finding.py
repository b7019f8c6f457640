"""Finding the localization heads of a model (arXiv 2503.06287): many looks, none of them kept.

Samples are drawn several times, as in the paper; a sample that is in several draws is looked at
once. What is remembered does not grow with their number, and a run can go on from it at any point.
"""

from __future__ import annotations

__all__ = ["Search", "draw_samples", "search_heads"]

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from headsight.attention.selection import PRESETS, SelectionRule, head_statistics
from headsight.attention.selection_counts import Selection, SelectionCounts
from headsight.errors import ImageError, InputError, ResumeError
from headsight.models.base import AttentiveVLM
from headsight.picture import open_picture
from headsight.tasks.looking import AS_IN_PAPER, Looks, Question, look

if TYPE_CHECKING:
    from headsight.data.refs import RefSample

_LISTED = 20
"""Most failures that are remembered one by one."""
_IN_VAIN = 10
"""After so many failures and not one success nothing more is tried."""


def draw_samples(
    number: int, n: int, *, trials: int = 1, seed: int = 0
) -> list[Int[NDArray[np.int64], " _"]]:
    """Which of `number` samples each draw takes: `n` without repetition, draw t by seed + t.

    Raises:
        InputError: nothing to draw, or several draws that would all hold everything.
    """
    if number < 1 or n < 1 or trials < 1:
        raise InputError(
            f"There are {number} expressions that name something, n is {n} and trials {trials}."
            " At least one of each is needed."
        )
    if trials > 1 and n >= number:
        raise InputError(
            f"{trials} draws of {n} were asked for, but there are only {number} expressions, so all"
            " draws would be the same. Lower n, or leave trials at 1."
        )
    return [np.random.default_rng(seed + t).permutation(number)[:n] for t in range(trials)]


class Search:
    """What is known so far about the heads of a model.

    Args:
        draws: indices of the samples of each draw.
        rule: how heads are chosen.
    """

    def __init__(
        self, draws: Sequence[Int[NDArray[Any], " _"]], rule: SelectionRule = PRESETS["paper"]
    ) -> None:
        self.rule = rule
        self.order: list[int] = list(dict.fromkeys(int(i) for draw in draws for i in draw))
        """Samples as they are looked at: those of the first draw first."""
        self.done = 0
        """How many of them have been looked at, or cannot be."""
        self.failed = 0
        self.failures: list[tuple[str, str]] = []
        """The first of the failed: name and error."""
        self._draws = [{int(i) for i in draw} for draw in draws]
        place = {index: position for position, index in enumerate(self.order)}
        self._ends = [max(place[i] for i in draw) for draw in self._draws]
        self._counts: list[SelectionCounts] = []

    @property
    def selections(self) -> list[Selection]:
        """What each draw says.

        Raises:
            InputError: a draw of which no sample could be looked at.
        """
        if not self._counts or not all(counts.samples for counts in self._counts):
            first = f" The first: {self.failures[0][1]}" if self.failures else ""
            raise InputError(f"None of {self.done} expressions could be looked at.{first}")
        return [counts.selection() for counts in self._counts]

    def add(self, looks: Looks, sample: RefSample) -> None:
        """The next sample of the order, which was looked at."""
        truth = looks.truth(np.asarray(sample.boxes, np.float64))
        if not self._counts:
            layers, heads = looks.maps.shape[:2]
            self._counts = [SelectionCounts(layers, heads, self.rule) for _ in self._draws]
        statistics = head_statistics(looks.maps, self.rule, valid=looks.valid, truth=truth)
        index = self.order[self.done]
        for draw, counts in zip(self._draws, self._counts, strict=True):
            if index in draw:
                counts.add_statistics(statistics)
        self._step()

    def skip(self, name: str, error: Exception) -> None:
        """The next sample of the order, which cannot be looked at."""
        self.failed += 1
        if len(self.failures) < _LISTED:
            self.failures.append((name, str(error)))
        self._step()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists; `restored` goes on exactly where this stood."""
        return {
            "done": self.done,
            "failed": self.failed,
            "failures": self.failures,
            "counts": [counts.to_dict() for counts in self._counts],
        }

    def restored(self, record: Mapping[str, Any]) -> Search:
        """This search, with what `to_dict` of an equal one wrote.

        Raises:
            ResumeError: something is missing or does not fit.
        """
        try:
            self.done, self.failed = int(record["done"]), int(record["failed"])
            self.failures = [(str(name), str(error)) for name, error in record["failures"]]
            self._counts = [SelectionCounts.from_dict(each) for each in record["counts"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ResumeError(
                f"The saved search cannot be read ({type(error).__name__}: {error}). Delete it to"
                " start again."
            ) from error
        if len(self._counts) not in (0, len(self._draws)) or self.done > len(self.order):
            raise ResumeError("The saved search is of other draws. Delete it to start again.")
        return self

    def _step(self) -> None:
        for end, counts in zip(self._ends, self._counts, strict=False):
            if end == self.done:  # the draw is whole: nothing of single samples is needed any more
                counts.settle()
        self.done += 1


def search_heads(
    vlm: AttentiveVLM,
    samples: Sequence[RefSample],
    search: Search,
    question: Question = AS_IN_PAPER,
) -> Iterator[Search]:
    """Look at the samples that `search` has not seen; it is yielded after each.

    A sample that cannot be looked at is noted, and the rest go on.

    Raises:
        InputError: the first samples all fail.
    """
    while search.done < len(search.order):
        sample = samples[search.order[search.done]]
        try:
            picture = open_picture(sample.image)
            looks = look(vlm, picture, sample.text, question)
        except (ImageError, InputError) as error:
            search.skip(str(sample.id), error)
            if search.failed == search.done == _IN_VAIN:
                raise InputError(f"The first {_IN_VAIN} expressions all fail: {error}") from error
        else:
            search.add(looks, sample)
        yield search

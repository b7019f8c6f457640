"""What is written greedily behind several questions, token by token, however they are batched."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor

from headsight.models.grounding.prefix import LogitsFilter, Written

__all__ = ["Filters", "GreedyChoice", "GreedyWriter", "pad_left"]

Filters = LogitsFilter | Sequence[LogitsFilter | None] | None
"""One for all rows, or one a row."""


class GreedyWriter:
    """The answers to questions so far, whose prompts have so many tokens."""

    def __init__(
        self, prompt_lengths: Sequence[int], ends: Collection[int], filters: Filters = None
    ) -> None:
        self.ends = frozenset(ends)
        self._filters = filters
        self._prompt_lengths = prompt_lengths
        self._tokens: list[list[int]] = [[] for _ in prompt_lengths]
        self._logprobs: list[list[float]] = [[] for _ in prompt_lengths]
        self._ended = [False] * len(prompt_lengths)

    def choose(
        self, rows: Sequence[int], seen: Int[Tensor, "n l"], scores: Float[Tensor, "n v"]
    ) -> Int[Tensor, " n"]:
        """The next token of each of these questions, noted unless its answer has ended.

        `seen` are the ids of prompts and answers, padded on the left.
        """
        chosen = self._filtered(rows, seen, scores).argmax(-1)
        logprobs = scores.gather(1, chosen[:, None])[:, 0] - scores.logsumexp(-1)
        for row, token, logprob in zip(rows, chosen.tolist(), logprobs.tolist(), strict=True):
            if token in self.ends:
                self._ended[row] = True
            if not self._ended[row]:
                self._tokens[row].append(token)
                self._logprobs[row].append(logprob)
        return chosen

    def unfinished(self, rows: Sequence[int]) -> list[int]:
        """Places in `rows` of the questions whose answer goes on."""
        return [place for place, row in enumerate(rows) if not self._ended[row]]

    def written(self) -> list[Written]:
        """One a question."""
        parts = zip(self._tokens, self._logprobs, self._ended, strict=True)
        return [Written(tuple(ids), tuple(logprobs), ended) for ids, logprobs, ended in parts]

    def _filtered(self, rows: Sequence[int], seen: Tensor, scores: Tensor) -> Tensor:
        if self._filters is None:
            return scores
        if not isinstance(self._filters, Sequence):
            return self._filters(seen, scores.clone())
        parts = [
            self._filtered_alone(self._filters[row], row, ids, one)
            for row, ids, one in zip(rows, seen, scores, strict=True)
        ]
        return torch.stack(parts)

    def _filtered_alone(
        self, own: LogitsFilter | None, row: int, seen: Tensor, scores: Tensor
    ) -> Tensor:
        if own is None:
            return scores
        length = self._prompt_lengths[row] + len(self._tokens[row])
        return own(seen[None, -length:], scores[None].clone())[0]


class GreedyChoice(LogitsProcessor):
    """A writer inside `generate`: leaves only the token that it chose."""

    def __init__(self, writer: GreedyWriter, rows: Sequence[int]) -> None:
        self._writer, self._rows = writer, rows

    def __call__(
        self, input_ids: Int[Tensor, "n l"], scores: Float[Tensor, "n v"]
    ) -> Float[Tensor, "n v"]:
        """One finite score a row."""
        chosen = self._writer.choose(self._rows, input_ids, scores.float())
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0)


def pad_left(rows: Sequence[Int[Tensor, " _"]]) -> Int[Tensor, "n longest"]:
    """Rows in one tensor, with zeros on the left of shorter ones."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), True, 0, "left")

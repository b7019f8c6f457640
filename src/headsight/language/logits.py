"""The grammar inside `generate` of transformers (the only file here that needs torch)."""

from __future__ import annotations

__all__ = ["GrammarLogitsProcessor"]

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor

from headsight.language.automaton import State
from headsight.language.grammar import Grammar


class GrammarLogitsProcessor(LogitsProcessor):
    """Minus infinity for every token that does not continue a strict answer.

    The answer begins where the first call stands. Rows are followed by their tokens, so beams may
    be reordered between calls.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._states: dict[tuple[int, ...], State | None] = {}

    def __call__(
        self, input_ids: Int[Tensor, "batch length"], scores: Float[Tensor, "batch vocabulary"]
    ) -> Float[Tensor, "batch vocabulary"]:
        """The scores with everything else shut out."""
        states = {}
        shut = np.ones(scores.shape, dtype=np.bool_)
        for index, row in enumerate(map(tuple, input_ids.tolist())):
            before = self._states.get(row[:-1], _NEW) if row else _NEW
            if isinstance(before, _New):
                state: State | None = self.grammar.start
            else:
                state = self.grammar.advance(before, row[-1])
            states[row] = state
            shut[index, self.grammar.allowed(state)] = False
        self._states = states
        return scores.masked_fill(torch.from_numpy(shut).to(scores.device), -torch.inf)


class _New:
    """Marks a row that was not seen one token shorter: the start of an answer."""


_NEW = _New()

"""Rows of questions that are read and answered together behind a prefix in the cache."""

from __future__ import annotations

__all__ = ["PrefixedBatch", "last_only", "without_axis"]

import inspect
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from headsight.errors import InputError
from headsight.models.greedy import pad_left
from headsight.models.prefixed_cache import PrefixedCache


class PrefixedBatch:
    """Rows that are decoded together behind the prefix."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Int[Tensor, " _"]],
        shared: int,
        start: Int[Tensor, "axes 1 1"],
    ) -> None:
        self._model = model
        self.seen = pad_left(prompts)
        """(n, l): whole prompts and answers, padded on the left."""
        length = self.seen.shape[1]
        pads = torch.tensor([[length - len(ids)] for ids in prompts], device=model.device)
        column = torch.arange(length - shared, device=model.device)
        self._positions = (column - pads).clamp(min=0) + start  # (axes, n, t)
        self._questions = pad_left([ids[shared:] for ids in prompts])
        self._mask: Tensor | None = None
        if bool(pads.any()):  # between the prefix and a shorter question lies a gap
            before = torch.ones_like(self.seen[:, :shared], dtype=torch.bool)
            self._mask = torch.cat([before, column >= pads], 1)

    def begin(self, prefix: DynamicCache, *, joined: bool) -> None:
        """Lay the questions behind the prefix.

        Raises:
            InputError: the model reads its cache in a way of its own.
        """
        self._cache = PrefixedCache(prefix, joined=joined)
        self._extend(self._questions)
        if self._cache.was_read:
            return
        if not joined:
            raise InputError(
                f"A {self._model.config.model_type} model reads its cache past `update`, so that no"
                " prefix can be shared. Call its own `generate` for each prompt."
            )
        self.begin(prefix, joined=False)

    def advance(self, places: list[int], chosen: Int[Tensor, " n"]) -> None:
        """Keep the rows at `places` and append a token to each."""
        if len(places) < len(self.seen):
            kept = torch.tensor(places, device=self.seen.device)
            self._cache.batch_select_indices(kept)
            self.seen, self._positions = self.seen[kept], self._positions[:, kept]
            self._mask = None if self._mask is None else self._mask[kept]
        self.seen = torch.cat([self.seen, chosen[:, None]], 1)
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(chosen), 1)], 1)
        self._positions = self._positions[..., -1:] + 1
        self._extend(chosen[:, None])

    def _extend(self, ids: Int[Tensor, "n t"]) -> None:
        axes = self._positions
        out = self._model(
            input_ids=ids,
            position_ids=without_axis(axes),
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            **last_only(self._model),
        )
        self.scores = out.logits[:, -1].float()
        """(n, v): of each row's next token."""


def without_axis(positions: Int[Tensor, "axes n t"]) -> Tensor:
    """Positions as the model takes them: (n, t) where there is one axis only."""
    return positions[0] if len(positions) == 1 else positions


def last_only(model: PreTrainedModel) -> dict[str, int]:
    """Asks for the scores of the last token alone, where the model can be asked."""
    taken = inspect.signature(model.forward).parameters
    return {"logits_to_keep": 1} if "logits_to_keep" in taken else {}

"""Rows of tokens behind pictures that are read piece by piece, and forgotten again from the end."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["CachedRows"]

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from headsight.errors import InputError
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.prefixed_batch import without_axis
from headsight.models.shared_prefix import forgets, prefill, shared_length
from headsight.models.whole_prompts import PER_TOKEN

_LONG = 8192
"""Tokens within which a layer may not begin to forget."""


class CachedRows:
    """Keys and values of n rows; what a row has not is masked out and takes no position."""

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> None:
        """Read the pictures: each row up to its last image token.

        Args:
            model: a decoder that reads pictures.
            inputs: prepared questions of one length, a row each; `rest` is what is left of them.

        Raises:
            InputError: a model whose pictures cannot be read before the question.
        """
        self._model = model
        ids = inputs["input_ids"]
        self.shared = _picture_length(model, inputs)
        """Tokens of the picture, and what stands before."""
        if not self.shared:
            raise InputError(
                f"A {model.config.model_type} model reads picture and question in one, so rounds"
                " cannot follow each other in its cache. Ask with mode='independent'."
            )
        if forgets(DynamicCache(config=model.config), _LONG):
            raise InputError(
                f"This {model.config.model_type} model forgets what lies far back (sliding"
                " window), so rounds cannot follow each other. Ask with mode='independent'."
            )
        self.rest = ids[0, self.shared :].tolist()
        self._cache, self._start = prefill(model, inputs, self.shared)
        self._mask = torch.ones_like(ids[:, : self.shared], dtype=torch.bool)
        takes = inspect.signature(model.forward).parameters
        self._can_choose = "logits_to_keep" in takes

    @property
    def length(self) -> int:
        """Columns read so far."""
        return int(self._mask.shape[1])

    def read(self, rows: Sequence[Sequence[int]], *, keep: int = 1) -> Float[Tensor, "n k v"]:
        """Scores of what comes after each of the last `keep` tokens; shorter rows end alike."""
        longest = max(map(len, rows))
        device = self._mask.device
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
        there = torch.tensor(
            [[False] * (longest - len(row)) + [True] * len(row) for row in rows], device=device
        )
        return self._read(ids, there, keep)

    def read_one(self, ids: Int[Tensor, " n"], there: Tensor) -> Float[Tensor, "n v"]:
        """The scores after one more token of each row that is `there`."""
        return self._read(ids[:, None], there[:, None], 1)[:, 0]

    def forget(self, columns: int) -> None:
        """Take back the last so many columns."""
        if columns:
            self._cache.crop(-columns)
            self._mask = self._mask[:, :-columns]

    def picked(self, rows: Sequence[int]) -> CachedRows:
        """A copy of some rows, perhaps several times; this one goes on by itself."""
        other = copy.copy(self)
        index = torch.tensor(list(rows), device=self._mask.device)
        other._cache = copy.deepcopy(self._cache)
        other._cache.batch_select_indices(index)
        other._mask, other._start = self._mask[index], self._start[:, index]
        return other

    def _read(self, ids: Tensor, there: Tensor, keep: int) -> Tensor:
        self._mask = torch.cat([self._mask, there], 1)
        own = self._mask[:, self.shared :].long().cumsum(1) - 1
        positions = (self._start + own.clamp(min=0))[..., -ids.shape[1] :]
        chosen: dict[str, Any] = {"logits_to_keep": keep} if self._can_choose else {}
        with torch.inference_mode():
            out = self._model(
                input_ids=ids,
                position_ids=without_axis(positions),
                attention_mask=None if bool(self._mask.all()) else self._mask,
                past_key_values=self._cache,
                use_cache=True,
                **chosen,
            )
        scores: Tensor = out.logits[:, -keep:].float()
        return scores


def _picture_length(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> int:
    """Tokens up to the last one of the picture; 0 where these cannot be read by themselves."""
    one = {name: v[:1] if name in PER_TOKEN else v for name, v in inputs.items()}
    ids = one["input_ids"][0]
    is_ours = model.config.model_type == GroundingVLMConfig.model_type
    is_image = (
        one["token_type_ids"][0] == 1
        if is_ours
        else ids == getattr(model.config, "image_token_id", None)
    )
    places = torch.nonzero(torch.as_tensor(is_image, device=ids.device))
    length = int(places[-1]) + 1 if places.numel() else 0
    if is_ours or not length:
        return length
    return shared_length(model, [one], at_most=length)

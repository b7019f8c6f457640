"""Whole prompts about one picture through `generate`, with the picture's features computed once.

For models whose prompts cannot share a prefix: the picture attends to the question behind it, or a
layer remembers something else than keys and values.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from headsight.models.greedy import GreedyChoice, GreedyWriter, pad_left

__all__ = ["PER_TOKEN", "answer_whole"]

PER_TOKEN = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "mm_token_type_ids",
    "image_embeds_position_mask",
)
"""Inputs with one entry a token; all others describe the picture."""


def answer_whole(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Tensor]],
    writer: GreedyWriter,
    *,
    max_new_tokens: int,
    batch_rows: int,
) -> None:
    """Write every answer. Prompts of one picture, batch 1 each, not padded.

    The first is answered alone. The others follow in batches, padded on the left, where the
    features are one tensor that can be repeated, and one by one where they are not.
    """
    order = sorted(range(1, len(inputs)), key=lambda row: inputs[row]["input_ids"].shape[1])
    with _RememberedPicture(model) as picture, _plain_greedy(model, writer, max_new_tokens):
        _generate(model, inputs[:1], [0], writer)
        size = batch_rows if picture.can_repeat else 1
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            picture.copies = len(rows)
            _generate(model, [inputs[row] for row in rows], rows, writer)


def _generate(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Tensor]],
    rows: Sequence[int],
    writer: GreedyWriter,
) -> None:
    values = dict(inputs[0])
    for name in values.keys() & set(PER_TOKEN):
        values[name] = pad_left([one[name][0] for one in inputs])
    values["attention_mask"] = pad_left([torch.ones_like(one["input_ids"][0]) for one in inputs])
    generate: Any = model.generate
    generate(
        **values,
        generation_config=model.generation_config,  # for models that hand it to their decoder
        logits_processor=LogitsProcessorList([GreedyChoice(writer, rows)]),
    )


@contextmanager
def _plain_greedy(
    model: PreTrainedModel, writer: GreedyWriter, max_new_tokens: int
) -> Iterator[None]:
    """Nothing of the model's own generation config."""
    own, ends = model.generation_config, sorted(writer.ends)
    model.generation_config = GenerationConfig(
        max_new_tokens=max_new_tokens, eos_token_id=ends or None, pad_token_id=[*ends, 0][0]
    )
    try:
        yield
    finally:
        model.generation_config = own


class _RememberedPicture:
    """While entered, the model's picture features are computed once and then repeated."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._body: Any = model.base_model
        self._features: Any = None
        self.copies = 1
        """Rows of the next batch."""

    def __enter__(self) -> _RememberedPicture:
        encode = getattr(self._body, "get_image_features", None)
        if encode is None:
            return self

        @wraps(encode)  # `generate` looks at its parameters
        def remembered(*args: Any, **kwargs: Any) -> Any:
            if self._features is None:
                self._features = encode(*args, **kwargs)
            return self._repeated()

        self._body.get_image_features = remembered
        return self

    def __exit__(self, *error: object) -> None:
        vars(self._body).pop("get_image_features", None)

    @property
    def can_repeat(self) -> bool:
        """Whether the features are one tensor, so that a batch has the same rows again."""
        pooled = getattr(self._features, "pooler_output", self._features)
        return isinstance(pooled, Tensor) and not hasattr(self._features, "deepstack_features")

    def _repeated(self) -> Any:
        if self.copies == 1:
            return copy(self._features)
        if isinstance(self._features, Tensor):
            return _repeat(self._features, self.copies)
        pooled = _repeat(self._features.pooler_output, self.copies)
        return replace(self._features, pooler_output=pooled)


def _repeat(features: Tensor, copies: int) -> Tensor:
    return features.repeat(copies, *[1] * (features.ndim - 1))

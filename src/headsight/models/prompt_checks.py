"""What prompts must be, to be answered together behind one picture."""

from __future__ import annotations

__all__ = ["check_prompts"]

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headsight.errors import InputError
from headsight.models.greedy import Filters
from headsight.models.whole_prompts import PER_TOKEN


def check_prompts(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Tensor]],
    batch_rows: int,
    filters: Filters,
) -> None:
    """Pass if the prompts can be answered together; see `answer_shared`.

    Raises:
        InputError: they cannot.
    """
    if model.config.is_encoder_decoder:
        raise InputError(
            f"A {model.config.model_type} model has an encoder for the prompt, but a decoder that"
            " reads prompt and picture is needed. Call its own `generate` for each prompt."
        )
    if batch_rows < 1:
        raise InputError(f"batch_rows is {batch_rows}, but must be 1 or more.")
    if isinstance(filters, Sequence) and len(filters) != len(inputs):
        raise InputError(
            f"{len(filters)} filters were given for {len(inputs)} prompts. Give one a prompt (None"
            " where there is none), or a single one for all."
        )
    for number, one in enumerate(inputs):
        shape = tuple(one["input_ids"].shape)
        if len(shape) != 2 or shape[0] != 1 or not shape[1]:
            raise InputError(
                f"input_ids of prompt {number} have the shape {shape}, but must be (1, length)."
                " Give the processor one prompt at a time."
            )
        if "attention_mask" in one and not bool(one["attention_mask"].all()):
            raise InputError(
                f"Prompt {number} is padded, but must not be. Give the processor one prompt at a"
                " time, without padding to a length."
            )
        _check_types(model, one, number)
        _check_picture(inputs[0], one, number)


def _check_types(model: PreTrainedModel, one: Mapping[str, Tensor], number: int) -> None:
    """Some models run without token types, and lose positions or the mask of the picture."""
    makers = {
        "mm_token_type_ids": getattr(model.base_model, "get_rope_index", None),
        "token_type_ids": getattr(model, "create_masks_for_generate", None),
    }
    for name, maker in makers.items():
        if maker is None or name in one or name not in inspect.signature(maker).parameters:
            continue
        if name == "token_type_ids" and "mm_token_type_ids" in one:
            continue
        raise InputError(
            f"Prompt {number} has no {name}, without which a {model.config.model_type} model goes"
            f" wrong without a word. Pass `return_{name}=True` to the processor."
        )


def _check_picture(first: Mapping[str, Tensor], one: Mapping[str, Tensor], number: int) -> None:
    names = {*first, *one} - set(PER_TOKEN)
    for name in sorted(names):
        a, b = first.get(name), one.get(name)
        if a is None or b is None or not (a is b or torch.equal(a, b)):
            raise InputError(
                f"{name} of prompt {number} is not that of prompt 0, but all must be about one"
                " picture, prepared alike. Call once for each picture."
            )

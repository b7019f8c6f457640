"""Answers by a model's own `generate`, one question at a time, greedily."""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

__all__ = ["answer_alone", "can_answer_shared"]

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, GenerationMixin

from headsight.models.families import Inputs
from headsight.models.greedy import Filters, GreedyChoice, GreedyWriter
from headsight.models.grounding.prefix import Written


def can_answer_shared(model: Any) -> bool:
    """Whether `answer_shared` can be used: no encoder-decoder, and no `generate` of its own."""
    has_own = type(model).generate is not GenerationMixin.generate
    return not (model.config.is_encoder_decoder or has_own)


@torch.inference_mode()
def answer_alone(
    model: Any,
    inputs: Sequence[Inputs],
    *,
    max_new_tokens: int,
    eos_token_id: Sequence[int],
    filters: Filters,
) -> list[Written]:
    """What `answer_shared` gives, one `generate` a question.

    The first token that a model is made to write (`forced_bos_token_id`) stays.
    """
    # filters see the last token before the answer, and what follows
    writer = GreedyWriter([1] * len(inputs), eos_token_id, filters)
    config = _greedy(eos_token_id, max_new_tokens)
    for row, one in enumerate(inputs):
        model.generate(
            **one, generation_config=config, logits_processor=[GreedyChoice(writer, [row])]
        )
    return writer.written()


def _greedy(ends: Sequence[int], max_new_tokens: int) -> GenerationConfig:
    """Plain greedy writing: many checkpoints ask for sampling, beams or penalties by default."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
        do_sample=False,
        num_beams=1,
        early_stopping=False,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        length_penalty=1.0,
        min_new_tokens=0,
    )

"""Greedy answers to many samples about many pictures."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["answer_samples"]

from collections.abc import Sequence
from pathlib import Path

import torch

from headsight.models.base import AttentiveVLM, Reply
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.prefix import answer_many, encode_image
from headsight.picture import open_picture
from headsight.teach.sample import Sample
from headsight.teach.tokens import Features

_ROWS = 64
MAX_NEW_TOKENS = 360
"""Room for 20 boxes where every digit is a token."""


def answer_samples(
    vlm: AttentiveVLM,
    samples: Sequence[Sample],
    features: Features | None = None,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[Reply]:
    """One reply a sample, in their order.

    With `features` (our own models) pictures are not encoded, and pictures share a batch.
    """
    was_training = vlm.model.training
    vlm.model.eval()
    try:
        if features is not None and isinstance(vlm, GroundingAdapter):
            return _from_features(vlm, samples, features, max_new_tokens)
        return _by_picture(vlm, samples, max_new_tokens)
    finally:
        vlm.model.train(was_training)


def _from_features(
    vlm: GroundingAdapter, samples: Sequence[Sample], features: Features, max_new_tokens: int
) -> list[Reply]:
    replies = []
    for start in range(0, len(samples), _ROWS):
        part = samples[start : start + _ROWS]
        tokens = torch.cat([features(sample.picture) for sample in part])
        written = answer_many(
            vlm.model,
            encode_image(vlm.model, image_features=tokens.to(vlm.model.dtype)),
            [vlm.processor.question_ids(sample.question) for sample in part],
            pictures=range(len(part)),
            max_new_tokens=max_new_tokens,
            eos_token_id=vlm.processor.tokenizer.eos_token_id,
        )
        for sample, one in zip(part, written, strict=True):
            text = vlm.processor.decode_answer(one.token_ids)
            replies.append(Reply(sample.question, text, (), (), one.ended))
    return replies


def _by_picture(vlm: AttentiveVLM, samples: Sequence[Sample], max_new_tokens: int) -> list[Reply]:
    """Questions about one picture are asked together, so that it is encoded once."""
    about: dict[Path | bytes, list[int]] = {}
    for place, sample in enumerate(samples):
        about.setdefault(sample.picture, []).append(place)
    replies: dict[int, Reply] = {}
    for source, places in about.items():
        picture = open_picture(source)
        asked = [samples[place].question for place in places]
        found = vlm.answer(picture, asked, max_new_tokens=max_new_tokens)
        replies.update(zip(places, found, strict=True))
    return [replies[place] for place in range(len(samples))]

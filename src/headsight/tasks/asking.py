"""Asking a model and reading its answer: where a reply becomes values and a record."""

from __future__ import annotations

from collections.abc import Sequence

from headsight.detections import Exchange
from headsight.language.answer import Answer
from headsight.language.codec import parse
from headsight.language.density import with_confidence
from headsight.language.spec import CodecSpec
from headsight.models.base import VLM, Reply
from headsight.picture import Picture

__all__ = ["BOXES", "POSE", "POSE_TOKENS", "ask"]

BOXES = CodecSpec("boxes")
POSE = CodecSpec("pose")
POSE_TOKENS = 24
"""Room for `{315,010,000}` in any tokenizer."""


def ask(
    vlm: VLM,
    picture: Picture,
    prompts: Sequence[str],
    spec: CodecSpec,
    *,
    constrain: bool = False,
    max_new_tokens: int | None = None,
) -> list[tuple[Answer, Exchange]]:
    """Each answer as it was read (boxes in pixels of the picture), with the words behind it."""
    if not prompts:
        return []
    options = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    grammar = spec if constrain else None
    replies = vlm.answer(picture, prompts, grammar=grammar, **options)
    return [_read(reply, spec, picture) for reply in replies]


def _read(reply: Reply, spec: CodecSpec, picture: Picture) -> tuple[Answer, Exchange]:
    answer = parse(
        reply.text,
        spec,
        image_wh=picture.image_wh,
        prompt=reply.prompt,
        hit_limit=not reply.ended,
    )
    if reply.tokens and len(reply.tokens) == len(reply.logprobs):
        answer = with_confidence(answer, reply.tokens, reply.logprobs)
    return answer, Exchange(reply.prompt, reply.text, answer.to_dict())

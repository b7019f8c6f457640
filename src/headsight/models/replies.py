"""From tokens to a `Reply`, whatever the tokenizer does between tokens; and what ends an answer."""

from __future__ import annotations

__all__ = ["answer_ends", "to_reply"]

from itertools import accumulate, pairwise, takewhile
from typing import Any

from headsight.errors import InputError
from headsight.models.base import Reply
from headsight.models.grounding.prefix import Written


def answer_ends(stored: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer: those of the model, else that of the tokenizer.

    Raises:
        InputError: neither names one.
    """
    ids = stored.eos_token_id if stored.eos_token_id is not None else tokenizer.eos_token_id
    if ids is None:
        raise InputError(
            "Neither generation_config.json nor the tokenizer names a token that ends an answer"
            " (eos_token_id). Put it into the generation config."
        )
    return [ids] if isinstance(ids, int) else list(ids)


def to_reply(tokenizer: Any, prompt: str, written: Written) -> Reply:
    """The answer in words; its pieces, one a token, make up the text."""
    pieces = _pieces(tokenizer, list(written.token_ids))
    return Reply(prompt, "".join(pieces), pieces, written.logprobs, written.ended)


def _pieces(tokenizer: Any, ids: list[int]) -> tuple[str, ...]:
    """What each token adds to the text; joined they are the text."""

    def decode(some: list[int]) -> str:
        return str(tokenizer.decode(some, clean_up_tokenization_spaces=False))

    text, pieces = decode(ids), tuple(decode([i]) for i in ids)
    if "".join(pieces) == text:
        return pieces
    # blanks that only show between tokens, or a character that is spread over several
    heads = [decode(ids[:n]) for n in range(len(ids) + 1)]
    shared = accumulate((_common(head, text) for head in heads), max)
    return tuple(text[a:b] for a, b in pairwise(shared))


def _common(a: str, b: str) -> int:
    """Length of the longest common start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))

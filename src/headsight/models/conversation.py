"""How a model's conversations of several rounds are laid out behind a picture."""

from __future__ import annotations

__all__ = ["glue_of", "require_room"]

import dataclasses
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

from headsight.errors import InputError
from headsight.language.rounds import ANY_ANSWER, Glue, tokenize_rounds
from headsight.models.base import AttentiveVLM
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.processor import TEMPLATES
from headsight.models.replies import answer_ends

_WORDS = ("FIRST", ANY_ANSWER, "SECOND")


def glue_of(vlm: AttentiveVLM) -> Glue:
    """What stands between questions and answers for this model.

    The first question is prepared as the model's every question is; behind it follow plain text and
    the model's own end of an answer, or what its chat template writes there.
    """
    known = _GLUES.get(vlm)
    if known is None:
        known = _GLUES[vlm] = _fitted(vlm.processor.tokenizer, _raw(vlm))  # type: ignore[attr-defined]
    return known


def require_room(vlm: AttentiveVLM, tokens: int) -> None:
    """Pass if so many tokens can be read.

    Raises:
        InputError: they cannot. Nothing is ever cut off.
    """
    config: Any = vlm.model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and tokens > most:
        raise InputError(
            f"The conversation is {tokens} tokens long, but {vlm.name} reads at most {most}. Ask"
            " fewer rounds at once (window, k), or shorten the descriptions."
        )


_GLUES: WeakKeyDictionary[Any, Glue] = WeakKeyDictionary()


def _fitted(tokenizer: Any, glue: Glue) -> Glue:
    """`glue` with a blank before the answer where that joins the answer's first token."""
    if glue.native[-1:].isspace():
        return glue
    blank = dataclasses.replace(glue, lead=glue.lead + " ")
    try:
        tokenize_rounds(tokenizer, [_WORDS[:2]], blank)
    except InputError:
        return glue
    return blank


def _raw(vlm: AttentiveVLM) -> Glue:
    processor: Any = vlm.processor  # type: ignore[attr-defined]
    tokenizer = processor.tokenizer
    own_end = tokenizer.eos_token
    if isinstance(vlm, GroundingAdapter):
        before, _, behind = TEMPLATES[processor.template].partition("{question}")
        native = behind + processor.separator
        return Glue(lead=native, end=own_end, between=before, native=native)
    ends = tokenizer.convert_ids_to_tokens(answer_ends(vlm.model.generation_config, tokenizer))
    end = own_end if own_end in ends else ends[0]
    text = getattr(vlm.family, "text", None)  # type: ignore[attr-defined]
    native = text(processor, _WORDS[0]).rpartition(_WORDS[0])[2] if text is not None else ""
    between = _between(processor) if getattr(processor, "chat_template", None) else ""
    for known in (end, *ends):
        if known in between:
            return Glue(native, known, between.partition(known)[2], native)
    return Glue(native, end, between, native)


def _between(processor: Any) -> str:
    """What a chat template writes between an answer and the next question."""
    said = [[{"type": "text", "text": word}] for word in _WORDS]
    said[0].insert(0, {"type": "image"})
    roles = ("user", "assistant", "user")
    turns = [{"role": r, "content": c} for r, c in zip(roles, said, strict=True)]
    try:
        text = str(processor.apply_chat_template(turns, add_generation_prompt=True))
    except (TemplateError, TypeError, ValueError, KeyError):
        return ""
    return text.rpartition(_WORDS[2])[0].rpartition(_WORDS[1])[2]

"""A sample as the model reads it in training: question, answer, and which tokens are the answer."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["Batch", "Encoded", "alike_long", "collate", "encode_sample", "question_inputs"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from headsight.errors import InputError
from headsight.language.rounds import tokenize_rounds
from headsight.models.base import AttentiveVLM
from headsight.models.conversation import glue_of, require_room
from headsight.models.families.family import begun, longer
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.replies import answer_ends
from headsight.picture import open_picture
from headsight.teach.sample import Sample

Inputs = dict[str, Any]
Features = Callable[[Path | bytes], Float[Tensor, "1 n c"]]
"""The encoder's tokens of a picture, where they are kept because the encoder does not learn."""
_CALL = 256
"""Tokens that could be read in the time that one more call of the model takes."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """One row."""

    inputs: Inputs
    """What the model is called with, by argument name, batch 1; the answer stands at the end."""
    answer: Int[Tensor, " a"]
    """Ids from the answer on, the token that ends it included; -100 at later questions."""
    weight: float
    period: int
    """Where numbers of the answer begin anew: 360 of angles, else 0."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one shape that run together, padded on the left (B rows, K tokens of answers)."""

    inputs: Inputs
    labels: Int[Tensor, "b k"]
    """Ids to be said, right-aligned; -100 where a row is shorter or a question stands."""
    weights: Float[Tensor, " b"]
    periods: Int[Tensor, " b"]


def question_inputs(
    vlm: AttentiveVLM, source: Path | bytes, question: str, features: Features | None = None
) -> Inputs:
    """What the model is called with to answer; on the CPU, batch 1.

    With `features` the picture is not prepared: its tokens are taken from there (our own models
    only).

    Raises:
        InputError: an empty question.
        ImageError: a picture that cannot be opened.
    """
    if isinstance(vlm, GroundingAdapter):
        if features is not None:
            return {**vlm.processor.text_inputs(question), "image_features": features(source)}
        return dict(vlm.processor(images=open_picture(source), text=question))
    inputs = vlm.prepare(open_picture(source), question)
    return {name: value.cpu() for name, value in inputs.items()}


def encode_sample(vlm: AttentiveVLM, sample: Sample, features: Features | None = None) -> Encoded:
    """The row of a question and its answer.

    Raises:
        InputError: an empty question, or an encoder-decoder, which is not taught here.
        ImageError: a picture that cannot be opened.
    """
    if vlm.model.config.is_encoder_decoder:
        raise InputError(
            f"{vlm.model.config.model_type!r} is an encoder-decoder; stages teach decoders that"
            " answer behind the question. Teach another model."
        )
    tokenizer = vlm.processor.tokenizer  # type: ignore[attr-defined]
    features = None if sample.is_once else features
    if sample.later is not None:
        return _encode_rounds(vlm, sample, features)
    inputs = question_inputs(vlm, sample.picture, sample.question, features)
    asked = inputs["input_ids"].shape[1]
    inputs = longer(begun(tokenizer, inputs, sample.answer), [_end(vlm, tokenizer)])
    period = 360 if sample.kind == "pose" else 0
    return Encoded(inputs, inputs["input_ids"][0, asked:], sample.weight, period)


def _encode_rounds(vlm: AttentiveVLM, sample: Sample, features: Features | None) -> Encoded:
    """The row of a conversation: every answer is said."""
    tokenizer = vlm.processor.tokenizer  # type: ignore[attr-defined]
    rounds = [(sample.question, sample.answer), *(sample.later or ())]
    made = tokenize_rounds(tokenizer, rounds, glue_of(vlm))
    inputs = question_inputs(vlm, sample.picture, made.prompt, features)
    inputs = longer(inputs, made.ids[made.first :])
    require_room(vlm, inputs["input_ids"].shape[1])
    said = torch.tensor(made.said[made.first :])
    answer = torch.tensor(made.ids[made.first :]).masked_fill(~said, -100)
    return Encoded(inputs, answer, sample.weight, 360 if sample.kind == "pose" else 0)


def collate(rows: Sequence[Encoded], *, pad_id: int) -> list[Batch]:
    """The rows as few batches as their pictures allow: those of one shape run together."""
    groups: dict[tuple[Any, ...], list[Encoded]] = {}
    for row in rows:
        groups.setdefault(_shape(row.inputs), []).append(row)
    return [_batch(group, pad_id) for group in groups.values()]


def alike_long(rows: Sequence[Encoded], *, most: int) -> list[list[Encoded]]:
    """The rows in groups of similar length, so that little is padded; short ones first.

    Of all cuts of the sorted rows into groups of up to `most` this is the one that reads fewest
    tokens, where to run another group counts as `_CALL` tokens: few short rows stay together.
    """
    ordered = sorted(rows, key=_length)
    costs, starts = [0], [0]
    for end in range(1, len(ordered) + 1):
        longest = _length(ordered[end - 1])
        cost, start = min(
            (costs[first] + (end - first) * longest + _CALL, first)
            for first in range(max(0, end - most), end)
        )
        costs.append(cost)
        starts.append(start)
    groups: list[list[Encoded]] = []
    end = len(ordered)
    while end:
        groups.append(ordered[starts[end] : end])
        end = starts[end]
    return groups[::-1]


def _length(row: Encoded) -> int:
    return int(row.inputs["input_ids"].shape[1])


def _batch(rows: Sequence[Encoded], pad_id: int) -> Batch:
    length = max(map(_length, rows))
    most = max(len(row.answer) for row in rows)
    inputs = {
        name: torch.cat([_padded(row.inputs, name, length, pad_id) for row in rows])
        for name in rows[0].inputs
    }
    if "attention_mask" not in inputs and len(set(map(_length, rows))) > 1:
        raise InputError("The processor makes no attention_mask, so rows cannot be padded.")
    labels = torch.stack([F.pad(r.answer, (most - len(r.answer), 0), value=-100) for r in rows])
    weights = torch.tensor([row.weight for row in rows])
    return Batch(inputs, labels, weights, torch.tensor([row.period for row in rows]))


def _padded(inputs: Inputs, name: str, length: int, pad_id: int) -> Tensor:
    value: Tensor = inputs[name]
    if not _is_row(inputs, name):
        return value
    missing = length - value.shape[1]
    return F.pad(value, (missing, 0), value=pad_id if name == "input_ids" else 0)


def _shape(inputs: Inputs) -> tuple[Any, ...]:
    """What must agree for rows to be stacked: all but the length of the text."""
    return tuple(
        (name, None if _is_row(inputs, name) else tuple(value.shape[1:]))
        for name, value in sorted(inputs.items())
    )


def _is_row(inputs: Inputs, name: str) -> bool:
    """One number a token."""
    value = inputs[name]
    return bool(value.shape == inputs["input_ids"].shape and not value.is_floating_point())


def _end(vlm: AttentiveVLM, tokenizer: Any) -> int:
    """The token that ends an answer."""
    ends = answer_ends(vlm.model.generation_config, tokenizer)
    own = tokenizer.eos_token_id
    return int(own if own in ends else ends[0])

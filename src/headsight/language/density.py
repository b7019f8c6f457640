"""How sure a model is of the numbers it wrote, for any tokenizer.

The density over the values of one number follows every way in which the tokenizer can spell its
digits; with a token for each triple that is one softmax, with single digits it is the product
along the prefix tree (the case that CapeLLM, arXiv:2411.06869, describes). The mass that lies on
no allowed string is the `leak`: an early sign that a model blends answer formats.
"""

from __future__ import annotations

__all__ = ["Density", "density", "density_mean", "with_confidence"]

import dataclasses
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.geometry.rotations import circular_mean_deg
from headsight.language.answer import Answer
from headsight.language.spec import ANGLE_BINS, CodecSpec
from headsight.language.vocabulary import Vocabulary

Array = NDArray[Any]
Logits = Callable[[Sequence[tuple[int, ...]]], Any]
"""Next-token logits (n, vocabulary) after the context and each of n sequences of tokens."""

_NUMBER = re.compile(r"[0-9]+")


class Density(NamedTuple):
    """Probabilities of the values of one number."""

    bins: Float[Array, " bins"]
    """One per value, sum 1; uniform where the model gave no allowed value any mass."""
    leak: float
    """Mass on anything but an allowed number, in [0, 1]."""


def density(
    logits: Logits | Float[Any, " vocabulary"],
    tokenizer: Any,
    spec: CodecSpec,
    *,
    terminator: str = "",
    min_mass: float = 1e-6,
) -> Density:
    """Probabilities of the 10**digits steps of an edge or a point, or of the 360 angles.

    Args:
        logits: the scores that come next; or, needed where a number is several tokens, a function
            that gives them after each of several token sequences.
        tokenizer: any; its tokens may hold one digit, three, or a mixture.
        spec: boxes and points have 10**digits values, poses 360.
        terminator: what follows the number; counts tokens such as `"123,"` that hold some of it.
        min_mass: prefixes of less probability are not followed; their mass is part of the leak.
    """
    count, width = (ANGLE_BINS, 3) if spec.kind == "pose" else (spec.steps, spec.digits)
    texts = Vocabulary.of(tokenizer).texts
    bins = np.zeros(count)
    level: dict[tuple[int, ...], tuple[str, float]] = {(): ("", 1.0)}
    while level:
        prefixes = list(level)
        scores = logits(prefixes) if callable(logits) else logits[None]
        deeper: dict[tuple[int, ...], tuple[str, float]] = {}
        for prefix, row in zip(prefixes, _softmax(scores), strict=True):
            written, mass = level[prefix]
            for token_id, text in texts.items():
                number, rest = (written + text)[:width], (written + text)[width:]
                if not number.isdecimal() or (rest and not _is_end(rest, terminator)):
                    continue
                here = mass * float(row[token_id])
                if len(number) == width and int(number) < count:
                    bins[int(number)] += here
                elif len(number) < width and here >= min_mass and callable(logits):
                    deeper[(*prefix, token_id)] = (number, here)
        level = deeper
    total = float(bins.sum())
    leak = min(max(1.0 - total, 0.0), 1.0)
    return Density(bins / total if total > 0 else np.full(count, 1 / count), leak)


def density_mean(bins: Float[Array, "*batch bins"], spec: CodecSpec) -> Float[Array, "*batch"]:
    """Mean value: degrees in (-180, 180] on the circle for a pose, else a fraction in [0, 1)."""
    values = np.arange(bins.shape[-1], dtype=np.float64)
    if spec.kind == "pose":
        return circular_mean_deg(np.broadcast_to(values, bins.shape), bins)
    half = 0.5 if spec.rounding == "floor" else 0.0
    return np.asarray((bins * (values + half)).sum(-1) / spec.steps)


def with_confidence(answer: Answer, tokens: Sequence[str], logprobs: Sequence[float]) -> Answer:
    """`answer` with the confidence of its numbers, and of each of its places.

    The confidence is exp of the mean log-probability of the tokens that hold a digit of the number
    (of all tokens for `none`). It stays None where the tokens do not spell the answer's text.
    """
    spelled = "".join(tokens)
    offset = spelled.find(answer.text)
    if offset < 0 or not answer.is_valid or not answer.text or len(tokens) != len(logprobs):
        return answer
    starts = [0, *accumulate(map(len, tokens))][:-1]

    def confidence(spans: Sequence[tuple[int, int]]) -> float:
        used: set[int] = set()
        for start, end in spans:
            first = bisect_right(starts, start + offset) - 1
            last = bisect_right(starts, end + offset - 1)
            used.update(range(first, last))
        return math.exp(sum(logprobs[i] for i in used) / len(used)) if used else 0.0

    per_item = [
        [match.span() for match in _NUMBER.finditer(answer.text, *span)]
        for span in answer.item_spans
    ]
    everything = [span for spans in per_item for span in spans] or [answer.span]
    return dataclasses.replace(
        answer,
        confidence=confidence(everything),
        item_confidences=tuple(confidence(spans) for spans in per_item),
    )


def _is_end(rest: str, terminator: str) -> bool:
    return bool(terminator) and (rest.startswith(terminator) or terminator.startswith(rest))


def _softmax(logits: Any) -> Array:
    """Probabilities along the last axis, in float64."""
    if hasattr(logits, "detach"):
        logits = logits.detach().cpu().float().numpy()
    scores = np.asarray(logits, dtype=np.float64)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))

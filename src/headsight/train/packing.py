"""Questions and answers of a batch as token tables, and the loss on the answers.

The questions of a picture stand one behind another in one sequence; each sees the image prefix and
itself, never another question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from headsight.models.grounding.headgrid import COLORS
from headsight.models.grounding.tokenizer import first_number_id
from headsight.train.questions import Question

_TELLING = (
    "man", "men", "woman", "women", "glasses", "hat", "hats", "away", "camera", "left", "right",
    "leftmost", "rightmost", "middle", "largest", "biggest", "closest", "smallest", "farthest",
)  # fmt: skip
"""Words of expressions that, with those before them, say which head is meant."""

__all__ = ["PackedQuestions", "answer_loss", "block_mask", "image_prefix", "pack", "said_logits"]


@dataclass(frozen=True)
class PackedQuestions:
    """Text of a batch behind its image prefix of P tokens (T text tokens, L = P + T)."""

    input_ids: Int[Tensor, "b t"]
    position_ids: Int[Tensor, "b t"]
    segments: Int[Tensor, "b t"]
    """Number of the question; -1 = padding."""
    labels: Int[Tensor, "b t"]
    """The next token where it is to be said (and the hints, see `_hints`), else -100."""
    spreads: Float[Tensor, "b t"]
    """Soft-target deviation; 0 = hard."""
    modulus: Int[Tensor, "b t"]
    """360 where the label is an angle, else 1000."""
    weights: Float[Tensor, "b t"]
    place: Int[Tensor, "b t"]
    """Which place of the answer (its first box is 0) begins with the next token, hints among them;
    -1 = none does."""


def pack(
    questions: Sequence[Sequence[Question]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    box_spread: float,
    angle_spread: float,
    first_position: int,
) -> PackedQuestions:
    """The questions of each picture one behind another, right-padded.

    Args:
        questions: of each picture.
        tokenizer: whose numbers are single tokens.
        box_spread: standard deviation of the soft target of a box edge, thousandths.
        angle_spread: of an angle, degrees.
        first_position: of every question's first token, behind the image prefix.
    """
    first_number = first_number_id(tokenizer)
    words = {tokenizer.encode(" " + word)[-1]: word for word in (*COLORS, *_TELLING)}
    separator = tokenizer.convert_tokens_to_ids(";")
    rows: list[list[tuple[int, int, int, int, float, int, float, int]]] = []
    for own in questions:
        row = []
        for segment, question in enumerate(own):
            asked = tokenizer.encode(question.prompt + "\n", add_special_tokens=False)
            said = tokenizer.encode(question.answer, add_special_tokens=False)
            ids = [*asked, *said, tokenizer.eos_token_id]
            spread = angle_spread if question.kind == "pose" else box_spread
            modulus = 360 if question.kind == "pose" else 1000
            hints = _hints(question, asked, words, first_number)
            numbers = [i for i in said if 0 <= i - first_number < 1000]
            opening = (numbers or said)[0]
            begun = 0
            for place, token in enumerate(ids[:-1]):
                following = ids[place + 1]
                is_said = place >= len(asked) - 1
                if place in hints:
                    is_said, following = True, opening
                is_number = 0 <= following - first_number < 1000
                is_word = question.kind == "text"
                is_start = place in hints or place == len(asked) - is_word
                if place > len(asked) and token == separator:
                    is_start, begun = True, begun + 1
                row.append(
                    (
                        token,
                        first_position + place,
                        segment,
                        following if is_said else -100,
                        spread if is_said and is_number else 0.0,
                        modulus,
                        question.weight,
                        begun if is_start and (is_number or is_word) else -1,
                    )
                )
        rows.append(row)
    length = max(1, *(len(r) for r in rows))
    blank = (tokenizer.pad_token_id, 0, -1, -100, 0.0, 1000, 0.0, -1)
    table = np.array([r + [blank] * (length - len(r)) for r in rows], np.float64)
    whole = torch.from_numpy(table)
    return PackedQuestions(
        input_ids=whole[..., 0].long(),
        position_ids=whole[..., 1].long(),
        segments=whole[..., 2].long(),
        labels=whole[..., 3].long(),
        spreads=whole[..., 4].float(),
        modulus=whole[..., 5].long(),
        weights=whole[..., 6].float(),
        place=whole[..., 7].long(),
    )


def _hints(
    question: Question, asked: list[int], words: Mapping[int, str], first_number: int
) -> set[int]:
    """Where a question itself already has to say the first number of its answer, in training only.

    Which head is meant has to be found from the question. With a loss on the answer alone that
    takes two steps of attention to be learned at once (the word, then the head that it fits), and
    is not learned. So the last number of a box in a question says the first number of the answer,
    as the yaw (where words are asked for, the first of them), and in an expression for one head its
    colours and its last telling word say the left edge.
    """
    if numbers := [p for p, i in enumerate(asked) if 0 <= i - first_number < 1000]:
        return set(numbers[-1:])
    if question.answer.count(";") or question.answer == "none":
        return set()
    telling = [place for place, token in enumerate(asked) if token in words]
    return {p for p in telling if words[asked[p]] in COLORS} | set(telling[-1:])


def block_mask(segments: Int[Tensor, "b t"], prefix: int) -> Bool[Tensor, "b 1 l l"]:
    """Causal; text sees the image prefix and its own question only."""
    batch, text = segments.shape
    length = prefix + text
    whole = torch.cat([segments.new_full((batch, prefix), -2), segments], 1)
    same = whole[:, :, None] == whole[:, None, :]
    to_prefix = (whole == -2)[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return ((same | to_prefix) & causal)[:, None]


def answer_loss(
    logits: Float[Tensor, "n v"],
    labels: Int[Tensor, " n"],
    spreads: Float[Tensor, " n"],
    modulus: Int[Tensor, " n"],
    *,
    first_number: int,
) -> Float[Tensor, " n"]:
    """Cross entropy a token; a number's target is a Gaussian over neighbouring number tokens."""
    log_p = logits.float().log_softmax(-1)
    loss = -log_p.gather(1, labels[:, None])[:, 0]
    soft = spreads > 0
    if not soft.any():
        return loss
    reach = torch.arange(-8, 9, device=labels.device)
    value = (labels[soft] - first_number)[:, None] + reach
    period = modulus[soft][:, None]
    is_angle = period == 360
    inside = is_angle | ((value >= 0) & (value < 1000))
    value = torch.where(is_angle, value % 360, value.clamp(0, 999))
    share = torch.exp(-((reach / spreads[soft][:, None]) ** 2) / 2) * inside
    share = share / share.sum(-1, keepdim=True)
    neighbours = log_p[soft].gather(1, value + first_number)
    # the entropy of the target is taken off, so that a perfect answer costs nothing
    entropy = -(share * share.clamp(min=1e-9).log()).sum(-1)
    return loss.masked_scatter(soft, -(share * neighbours).sum(-1) - entropy)


def said_logits(
    hidden: Float[Tensor, "n d"], head: Float[Tensor, "v d"], is_sayable: Bool[Tensor, " v"]
) -> Float[Tensor, "n v"]:
    """Scores of the next token, without a gradient for words that no answer holds.

    Embeddings serve both ends. As something never to be said all words are alike, and AdamW, which
    makes of the smallest steady gradient a full step, would in time make them alike.
    """
    return F.linear(hidden, torch.where(is_sayable[:, None], head, head.detach()))


def image_prefix(
    tokenizer: PreTrainedTokenizerFast, num_tokens: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, types and positions of `[bos][boi][patches][eoi]`, each (1, num_tokens + 3)."""
    ids = torch.full((1, num_tokens + 3), tokenizer.pad_token_id, device=device)
    ids[0, 0] = tokenizer.bos_token_id
    types = torch.ones_like(ids)
    types[0, 0] = 0
    positions = torch.full_like(ids, 2)
    positions[0, 0], positions[0, 1], positions[0, -1] = 0, 1, 3
    return ids, types, positions

"""Attention that is taught where to look, in training only.

Which head of the picture a question means is found by attention: from the telling word, or from
the place where its number is to be said, to the image token that holds it. The loss on the answer
alone finds that slowly, because looking and copying have to be learned together. Here the looking
of a few chosen attention heads is a loss of its own: the cross entropy of their attention row
against the token of the head that is meant. Their maps then show where the model looked.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from headsight.models.grounding.visual_expert import VisualExpertAttention, rotate
from headsight.train.packing import PackedQuestions
from headsight.train.questions import Question

__all__ = ["attention_inputs", "guide_loss", "guide_targets"]

_BOX = re.compile(r"(\d{3}),(\d{3}),(\d{3}),(\d{3})")


def guide_targets(
    questions: Sequence[Sequence[Question]],
    packed: PackedQuestions,
    boxes: Float[Tensor, "b n 4"],
    is_peak: Bool[Tensor, "b n"],
) -> Int[Tensor, "b t"]:
    """Number of the image token to look at from each text token; -1 = anywhere.

    `boxes` are those that the N image tokens hold, in thousandths of the picture; tokens that hold
    none are not among the peaks.
    """
    named = [[_boxes(question) for question in own] for own in questions]
    most = max((len(boxes) for own in named for boxes in own), default=0)
    wanted = torch.full((len(questions), 1 + max(map(len, questions)), 1 + most), -1)
    held, peaks = boxes.double().cpu().numpy(), is_peak.cpu().numpy()
    for row, own in enumerate(named):
        for column, its in enumerate(own):
            for place, box in enumerate(its if peaks[row].any() else ()):
                away = np.abs(held[row] - box).sum(1)
                wanted[row, column, place] = int(np.where(peaks[row], away, np.inf).argmin())
    # padding, and where no place begins, read the last column, which stays -1
    wanted = wanted.to(packed.segments.device)
    rows = torch.arange(len(questions), device=wanted.device)[:, None]
    return wanted[rows, packed.segments, packed.place]


@contextmanager
def attention_inputs(module: nn.Module) -> Iterator[dict[str, Any]]:
    """What `module` is called with while the context is open, by name."""
    seen: dict[str, Any] = {}

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.update(kwargs, hidden_states=args[0])

    handle = module.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def guide_loss(
    module: VisualExpertAttention,
    seen: dict[str, Any],
    targets: Int[Tensor, "b t"],
    heads: Sequence[int],
    *,
    first_slot: int,
    prefix: int,
) -> Float[Tensor, ""]:
    """Mean cross entropy of the rows of `heads` against their targets; 0 where there are none.

    Image tokens begin at `first_slot` of the sequence, text behind `prefix` tokens.
    """
    rows, places = (targets >= 0).nonzero(as_tuple=True)
    if not len(rows):
        return torch.zeros((), device=targets.device)
    query, key, _ = module.project(seen["hidden_states"], seen["routes"])
    cos, sin = seen["position_embeddings"]
    chosen = list(heads)
    groups = module.num_key_value_groups
    asked = rotate(query[:, chosen], cos, sin)[rows, :, places + prefix]  # (R, H, C)
    held = rotate(key[:, [h // groups for h in chosen]], cos, sin)[rows]  # (R, H, L, C)
    scores = torch.einsum("rhc,rhlc->rhl", asked.float(), held.float()) * module.scaling
    allowed = seen["attention_mask"][rows, 0, places + prefix]  # (R, L)
    log_p = scores.masked_fill(~allowed[:, None], -torch.inf).log_softmax(-1)
    column = (targets[rows, places] + first_slot)[:, None, None].expand(-1, len(chosen), 1)
    loss: Tensor = -log_p.gather(2, column).mean()
    return loss


def _boxes(question: Question) -> NDArray[np.float64]:
    """(n, 4) the box that the question is about, else those of the answer, in thousandths."""
    found = _BOX.findall(question.prompt) or _BOX.findall(question.answer)
    return np.array(found, np.float64).reshape(-1, 4)

"""The loss on answers alone: scores of the vocabulary are computed where an answer is said.

Of a row of 640 tokens an answer is perhaps 24. The plain way scores every token against the whole
vocabulary, which for large vocabularies costs more than the model.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

__all__ = [
    "AnswerModel",
    "TokenLoss",
    "answer_logits",
    "checkpoint_activations_",
    "plain_loss",
    "soft_number_loss",
]

import inspect
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from headsight.teach.hints import first_number_of
from headsight.teach.tokens import Batch
from headsight.train.packing import answer_loss


@runtime_checkable
class TokenLoss(Protocol):
    """Loss of each token from its scores, the id to be said, and the period of its number."""

    def __call__(
        self, logits: Float[Tensor, "n v"], labels: Int[Tensor, " n"], periods: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The losses."""


class AnswerModel(nn.Module):
    """A model whose forward pass is the loss on the answers of a batch."""

    def __init__(self, model: nn.Module, token_loss: TokenLoss | None = None) -> None:
        super().__init__()
        self.model = model
        self._token_loss = token_loss or plain_loss
        inner = getattr(model, "get_base_model", lambda: model)()
        self._can_choose = "logits_to_keep" in inspect.signature(inner.forward).parameters

    def forward(self, batch: Batch, total: Float[Tensor, ""] | None = None) -> Tensor:
        """Sum of the tokens' losses, weighted by row, over `total` (the weights' sum)."""
        device = next(self.model.parameters()).device
        labels = batch.labels.to(device)
        said = labels >= 0
        if _has_questions(batch.labels):
            scores = _said_logits(self.model, batch)
        else:
            scores = answer_logits(self.model, batch, can_choose=self._can_choose)[said]
        periods = batch.periods.to(device)[:, None].expand_as(labels)[said]
        losses = self._token_loss(scores, labels[said], periods)
        weights = batch.weights.to(device)[:, None].expand_as(labels)[said]
        if total is None:
            total = weights.sum()
        return (losses * weights).sum() / total.to(device).clamp(min=1e-9)


def answer_logits(
    model: nn.Module, batch: Batch, *, can_choose: bool = True
) -> Float[Tensor, "b k v"]:
    """Scores of the tokens that the answers are to say; the last K places of every row."""
    kept = batch.labels.shape[1] + 1
    chosen = {"logits_to_keep": kept} if can_choose else {}
    logits = model(**_on_device(model, batch), use_cache=False, **chosen).logits
    return logits[:, -kept:-1]  # type: ignore[no-any-return]


def _said_logits(model: Any, batch: Batch) -> Float[Tensor, "n v"]:
    """Scores of all tokens that are said, row by row: the language head sees no other place."""
    length, kept = batch.inputs["input_ids"].shape[1], batch.labels.shape[1]
    said = F.pad(batch.labels >= 0, (length - kept - 1, 1))  # a token is told one place before

    def choose(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (hidden,) = inputs
        return (hidden[said.to(hidden.device)][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        logits = model(**_on_device(model, batch), use_cache=False).logits
    finally:
        hook.remove()
    return logits[0]  # type: ignore[no-any-return]


def _has_questions(labels: Int[Tensor, "b k"]) -> bool:
    """Whether questions stand between the answers."""
    said = labels >= 0
    return bool((said[:, :-1] & ~said[:, 1:]).any())


def _on_device(model: nn.Module, batch: Batch) -> dict[str, Any]:
    device = next(model.parameters()).device
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    return {
        name: value.to(device, dtype if value.is_floating_point() else None)
        for name, value in batch.inputs.items()
    }


def checkpoint_activations_(model: Any) -> None:
    """Let activations of layers be computed again in the backward pass rather than kept."""
    newer = getattr(model, "activation_checkpointing_enable", None)
    # not reentrant: then the layers' inputs need no gradient
    (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})


def plain_loss(
    logits: Float[Tensor, "n v"], labels: Int[Tensor, " n"], periods: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Cross entropy."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def soft_number_loss(tokenizer: Any, spread: int | float) -> TokenLoss:
    """Cross entropy in which neighbouring numbers share the target, as they nearly are the same.

    Args:
        tokenizer: one whose numbers 000 to 999 are single tokens with ids in a row.
        spread: deviation of the Gaussian over neighbours, in steps; circular for angles.

    Raises:
        ConfigError: a tokenizer that spells numbers otherwise.
    """
    first = first_number_of(tokenizer, "number_spread")

    def loss(
        logits: Float[Tensor, "n v"], labels: Int[Tensor, " n"], periods: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        is_number = (labels >= first) & (labels < first + 1000)
        spreads = torch.where(is_number, float(spread), 0.0)
        modulus = torch.where(periods == 360, 360, 1000)
        return answer_loss(logits, labels, spreads, modulus, first_number=first)

    return loss

"""A stage's data and model for the training loop: batches by number, loss on the answers."""
# mypy: disable-error-code="no-untyped-call"
# (transformers, peft and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["TuneJob"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headsight.models.base import AttentiveVLM
from headsight.teach.loss import AnswerModel, TokenLoss
from headsight.teach.mixture import Mixture
from headsight.teach.sample import Sample
from headsight.teach.tokens import Batch, Encoded, Features, alike_long, collate, encode_sample
from headsight.train.loop import Parts


class TuneJob:
    """What `run_stage` needs to know of a stage; see `StageJob`."""

    def __init__(
        self,
        vlm: AttentiveVLM,
        model: nn.Module,
        mixture: Mixture,
        *,
        batch_size: int,
        micro_batch: int | None = None,
        lr: int | float,
        seed: int,
        features: Features | None = None,
        token_loss: TokenLoss | None = None,
        hint: Callable[[Encoded], Encoded] | None = None,
        held_out: Sequence[Sample] = (),
        rank_of: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare.

        Args:
            vlm: makes rows of samples.
            model: what learns, `vlm.model` with its adapter; what requires no gradient stays.
            mixture: the samples.
            batch_size: samples a step in each process.
            micro_batch: most samples that run at once.
            lr: peak learning rate.
            seed: of dropout.
            features: the encoder's tokens, where the encoder does not learn.
            token_loss: by default cross entropy.
            hint: changes what a row has to say, in training.
            held_out: samples for the validation loss.
            rank_of: number of this process and of all.
        """
        self.module: AnswerModel = AnswerModel(model, token_loss)
        self._vlm, self._mixture, self._features = vlm, mixture, features
        self._batch_size, self._micro_batch = batch_size, micro_batch or batch_size
        self._lr, self._seed, self._held_out = lr, seed, held_out
        self._rank, self._processes = rank_of
        self._hint = hint
        self._pad_id = int(vlm.processor.tokenizer.pad_token_id or 0)  # type: ignore[attr-defined]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What learns, in one group."""
        return [
            {"params": [p for p in self.module.parameters() if p.requires_grad], "lr": self._lr}
        ]

    def batch(self, step: int) -> Parts:
        """The rows of a step of this process, in pieces of rows that fit together."""
        first = (step * self._processes + self._rank) * self._batch_size
        samples = [self._mixture[place] for place in range(first, first + self._batch_size)]
        batches = self._collate(samples, self._hint)
        total = sum(_weight(batch) for batch in batches)
        return Parts((batch, total, (step, number)) for number, batch in enumerate(batches))

    def loss(
        self, batch: tuple[Batch, Tensor, tuple[int, int]], module: nn.Module
    ) -> tuple[Tensor, dict[str, float]]:
        """The piece's part of the step's mean loss."""
        rows, total, place = batch
        device = next(self.module.parameters()).device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # dropout: the same masks after a kill
            torch.manual_seed(hash((self._seed, self._rank, *place)) % 2**63)
            return module(rows, total), {}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The loss on held-out samples."""
        if not self._held_out:
            return {}
        batches = [
            batch
            for start in range(0, len(self._held_out), self._batch_size)
            for batch in self._collate(self._held_out[start : start + self._batch_size])
        ]
        total = sum((_weight(batch) for batch in batches), torch.zeros(()))
        return {"loss": sum(float(self.module(batch, total)) for batch in batches)}

    def _collate(
        self, samples: Sequence[Sample], hint: Callable[[Encoded], Encoded] | None = None
    ) -> list[Batch]:
        rows = [encode_sample(self._vlm, sample, self._features) for sample in samples]
        rows = rows if hint is None else [hint(row) for row in rows]
        return [
            batch
            for group in alike_long(rows, most=self._micro_batch)
            for batch in collate(group, pad_id=self._pad_id)
        ]


def _weight(batch: Batch) -> Tensor:
    """Weights of all tokens that are said."""
    return ((batch.labels >= 0) * batch.weights[:, None]).sum()

"""One step of teaching: scores on the answer alone against a plain peft step; and the loop's cost.

Rows of 640 tokens, 24 of them an answer, through a decoder of width 256 with 4 layers of random
weights and LoRA on all its linear modules, batch 4; vocabularies of 2,039 (nano's), 32,000 (Llama
2's) and 151,936 (Qwen's) tokens. The peer is the same adapted model called with `labels`, as a
training script with peft and transformers calls it. Both end with the same gradients.

The last rows are 40 steps of a stage (`run_stage` with its log, schedule, clipping and one
checkpoint) against a bare loop of the same steps: at the size of one question for nano, and at the
size above.

    python benchmarks/teaching_step.py            prints the table
    python benchmarks/teaching_step.py --json     also writes benchmarks/results/<version>/...
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from paired import compare, show
from reporting import write_report
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from headsight.teach.lora import LoraSpec, attach
from headsight.teach.loss import AnswerModel
from headsight.teach.tokens import Batch
from headsight.train.loop import LoopConfig, run_stage

VOCABULARIES = (2_039, 32_000, 151_936)
TOKENS, ANSWER, ROWS = 640, 24, 4
STEPS = 40


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, loops = [], []
    for size in VOCABULARIES:
        row = step_row(size, options.seed, options.repeats)
        show(f"{size:,} tokens in the vocabulary", row)
        rows.append({"vocabulary": size, **row})
    for rows_a_step, tokens in ((4, 96), (4, 640)):
        row = loop_row(rows_a_step, tokens, options.seed, options.repeats)
        show(f"{STEPS} steps of {rows_a_step} x {tokens} tokens, bare loop / stage", row)
        loops.append({"rows": rows_a_step, "tokens": tokens, "steps": STEPS, **row})
    if options.json:
        values = {
            "rows": rows, "loops": loops, "tokens": TOKENS, "answer": ANSWER, "batch": ROWS,
            "seed": options.seed,
        }  # fmt: skip
        path = write_report("teaching_step", values, packages=["torch", "transformers", "peft"])
        print(f"written: {path}", file=sys.stderr)
    return 0


def step_row(vocabulary: int, seed: int, repeats: int) -> dict[str, Any]:
    """A whole step (forward, backward, AdamW) of both, on one model."""
    learner, batch = adapted(vocabulary, seed), drawn(vocabulary, ROWS, TOKENS, seed)
    learned = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.0)
    ours = AnswerModel(learner)
    labels = torch.full_like(batch.inputs["input_ids"], -100)
    labels[:, -ANSWER:] = batch.labels

    def gradients(loss: Tensor) -> list[Tensor]:
        loss.backward()
        return [p.grad.clone() for p in learned if p.grad is not None]

    def plain() -> Tensor:
        return learner(**batch.inputs, labels=labels).loss

    mine = gradients(ours(batch))
    optimizer.zero_grad()
    theirs = gradients(plain())
    optimizer.zero_grad()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)

    def step(loss: Any) -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return compare(lambda: step(lambda: ours(batch)), lambda: step(plain), repeats)


def loop_row(rows: int, tokens: int, seed: int, repeats: int) -> dict[str, Any]:
    """So many steps in a stage, and in a loop that does nothing but train."""
    learner, batch = adapted(2_039, seed), drawn(2_039, rows, tokens, seed)
    job = _Job(learner, batch)
    config = LoopConfig(
        steps=STEPS, warmup_steps=2, average_decay=0.0, trained_only=True, log_every=20,
        save_every=STEPS, validate_every=STEPS,
    )  # fmt: skip

    def bare() -> None:
        optimizer = torch.optim.AdamW(job.parameter_groups())
        for _ in range(STEPS):
            job.module(batch).backward()
            nn.utils.clip_grad_norm_(job.module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def stage() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_stage(job, config, Path(folder), fingerprint="", quiet=True)

    return compare(stage, bare, repeats)


class _Job:
    """One batch again and again."""

    def __init__(self, learner: nn.Module, batch: Batch) -> None:
        self.module = AnswerModel(learner)
        self._batch = batch

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [p for p in self.module.parameters() if p.requires_grad], "lr": 1e-5}]

    def batch(self, step: int) -> Batch:
        return self._batch

    def loss(self, batch: Batch, module: nn.Module) -> tuple[Tensor, dict[str, float]]:
        return module(batch), {}

    def validate(self) -> dict[str, float]:
        return {}


def adapted(vocabulary: int, seed: int) -> nn.Module:
    """A decoder of random weights with LoRA."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=688, num_hidden_layers=4,
        num_attention_heads=8, num_key_value_heads=8, max_position_embeddings=1024,
    )  # fmt: skip
    model = LlamaForCausalLM(config).requires_grad_(False)
    return attach(model, LoraSpec(r=8))


def drawn(vocabulary: int, rows: int, tokens: int, seed: int) -> Batch:
    """Random rows whose last tokens are the answer."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary, (rows, tokens), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return Batch(inputs, ids[:, -ANSWER:], torch.ones(rows), torch.zeros(rows, dtype=torch.long))


if __name__ == "__main__":
    sys.exit(main())

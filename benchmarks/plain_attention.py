"""A step of learning in bf16 on a CPU: attention in plain steps against torch's fused attention.

A decoder of width 192 with 4 layers and 6 heads (that of reproductions/capellm) learns from rows of
96, 280 and 640 tokens, about 2,560 tokens a step, under bf16 autocast, forwards and backwards.

    python benchmarks/plain_attention.py            prints the table
    python benchmarks/plain_attention.py --json     also writes benchmarks/results/<version>/...
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from paired import compare, show
from reporting import write_report
from transformers import LlamaConfig, LlamaForCausalLM

from headsight.train.plain_attention import plain_attention

LENGTHS, TOKENS = (96, 280, 640), 2_560


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for length in LENGTHS:
        row = step_row(length, options.seed, options.repeats)
        show(f"rows of {length} tokens, plain / fused", row)
        rows.append({"length": length, **row})
    if options.json:
        values = {"rows": rows, "tokens": TOKENS, "seed": options.seed}
        path = write_report("plain_attention", values, packages=["torch", "transformers"])
        print(f"written: {path}", file=sys.stderr)
    return 0


def step_row(length: int, seed: int, repeats: int) -> dict[str, Any]:
    """Loss and gradients of both, on one model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=2_048, hidden_size=192, intermediate_size=336, num_hidden_layers=4,
        num_attention_heads=6, num_key_value_heads=6, max_position_embeddings=1024,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    ids = torch.randint(2_048, (TOKENS // length, length))
    mask = torch.ones_like(ids)
    mask[0, length // 2 :] = 0

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
        model.zero_grad()

    def plain() -> None:
        with plain_attention(model):
            step()

    return compare(plain, step, repeats)


if __name__ == "__main__":
    sys.exit(main())

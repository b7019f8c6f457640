"""N expressions about one picture: one shared prefix against transformers' `generate` for each.

A LLaVA of random weights, as wide as a small real one: a CLIP tower at 336 px (576 image tokens)
before a Llama decoder. Both ways write the same number of greedy tokens behind every expression, in
one process, alternating, and their tokens are compared. Peak memory is that of a fresh process for
each way, the model included.

    python benchmarks/expressions_per_picture.py            prints the table
    python benchmarks/expressions_per_picture.py --json     also writes results/<version>/...json
    python benchmarks/expressions_per_picture.py --counts 3 --repeats 1 --layers 2 --tower-layers 2
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from memory import peak_mb
from reporting import write_report
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)

from headsight.models.shared_prefix import answer_shared

REPEATS = 7
IMAGE_TOKEN = 31999
NEW_TOKENS = 16
"""About the length of a box in text."""
TARGETS = {12: 6.0, 32: 10.0}
"""Least ratio to `generate` at so many expressions."""

Inputs = list[dict[str, Tensor]]


def main() -> int:
    """Measure, print, and write where asked."""
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak_of_way(options))
        return 0
    model = random_llava(options)
    rows = [measure(model, count, options) for count in options.counts]
    for row in rows:
        row["generate_peak_mb"] = fresh_peak_mb("generate", row["expressions"], options)
        row["shared_peak_mb"] = fresh_peak_mb("shared", row["expressions"], options)
        print(
            f"{row['expressions']} expressions: generate {row['generate_s']:.2f} s, shared prefix"
            f" {row['shared_s']:.2f} s, {row['ratio']:.1f} x ({row['ratio_low']:.1f} to"
            f" {row['ratio_high']:.1f}); same tokens: {row['same_tokens']}; vision tower run"
            f" {row['tower_runs']} x; peak {row['generate_peak_mb']:.0f} MB and"
            f" {row['shared_peak_mb']:.0f} MB"
        )
    if options.json:
        names = ("layers", "tower_layers", "batch_rows", "threads", "seed")
        values = {"rows": rows, **{name: getattr(options, name) for name in names}}
        packages = ["torch", "transformers"]
        words = "".join(f" {word}" for word in sys.argv[1:] if word != "--json")
        path = write_report("expressions_per_picture", values, packages=packages, options=words)
        print(f"written: {path}")
    return 0 if all(row["same_tokens"] and row["tower_runs"] == 1 for row in rows) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 12, 32])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--layers", type=int, default=8, help="of the decoder, 1024 wide")
    parser.add_argument("--tower-layers", type=int, default=12, help="of CLIP, 768 wide")
    parser.add_argument("--batch-rows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peak", choices=["generate", "shared"], help=argparse.SUPPRESS)
    return parser.parse_args()


def random_llava(options: argparse.Namespace) -> PreTrainedModel:
    """Weights wide enough that every expression is answered otherwise."""
    torch.manual_seed(options.seed)
    vision = CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=options.tower_layers,
        num_attention_heads=12,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=32000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=options.layers,
        num_attention_heads=16,
        initializer_range=0.05,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN)
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = None  # every answer has its full length
    return model


def expressions(count: int, seed: int) -> Inputs:
    """Prompts as a processor gives them: `USER: <image>`, 6 to 20 tokens of words, `ASSISTANT:`."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(1, 3, 336, 336, generator=generator)
    head = torch.tensor([1, 3148, 1001, 29901, 29871, *[IMAGE_TOKEN] * 576, 13])
    tail = torch.tensor([319, 1799, 9047, 13566, 29901])
    prompts = []
    for _ in range(count):
        length = int(torch.randint(6, 21, (), generator=generator))
        words = torch.randint(100, 30000, (length,), generator=generator)
        ids = torch.cat([head, words, tail])[None]
        prompts.append(
            {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
        )
    return prompts


def ways(
    model: PreTrainedModel, inputs: Inputs, options: argparse.Namespace
) -> dict[str, Callable[[], list[list[int]]]]:
    """Both ways to the tokens of every answer."""

    def generate() -> list[list[int]]:
        limits = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
        rows = [model.generate(**one, **limits)[0] for one in inputs]
        return [row[-NEW_TOKENS:].tolist() for row in rows]

    def shared() -> list[list[int]]:
        written = answer_shared(
            model, inputs, max_new_tokens=NEW_TOKENS, batch_rows=options.batch_rows
        )
        return [list(one.token_ids) for one in written]

    return {"generate": generate, "shared": shared}


def measure(model: PreTrainedModel, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Median seconds of both ways and the median of their paired ratios."""
    both = ways(model, expressions(count, options.seed), options)
    answers = {name: way() for name, way in both.items()}  # also the warm-up
    runs = []
    tower = model.get_encoder("image")
    counting = tower.register_forward_hook(lambda *_: runs.append(1))
    both["shared"]()
    counting.remove()
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for _ in range(options.repeats):
        for name, way in both.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    ratios = sorted(a / b for a, b in zip(seconds["generate"], seconds["shared"], strict=True))
    pairs = zip(answers["generate"], answers["shared"], strict=True)
    return {
        "expressions": count,
        **{f"{name}_s": statistics.median(values) for name, values in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "target": TARGETS.get(count),
        "same_tokens": all(a == b for a, b in pairs),
        "distinct_answers": len({tuple(ids) for ids in answers["generate"]}),
        "new_tokens": NEW_TOKENS,
        "tower_runs": len(runs),
        "repeats": options.repeats,
    }


def peak_of_way(options: argparse.Namespace) -> float:
    """Peak memory of this process after one way, in MB."""
    (count,) = options.counts
    model = random_llava(options)
    ways(model, expressions(count, options.seed), options)[options.peak]()
    return peak_mb()


def fresh_peak_mb(way: str, count: int, options: argparse.Namespace) -> float:
    """`peak_of_way` in a process of its own."""
    words = [sys.executable, __file__, "--peak", way, "--counts", str(count)]
    for name in ("layers", "tower_layers", "batch_rows", "threads", "seed"):
        words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(main())

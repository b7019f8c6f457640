"""One picture, ten questions: one shared image prefix against ten separate calls.

Three ways to the same greedy answers, in one process, alternating: (a) ten calls of transformers'
`generate`, (b) ten calls of our own loop, each encoding the picture anew, (c) one call that encodes
the picture once and answers all questions together. The pictures are sent through the processor in
each of them. Run on the shipped model, or, where its weights are absent, on random weights of its
shape (the answers then mean nothing, but are the same all the same).

    python benchmarks/shared_prefix.py            prints the table
    python benchmarks/shared_prefix.py --json     also writes benchmarks/results/<version>/...json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from headsight import __version__
from headsight.errors import CheckpointError
from headsight.language.codec import encode
from headsight.language.prompts import head_pose
from headsight.language.spec import CodecSpec
from headsight.models.base import load_vlm
from headsight.models.grounding import GroundingProcessor, GroundingVLM, GroundingVLMConfig
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.picture import Picture

REPEATS = 7
MAX_NEW_TOKENS = 12
"""A pose is 7 tokens and the end."""


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    vlm, weights = load(options.device)
    pixels = np.random.default_rng(options.seed).integers(0, 255, (480, 640, 3), np.uint8)
    prompts = questions(options.questions, options.seed)
    row = measure(vlm, pixels, prompts) | {"model": weights, "device": options.device}
    print(
        f"{row['questions']} questions, {weights}: {row['generate_s']:.3f} s by separate generate"
        f" calls, {row['separate_s']:.3f} s by separate calls of our loop, {row['shared_s']:.3f} s"
        f" with a shared prefix\nratio to generate {row['ratio']:.1f} ({row['ratio_low']:.1f} to"
        f" {row['ratio_high']:.1f}), to our separate calls {row['ratio_separate']:.1f};"
        f" same answers: {row['same_answers']}; {row['step_ms']:.2f} ms a decoding step"
    )
    if options.json:
        print(f"written: {write(row, options)}", file=sys.stderr)
    return 0 if row["same_answers"] else 1


def load(device: str) -> tuple[GroundingAdapter, str]:
    """The shipped model, or one of its shape with random weights."""
    try:
        vlm = load_vlm("nano", device=device)
    except CheckpointError:
        return random_model(device), "nano-shaped, random weights"
    assert isinstance(vlm, GroundingAdapter)
    return vlm, "nano"


def random_model(device: str) -> GroundingAdapter:
    """A model of nano's size that says something else for every question."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    config = GroundingVLMConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=8,
        initializer_range=0.08,
        vision_config={"encoder": "headgrid", "image_size": 384, "hidden_size": 256},
    )
    model = GroundingVLM(config).eval().to(device)
    processor = GroundingProcessor.for_model(config, tokenizer)
    return GroundingAdapter(model, processor, name="random")


def questions(count: int, seed: int) -> list[str]:
    """Pose questions about different boxes."""
    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, 500, (count, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(40, 400, (count, 2))], 1)
    spec = CodecSpec("boxes")
    return [head_pose(encode(box, spec, image_wh=(1000, 1000))) for box in boxes]


def measure(vlm: GroundingAdapter, pixels: Any, prompts: list[str]) -> dict[str, Any]:
    """Median seconds of the three ways and their ratios."""

    def fresh() -> Picture:
        return Picture(Image.fromarray(pixels))  # a new object, so that nothing is remembered

    def generate() -> list[str]:
        answers = []
        for prompt in prompts:
            inputs = vlm.processor(fresh(), prompt).to(vlm.model.device)
            with torch.inference_mode():
                out = vlm.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
            answers.append(
                vlm.processor.decode_answer(out[0, inputs["input_ids"].shape[1] :].tolist())
            )
        return answers

    def separate() -> list[str]:
        return [vlm.answer(fresh(), [p], max_new_tokens=MAX_NEW_TOKENS)[0].text for p in prompts]

    def shared() -> list[str]:
        return [r.text for r in vlm.answer(fresh(), prompts, max_new_tokens=MAX_NEW_TOKENS)]

    ways: dict[str, Callable[[], list[str]]] = {
        "generate": generate,
        "separate": separate,
        "shared": shared,
    }
    answers = {name: way() for name, way in ways.items()}  # also the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    ratios = sorted(a / b for a, b in zip(seconds["generate"], seconds["shared"], strict=True))
    own = [a / b for a, b in zip(seconds["separate"], seconds["shared"], strict=True)]
    return {
        "questions": len(prompts),
        **{f"{name}_s": statistics.median(values) for name, values in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "ratio_separate": statistics.median(own),
        "step_ms": step_ms(vlm, prompts),
        "same_answers": answers["generate"] == answers["separate"] == answers["shared"],
        "repeats": REPEATS,
    }


def step_ms(vlm: GroundingAdapter, prompts: list[str]) -> float:
    """Milliseconds of one decoding step for all rows: 64 more steps against none."""
    from headsight.models.grounding.prefix import answer_many, encode_image

    pixels, shares = vlm.processor.pixels([Image.new("RGB", (640, 480))])
    prefix = encode_image(vlm.model, pixels, shares)
    ids = [vlm.processor.question_ids(p) for p in prompts]
    times = []
    for _ in range(REPEATS):
        ends = []
        for limit in (1, 65):
            start = time.perf_counter()
            answer_many(vlm.model, prefix, ids, max_new_tokens=limit, eos_token_id=-1)
            ends.append(time.perf_counter() - start)
        times.append((ends[1] - ends[0]) / 64 * 1000)
    return statistics.median(times)


def write(row: dict[str, Any], options: argparse.Namespace) -> Path:
    """The results file, old or new, never half."""
    folder = Path(__file__).parent / "results" / __version__
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"shared_prefix--{platform.node()}--{options.device}.json"
    report = {
        "schema": "headsight.benchmark/1",
        "row": "shared_prefix",
        "command": "python benchmarks/shared_prefix.py --json",
        **row,
        "seed": options.seed,
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    part.replace(path)
    return path


if __name__ == "__main__":
    sys.exit(main())

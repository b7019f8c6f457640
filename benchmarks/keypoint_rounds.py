"""Seventeen points of a person in one cache, against seventeen prompts of their own.

A decoder of random weights behind 256 image tokens, as CapeLLM (arXiv 2411.06869) has them, and the
shipped schema of 17 points; its words are one token each, so that a round is about as long as with
a large vocabulary. Both ways write strict answers only. The peer is asked each question about the
picture anew; ours reads the picture once and every question behind the answers before it. That
questions asked by themselves get the peer's answers from our cache, too, is checked.

    python benchmarks/keypoint_rounds.py            prints the table
    python benchmarks/keypoint_rounds.py --json     also writes benchmarks/results/<version>/...
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import torch
from paired import compare
from PIL import Image
from reporting import write_report
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from headsight.language.rounds import RoundFormat
from headsight.language.schema_library import schema
from headsight.models.base import Reply
from headsight.models.dialogue import converse
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.picture import Picture

TARGET = 0.30
"""Of the separate prompts, in tokens and in time."""


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    form, points = RoundFormat(), schema("person-17")
    questions = form.questions(points)
    vlm = random_vlm(questions, options)
    pixels = np.random.default_rng(options.seed).integers(0, 256, (224, 224, 3), dtype=np.uint8)

    def picture() -> Picture:
        return Picture(Image.fromarray(pixels))  # a new one: nothing of it is kept

    def separate() -> list[Reply]:
        return [
            vlm.answer(picture(), [question], grammar=form.spec, max_new_tokens=16)[0]
            for question in questions
        ]

    def rounds(window: int) -> list[Reply]:
        [said] = converse(vlm, [picture()], questions, form=form, window=window, constrain=True)
        return [one.reply for one in said]

    same = [a.text for a in separate()] == [b.text for b in rounds(0)]
    counts = read_tokens(vlm, lambda: rounds(16)), read_tokens(vlm, separate)
    row = compare(lambda: rounds(16), separate, options.repeats)
    shares = {
        "tokens_share": counts[0] / counts[1],
        "time_share": 1 / row["ratio"],
        "time_share_high": 1 / row["ratio_low"],
    }
    print(
        f"17 points: {counts[0]:,} of {counts[1]:,} tokens read ({shares['tokens_share']:.2f}),"
        f" {row['ours_ms']:.0f} of {row['peer_ms']:.0f} ms ({shares['time_share']:.2f}, at most"
        f" {shares['time_share_high']:.2f}); target {TARGET:.2f}; same answers one by one: {same}"
    )
    if options.json:
        values = {
            **row, **shares, "tokens": counts[0], "peer_tokens": counts[1], "target": TARGET,
            "same_answers": same, "width": options.width, "layers": options.layers,
            "seed": options.seed,
        }  # fmt: skip
        path = write_report("keypoint_rounds", values, packages=["torch", "transformers"])
        print(f"written: {path}", file=sys.stderr)
    return 0 if same else 1


def read_tokens(vlm: GroundingAdapter, run: Any) -> int:
    """Tokens that the decoder reads, those of pictures among them."""
    seen = 0

    def count(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal seen
        seen += int(inputs[0].shape[0] * inputs[0].shape[1])

    hook = vlm.model.model.layers[0].input_layernorm.register_forward_pre_hook(count)
    try:
        run()
    finally:
        hook.remove()
    return seen


def random_vlm(questions: list[str], options: argparse.Namespace) -> GroundingAdapter:
    """A small sibling of CapeLLM's model."""
    tokenizer = words_tokenizer(questions)
    torch.manual_seed(options.seed)
    config = GroundingVLMConfig(
        vocab_size=len(tokenizer), hidden_size=options.width,
        intermediate_size=3 * options.width, num_hidden_layers=options.layers,
        num_attention_heads=8, num_key_value_heads=2, adapter="linear", expert_layers=[],
        share_image_position=False, max_position_embeddings=8192, initializer_range=0.1,
        vision_config={
            "encoder": "transformers",
            "model": {
                "model_type": "vit", "hidden_size": 192, "num_hidden_layers": 4,
                "num_attention_heads": 4, "intermediate_size": 768, "image_size": 224,
                "patch_size": 14,
            },
        },
        bos_token_id=1, eos_token_id=2, pad_token_id=0, image_token_id=3,
    )  # fmt: skip
    processor = GroundingProcessor.for_model(config, tokenizer)
    return GroundingAdapter(GroundingVLM(config), processor, name="random")


def words_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Words of the texts and runs of three digits are one token each; all else is bytes."""
    cut = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[0-9]{1,3}| ?\p{L}+|[\s\S]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words = {word for text in texts for word, _ in cut.pre_tokenize_str(text)}
    pieces = ["<pad>", "<bos>", "<eos>", "<image>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pieces += [f"{n:03d}" for n in range(1000)] + sorted(words)
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.BPE(vocabulary, merges=[], ignore_merges=True))
    backend.pre_tokenizer = cut
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

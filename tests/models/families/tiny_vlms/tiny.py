"""What every tiny model is made with: a tokenizer of characters, random weights, small towers."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

HIDDEN = 32
_TOWER = re.compile(r"vision|visual")
_MIXES = re.compile(r"(out_proj|attn\.proj|o_proj|projection_layer)\.")


@dataclass
class Tiny:
    """One model, its processor and how it is tried."""

    model: Any
    processor: Any
    image_wh: tuple[int, int] = (64, 48)
    """A picture that shows every kind of view the family has."""
    has_views: bool = True
    """False where `views` must refuse."""


def tokenizer(specials: Sequence[str], **kwargs: Any) -> PreTrainedTokenizerFast:
    """One token a character, and `specials`; `<pad>` 0, `<unk>` 1, `<s>` 2, `</s>` 3."""
    words = ["<pad>", "<unk>", "<s>", "</s>", *specials, *string.printable]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(specials),
        **kwargs,
    )


def text_config(vocab_size: int, **kwargs: Any) -> dict[str, Any]:
    """A decoder of two layers whose random answers are not near ties."""
    return {
        "vocab_size": vocab_size,
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "tie_word_embeddings": False,
        **kwargs,
    }


def vision_config(**kwargs: Any) -> dict[str, Any]:
    """A CLIP-like tower of one layer: a token stays nearest to its own patch."""
    return {
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        **kwargs,
    }


def build(make: Callable[[], Any]) -> Any:
    """The model that `make` gives, with seeded weights, ready to be asked.

    Attention of its vision tower is made faint, so that a token tells of its own patch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().eval()
    for name, weight in model.named_parameters():
        if _TOWER.search(name) and _MIXES.search(name):
            weight.data.mul_(0.01)
    return model

"""Small models in folders, with nano's encoder."""

from __future__ import annotations

from pathlib import Path

import torch

from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import IMAGE, build_tokenizer

VISION = {
    "encoder": "headgrid",
    "image_size": 64,
    "neck_channels": 16,
    "hidden_size": 32,
    "keep_tokens": 4,
}


def save_tiny(folder: Path, *, seed: int = 0) -> Path:
    """A model of random weights, in fp32."""
    tokenizer = build_tokenizer()
    torch.manual_seed(seed)
    config = GroundingVLMConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=True,
        adapter="linear",
        vision_config=dict(VISION),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        initializer_range=0.1,
        max_position_embeddings=512,
    )
    model = GroundingVLM(config)
    model.save_pretrained(folder)
    GroundingProcessor.for_model(config, tokenizer).save_pretrained(folder)
    return folder

"""CapeLLM's model (arXiv 2411.06869): DINOv2 ViT-L/14, one linear map, Llama 3.1 8B.

As the paper has it: 256 patch tokens of a 224 px crop, no visual experts. Ours puts a learned
begin and end of the picture around them, and ends answers with the end of text, where the paper
spells a mark in letters.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["assemble_capellm", "capellm_config"]

from pathlib import Path
from typing import Any

import torch

from headsight.errors import CheckpointError
from headsight.models.grounding.config import GroundingVLMConfig

_IMAGE = "<|image_patch|>"


def capellm_config(vision: Any = None, llama: Any = None) -> GroundingVLMConfig:
    """The config for a DINOv2 and a Llama of transformers; the paper's by default.

    The token of image slots is the first id behind Llama's.
    """
    from transformers import Dinov2Config, LlamaConfig

    if vision is None:
        vision = Dinov2Config(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, mlp_ratio=4,
            image_size=518, patch_size=14,
        )  # fmt: skip
    if llama is None:
        llama = LlamaConfig(
            vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
            num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131072,
            rms_norm_eps=1e-5, bos_token_id=128000, eos_token_id=128001,
            rope_parameters={
                "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        )  # fmt: skip
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "rms_norm_eps", "bos_token_id", "eos_token_id",
    )  # fmt: skip
    rope = dict(llama.rope_parameters)
    stretch = {
        key: rope[key]
        for key in (
            "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"
        )
        if key in rope
    }  # fmt: skip
    return GroundingVLMConfig(
        **{name: getattr(llama, name) for name in names},
        vocab_size=llama.vocab_size + 1,
        max_position_embeddings=2048,
        rope_theta=float(rope["rope_theta"]),
        llama3_rope=stretch if rope.get("rope_type") == "llama3" else None,
        split_qkv=True,
        expert_layers=[],
        share_image_position=False,
        adapter="linear",
        vision_config={
            "encoder": "transformers",
            "model": vision.to_dict(),
            "image_size": 16 * vision.patch_size,
        },
        image_token_id=llama.vocab_size,
        pad_token_id=llama.vocab_size,
    )


def assemble_capellm(vision: Path, llama: Path, output: Path) -> None:
    """Write the model that CapeLLM starts from, of the folders of a DINOv2 and a Llama.

    The projector is new. `output` is then what a recipe names as its model.

    Raises:
        CheckpointError: a folder that transformers cannot read.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    from headsight.models.grounding.convert import seed_from_llama_
    from headsight.models.grounding.model import GroundingVLM
    from headsight.models.grounding.processor import GroundingProcessor

    try:
        sees: Any = AutoModel.from_pretrained(vision, local_files_only=True)
        writes: Any = AutoModelForCausalLM.from_pretrained(
            llama, local_files_only=True, dtype="auto"
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(llama, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{vision} or {llama} cannot be read: {error} Give the folders of a DINOv2 and of a"
            " Llama, with its tokenizer."
        ) from error
    config = capellm_config(sees.config, writes.config)
    tokenizer.add_special_tokens({"additional_special_tokens": [_IMAGE]})
    tokenizer.pad_token = _IMAGE
    model = GroundingVLM(config).to(writes.dtype)
    written = writes.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        given = written.get(name, written["model.embed_tokens.weight"])
        written[name] = torch.cat([given, given.float().mean(0, keepdim=True).to(given.dtype)])
    seed_from_llama_(model, written)
    part: Any = model.model.vision
    part.encoder.backbone.load_state_dict(sees.state_dict())
    model.save_pretrained(output)
    processor = GroundingProcessor.for_model(config, tokenizer)
    processor.image_mean, processor.image_std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    processor.separator = ""
    processor.save_pretrained(output)

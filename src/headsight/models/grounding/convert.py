"""Published CogVLM checkpoints (v1, v2) and LLaMA weights as a `GroundingVLM`.

Our key names are those of the published CogVLM files, so conversion is the identity but for the
stored rotary frequencies, which are computed instead (in bf16 with `rope_dtype="checkpoint"`, as
the published code has them).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headsight.errors import CheckpointError, ConfigError, LimitError
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.low_bit import BYTES_A_WEIGHT, require_low_bit
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.weights import (
    empty_model,
    load_weights_,
    read_json,
    weight_files,
)

__all__ = [
    "ParameterCounts",
    "cogvlm_key",
    "count_parameters",
    "load_cogvlm",
    "published_config",
    "require_memory",
    "seed_from_llama_",
]

_ROTARY = re.compile(r"\.rotary_emb\.inv_freq$")
_EXPERT = re.compile(r"\.(vision_expert_\w+|vision_mlp)\.")


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters, by part."""

    language: int
    """Embedding, language weights of the layers, norms and head."""
    experts: int
    tower: int
    """The vision encoder."""
    adapter: int
    """Adapter, picture borders and, in v2, the convolution."""
    linear: int
    """Of `language` and `experts`: the linear maps of the layers, which can be quantised."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.language + self.experts + self.tower + self.adapter

    @property
    def trainable(self) -> int:
        """What CogVLM's pre-training trains: experts and adapter."""
        return self.experts + self.adapter

    def bytes_in(self, dtype: torch.dtype, *, quantize: int | None = None) -> int:
        """Memory of the weights; `quantize` is 4 or 8 for linear maps of so many bits."""
        if quantize is None:
            return self.total * dtype.itemsize
        rest = (self.total - self.linear) * dtype.itemsize
        return rest + round(self.linear * BYTES_A_WEIGHT[quantize])


def count_parameters(config: GroundingVLMConfig) -> ParameterCounts:
    """Parameters of a model of this config, counted on the meta device without memory."""
    with torch.device("meta"):
        model = GroundingVLM(config)
    counts = {"language": 0, "experts": 0, "tower": 0, "adapter": 0, "linear": 0}
    for name, parameter in model.named_parameters():
        if name.startswith("model.layers.") and parameter.ndim == 2:
            counts["linear"] += parameter.numel()
        if name.startswith(("model.vision.linear_proj.", "model.vision.conv.")) or name in (
            "model.vision.boi",
            "model.vision.eoi",
        ):
            part = "adapter"
        elif name.startswith("model.vision."):
            part = "tower"
        elif _EXPERT.search(name):
            part = "experts"
        else:
            part = "language"
        counts[part] += parameter.numel()
    return ParameterCounts(**counts)


def published_config(version: int) -> dict[str, Any]:
    """The config.json values of CogVLM 17B (1) or CogVLM2 19B (2) that decide its shape."""
    tower = {
        "image_size": 490, "patch_size": 14, "hidden_size": 1792, "num_hidden_layers": 63,
        "num_heads": 16, "intermediate_size": 15360, "num_positions": 1226,
        "in_channels": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "dropout_prob": 0.0,
    }  # fmt: skip
    shape = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    if version == 1:
        own = {"vocab_size": 32000, "intermediate_size": 11008, "max_position_embeddings": 2048}
        return {
            **shape,
            **own,
            "vision_config": tower,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        }
    if version == 2:
        own = {"vocab_size": 128256, "intermediate_size": 14336, "num_multi_query_heads": 8}
        tower |= {"image_size": 1344, "num_positions": 9217}
        return {
            **shape,
            **own,
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": 8192,
            "vision_config": tower,
        }
    raise ConfigError(f"CogVLM version {version!r} was asked for; there are 1 and 2.")


def cogvlm_key(name: str) -> str | None:
    """Our name of a tensor in a published file; None for rotary frequencies, which we compute."""
    return None if _ROTARY.search(name) else name


def load_cogvlm(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    text_only: bool = False,
    rope_dtype: str = "fp32",
    quantize: int | None = None,
) -> GroundingVLM:
    """A published CogVLM folder, streamed tensor by tensor straight to `device`.

    Args:
        folder: config.json and safetensors, one file or shards with an index.
        dtype: of the weights in memory; by default what config.json names, else bf16.
        device: where the weights go.
        text_only: load the language weights alone: no tower, no adapter, no experts.
        rope_dtype: `checkpoint` to reproduce the published code's bf16 angles.
        quantize: 4 or 8 for decoder layers in so many bits; CUDA only.

    Raises:
        CheckpointError: the folder holds another kind of model, or its weights do not fit.
        InputError: no CUDA device, but `quantize` is given.
        MissingExtraError: bitsandbytes is needed and not installed.
        LimitError: the weights do not fit into the free memory.
    """
    target = torch.device(device)
    if quantize is not None:
        require_low_bit(quantize, target)
    values = read_json(folder / "config.json")
    try:
        config = GroundingVLMConfig.from_hf(values)
    except ConfigError as error:
        raise CheckpointError(f"{folder} is no CogVLM folder: {error}") from error
    config.rope_dtype = rope_dtype
    if text_only:
        config.vision_config = None
        config.expert_layers = []
    chosen = dtype or _dtype(values)
    files = weight_files(folder)
    needed = count_parameters(config).bytes_in(chosen, quantize=quantize)
    require_memory(needed, dtype=chosen, device=target, quantize=quantize)
    model = empty_model(config)
    load_weights_(
        model,
        files,
        dtype=chosen,
        device=target,
        rename=_language_key if text_only else cogvlm_key,
        quantize=quantize,
    )
    return model


def require_memory(
    needed: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    available: int | None = None,
    quantize: int | None = None,
) -> None:
    """Pass where `needed` bytes are free on `device`; `available` replaces the measured figure.

    Raises:
        LimitError: they are not; the message names both in GB.
    """
    free = _free_bytes(device) if available is None else available
    if free is not None and needed > free:
        short = str(dtype).removeprefix("torch.").replace("bfloat", "bf").replace("float", "fp")
        what = short if quantize is None else f"{quantize} bits in {short}"
        is_last = quantize == 4 or device.type != "cuda"
        way_out = "" if is_last else " quantize=4 for decoder layers of 4 bits,"
        raise LimitError(
            f"{what} needs {needed / 1e9:.1f} GB, have {free / 1e9:.1f} on {device.type}."
            f" Use a smaller model, a larger device,{way_out} or text_only=True for the language"
            " part."
        )


def seed_from_llama_(model: GroundingVLM, llama: Mapping[str, Tensor]) -> None:
    """Start `model` from the weights of a `LlamaForCausalLM` of its shape.

    Visual experts become copies; the vision part is left as it is.

    Raises:
        CheckpointError: `llama` lacks a weight or has one of another shape.
    """
    target = model.state_dict()
    try:
        for name in ("model.embed_tokens.weight", "model.norm.weight"):
            target[name].copy_(llama[name])
        head = "lm_head.weight"
        target[head].copy_(llama.get(head, llama["model.embed_tokens.weight"]))
        for index in range(model.config.num_hidden_layers):
            start = f"model.layers.{index}"
            for norm in ("input_layernorm", "post_attention_layernorm"):
                target[f"{start}.{norm}.weight"].copy_(llama[f"{start}.{norm}.weight"])
            packed = [llama[f"{start}.self_attn.{x}_proj.weight"] for x in "qkv"]
            own = f"{start}.self_attn.language_expert"
            if model.config.split_qkv:
                for x, weight in zip("qkv", packed, strict=True):
                    target[f"{own}_query_key_value.{x}_proj.weight"].copy_(weight)
            else:
                target[f"{own}_query_key_value.weight"].copy_(torch.cat(packed))
            target[f"{own}_dense.weight"].copy_(llama[f"{start}.self_attn.o_proj.weight"])
            for part in ("gate_proj", "up_proj", "down_proj"):
                weight = llama[f"{start}.mlp.{part}.weight"]
                target[f"{start}.mlp.language_mlp.{part}.weight"].copy_(weight)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"The LLaMA weights do not fit the config: {error}. Use one of the same shape."
        ) from error
    model.init_experts_from_language_()


def _language_key(name: str) -> str | None:
    is_visual = name.startswith("model.vision.") or _EXPERT.search(name)
    return None if is_visual else cogvlm_key(name)


def _dtype(values: Mapping[str, object]) -> torch.dtype:
    named = getattr(
        torch, str(values.get("torch_dtype") or values.get("dtype") or "bfloat16"), None
    )
    return named if isinstance(named, torch.dtype) else torch.bfloat16


def _free_bytes(device: torch.device) -> int | None:
    """Free memory of `device`; None where it cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return int(kilobytes) * 1024
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError):
            return None

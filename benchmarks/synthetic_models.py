"""Model folders of random bf16 weights in the shape of a LLaMA, for benchmarks of files."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Shape", "make_adapter", "make_model"]

_PIECE = 1 << 22
_LORA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """Of a model."""

    hidden: int
    layers: int
    words: int = 32000
    files: int = 1

    @property
    def inner(self) -> int:
        """Width of the feed-forward layers, as LLaMA has it."""
        return self.hidden * 43 // 16

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes."""
        yield "model.embed_tokens.weight", (self.words, self.hidden)
        for layer in range(self.layers):
            for module, shape in self.linears().items():
                yield f"model.layers.{layer}.{module}.weight", shape
            for norm in ("input_layernorm", "post_attention_layernorm"):
                yield f"model.layers.{layer}.{norm}.weight", (self.hidden,)
        yield "model.norm.weight", (self.hidden,)
        yield "lm_head.weight", (self.words, self.hidden)

    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear maps of a layer."""
        square, up, down = (
            (self.hidden, self.hidden),
            (self.inner, self.hidden),
            (self.hidden, self.inner),
        )
        own = dict.fromkeys((f"self_attn.{n}_proj" for n in "qkvo"), square)
        return own | {"mlp.gate_proj": up, "mlp.up_proj": up, "mlp.down_proj": down}

    def config(self) -> dict[str, object]:
        """config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // 64,
            "num_key_value_heads": self.hidden // 64,
            "vocab_size": self.words,
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": 2048,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": "bfloat16",
        }


def make_model(folder: Path, shape: Shape, *, seed: int, step: float = 0.0) -> int:
    """Write a model; with `step`, the one of seed 0 and random changes of that size. Its bytes."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(shape.config()))
    everything = list(shape.tensors())
    names = ["model.safetensors"]
    if shape.files > 1:
        names = [f"model-{i:05}-of-{shape.files:05}.safetensors" for i in range(1, shape.files + 1)]
        share = math.ceil(len(everything) / shape.files)
        where = {n: names[i // share] for i, (n, _) in enumerate(everything)}
        text = json.dumps({"metadata": {}, "weight_map": where})
        (folder / "model.safetensors.index.json").write_text(text)
    share = math.ceil(len(everything) / len(names))
    total = 0
    for index, name in enumerate(names):
        part = everything[index * share : (index + 1) * share]
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for tensor, size in part:
            count = 2 * math.prod(size)
            header[tensor] = {"dtype": "BF16", "shape": size, "data_offsets": [end, end + count]}
            end += count
        text = json.dumps(header)
        text += " " * (-len(text) % 8)
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text.encode())
            for tensor, size in part:
                for values in _numbers(tensor, math.prod(size), seed, step):
                    file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
        total += end
    return total


def make_adapter(folder: Path, shape: Shape, *, rank: int) -> None:
    """Write a LoRA adapter of all linear maps, as peft saves it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    factors = {}
    for layer in range(shape.layers):
        for module, (rows, columns) in shape.linears().items():
            prefix = f"base_model.model.model.layers.{layer}.{module}.lora"
            a = random.standard_normal((rank, columns), np.float32) * np.float32(0.02)
            b = random.standard_normal((rows, rank), np.float32) * np.float32(0.02)
            factors |= {f"{prefix}_A.weight": a, f"{prefix}_B.weight": b}
    save_file(factors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(_LORA),
        "base_model_name_or_path": "base",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _numbers(name: str, size: int, seed: int, step: float) -> Iterator[np.ndarray]:
    key = sum(name.encode()) + 1000 * len(name)
    base, own = np.random.default_rng([0, key]), np.random.default_rng([seed, key])
    for start in range(0, size, _PIECE):
        count = min(_PIECE, size - start)
        values = base.standard_normal(count, np.float32) * np.float32(0.02)
        if step:
            values += own.standard_normal(count, np.float32) * np.float32(0.02 * step)
        yield values

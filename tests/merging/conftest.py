"""Checkpoints written by the safetensors library, and adapters in peft's folder form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

CONFIG = {"model_type": "tiny", "architectures": ["Tiny"], "num_hidden_layers": 2}

Tensors = Mapping[str, torch.Tensor]


def tiny(seed: int, *, spread: float = 0.0, dtype: torch.dtype = torch.bfloat16) -> dict:
    """Two layers and an embedding; `spread` is how far it is from the tensors of seed 0."""
    shapes = {"model.embed_tokens.weight": (40, 24), "model.norm.weight": (24,)}
    for layer in range(2):
        shapes |= {
            f"model.layers.{layer}.attn.qkv.weight": (72, 24),
            f"model.layers.{layer}.attn.qkv.bias": (72,),
            f"model.layers.{layer}.mlp.up.weight": (50, 24),
        }
    base, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(shape, generator=base)
            + (spread * torch.randn(shape, generator=other) if spread else 0)
        ).to(dtype)
        for name, shape in shapes.items()
    }


def write_model(
    folder: Path, tensors: Tensors, *, files: int = 1, backwards: bool = False, **config: object
) -> Path:
    """A model folder; `files` shards, whose tensors may be in the opposite order."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    names = sorted(tensors, reverse=backwards)
    if files == 1:
        save_file({n: tensors[n] for n in names}, folder / "model.safetensors", {"format": "pt"})
        return folder
    where = {}
    for index in range(files):
        file = f"model-{index + 1:05}-of-{files:05}.safetensors"
        part = names[index::files]
        save_file({n: tensors[n] for n in part}, folder / file, {"format": "pt"})
        where |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def read_model(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder."""
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def write_adapter(folder: Path, factors: Tensors, **config: object) -> Path:
    """A LoRA adapter as peft saves it; names are those after `base_model.model.`."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["up"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    named = {f"base_model.model.{name}": value for name, value in factors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def disk() -> SimpleNamespace:
    """The functions of this file."""
    return SimpleNamespace(
        tiny=tiny, write_model=write_model, read_model=read_model, write_adapter=write_adapter
    )


@pytest.fixture
def models(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes a base and models near it: `models(spread, spread, ...)`."""

    def write(*spreads: float, dtype: torch.dtype = torch.bfloat16) -> list[Path]:
        folders = [write_model(tmp_path / "base", tiny(0, dtype=dtype))]
        for index, spread in enumerate(spreads, 1):
            tensors = tiny(index, spread=spread, dtype=dtype)
            folders.append(write_model(tmp_path / f"m{index}", tensors))
        return folders

    return write

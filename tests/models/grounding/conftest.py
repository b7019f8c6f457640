"""Small models built from a config with a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headsight.models.grounding import GroundingVLM, GroundingVLMConfig

EVA = {
    "encoder": "eva",
    "image_size": 28,
    "patch_size": 14,
    "hidden_size": 16,
    "num_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
}
"""A tower of 2 x 2 patches."""

SHAPE: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
    "expert_init": "random",
    "vision_config": EVA,
}


@pytest.fixture(scope="session")
def build() -> Callable[..., GroundingVLM]:
    """Builds a small model in evaluation mode; options override the shape, `seed` its weights."""

    def make(*, seed: int = 0, attention: str = "sdpa", **options: Any) -> GroundingVLM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = GroundingVLMConfig(**{**SHAPE, **options})
            config._attn_implementation = attention
            return GroundingVLM(config).eval()

    return make


@pytest.fixture(scope="session")
def tiny(build: Callable[..., GroundingVLM]) -> GroundingVLM:
    """One shared small model; tests must not change it."""
    return build()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, torch.Tensor]]:
    """Makes the inputs of one row with a picture in front of `text`."""

    def make(text: list[int], *, slots: int = 6) -> dict[str, torch.Tensor]:
        ids = torch.tensor([[1, *([0] * slots), *text]])
        types = torch.zeros_like(ids)
        types[:, 1 : 1 + slots] = 1
        return {"input_ids": ids, "token_type_ids": types, "attention_mask": torch.ones_like(ids)}

    return make


@pytest.fixture(scope="session")
def pixels() -> torch.Tensor:
    """Two pictures (2, 3, 28, 28)."""
    return torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))

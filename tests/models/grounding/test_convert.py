"""CogVLM checkpoints: published counts and bytes, key for key loading, memory, LLaMA seeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from headsight.errors import CheckpointError, ConfigError, LimitError
from headsight.models.grounding import GroundingVLM, GroundingVLMConfig
from headsight.models.grounding.convert import (
    count_parameters,
    load_cogvlm,
    published_config,
    require_memory,
)

Row = Callable[..., dict[str, torch.Tensor]]


def _config(version: int, **options: Any) -> GroundingVLMConfig:
    config = GroundingVLMConfig.from_hf(published_config(version))
    for name, value in options.items():
        setattr(config, name, value)
    return config


def test_counts_of_cogvlm_17b() -> None:
    counts = count_parameters(_config(1))
    assert counts.total == 17_639_685_376
    assert counts.experts == 32 * 202_375_168 == 6_476_005_376
    assert counts.adapter == 142_622_720
    assert counts.language + counts.adapter == 6_881_038_336
    patches_and_positions = 1_055_488 + 1792 + 1226 * 1792
    assert counts.tower == 63 * 67_926_784 + patches_and_positions
    assert [round(n / 1e9, 3) for n in (counts.language, counts.experts, counts.tower)] == [
        6.738,
        6.476,
        4.283,
    ]
    assert round(counts.bytes_in(torch.bfloat16) / 1e9, 2) == 35.28


def test_counts_of_the_ablations() -> None:
    assert count_parameters(_config(1, expert_layers=4)).trainable == 1_761_624_064
    assert count_parameters(_config(1, expert_parts="mlp")).trainable == 4_471_144_448
    without_projection = count_parameters(_config(1, expert_output_proj=False))
    assert round(without_projection.experts / 1e9, 2) == 5.94


def test_counts_and_bytes_of_cogvlm2_19b() -> None:
    """The bytes of the published index: bf16 weights and 32 buffers of 64 frequencies."""
    counts = count_parameters(_config(2))
    assert counts.total == 19_503_105_280
    assert counts.bytes_in(torch.bfloat16) == 39_006_210_560
    assert counts.bytes_in(torch.bfloat16) + 32 * 64 * 2 == 39_006_214_656


def test_versions_are_told_apart() -> None:
    v1, v2 = _config(1), _config(2)
    assert (v1.num_key_value_heads, v2.num_key_value_heads) == (32, 8)
    assert (v1.expert_qkv_bias, v2.expert_qkv_bias) == (False, True)
    assert (v1.vision_conv, v2.vision_conv) == (False, True)
    assert (v1.rope_theta, v2.rope_theta) == (10_000, 500_000)
    assert (v1.rms_norm_eps, v2.rms_norm_eps) == (1e-6, 1e-5)
    assert (v2.bos_token_id, v2.eos_token_id, v2.pad_token_id) == (128000, 128001, 128002)
    own = GroundingVLMConfig.from_hf({**published_config(1), "rms_norm_eps": 1e-5})
    assert own.rms_norm_eps == 1e-5
    assert (
        GroundingVLMConfig.from_hf({**published_config(1), "template_version": "chat"}).template
        == "chat"
    )
    with pytest.raises(ConfigError, match="'qwen2_vl'"):
        GroundingVLMConfig.from_hf({"model_type": "qwen2_vl", "hidden_size": 8})


def _small(version: int) -> dict[str, Any]:
    """A published config with every width cut down; the names stay."""
    values = published_config(version)
    values |= {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
    values |= {"num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if version == 2:
        values["num_multi_query_heads"] = 2
    side = 56 if version == 2 else 28
    values["vision_config"] |= {
        "image_size": side, "hidden_size": 16, "num_hidden_layers": 2, "num_heads": 2,
        "intermediate_size": 24, "num_positions": (side // 14) ** 2 + 1,
    }  # fmt: skip
    return values


def _published_names(version: int) -> dict[str, tuple[int, ...]]:
    """The names of the published files, spelled out by hand, with the shapes of `_small`."""
    width, inner, kv = 32, 40, 32 if version == 1 else 16
    names: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (64, width),
        "model.embed_tokens.weight": (64, width),
        "model.norm.weight": (width,),
    }
    for i in range(2):
        layer = f"model.layers.{i}"
        names[f"{layer}.input_layernorm.weight"] = (width,)
        names[f"{layer}.post_attention_layernorm.weight"] = (width,)
        names[f"{layer}.self_attn.rotary_emb.inv_freq"] = (4,)
        for expert in ("language", "vision"):
            attention = f"{layer}.self_attn.{expert}_expert"
            names[f"{attention}_query_key_value.weight"] = (width + 2 * kv, width)
            names[f"{attention}_dense.weight"] = (width, width)
            for part in ("gate_proj", "up_proj"):
                names[f"{layer}.mlp.{expert}_mlp.{part}.weight"] = (inner, width)
            names[f"{layer}.mlp.{expert}_mlp.down_proj.weight"] = (width, inner)
        if version == 2:
            names[f"{layer}.self_attn.vision_expert_query_key_value.bias"] = (width + 2 * kv,)
    vision, patches = "model.vision", 4 if version == 1 else 16
    names |= {
        f"{vision}.boi": (1, 1, width),
        f"{vision}.eoi": (1, 1, width),
        f"{vision}.patch_embedding.cls_embedding": (1, 16),
        f"{vision}.patch_embedding.position_embedding.weight": (patches + 1, 16),
        f"{vision}.patch_embedding.proj.weight": (16, 3, 14, 14),
        f"{vision}.patch_embedding.proj.bias": (16,),
        f"{vision}.linear_proj.linear_proj.weight": (width, 16),
        f"{vision}.linear_proj.norm1.weight": (width,),
        f"{vision}.linear_proj.norm1.bias": (width,),
        f"{vision}.linear_proj.gate_proj.weight": (inner, width),
        f"{vision}.linear_proj.dense_h_to_4h.weight": (inner, width),
        f"{vision}.linear_proj.dense_4h_to_h.weight": (width, inner),
    }
    if version == 2:
        names |= {f"{vision}.conv.weight": (16, 16, 2, 2), f"{vision}.conv.bias": (16,)}
    shapes = {
        "attention.query_key_value": (48, 16), "attention.dense": (16, 16),
        "mlp.fc1": (24, 16), "mlp.fc2": (16, 24),
    }  # fmt: skip
    for j in range(2):
        layer = f"{vision}.transformer.layers.{j}"
        for part, shape in shapes.items():
            names[f"{layer}.{part}.weight"], names[f"{layer}.{part}.bias"] = shape, shape[:1]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            names[f"{layer}.{norm}.weight"] = names[f"{layer}.{norm}.bias"] = (16,)
    return names


def _write(folder: Path, version: int, *, shards: int = 1) -> dict[str, torch.Tensor]:
    """A random checkpoint with exactly the published names."""
    generator = torch.Generator().manual_seed(5)
    tensors = {
        name: torch.randn(shape, generator=generator).mul(0.2).bfloat16()
        for name, shape in _published_names(version).items()
    }
    (folder / "config.json").write_text(json.dumps({**_small(version), "torch_dtype": "bfloat16"}))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return tensors
    index = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(tensors.items())[number::shards])
        save_file(part, folder / name)
        index |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return tensors


@pytest.mark.parametrize(("version", "shards"), [(1, 1), (1, 3), (2, 1), (2, 2)])
def test_published_names_load_strictly(row: Row, tmp_path: Path, version: int, shards: int) -> None:
    written = _write(tmp_path, version, shards=shards)
    model = load_cogvlm(tmp_path)
    assert model.dtype == torch.bfloat16
    loaded = model.state_dict()
    kept = {name: t for name, t in written.items() if not name.endswith("inv_freq")}
    assert loaded.keys() == kept.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in kept.items())
    side = 28 if version == 1 else 56
    inputs = row([3, 4], slots=model.model.slots_per_image)
    with torch.no_grad():
        out = model(**inputs, pixel_values=torch.zeros(1, 3, side, side).bfloat16())
    assert out.logits.isfinite().all()


def test_transformers_loads_a_file_with_frequencies_too(tmp_path: Path) -> None:
    written = _write(tmp_path, 1)
    config = GroundingVLMConfig.from_hf(_small(1))
    model, info = GroundingVLM.from_pretrained(tmp_path, config=config, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(model.lm_head.weight, written["lm_head.weight"])


def test_saved_and_loaded_again_nothing_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    _write(tmp_path / "a", 2)
    model = load_cogvlm(tmp_path / "a")
    model.save_pretrained(tmp_path / "b")
    again, info = GroundingVLM.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_text_alone(tmp_path: Path) -> None:
    _write(tmp_path, 1)
    whole, text = load_cogvlm(tmp_path), load_cogvlm(tmp_path, text_only=True, dtype=torch.float32)
    assert text.model.vision is None
    assert not any("vision" in name for name in text.state_dict())
    ids = torch.tensor([[1, 5, 9]])
    with torch.no_grad():
        wanted = whole.float()(ids).logits
        assert torch.equal(text(ids).logits, wanted)


def test_shortage_of_memory_names_the_need() -> None:
    needed = count_parameters(_config(1)).bytes_in(torch.bfloat16)
    device = torch.device("cpu")
    with pytest.raises(LimitError, match=r"bf16 needs 35\.3 GB, have 21\.0"):
        require_memory(needed, dtype=torch.bfloat16, device=device, available=21_000_000_000)
    require_memory(1, dtype=torch.bfloat16, device=device)


def test_foreign_and_partial_folders(tmp_path: Path) -> None:
    written = _write(tmp_path, 1)
    lacking = {k: v for k, v in written.items() if "norm1" not in k}
    save_file({**lacking, "extra": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"2 missing: .*norm1.*; 1 unexpected: extra"):
        load_cogvlm(tmp_path)
    turned = {**written, "lm_head.weight": torch.zeros(3, 3)}
    save_file(turned, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lm_head.weight \[3, 3\] instead of \[64, 32\]"):
        load_cogvlm(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="no CogVLM folder"):
        load_cogvlm(tmp_path)


def test_a_lost_shard_is_named(tmp_path: Path) -> None:
    _write(tmp_path, 1, shards=2)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of the 2 shards"):
        load_cogvlm(tmp_path)


def test_only_two_versions() -> None:
    with pytest.raises(ConfigError, match="version 3"):
        published_config(3)

"""Adapters of peft: folded as peft folds them, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

from headsight.errors import CheckpointError, InputError
from headsight.merging import MergeJob, Model, fold, join_parts, merge, split_parts
from headsight.merging.adapter import open_adapter
from headsight.merging.checkpoint import open_checkpoint

pytestmark = pytest.mark.filterwarnings(  # what peft says with this transformers
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning",
    "ignore:Setting .save_embedding_layers. to .True.:UserWarning",
)

UP = "model.layers.0.mlp.up"


def llama(dtype: torch.dtype = torch.bfloat16) -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, dtype=dtype,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).to(dtype).eval()


def gpt2() -> transformers.GPT2LMHeadModel:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=16,
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).eval()


def trained(model: torch.nn.Module, config: LoraConfig, folder: Path) -> torch.nn.Module:
    """peft's model with factors that do something, saved into `folder`."""
    adapted = get_peft_model(model, config, autocast_adapter_dtype=True)
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(folder)
    return adapted


CASES = {
    "linear": {"target_modules": ["q_proj", "up_proj"], "r": 8, "lora_alpha": 16},
    "all": {"target_modules": "all-linear", "r": 2, "lora_alpha": 1, "use_rslora": True},
    "patterns": {
        "target_modules": ["q_proj", "k_proj"],
        "r": 4,
        "rank_pattern": {"layers.1.self_attn.q_proj": 6},
        "alpha_pattern": {"k_proj": 3},
    },
    "whole": {"target_modules": ["q_proj"], "modules_to_save": ["norm", "lm_head"]},
}


@pytest.mark.parametrize("case", CASES)
def test_folding_is_pefts(disk, case: str, tmp_path: Path) -> None:
    """Every byte of merge_and_unload(safe_merge=False)."""
    llama().save_pretrained(tmp_path / "base")
    config = LoraConfig(**CASES[case])
    trained(llama(), config, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(llama(), tmp_path / "adapter").merge_and_unload()
    report = fold(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")
    ours, expected = disk.read_model(tmp_path / "out"), theirs.state_dict()
    assert ours.keys() == expected.keys()
    for name, value in ours.items():
        assert torch.equal(value, expected[name]), name
    changed = {u.name for u in report.units if u.decision != "equal"}
    base = disk.read_model(tmp_path / "base")
    assert changed == {n for n, v in base.items() if not torch.equal(v, ours[n])}
    transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out")


def test_embeddings(tmp_path: Path, disk) -> None:
    """peft rounds their change to bf16 first; ours is the exact sum, rounded once."""
    llama().save_pretrained(tmp_path / "base")
    config = LoraConfig(target_modules=["embed_tokens"], r=3, lora_alpha=6)
    trained(llama(), config, tmp_path / "adapter")
    fold(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")
    name = "model.embed_tokens"
    stored = disk.read_model(tmp_path / "adapter")
    a, b = (stored[f"base_model.model.{name}.lora_embedding_{x}"].double() for x in "AB")
    weight = disk.read_model(tmp_path / "base")[f"{name}.weight"].double()
    exact = (weight + 6 / 3 * (b @ a).T).bfloat16()
    assert torch.equal(disk.read_model(tmp_path / "out")[f"{name}.weight"], exact)


def test_transposed_weights(tmp_path: Path) -> None:
    """GPT-2 stores (in, out)."""
    gpt2().save_pretrained(tmp_path / "base")
    config = LoraConfig(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, lora_alpha=4)
    trained(gpt2(), config, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(gpt2(), tmp_path / "adapter").merge_and_unload()
    fold(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")
    ours = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "out")
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-6)


def test_the_folded_model_answers_as_the_adapted_one(tmp_path: Path) -> None:
    llama(torch.float32).save_pretrained(tmp_path / "base")
    adapted = trained(llama(torch.float32), LoraConfig(**CASES["linear"]), tmp_path / "adapter")
    fold(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")
    folded = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out").eval()
    ids = torch.arange(3, 23)[None]
    with torch.no_grad():
        difference = (adapted.eval()(ids).logits - folded(ids).logits).abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("nothing", ["alpha", "B"])
def test_an_adapter_that_does_nothing_leaves_every_byte(disk, tmp_path: Path, nothing: str) -> None:
    tensors = disk.tiny(0)
    tensors[f"{UP}.weight"][0, :3] = -0.0  # adding zero would make it +0
    base = disk.write_model(tmp_path / "base", tensors)
    b = torch.zeros(50, 4) if nothing == "B" else torch.ones(50, 4)
    adapter = disk.write_adapter(
        tmp_path / "adapter",
        {f"{UP}.lora_A.weight": torch.ones(4, 24), f"{UP}.lora_B.weight": b},
        lora_alpha=0 if nothing == "alpha" else 8,
    )
    report = fold(base, adapter, tmp_path / "out")
    assert report.taken == {"equal": len(tensors)}
    for name, value in disk.read_model(tmp_path / "out").items():
        assert torch.equal(value.view(torch.int16), tensors[name].view(torch.int16))


def test_a_prefix_that_differs_in_memory(disk, tmp_path: Path) -> None:
    """What transformers calls model.language_model.layers may be language_model.model.layers in
    the file; the vision tower has layers of the same names."""
    plain = {
        f"{part}.layers.{i}.q.weight": torch.zeros(6, 6)
        for part in ("language_model.model", "vision_tower.encoder")
        for i in range(2)
    }
    base = open_checkpoint(disk.write_model(tmp_path / "base", plain))
    factors = {
        "model.language_model.layers.1.q.lora_A.weight": torch.ones(4, 6),
        "model.language_model.layers.1.q.lora_B.weight": torch.ones(6, 4),
        "model.vision_tower.encoder.layers.0.q.lora_A.weight": torch.ones(4, 6),
        "model.vision_tower.encoder.layers.0.q.lora_B.weight": torch.ones(6, 4),
    }
    adapter = open_adapter(disk.write_adapter(tmp_path / "adapter", factors), base)
    assert set(adapter.low_rank) == {
        "language_model.model.layers.1.q.weight",
        "vision_tower.encoder.layers.0.q.weight",
    }


@pytest.mark.parametrize(
    ("factors", "config", "said"),
    [
        ({}, {"peft_type": "IA3"}, "of kind IA3; only plain LoRA"),
        ({}, {"use_dora": True}, "with DoRA; only plain LoRA"),
        ({}, {"init_lora_weights": "pissa"}, "with init_lora_weights pissa; only plain LoRA"),
        ({}, {"r": None, "lora_alpha": 1}, "at least 1"),
        (
            {"other.layers.0.x.lora_A.weight": (4, 24), "other.layers.0.x.lora_B.weight": (50, 4)},
            {"base_model_name_or_path": "somebody/else"},
            "1 modules are not there: other.layers.0.x. It was made for somebody/else",
        ),
        (
            {f"{UP}.lora_A.weight": (4, 25), f"{UP}.lora_B.weight": (50, 4)},
            {},
            r"have other shapes: model.layers.0.mlp.up.weight \[50, 25\] instead of \[50, 24\]",
        ),
        ({f"{UP}.lora_A.weight": (4, 24)}, {}, "both factors"),
        (
            {f"{UP}.lora_magnitude_vector": (50,)},
            {},
            "modules are not there: model.layers.0.mlp.up.lora_magnitude_vector",
        ),
    ],
)
def test_adapters_that_do_not_fit(
    disk, tmp_path: Path, factors: dict, config: dict, said: str
) -> None:
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    tensors = {name: torch.ones(shape) for name, shape in factors.items()}
    adapter = disk.write_adapter(tmp_path / "adapter", tensors, **config)
    with pytest.raises(CheckpointError, match=said):
        fold(base, adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_are_no_adapters(disk, tmp_path: Path) -> None:
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    with pytest.raises(CheckpointError, match=r"has no adapter_config\.json"):
        fold(base, base, tmp_path / "out")
    adapter = disk.write_adapter(tmp_path / "adapter", {})
    with pytest.raises(InputError, match="is an adapter, which needs a model"):
        merge(MergeJob(method="passthrough", models=(Model(str(adapter)),)), tmp_path / "out")
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no adapter_model\.safetensors"):
        fold(base, adapter, tmp_path / "out")


@pytest.mark.parametrize("packed", ["parts", "whole"])
def test_packed_maps_both_ways(packed: str) -> None:
    """Three pairs are one of three times the rank, exactly."""
    random = np.random.default_rng(0)
    pairs = [(random.standard_normal((2, 5)), random.standard_normal((4, 2))) for _ in range(3)]
    a, b = join_parts(pairs)
    assert (a.shape, b.shape) == ((6, 5), (12, 6))
    if packed == "parts":
        np.testing.assert_array_equal(b @ a, np.concatenate([y @ x for x, y in pairs]))
        for (x, y), (x2, y2) in zip(pairs, split_parts(a, b, (4, 4, 4)), strict=True):
            np.testing.assert_array_equal(x, x2)
            np.testing.assert_array_equal(y, y2)
    else:
        b[0, 3] = 1
        with pytest.raises(InputError, match="not zero outside the block of part 0"):
            split_parts(a, b, (4, 4, 4))


def test_packed_maps_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="expected one width"):
        join_parts([(np.ones((2, 5)), np.ones((4, 2))), (np.ones((2, 6)), np.ones((4, 2)))])
    with pytest.raises(InputError, match="expected B of 13 rows"):
        split_parts(np.ones((6, 5)), np.ones((12, 6)), (4, 4, 5))

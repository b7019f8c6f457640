"""Adapters: which modules get one, folded weights exact, files that peft opens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from cogvlm_config import COGVLM

from headsight.errors import CheckpointError, ConfigError
from headsight.models.grounding.adapter import load_folder
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.weights import empty_model
from headsight.teach.check import lora_size
from headsight.teach.lora import LoraSpec, attach, fold_, target_modules
from headsight.teach.samples import read_source
from headsight.teach.tokens import collate, encode_sample


@pytest.fixture
def vlm(school) -> Any:  # type: ignore[no-untyped-def]
    return load_folder(school.model, device="cpu")


def test_the_official_preset_has_190_modules_of_cogvlm() -> None:
    config = GroundingVLMConfig.from_hf(COGVLM)
    model = empty_model(config)
    official = target_modules(model, LoraSpec(targets="cogvlm-official"))
    assert len(official) == 2 * 32 + 2 * 63
    experts = target_modules(model, LoraSpec(targets="vision-expert"))
    assert len(experts) == 190 + 32 * (2 + 3)
    # rank 10 on 32 x (4096 -> 12288, 4096 -> 4096) and 63 x (1792 -> 5376, 1792 -> 1792)
    expected = 10 * (32 * (4096 + 12288 + 8192) + 63 * (1792 + 5376 + 3584))
    assert lora_size(model, LoraSpec(r=10, targets="cogvlm-official")) == expected


def test_presets_and_patterns(vlm: Any) -> None:
    model = vlm.model
    attention = target_modules(model, LoraSpec(targets="attention"))
    decoder = target_modules(model, LoraSpec(targets="decoder"))
    every = target_modules(model, LoraSpec(targets="all-linear"))
    assert len(attention) == 2 * 4  # two layers of language and vision experts
    assert set(attention) < set(decoder) < set(every)
    assert all("vision.encoder" not in name for name in decoder)
    assert "lm_head" not in every
    own = target_modules(model, LoraSpec(targets=(r"layers\.1\..*down_proj",)))
    both = target_modules(model, LoraSpec(targets=("attention", r"vision\.linear_proj")))
    assert set(both) == {*attention, "model.vision.linear_proj"}
    assert own == [n for n in decoder if n.startswith("model.layers.1.") and "down_proj" in n]


def test_targets_that_fit_nothing_are_told_with_names(vlm: Any) -> None:
    with pytest.raises(ConfigError, match="fits no linear module") as caught:
        target_modules(vlm.model, LoraSpec(targets="cogvlm-official-2"))
    assert "cogvlm-official" in str(caught.value)
    assert "model.layers.0" in str(caught.value)


def test_the_same_seed_gives_the_same_adapter(school) -> None:  # type: ignore[no-untyped-def]
    def drawn(seed: int) -> dict[str, torch.Tensor]:
        adapted = attach(load_folder(school.model, device="cpu").model, LoraSpec(r=2), seed=seed)
        return {n: p.detach() for n, p in adapted.named_parameters() if p.requires_grad}

    one, again, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in one)


def test_a_folded_model_says_what_the_adapted_one_does(vlm: Any, school, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    before = {n: p.detach().clone() for n, p in vlm.model.named_parameters()}
    adapted = attach(vlm.model, LoraSpec(r=4, alpha=8))
    learned = [p for p in adapted.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in learned)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learned:
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    sample = read_source(school.labels).draw(0, None)
    [batch] = collate([encode_sample(vlm, sample)], pad_id=0)
    with torch.no_grad():
        with_adapter = adapted(**batch.inputs).logits
        adapted.save_pretrained(tmp_path)
        plain = fold_(adapted)
        folded = plain(**batch.inputs).logits
    torch.testing.assert_close(folded, with_adapter, rtol=1e-4, atol=1e-5)
    assert plain is vlm.model
    after = dict(plain.named_parameters())
    assert set(after) == set(before)
    targets = {f"{n}.weight" for n in target_modules(plain, LoraSpec())}
    assert {n for n in after if not torch.equal(after[n], before[n])} == targets
    files = {path.name for path in tmp_path.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= files


def test_an_adapter_that_diverged_is_not_folded(vlm: Any) -> None:
    adapted = attach(vlm.model, LoraSpec(r=2))
    with torch.no_grad():
        next(p for p in adapted.parameters() if p.requires_grad).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        fold_(adapted)


@pytest.mark.parametrize(
    ("settings", "said"), [({"r": 0}, "rank r"), ({"dropout": 1.0}, "dropout")]
)
def test_settings_out_of_range(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LoraSpec(**settings)


@pytest.mark.parametrize("pattern", ["embed_tokens", r"model\.norm", "linear_proj"])
def test_modules_trained_whole_fold_into_the_same_layout(vlm: Any, pattern: str) -> None:
    before = {n: p.detach().clone() for n, p in vlm.model.named_parameters()}
    stored = set(vlm.model.state_dict())
    spec = LoraSpec(r=2, save=(pattern,))
    size = lora_size(vlm.model, spec)
    adapted = attach(vlm.model, spec)
    learned = {n: p for n, p in adapted.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in learned.values()) == size
    with torch.no_grad():
        for name, parameter in learned.items():
            if "modules_to_save" in name:
                parameter.add_(0.5)
    plain = fold_(adapted)
    assert set(plain.state_dict()) == stored
    after = dict(plain.named_parameters())
    changed = {n for n in before if not torch.equal(after[n], before[n])}
    assert changed
    assert all(re.search(pattern, name) for name in changed)
    head = plain.get_output_embeddings().weight  # type: ignore[operator]
    assert head is plain.get_input_embeddings().weight  # type: ignore[operator]

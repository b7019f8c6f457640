"""An exported folder opens, holds what was trained, and keeps encoder and decoder apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from headsight.errors import InputError
from headsight.models.grounding.adapter import load_folder
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.train.export import export_model
from headsight.train.language import build_model
from headsight.train.loop import LoopConfig
from headsight.train.recipe import Recipe, Source, Stage


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    source = Source(labels=tmp_path / "none.jsonl", share=1.0)
    stage = Stage(name="a", kind="language", loop=LoopConfig(steps=1), sources=(source,))
    return Recipe(
        name="tiny",
        output=tmp_path / "run",
        validation=tmp_path / "none.jsonl",
        encoder={"image_size": 64, "neck_channels": 16, "hidden_size": 32, "keep_tokens": 4},
        decoder={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        stages=(stage,),
    )


def _checkpoint(recipe: Recipe, path: Path, factor: float) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weights = {
        k: (torch.randn_like(v) * factor if v.is_floating_point() else v).clone()
        for k, v in build_model(recipe, build_tokenizer()).state_dict().items()
    }
    save_file({f"average/{k}": v for k, v in weights.items()}, path)
    return weights


def test_what_was_trained_is_loaded_again(recipe: Recipe, tmp_path: Path) -> None:
    weights = _checkpoint(recipe, tmp_path / "checkpoint.safetensors", 0.1)
    folder = tmp_path / "model"
    for _ in range(2):  # a second time over the first
        export_model(recipe, tmp_path / "checkpoint.safetensors", folder)
    loaded = load_folder(folder, device="cpu").model.state_dict()
    assert loaded.keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(loaded[name], value.half().float(), msg=name)
    vision, language = (load_file(f) for f in sorted(folder.glob("*.safetensors")))
    encoder = "model.vision.encoder."
    assert all(name.startswith(encoder) for name in vision)
    shared = {n.removeprefix(encoder).split(".")[0] for n in language if n.startswith(encoder)}
    assert shared == {"read_in", "feature_in", "position"}  # learned together with the decoder


def test_a_weight_too_large_for_half_precision_is_named(recipe: Recipe, tmp_path: Path) -> None:
    _checkpoint(recipe, tmp_path / "checkpoint.safetensors", 1e6)
    with pytest.raises(InputError, match="does not fit into"):
        export_model(recipe, tmp_path / "checkpoint.safetensors", tmp_path / "model")
    assert not (tmp_path / "model").exists()

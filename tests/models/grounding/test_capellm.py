"""CapeLLM's model: its size, what learns of it, and that its parts are put together as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from tokenizers_of_families import llama3

from headsight.models.grounding.adapter import load_folder
from headsight.models.grounding.capellm import assemble_capellm, capellm_config
from headsight.models.grounding.weights import sketch_model
from headsight.teach.check import lora_size
from headsight.teach.lora import LoraSpec, attach
from headsight.teach.plan import TuneStage, read_plan

RECIPE = Path(__file__).parents[3] / "src/headsight/teach/recipes/capellm.yaml"


def _lora() -> LoraSpec:
    [stage] = read_plan(RECIPE).stages
    assert isinstance(stage, TuneStage)
    assert stage.lora is not None
    return stage.lora


def test_what_learns_is_the_papers_number() -> None:
    model = sketch_model(capellm_config())
    # 32 layers: q 8 (4096 + 4096) and v 8 (4096 + 1024); 24 layers: twice 8 (1024 + 1024)
    assert 32 * 8 * (8192 + 5120) == 3_407_872
    assert 24 * 2 * 8 * 2048 == 786_432
    assert 1024 * 4096 + 4096 == 4_198_400
    assert lora_size(model, _lora()) == 8_392_704
    assert model.model.slots_per_image == 256 + 2


def test_the_recipe_has_the_papers_settings() -> None:
    [stage] = read_plan(RECIPE).stages
    assert isinstance(stage, TuneStage)
    assert (stage.epochs, stage.lr, stage.batch_size) == (12, 5e-4, 128)
    loop = stage.loop_config(1000)
    assert (loop.warmup_steps, loop.weight_decay) == (30, 0.01)
    assert stage.data[0].rounds == "dynamic"  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tiny ones of both, and the folder of what they make."""
    folder = tmp_path_factory.mktemp("parts")
    tokenizer = llama3()
    tokenizer.bos_token = tokenizer.eos_token
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vision = hf.Dinov2Model(
            hf.Dinov2Config(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=28,
                patch_size=14,
                mlp_ratio=2,
            )
        ).eval()
        llama = hf.LlamaForCausalLM(
            hf.LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                rms_norm_eps=1e-5,
                initializer_range=0.3,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=tokenizer.bos_token_id,
                rope_parameters={
                    "rope_type": "llama3",
                    "rope_theta": 500.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32,
                },
            )
        ).eval()
    vision.save_pretrained(folder / "vision")
    llama.save_pretrained(folder / "llama")
    tokenizer.save_pretrained(folder / "llama")
    assemble_capellm(folder / "vision", folder / "llama", folder / "made")
    return vision, llama, load_folder(folder / "made", device="cpu")


@torch.no_grad()
def test_text_and_picture_are_those_of_the_parts(parts: Any) -> None:
    vision, llama, vlm = parts
    ids = torch.randint(0, len(vlm.processor.tokenizer) - 2, (1, 40))
    ours = vlm.model(ids).logits[..., : llama.config.vocab_size]
    torch.testing.assert_close(ours, llama(ids).logits, rtol=1e-5, atol=1e-5)
    side = vlm.processor.image_size
    assert side == 16 * 14
    pixels = torch.randn(1, 3, side, side)
    tokens = vlm.model.model.encode_pictures(pixels)
    expected = vision(pixels).last_hidden_state[:, 1:]
    assert tokens.shape == (1, 256, 32)
    torch.testing.assert_close(tokens, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_new_adapter_changes_nothing(parts: Any) -> None:
    vlm = parts[2]
    ids = torch.arange(5, 25)[None]
    before = vlm.model(ids).logits
    learner = attach(vlm.model, _lora()).eval()
    assert torch.equal(learner(ids).logits, before)

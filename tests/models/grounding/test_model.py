"""GroundingVLM: causality, masks, caching, batching, attention kernels, losses, options, peft."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.modeling_outputs import CausalLMOutputWithPast

from headsight.errors import ConfigError, InputError
from headsight.models.grounding import GroundingVLM, GroundingVLMConfig
from headsight.models.grounding.positions import answer_positions
from headsight.models.grounding.visual_expert import rotary_cos_sin

Build = Callable[..., GroundingVLM]
Row = Callable[..., dict[str, torch.Tensor]]
TEXT = [9, 33, 71, 8, 90, 17]


def run(model: GroundingVLM, **inputs: object) -> CausalLMOutputWithPast:
    with torch.no_grad():
        out: CausalLMOutputWithPast = model(**inputs)
    return out


def test_later_tokens_do_not_change_earlier_logits(
    row: Row, tiny: GroundingVLM, pixels: torch.Tensor
) -> None:
    first = run(tiny, **row(TEXT), pixel_values=pixels[:1]).logits
    other = run(tiny, **row([*TEXT[:3], 40, 41, 42]), pixel_values=pixels[:1]).logits
    assert torch.equal(first[:, :10], other[:, :10])
    assert not torch.allclose(first[:, 10:], other[:, 10:])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_order_of_patches_counts_unless_they_all_see_each_other(
    row: Row, build: Build, attention: str
) -> None:
    features = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(2))
    swapped = features[:, [0, 2, 1, 3]]
    causal = build(attention=attention)
    a, b = (run(causal, **row(TEXT), image_features=f).logits[:, 7:] for f in (features, swapped))
    assert (a - b).abs().max() > 1e-3
    full = build(attention=attention, image_mask="full")
    a, b = (run(full, **row(TEXT), image_features=f).logits[:, 7:] for f in (features, swapped))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)  # sums in another order


def test_full_mask_with_padding_and_two_pictures(
    row: Row, build: Build, pixels: torch.Tensor
) -> None:
    model = build(image_mask="full")
    alone = run(model, **row(TEXT), pixel_values=pixels[:1]).logits
    inputs = row(TEXT)
    padded = {k: torch.nn.functional.pad(v, (3, 0)) for k, v in inputs.items()}
    behind = run(model, **padded, pixel_values=pixels[:1]).logits
    torch.testing.assert_close(behind[:, 3:], alone, rtol=0, atol=1e-4)


def test_eager_equals_sdpa_and_gives_its_weights(
    row: Row, build: Build, pixels: torch.Tensor
) -> None:
    inputs = {**row(TEXT), "pixel_values": pixels[:1]}
    wanted = run(build(num_key_value_heads=2), **inputs).logits
    given = run(
        build(num_key_value_heads=2, attention="eager"),
        **inputs,
        output_attentions=True,
        output_hidden_states=True,
    )
    torch.testing.assert_close(given.logits, wanted, rtol=0, atol=1e-5)
    assert len(given.attentions) == 2
    assert len(given.hidden_states) == 3
    weights = given.attentions[0]
    assert weights.shape == (1, 4, 13, 13)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 13))
    assert weights.triu(1).abs().max() == 0


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_cached_greedy_decoding_equals_full_recomputation(
    row: Row, build: Build, pixels: torch.Tensor, attention: str
) -> None:
    model = build(attention=attention)
    inputs = row(TEXT)
    out = model.generate(
        **inputs, pixel_values=pixels[:1], max_new_tokens=32, do_sample=False, eos_token_id=None
    )
    ids = inputs["input_ids"]
    for _ in range(32):
        types = torch.zeros_like(ids)
        types[:, 1:7] = 1
        logits = run(model, input_ids=ids, token_type_ids=types, pixel_values=pixels[:1]).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(out, ids)


def test_left_padded_batch_equals_single_runs(
    row: Row, tiny: GroundingVLM, pixels: torch.Tensor
) -> None:
    rows = [row(TEXT), row(TEXT[:2])]
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
    singles = [
        tiny.generate(**r, pixel_values=pixels[i : i + 1], **options)[0, -12:]
        for i, r in enumerate(rows)
    ]
    padded = {
        k: torch.cat([rows[0][k], torch.nn.functional.pad(rows[1][k], (4, 0))]) for k in rows[0]
    }
    batch = tiny.generate(**padded, pixel_values=pixels, **options)[:, -12:]
    assert torch.equal(batch, torch.stack(singles))


def test_generate_without_a_mask_takes_no_slot_for_padding(
    row: Row, tiny: GroundingVLM, pixels: torch.Tensor
) -> None:
    inputs = row(TEXT)
    options = {"max_new_tokens": 6, "do_sample": False, "pixel_values": pixels[:1]}
    wanted = tiny.generate(**inputs, **options)
    del inputs["attention_mask"]
    assert torch.equal(tiny.generate(**inputs, **options), wanted)


def test_a_prompt_may_end_with_a_picture(
    row: Row, tiny: GroundingVLM, pixels: torch.Tensor
) -> None:
    inputs = {k: v[:, :7] for k, v in row(TEXT).items()}
    options = {"max_new_tokens": 4, "do_sample": False, "pixel_values": pixels[:1]}
    cached = tiny.generate(**inputs, **options)
    assert torch.equal(cached, tiny.generate(**inputs, **options, use_cache=False))


def test_pictures_anywhere(tiny: GroundingVLM, pixels: torch.Tensor) -> None:
    """Features given ahead equal pixels; pictures fill the slots in reading order."""
    ids = torch.tensor([[1, 9, *[0] * 6, 5, *[0] * 6, 8]])
    types = (ids == 0).long()
    wanted = run(tiny, input_ids=ids, token_type_ids=types, pixel_values=pixels).logits
    features = tiny.model.encode_pictures(pixels)
    given = run(tiny, input_ids=ids, token_type_ids=types, image_features=features).logits
    assert torch.equal(given, wanted)
    turned = run(tiny, input_ids=ids, token_type_ids=types, image_features=features.flip(0)).logits
    assert not torch.allclose(turned, wanted)


def test_slots_and_pictures_must_agree(row: Row, tiny: GroundingVLM, pixels: torch.Tensor) -> None:
    with pytest.raises(InputError, match="6 image slots, but 2 pictures of 6 slots need 12"):
        tiny(**row(TEXT), pixel_values=pixels)


def test_cached_calls_need_all_tokens_or_positions(row: Row, tiny: GroundingVLM) -> None:
    past = run(tiny, **row(TEXT), use_cache=True).past_key_values
    with pytest.raises(InputError, match="do not cover all 14"):
        tiny(torch.tensor([[4]]), past_key_values=past)


def test_loss_on_answers_alone(row: Row, tiny: GroundingVLM, pixels: torch.Tensor) -> None:
    inputs = {**row(TEXT), "pixel_values": pixels[:1]}
    labels = torch.full((1, 13), -100)
    labels[:, 10:] = inputs["input_ids"][:, 10:]
    whole = run(tiny, **inputs, labels=labels)
    kept = run(tiny, **inputs, labels=labels, logits_to_keep=answer_positions(labels))
    assert kept.logits.shape == (3, 96)
    torch.testing.assert_close(kept.loss, whole.loss)
    by_hand = torch.nn.functional.cross_entropy(whole.logits[0, 9:12], labels[0, 10:])
    torch.testing.assert_close(whole.loss, by_hand)
    assert run(tiny, **inputs, logits_to_keep=2).logits.shape == (1, 2, 96)
    few = run(tiny, **inputs, logits_to_keep=torch.tensor([0, 12])).logits
    torch.testing.assert_close(few, whole.logits[:, [0, 12]])


def test_packed_questions_equal_single_ones(
    row: Row, tiny: GroundingVLM, pixels: torch.Tensor
) -> None:
    """Two questions behind one picture, each blind to the other, are as two rows."""
    first, second = [9, 33, 71], [8, 90]
    single = [run(tiny, **row(q), pixel_values=pixels[:1]).logits[0, 7:] for q in (first, second)]
    segment = torch.tensor([0] * 7 + [1] * 3 + [2] * 2)
    sees = (segment[:, None] == segment[None]) | (segment[None] == 0)
    mask = (sees & torch.ones(12, 12, dtype=torch.bool).tril())[None, None]
    inputs = row(first + second)
    positions = torch.tensor([[0, 1, 2, 2, 2, 2, 3, 4, 5, 6, 4, 5]])
    for attention in ("sdpa", "eager"):
        tiny.config._attn_implementation = attention
        packed = run(
            tiny,
            input_ids=inputs["input_ids"],
            token_type_ids=inputs["token_type_ids"],
            attention_mask=mask,
            position_ids=positions,
            pixel_values=pixels[:1],
        ).logits[0]
        torch.testing.assert_close(packed[7:10], single[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(packed[10:], single[1], rtol=0, atol=1e-5)
    tiny.config._attn_implementation = "sdpa"


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"expert_layers": 2}, "layers.1.mlp.vision_mlp"),
        ({"expert_layers": [1]}, "layers.0.self_attn.vision_expert_dense"),
        ({"expert_parts": "mlp"}, "vision_expert_query_key_value"),
        ({"expert_output_proj": False}, "vision_expert_dense"),
        ({"share_image_position": False}, None),
        ({"rope_dtype": "checkpoint"}, None),
        ({"tie_word_embeddings": True}, None),
        ({"vision_conv": True}, None),
        ({"expert_qkv_bias": True, "rope_theta": 5e5, "num_key_value_heads": 1}, None),
    ],
)
def test_options_run_and_train(
    row: Row, build: Build, pixels: torch.Tensor, options: dict[str, object], gone: str | None
) -> None:
    model = build(**options)
    if gone is not None:
        assert not any(gone in name for name in model.state_dict())
    slots = model.model.slots_per_image
    assert slots == (3 if "vision_conv" in options else 6)
    inputs = row(TEXT, slots=slots)
    model.train()
    model(**inputs, pixel_values=pixels[:1], labels=inputs["input_ids"]).loss.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert not without


def test_new_experts_are_copies_or_random(build: Build) -> None:
    attention = build(expert_init="copy").model.layers[1].self_attn
    assert torch.equal(
        attention.vision_expert_query_key_value.weight,
        attention.language_expert_query_key_value.weight,
    )
    model = build(expert_init="random")
    mlp = model.model.layers[0].mlp
    assert not torch.equal(mlp.vision_mlp.up_proj.weight, mlp.language_mlp.up_proj.weight)
    model.init_experts_from_language_()
    assert torch.equal(mlp.vision_mlp.up_proj.weight, mlp.language_mlp.up_proj.weight)


def test_bf16_rope_rounds_frequencies_and_positions() -> None:
    """Head dim 128, base 10000: at position 20 the second cosine is 0.0405 in fp32, 0.0962 in bf16."""
    config = GroundingVLMConfig(hidden_size=128, num_attention_heads=1)
    positions = torch.tensor([[1, 20, 256, 257]])
    cos, _ = rotary_cos_sin(positions, config, torch.float32)
    assert cos[0, 1, 1].item() == pytest.approx(0.040516, abs=1e-5)
    assert cos[0, 0, 1].acos().item() == pytest.approx(0.8659644, abs=1e-6)
    config.rope_dtype = "checkpoint"
    rounded, _ = rotary_cos_sin(positions, config, torch.float32)
    assert rounded[0, 1, 1].item() == pytest.approx(0.096191, abs=1e-6)
    assert torch.equal(rounded[0, 2], rounded[0, 3])  # 257 becomes 256
    assert torch.tensor(0.8659644).bfloat16().item() == 0.8671875


def test_bf16_model_runs(row: Row, build: Build, pixels: torch.Tensor) -> None:
    model = build().bfloat16()
    out = run(model, **row(TEXT), pixel_values=pixels[:1].bfloat16())
    assert out.logits.dtype == torch.bfloat16
    assert out.logits.isfinite().all()


def test_save_and_load_by_the_auto_classes(
    row: Row, build: Build, tmp_path: Path, pixels: torch.Tensor
) -> None:
    model = build(tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).model_type == "headsight_grounding"
    wanted = run(model, **row(TEXT), pixel_values=pixels[:1]).logits
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText):
        loaded, info = auto.from_pretrained(tmp_path, output_loading_info=True)
        assert isinstance(loaded, GroundingVLM)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert torch.equal(run(loaded.eval(), **row(TEXT), pixel_values=pixels[:1]).logits, wanted)


def test_weights_that_no_file_gave_start_as_copies(build: Build, tmp_path: Path) -> None:
    """A text-only checkpoint opened as a model with experts: the experts are copies, nothing else changes."""
    build(expert_layers=[], expert_init="copy").save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    config.expert_layers = "all"
    loaded = GroundingVLM.from_pretrained(tmp_path, config=config)
    attention = loaded.model.layers[0].self_attn
    assert torch.equal(attention.vision_expert_dense.weight, attention.language_expert_dense.weight)


def test_lora_on_qkv(row: Row, build: Build, pixels: torch.Tensor) -> None:
    from peft import LoraConfig, get_peft_model

    model = build()
    before = run(model, **row(TEXT), pixel_values=pixels[:1]).logits
    names = ["language_expert_query_key_value", "vision_expert_query_key_value"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        wrapped = get_peft_model(
            model, LoraConfig(r=2, target_modules=names, task_type="CAUSAL_LM")
        )
    assert torch.equal(run(wrapped, **row(TEXT), pixel_values=pixels[:1]).logits, before)
    inputs = row(TEXT)
    wrapped(**inputs, pixel_values=pixels[:1], labels=inputs["input_ids"]).loss.backward()
    learns = {n for n, p in wrapped.named_parameters() if p.grad is not None}
    assert learns
    assert all("lora_" in name for name in learns)
    assert {name.split(".")[-4] for name in learns} >= set(names)


def test_gradient_checkpointing_gives_the_same_gradient(
    row: Row, build: Build, pixels: torch.Tensor
) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = build().train()
        if checkpointing:
            model.activation_checkpointing_enable()
        inputs = row(TEXT)
        out = model(**inputs, pixel_values=pixels[:1], labels=inputs["input_ids"], use_cache=False)
        out.loss.backward()
        gradients.append(model.model.layers[0].mlp.vision_mlp.up_proj.weight.grad)
    torch.testing.assert_close(*gradients)


def test_any_vision_backbone_of_transformers(row: Row) -> None:
    vit = {
        "model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 24, "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    convnext = {
        "model_type": "convnext", "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2,
        "image_size": 32,
    }  # fmt: skip
    for backbone, stride, tokens in ((vit, None, 16), (convnext, 8, 16)):
        config = GroundingVLMConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            vision_config={"encoder": "transformers", "model": backbone, "stride": stride},
        )
        model = GroundingVLM(config).eval()
        assert model.model.slots_per_image == tokens + 2
        inputs = row([4, 5], slots=tokens + 2)
        assert run(model, **inputs, pixel_values=torch.zeros(1, 3, 32, 32)).logits.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_mask": "none"}, "image_mask is 'none'; expected one of causal, full"),
        ({"expert_layers": 0}, "expert_layers is 0"),
        ({"hidden_size": 30}, "multiple of twice"),
        ({"num_key_value_heads": 3}, "multiple of the 3 key"),
        ({"vision_config": {"encoder": "resnet"}}, "expected one of eva, headgrid, transformers"),
        ({"vision_config": {"encoder": "eva"}}, "lacks hidden_size, image_size"),
        ({"vision_config": {"encoder": "transformers"}}, "lacks model.model_type"),
        ({"vision_config": {"encoder": "transformers", "model": {"model_type": "x"}}}, "'x'"),
    ],
)
def test_wrong_settings_are_named(build: Build, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_a_text_only_model_refuses_pictures(row: Row, build: Build, pixels: torch.Tensor) -> None:
    model = build(vision_config=None, expert_layers=[])
    assert run(model, input_ids=torch.tensor([TEXT])).logits.shape == (1, 6, 96)
    with pytest.raises(InputError, match="without its vision part"):
        model(**row(TEXT), pixel_values=pixels[:1])


def test_eva_positions_can_be_stretched() -> None:
    from headsight.models.grounding.vision_eva import resize_positions

    table = torch.arange(5.0)[:, None].expand(5, 3)  # class row and a 2 x 2 grid
    assert torch.equal(resize_positions(table, (2, 2)), table)
    assert resize_positions(table, (5, 5)).shape == (26, 3)
    with pytest.raises(ConfigError, match="no square grid"):
        resize_positions(table[:4], (2, 2))


def test_eva_names_are_those_of_the_checkpoints(tiny: GroundingVLM) -> None:
    names = set(tiny.state_dict())
    assert "model.vision.patch_embedding.cls_embedding" in names
    assert "model.vision.transformer.layers.0.attention.query_key_value.bias" in names
    assert "model.vision.linear_proj.norm1.bias" in names

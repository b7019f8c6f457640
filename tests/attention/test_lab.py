"""The lab as a guest: nothing changes while it watches, nothing is left when it goes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from headsight.attention.ablations import zero
from headsight.attention.heads import HeadId
from headsight.attention.interface import NAME, register_attention
from headsight.attention.lab import HeadLab
from headsight.attention.reducers import HeadOutputs, LastQueryRow
from headsight.errors import InputError

Specimens = Callable[[str], Any]

NAMES = (
    "llama",
    "llama, plain",
    "llama, left",
    "qwen3",
    "gpt2",
    "bert",
    "vit",
    "clip",
    "t5",
    "mistral",
    "mistral, left",
    "gemma2",
    "llava",
    "paligemma",
    "gemma3",
    "qwen2.5-vl",
    "nano",
)


@pytest.mark.parametrize("name", NAMES)
def test_watching_changes_no_bit(specimen: Specimens, name: str) -> None:
    it = specimen(name)
    plain = it.logits()
    with HeadLab(it.model) as lab:
        used = {it.model.get_submodule(s.module).config._attn_implementation for s in lab.heads}
        assert used == {NAME}
        assert torch.equal(it.logits(), plain)
        ones = torch.ones(len(lab.heads.tower()), lab.heads.tower()[0].num_heads)
        with torch.no_grad(), lab.editing(ones):
            assert torch.equal(it.logits(), plain)
    assert torch.equal(it.logits(), plain)


@pytest.mark.parametrize("name", ["llama, left", "t5", "gemma3", "mistral"])
def test_a_model_in_eager_steps_stays_in_them(specimen: Specimens, name: str) -> None:
    it = specimen(name)
    it.model.set_attn_implementation("eager")
    try:
        plain = it.logits()
        with HeadLab(it.model):
            assert torch.equal(it.logits(), plain)
        assert it.model.config._attn_implementation == "eager"
    finally:
        it.model.set_attn_implementation("sdpa")


CALLS = {"llama": 3, "clip": 4, "t5": 6, "gpt2": 2, "llava": 5}


@pytest.mark.parametrize("name", CALLS)
def test_every_attention_module_calls_once(specimen: Specimens, name: str) -> None:
    it = specimen(name)
    with HeadLab(it.model) as lab:
        for _ in range(2):  # counted anew in each pass
            it.logits()
            assert set(lab.num_calls.values()) == {1}
            assert sum(lab.num_calls.values()) == CALLS[name]


def test_chunked_towers_tell_their_chunks(specimen: Specimens) -> None:
    """4 x 8 and 4 x 4 patches: three windows of 4 x 4, or two pictures."""
    it = specimen("qwen2.5-vl")
    with HeadLab(it.model) as lab:
        it.logits()
        calls = [lab.num_calls[site.module] for site in lab.heads.tower("vision")]
        assert calls == [3, 2]
        assert {lab.num_calls[site.module] for site in lab.heads.tower("text")} == {1}


def test_the_table(specimen: Specimens) -> None:
    heads = HeadLab(specimen("qwen3").model).heads
    assert [(s.module, s.tower, s.layer) for s in heads] == [
        (f"model.layers.{i}.self_attn", "text", i) for i in range(3)
    ]
    assert {(s.num_heads, s.num_kv_heads, s.head_dim) for s in heads} == {(4, 2, 16)}
    assert [heads.sites[0].kv_group(head) for head in range(4)] == [0, 0, 1, 1]
    assert heads.head(2, 3) == HeadId("model.layers.2.self_attn", 2, 3, "text")
    assert heads.resolve(HeadId("model.layers.2.self_attn", 2, 3)) == heads.head(2, 3)


TOWERS = {
    "bert": ("text",),
    "vit": ("vision",),
    "clip": ("text", "vision"),
    "t5": ("encoder", "decoder", "cross"),
    "gemma3": ("vision", "text"),
    "nano": ("text",),
}


@pytest.mark.parametrize("name", TOWERS)
def test_towers(specimen: Specimens, name: str) -> None:
    heads = HeadLab(specimen(name).model).heads
    assert heads.towers == TOWERS[name]
    assert heads.main_tower == {"t5": "decoder", "vit": "vision"}.get(name, "text")
    for tower in heads.towers:
        assert [site.layer for site in heads.tower(tower)] == list(range(len(heads.tower(tower))))


def test_only_the_towers_asked_for_are_switched(specimen: Specimens) -> None:
    it = specimen("llava")
    plain = it.logits()
    with HeadLab(it.model, towers="text") as lab:
        assert it.model.config.text_config._attn_implementation == NAME
        assert it.model.config.vision_config._attn_implementation == "sdpa"
        assert lab.heads.towers == ("text",)
        assert torch.equal(it.logits(), plain)


def test_the_table_is_corrected_by_the_first_call(specimen: Specimens) -> None:
    it = specimen("llama")
    attention = it.model.model.layers[1].self_attn
    attention.head_dim, right = 16, attention.head_dim  # a family that names its widths otherwise
    lab = HeadLab(it.model)
    attention.head_dim = right
    assert lab.heads.sites[1].head_dim == 16
    with lab:
        it.logits()
    assert {site.head_dim for site in lab.heads} == {8}


def implementations(model: Any) -> list[str]:
    return [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]


def hooks(model: Any) -> int:
    return sum(len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("name", ["llama", "gemma3", "gemma2"])
def test_everything_is_restored_after_an_exception(specimen: Specimens, name: str) -> None:
    it = specimen(name)
    before, plain, count = implementations(it.model), it.logits(), hooks(it.model)

    def fail() -> None:
        with HeadLab(it.model) as lab, lab.editing(ablate=[zero((0, 0))]):
            assert not torch.equal(it.logits(), plain)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert implementations(it.model) == before
    assert hooks(it.model) == count
    assert torch.equal(it.logits(), plain)


def test_one_lab_a_model(specimen: Specimens) -> None:
    it = specimen("llama")
    with HeadLab(it.model) as lab:
        with pytest.raises(InputError, match="open on this model already"), HeadLab(it.model):
            pass
        with (
            pytest.raises(InputError, match="open on this model already"),
            HeadLab(it.model.model, output_projection="...o_proj"),
        ):
            pass
        with pytest.raises(InputError, match="open on this model already"), lab:
            pass
        lab.capture(it.inputs, LastQueryRow())  # the refused ones have not closed it
        with lab.editing(ablate=[zero((0, 0))]), pytest.raises(InputError, match="already"):
            lab.run(it.inputs, ablate=[zero((0, 1))])
    with HeadLab(it.model), HeadLab(specimen("gpt2").model):  # another model is another matter
        pass
    with pytest.raises(InputError, match="closed"):
        lab.run(it.inputs)


def test_a_lab_can_be_opened_again(specimen: Specimens) -> None:
    it = specimen("llama")
    lab = HeadLab(it.model)
    for _ in range(2):
        with lab:
            assert lab.capture(it.inputs, LastQueryRow())["last_query_row"].shape[1] == 3


# traps of transformers 5 that give wrong numbers without an error


def test_trap_a_name_without_masks_is_refused(specimen: Specimens) -> None:
    """What the refusal saves from: the same numbers, but padding is attended to."""
    it = specimen("llama, left")
    plain = it.logits()
    name = "maskless_for_a_test"
    with pytest.raises(InputError, match="without a mask function"):
        register_attention(name, ALL_ATTENTION_FUNCTIONS["sdpa"], None)
    assert name not in ALL_ATTENTION_FUNCTIONS
    AttentionInterface.register(name, ALL_ATTENTION_FUNCTIONS["sdpa"])
    it.model.set_attn_implementation(name)
    try:
        assert (it.logits() - plain)[:, -1].abs().max() > 0.1  # silently wrong
        with pytest.raises(InputError, match="without a mask function"), HeadLab(it.model):
            pass
        assert it.model.config._attn_implementation == name
    finally:
        it.model.set_attn_implementation("sdpa")
        del AttentionInterface._global_mapping[name]
    assert torch.equal(it.logits(), plain)


def test_our_name_has_both_functions() -> None:
    assert NAME in ALL_ATTENTION_FUNCTIONS
    assert ALL_MASK_ATTENTION_FUNCTIONS[NAME] is sdpa_mask


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_trap_head_mask_is_refused(specimen: Specimens, name: str) -> None:
    it = specimen(name)
    mask = torch.zeros(3, 6)
    plain = it.logits()
    with torch.no_grad():
        assert torch.equal(it.model(**it.inputs, head_mask=mask).logits, plain)  # swallowed
    with HeadLab(it.model) as lab:
        for call in (lab.run, lambda x: it.model(**x), lambda x: lab.sweep(x, lambda out: 0.0)):
            with pytest.raises(InputError, match="ignores it since version 5"):
                call({**it.inputs, "head_mask": mask})


def test_trap_output_attentions_is_refused(specimen: Specimens) -> None:
    it = specimen("llama")
    with torch.no_grad():
        assert not it.model(**it.inputs, output_attentions=True).attentions  # an empty tuple
    with pytest.raises(ValueError, match="not supported when using"):
        it.model.config.output_attentions = True
    with HeadLab(it.model) as lab:
        for call in (lab.run, lambda x: it.model(**x)):
            with pytest.raises(InputError, match="fused attention returns no weights"):
                call({**it.inputs, "output_attentions": True})
        with pytest.raises(InputError, match="fused attention returns no weights"):
            lab.run(it.inputs, generate={"max_new_tokens": 1, "output_attentions": True})


def test_output_attentions_works_where_it_did(specimen: Specimens) -> None:
    it = specimen("gemma2")  # softcap: transformers runs it in plain steps
    with HeadLab(it.model) as lab, torch.no_grad():
        maps = lab.run({**it.inputs, "output_attentions": True}).attentions
    assert [m.shape for m in maps] == [(2, 6, 10, 10)] * 3


def test_a_mask_of_another_kernel_is_refused(specimen: Specimens) -> None:
    from headsight.attention.interface import _attention

    attention = specimen("llama").model.model.layers[0].self_attn
    query = torch.zeros(1, 6, 4, 8)
    with pytest.raises(InputError, match="a mask of 2 axes"):
        _attention(attention, query, query, query, torch.ones(1, 4))


# models that do not use the interface


def gptj() -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.GPTJConfig(
        vocab_size=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        rotary_dim=4,
        n_positions=32,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.GPTJForCausalLM(config).eval()


def test_a_model_without_the_interface_is_told_the_way_out() -> None:
    with pytest.raises(InputError) as error:
        HeadLab(gptj())
    assert str(error.value) == (
        "Model family 'gptj' does not use the attention interface; pass"
        " output_projection='...out_proj' (candidates: 'transformer.h.*.attn.out_proj')."
    )
    with pytest.raises(InputError, match=r"No projection is called .*h\.\*\.attn\.out_proj"):
        HeadLab(gptj(), output_projection="...nothing")


def test_heads_at_the_output_projection_alone() -> None:
    model = gptj()
    batch = {"input_ids": torch.arange(5, 13)[None]}
    plain = model(**batch).logits
    weight = model.transformer.h[1].attn.out_proj.weight
    with HeadLab(model, output_projection="...attn.out_proj") as lab:
        assert [(s.layer, s.num_heads, s.head_dim) for s in lab.heads] == [(0, 4, 8), (1, 4, 8)]
        assert torch.equal(lab.run(batch).logits, plain)
        hooked = lab.run(batch, ablate=[zero((1, 2))]).logits
        outputs = lab.capture(batch, HeadOutputs())["outputs"]
        gradient = lab.gate_gradients(batch, lambda out: out.logits.sum((1, 2)))
        with pytest.raises(InputError, match="no attention weights"):
            lab.capture(batch, LastQueryRow())
    assert outputs.shape == (1, 2, 4, 8, 8)
    assert gradient.shape == (1, 2, 4)
    assert not model.transformer.h[1].attn.out_proj._forward_pre_hooks
    with torch.no_grad():
        weight[:, 16:24] = 0
    assert torch.equal(hooked, model(**batch).logits)


def test_trap_heads_cannot_be_pruned_or_masked_by_transformers(specimen: Specimens) -> None:
    """Should these come back one day, the lab may say so instead of refusing."""
    assert not hasattr(specimen("bert").model, "prune_heads")


def test_layers_of_hybrid_models_keep_their_numbers() -> None:
    """Attention in every second layer only: numbered as in the model, stacked in order."""
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen3NextConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        num_experts=2,
        num_experts_per_tok=1,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        linear_num_value_heads=2,
        linear_num_key_heads=1,
        linear_key_head_dim=4,
        linear_value_head_dim=4,
        layer_types=["linear_attention", "full_attention"] * 2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = transformers.Qwen3NextForCausalLM(config).eval()
    batch = {"input_ids": torch.arange(3, 9)[None]}
    with HeadLab(model) as lab:
        assert [site.layer for site in lab.heads] == [1, 3]
        assert lab.capture(batch, LastQueryRow())["last_query_row"].shape == (1, 2, 2, 1, 6)
        with pytest.raises(InputError, match=r"no layer 2. It has: \[1, 3\]"):
            lab.heads.head(2, 0)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks it
def test_a_model_wrapped_by_peft(specimen: Specimens) -> None:
    from peft import LoraConfig, get_peft_model

    own = copy.deepcopy(specimen("llama, plain").model)
    model = get_peft_model(own, LoraConfig(target_modules=["q_proj"], r=2)).eval()
    batch = {"input_ids": torch.arange(5, 15)[None]}
    with torch.no_grad():
        plain = model(**batch).logits
        with HeadLab(model) as lab:
            assert torch.equal(lab.run(batch).logits, plain)
            assert lab.heads.head(2, 1).module.endswith("model.layers.2.self_attn")
            assert not torch.equal(lab.run(batch, ablate=[zero((2, 1))]).logits, plain)


def test_an_unknown_tower_is_named(specimen: Specimens) -> None:
    with pytest.raises(InputError, match=r"No tower is called 'audio'.*\('text',\)"):
        HeadLab(specimen("llama").model, towers="audio")

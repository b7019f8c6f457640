"""Heads removed are heads gated to 0; and what of the weights goes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headsight.attention import HeadLab, prune_heads_
from headsight.errors import InputError

Specimens = Callable[[str], Any]


def output(answer: Any) -> Tensor:
    for name in ("logits", "logits_per_image", "last_hidden_state"):
        if getattr(answer, name, None) is not None:
            return getattr(answer, name)
    raise AssertionError(type(answer))


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# name, tower, policy, heads that stay by layer; llama: 6 heads read 2 key heads, 0-2 and 3-5
CASES = [
    ("llama", None, "balanced", {0: [0, 4], 2: [1, 2, 3, 5]}),
    ("llama", None, "group", {0: [3, 4, 5], 1: [0, 1, 2]}),
    ("llama", None, "expand", {0: [0, 1, 5], 2: [4]}),
    ("llama, left", None, "expand", {1: [2, 3, 4]}),
    ("qwen3", None, "balanced", {0: [1, 2], 1: [0, 3]}),  # 4 x 16 is not the hidden size
    ("qwen3", None, "group", {2: [2, 3]}),
    ("gpt2", None, "balanced", {0: [1, 3], 1: [2]}),
    ("bert", None, "balanced", {0: [0, 2, 5], 1: [1]}),
    ("vit", None, "balanced", {0: [3], 1: [0, 1]}),
    ("clip", "text", "balanced", {0: [0, 1, 5], 1: [4]}),
    ("clip", "vision", "balanced", {1: [1, 2]}),
    ("mistral", None, "group", {1: [3, 4, 5]}),
    ("gemma2", None, "balanced", {0: [0, 3]}),
    ("llava", None, "balanced", {0: [0, 5], 1: [1, 2, 3, 4]}),
    ("paligemma", None, "expand", {0: [0, 5, 4]}),
    ("gemma3", None, "balanced", {1: [2, 4]}),
    ("llama", None, "balanced", {1: []}),  # a layer without heads
    ("bert", None, "balanced", {0: []}),
    ("gpt2", None, "balanced", {0: [], 1: [3]}),
]


@pytest.mark.parametrize(("name", "tower", "policy", "keep"), CASES)
def test_removed_is_gated(
    specimen: Specimens, name: str, tower: str | None, policy: Any, keep: dict[int, list[int]]
) -> None:
    it = specimen(name)
    with torch.no_grad(), HeadLab(it.model) as lab:
        gates = {}
        for layer, heads in keep.items():
            site = next(s for s in lab.heads.tower(tower) if s.layer == layer)
            gates[layer] = torch.zeros(site.num_heads).index_fill(0, torch.tensor(heads).long(), 1)
        gated = output(lab.run(it.inputs, gates, tower=tower))
    pruned = prune_heads_(deepcopy(it.model), keep, gqa=policy, tower=tower)
    with torch.no_grad():
        cut = output(pruned(**it.inputs))
    assert not torch.allclose(gated, it.logits(), atol=1e-3)
    kept = it.inputs.get("attention_mask", torch.ones(1)).bool()
    if kept.shape == cut.shape[:2]:  # rows of padding hold noise
        cut, gated = cut[kept], gated[kept]
    torch.testing.assert_close(cut, gated, atol=2e-6, rtol=1e-5)


def test_what_goes_of_the_weights(specimen: Specimens) -> None:
    """Llama: 8 wide heads of 48; a query head has 8 x 48 numbers in, and 48 x 8 out."""
    it = specimen("llama")
    whole = parameters(it.model)
    head, group = 2 * 8 * 48, 2 * 8 * 48  # its query and output; keys and values of a group

    def gone(keep: dict[int, list[int]], policy: Any) -> int:
        return whole - parameters(prune_heads_(deepcopy(it.model), keep, gqa=policy))

    assert gone({0: [0, 4]}, "balanced") == 4 * head
    assert gone({0: [0, 1, 2]}, "group") == 3 * head + group
    assert gone({0: [0, 1, 2]}, "expand") == 3 * head - group  # one group became three
    assert gone({1: []}, "balanced") == 5 * head + group
    # BERT: 8 x 48 numbers four times, and three biases of 8
    it = specimen("bert")
    pruned = prune_heads_(deepcopy(it.model), {1: [0, 1]})
    assert parameters(it.model) - parameters(pruned) == 4 * (4 * 8 * 48 + 3 * 8)


@pytest.mark.parametrize(
    ("policy", "keep", "cached"),
    [("group", [3, 4, 5], 1), ("balanced", [1, 2, 4, 5], 2), ("expand", [0, 1, 3, 5], 4)],
)
def test_writing_with_a_cache(
    specimen: Specimens, policy: Any, keep: list[int], cached: int
) -> None:
    it = specimen("llama, left")
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    gate = torch.zeros(6).index_fill(0, torch.tensor(keep), 1)
    with HeadLab(it.model) as lab:
        gated = lab.run(it.inputs, {1: gate}, generate=options)
    pruned: Any = prune_heads_(deepcopy(it.model), {1: keep}, gqa=policy)
    assert torch.equal(pruned.generate(**it.inputs, **options), gated)
    with torch.no_grad():
        cache = pruned(**it.inputs, use_cache=True).past_key_values
    assert [cache.layers[i].keys.shape[1] for i in range(3)] == [2, cached, 2]


def test_a_pruned_model_can_be_watched_and_pruned_again(specimen: Specimens) -> None:
    it = specimen("llama")
    pruned = prune_heads_(deepcopy(it.model), {0: [0, 1, 3, 4]})
    with HeadLab(pruned) as lab:
        assert [(s.num_heads, s.num_kv_heads) for s in lab.heads] == [(4, 2), (6, 2), (6, 2)]
        with torch.no_grad():
            gated = lab.run(it.inputs, {0: torch.tensor([1.0, 0, 1, 0])}).logits
    twice: Any = prune_heads_(pruned, {"model.layers.0.self_attn": [0, 2]})
    with torch.no_grad():
        torch.testing.assert_close(twice(**it.inputs).logits, gated, atol=2e-6, rtol=1e-5)


def test_gradients_still_flow_where_they_did(specimen: Specimens) -> None:
    model = deepcopy(specimen("llama").model)
    attention = model.model.layers[0].self_attn
    attention.k_proj.weight.requires_grad_(False)
    prune_heads_(model, {0: [0, 3]})
    assert [p.requires_grad for p in attention.parameters()] == [True, False, True, True]
    assert attention.q_proj.out_features == attention.o_proj.in_features == 16


def test_what_cannot_be_removed_is_told_and_nothing_changes(specimen: Specimens) -> None:
    it = specimen("llama")
    plain, size = it.logits(), parameters(it.model)
    for keep, policy, words in (
        ({0: [0, 1]}, "balanced", r"\[2, 0\] heads would stay, but gqa='balanced' needs the same"),
        ({0: [0, 1, 3]}, "group", r"'group' needs whole groups.*'balanced'.*'expand'"),
        ({1: [0, 3], 0: [0]}, "balanced", "would stay"),  # the first of them is fine
        ({0: [6]}, "balanced", "has no head 6. Its heads are 0 to 5"),
        ({7: [0]}, "balanced", r"Heads of 7 .* only: \[0, 1, 2\]"),
        ({"nothing": [0]}, "balanced", "Heads of 'nothing'"),
        ({0: [0, 3]}, "even", "gqa is 'even'; expected one of group, balanced, expand"),
    ):
        with pytest.raises(InputError, match=words):
            prune_heads_(it.model, keep, gqa=policy)
    with HeadLab(it.model), pytest.raises(InputError, match="HeadLab is open"):
        prune_heads_(it.model, {0: [0, 3]})
    assert parameters(it.model) == size
    assert torch.equal(it.logits(), plain)


def test_models_that_are_made_otherwise_are_refused(specimen: Specimens) -> None:
    with pytest.raises(InputError, match=r"has none for its query.*HeadLab\.run"):
        prune_heads_(specimen("qwen2.5-vl").model, {0: [0]}, tower="vision")
    with pytest.raises(InputError, match=r"HeadLab\.run"):
        prune_heads_(specimen("t5").model, {0: [0]})


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks it
def test_adapters_are_to_be_merged_first(specimen: Specimens) -> None:
    from peft import LoraConfig, get_peft_model

    own = deepcopy(specimen("llama").model)
    model = get_peft_model(own, LoraConfig(target_modules=["q_proj"], r=2)).eval()
    with pytest.raises(InputError, match="merge adapters"):
        prune_heads_(model, {0: [0, 3]})


def test_norms_over_all_heads_are_refused() -> None:
    """OLMo 2 normalises all queries together, so that a head is not alone."""
    import transformers

    config = transformers.Olmo2Config(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=4,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"q_norm.weight' has a place for each head"):
        prune_heads_(transformers.Olmo2ForCausalLM(config), {0: [0]})

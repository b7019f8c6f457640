"""Gates and ablations against what they must equal: slices of weights, recomputed outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headsight.attention.ablations import (
    PatternPreserving,
    Replace,
    Scale,
    TokenMask,
    Undifferentiated,
    mean,
    resample,
    zero,
)
from headsight.attention.lab import HeadLab
from headsight.attention.reducers import HeadOutputs, LastQueryRow, Rows
from headsight.errors import InputError

Specimens = Callable[[str], Any]

PROJECTIONS = {
    "llama": "model.layers.1.self_attn.o_proj",
    "qwen3": "model.layers.1.self_attn.o_proj",
    "gpt2": "transformer.h.1.attn.c_proj",
    "bert": "bert.encoder.layer.1.attention.output.dense",
    "vit": "layers.1.attention.o_proj",
    "t5": "decoder.block.1.layer.0.SelfAttention.o",
    "gemma2": "model.layers.1.self_attn.o_proj",
    "llava": "model.language_model.layers.1.self_attn.o_proj",
}


def output(it: Any, answer: Any) -> Tensor:
    return answer.last_hidden_state if "logits" not in answer else answer.logits


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_gate_is_a_slice_of_the_projection(specimen: Specimens, name: str) -> None:
    """Three ways to take head 1 of layer 1 out, equal in every bit."""
    it = specimen(name)
    projection = it.model.get_submodule(PROJECTIONS[name])
    plain = it.logits()
    with torch.no_grad(), HeadLab(it.model) as lab:
        site = lab.heads.tower()[1]
        gates = torch.ones(len(lab.heads.tower()), site.num_heads)
        gates[1, 1] = 0
        gated = output(it, lab.run(it.inputs, gates))
        ablated = output(it, lab.run(it.inputs, ablate=[zero((1, 1))]))
    with torch.no_grad(), HeadLab(it.model, output_projection=PROJECTIONS[name]) as lab:
        hooked = output(it, lab.run(it.inputs, ablate=[zero((0, 1))]))
    columns = slice(site.head_dim, 2 * site.head_dim)
    weight = projection.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        (weight[columns] if name == "gpt2" else weight[:, columns]).zero_()  # Conv1D is (in, out)
    sliced = it.logits()
    with torch.no_grad():
        weight.copy_(kept)
    assert not torch.equal(sliced, plain)
    assert torch.equal(gated, sliced)
    assert torch.equal(ablated, sliced)
    assert torch.equal(hooked, sliced)


def test_gates_of_every_shape(specimen: Specimens) -> None:
    it = specimen("llama")
    gates = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), HeadLab(it.model) as lab:

        def run(gates: Any) -> Tensor:
            return lab.run(it.inputs, gates).logits

        each = run(gates)
        torch.testing.assert_close(run(gates[0])[0], each[0])
        torch.testing.assert_close(run(gates[1])[1], each[1])
        same = gates[0, 0].expand(3, 6)
        assert torch.equal(run(gates[0, 0]), run(same))
        assert torch.equal(run({i: gates[:, i] for i in range(3)}), each)
        names = {site.module: gates[:, i] for i, site in enumerate(lab.heads)}
        assert torch.equal(run(names), each)
        for bad, words in (
            (gates[:, :2], "do not fit the 3 layers of tower 'text'"),
            (gates[..., :5], r"has the shape \(2, 5\), but must be \(6,\) or \(B, 6\)"),
            (torch.ones(3, 3, 6), "given for 3 examples, .* runs on 2"),
            ({7: gates[0, 0]}, r"given for 7, but there are only: \[0, 1, 2\]"),
            (torch.tensor(1.0), "Pass"),
        ):
            with pytest.raises(InputError, match=words):
                run(bad)


def test_gates_can_be_trained(specimen: Specimens) -> None:
    it = specimen("qwen3")
    gates = torch.ones(3, 4, requires_grad=True)
    with HeadLab(it.model) as lab:
        lab.run(it.inputs, gates).logits.square().sum().backward()
    assert gates.grad is not None
    assert (gates.grad != 0).all()
    it.model.zero_grad()


def test_gates_hold_in_every_decoding_step(specimen: Specimens) -> None:
    """All heads of a layer off: the same tokens as with the whole sequence in one pass."""
    it = specimen("llama, left")
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    gates = torch.ones(3, 6)
    gates[1] = 0
    with torch.no_grad(), HeadLab(it.model) as lab:
        tokens = lab.run(it.inputs, gates, generate=options)
        mask = torch.cat([it.inputs["attention_mask"], torch.ones(2, 5, dtype=torch.long)], 1)
        logits = lab.run({"input_ids": tokens, "attention_mask": mask}, gates).logits
    choice = logits[:, 9:-1].clone()
    choice[..., 2] = -torch.inf  # the end is not allowed before five tokens
    assert torch.equal(choice.argmax(-1), tokens[:, 10:])


def test_a_layer_without_heads_is_its_mlp_alone(specimen: Specimens) -> None:
    it = specimen("llama")
    layer = it.model.model.layers[1]
    with torch.no_grad(), HeadLab(it.model) as lab:
        gated = lab.run(it.inputs, {1: torch.zeros(6)}).logits
    own = layer.self_attn.forward
    layer.self_attn.forward = lambda hidden_states, **kwargs: (
        torch.zeros_like(hidden_states),
        None,
    )
    removed = it.logits()
    layer.self_attn.forward = own
    assert torch.equal(gated, removed)


def head_outputs(it: Any, ablate: list[Any], lab: HeadLab) -> Tensor:
    """(B, L, H, T, D)."""
    with lab.recording(HeadOutputs()) as record, torch.no_grad():
        lab.run(it.inputs, ablate=ablate)
    return record.steps[-1]["outputs"]


def test_scale_mean_and_resample(specimen: Specimens) -> None:
    it = specimen("llama")
    other = {"input_ids": it.inputs["input_ids"].flip(0), **{}}
    with HeadLab(it.model) as lab:
        clean = head_outputs(it, [], lab)
        scaled = head_outputs(it, [Scale([(0, 1), (0, 4)], 0.25)], lab)
        assert torch.equal(scaled[:, 0, 1], clean[:, 0, 1] * 0.25)
        assert torch.equal(scaled[:, 0, 4], clean[:, 0, 4] * 0.25)
        assert torch.equal(scaled[:, 0, 2], clean[:, 0, 2])
        vector = torch.arange(8.0)
        assert torch.equal(
            head_outputs(it, [mean((0, 2), vector)], lab)[:, 0, 2], vector.expand(2, 10, 8)
        )
        by_place = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
        found = head_outputs(it, [mean((0, 2), by_place)], lab)
        assert torch.equal(found[:, 0, 2], by_place.expand(2, 10, 8))
        foreign = lab.capture(other, HeadOutputs())["outputs"]
        found = head_outputs(it, [resample((2, 5), foreign[:, 2, 5])], lab)
        assert torch.equal(found[:, 2, 5], foreign[:, 2, 5])
        assert torch.equal(found[:, 2, 4], clean[:, 2, 4])
        one = Replace([(0, 2)], vector, examples=slice(1, 2))
        found = head_outputs(it, [one], lab)
        assert torch.equal(found[0], clean[0])
        assert torch.equal(found[1, 0, 2], vector.expand(10, 8))


def test_mean_outputs_leave_padding_out(specimen: Specimens) -> None:
    it = specimen("llama")
    mask = it.inputs["attention_mask"].bool()
    with HeadLab(it.model) as lab:
        clean = head_outputs(it, [], lab)
        means = lab.mean_outputs(it.inputs)
    kept = clean.permute(0, 3, 1, 2, 4)[mask]  # (tokens, L, H, D)
    torch.testing.assert_close(means, kept.mean(0))


@pytest.mark.parametrize("name", ["llama", "llama, left", "qwen3", "t5", "gemma2", "bert"])
def test_undifferentiated_heads_attend_alike(specimen: Specimens, name: str) -> None:
    """Also past QK-norm, where scaling the projection would be undone, and past position bias."""
    it = specimen(name)
    with HeadLab(it.model) as lab:
        length = lab.capture(it.inputs, HeadOutputs())["outputs"].shape[3]
        with lab.editing(ablate=[Undifferentiated([(0, 1), (1, 3)])]):
            rows = lab.capture(it.inputs, [Rows(range(length)), HeadOutputs()])
        clean = lab.capture(it.inputs, Rows(range(length)))["rows"]
    for layer, head in ((0, 1), (1, 3)):
        seen = (rows["rows"][:, layer, head] > 0).float()
        uniform = seen / seen.sum(-1, keepdim=True).clamp(min=1)
        torch.testing.assert_close(rows["rows"][:, layer, head], uniform, atol=1e-6, rtol=0)
        assert not torch.allclose(clean[:, layer, head], uniform, atol=1e-3)
    assert torch.equal(rows["rows"][:, 0, 0], clean[:, 0, 0])


@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_trap_scaling_the_query_weights_is_undone_by_the_norm(
    specimen: Specimens, name: str
) -> None:
    """Why the query is scaled inside the call: here a factor on W_q moves nothing."""
    it = specimen(name)
    with HeadLab(it.model) as lab:
        site = lab.heads.tower()[0]
        weight = it.model.get_submodule(site.module).q_proj.weight
        clean = lab.capture(it.inputs, LastQueryRow())["last_query_row"]
        with torch.no_grad():
            weight[: site.head_dim] *= 0.5
        halved = lab.capture(it.inputs, LastQueryRow())["last_query_row"]
        with torch.no_grad():
            weight[: site.head_dim] *= 2
        with lab.editing(ablate=[Undifferentiated([(0, 0)], 0.5)]):
            inside = lab.capture(it.inputs, LastQueryRow())["last_query_row"]
    assert (halved - clean)[:, 0].abs().max() < 1e-4
    assert (inside - clean)[:, 0].abs().max() > 1e-2


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("name", ["llama, left", "qwen3", "gemma2", "bert", "t5"])
def test_token_masks(specimen: Specimens, name: str, renormalise: bool) -> None:
    """The head's output is that of the weights with the keys at zero."""
    it = specimen(name)
    mask = TokenMask([(0, 1), (0, 3)], [3, 4], renormalise)
    values: list[Tensor] = []
    with HeadLab(it.model, chunk_rows=4) as lab, torch.no_grad():
        site = lab.heads.tower()[0]
        projection = {"bert": "value", "t5": "v"}.get(name, "v_proj")
        module = it.model.get_submodule(site.module).get_submodule(projection)
        hook = module.register_forward_hook(lambda m, args, out: values.append(out))
        clean = lab.capture(it.inputs, [HeadOutputs()])["outputs"][:, 0]
        whole = lab.capture(it.inputs, Rows(range(clean.shape[2])))["rows"][:, 0]
        with lab.editing(ablate=[mask]):
            masked = lab.capture(it.inputs, [HeadOutputs(), Rows(range(clean.shape[2]))])
        hook.remove()
    weights = whole.clone()
    weights[:, [1, 3], :, 3:5] = 0
    if renormalise:
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
    value = values[0].unflatten(-1, (-1, site.head_dim)).transpose(1, 2)
    value = value.repeat_interleave(site.num_heads // site.num_kv_heads, 1)
    expected = weights @ value
    torch.testing.assert_close(masked["rows"][:, 0, [1, 3]], weights[:, [1, 3]], atol=1e-6, rtol=0)
    found = masked["outputs"][:, 0]
    torch.testing.assert_close(found[:, [1, 3]], expected[:, [1, 3]], atol=1e-5, rtol=0)
    assert torch.equal(found[:, [0, 2]], clean[:, [0, 2]])


def test_token_mask_on_all_keys_leaves_nothing(specimen: Specimens) -> None:
    it = specimen("llama")
    with HeadLab(it.model) as lab:
        for renormalise in (True, False):
            found = head_outputs(it, [TokenMask([(1, 2)], range(10), renormalise)], lab)
            assert (found[:, 1, 2] == 0).all()


def test_pattern_preserving(specimen: Specimens) -> None:
    """Olsson's ablation by hand: freeze every pattern of a clean run, then zero the head."""
    it = specimen("gpt2")
    length = it.inputs["input_ids"].shape[1]
    with HeadLab(it.model) as lab, torch.no_grad():
        with lab.recording([Rows(range(length)), HeadOutputs()]) as record:
            lab.run(it.inputs)
            frozen = lab.run(it.inputs, ablate=[PatternPreserving([(0, 1)])]).logits
            loose = lab.run(it.inputs, ablate=[zero((0, 1))]).logits
        clean, _, preserved, zeroed = record.steps
    torch.testing.assert_close(preserved["rows"], clean["rows"], atol=1e-7, rtol=0)
    assert (zeroed["rows"][:, 1] - clean["rows"][:, 1]).abs().max() > 1e-3
    assert (preserved["outputs"][:, 0, 1] == 0).all()
    assert (frozen - loose).abs().max() > 1e-4

    # the second layer by hand: clean patterns on the values of the ablated stream
    block = it.model.transformer.h[1]
    stream: list[Tensor] = []
    hook = block.attn.register_forward_pre_hook(lambda m, args: stream.append(args[0]))
    with HeadLab(it.model) as lab, torch.no_grad():
        lab.run(it.inputs, ablate=[zero((0, 1))])  # the stream entering layer 1 is the same
    hook.remove()
    value = block.attn.c_attn(stream[0]).chunk(3, -1)[2].unflatten(-1, (4, 12)).transpose(1, 2)
    expected = clean["rows"][:, 1] @ value
    torch.testing.assert_close(preserved["outputs"][:, 1], expected, atol=1e-5, rtol=0)


def test_pattern_preserving_needs_an_untouched_run(specimen: Specimens) -> None:
    it = specimen("llama")
    ablate = [PatternPreserving([(0, 0)])]
    with HeadLab(it.model) as lab:
        with pytest.raises(InputError, match="no untouched run"):
            lab.run(it.inputs, ablate=ablate, generate={"max_new_tokens": 2})
        with pytest.raises(InputError, match="untouched run first"), lab.editing(ablate=ablate):
            pass


def test_ablations_compose(specimen: Specimens) -> None:
    it = specimen("llama")
    with HeadLab(it.model) as lab:
        both = head_outputs(it, [Scale([(0, 1)], 0.5), zero((0, 2)), zero((2, 3))], lab)
        clean = head_outputs(it, [], lab)
    assert torch.equal(both[:, 0, 1], clean[:, 0, 1] * 0.5)
    assert (both[:, 0, 2] == 0).all()
    assert (both[:, 2, 3] == 0).all()


def test_what_cannot_be_ablated(specimen: Specimens) -> None:
    it = specimen("llama")
    vector = torch.zeros(8)
    with HeadLab(it.model) as lab:
        for bad, words in (
            (zero((3, 0)), r"no layer 3. It has: \[0, 1, 2\]"),
            (zero((0, 6)), "no head 6. Its heads are 0 to 5"),
            (zero((0, -1)), "no head -1"),
            (Replace([(0, 0)], torch.zeros(7)), "cannot replace"),
            (Replace([(0, 0)], torch.zeros(9, 8)), "same length"),
            (Replace([(0, 0)], torch.zeros(3, 10, 8)), "3 examples cannot replace 2"),
            (TokenMask([(0, 0)], [10], True), "names key 10, but this call has 10 keys"),
        ):
            with pytest.raises(InputError, match=words):
                lab.run(it.inputs, ablate=[bad])
        with pytest.raises(InputError, match="Give all its keys in one"):
            lab.run(it.inputs, ablate=[TokenMask([(0, 0)], [1], True)] * 2)
        foreign = HeadLab(specimen("gpt2").model).heads.head(0, 0)
        with pytest.raises(InputError, match="of another model"):
            lab.run(it.inputs, ablate=[zero(foreign)])
    with pytest.raises(InputError, match="keys are counted from 0"):
        TokenMask([(0, 0)], [-1], True)
    with pytest.raises(InputError, match=r"use mean\(\)"):
        resample((0, 0), vector)
    with pytest.raises(InputError, match=r"use resample\(\)"):
        mean((0, 0), torch.zeros(2, 10, 8))


# several pictures in one row of patches


def test_gates_by_picture_in_a_chunked_tower(specimen: Specimens) -> None:
    it = specimen("qwen2.5-vl")
    gates = torch.ones(2, 2, 4)
    gates[1, :, 1] = 0  # head 1, in both layers, for the second picture only
    visual = it.model.model.visual
    kept: list[Any] = []
    hook = visual.register_forward_hook(lambda m, args, out: kept.append(out.pooler_output))
    with torch.no_grad(), HeadLab(it.model) as lab:
        it.logits()
        lab.run(it.inputs, gates, tower="vision")
        lab.run(it.inputs, gates[1], tower="vision")
        with pytest.raises(InputError, match=r"given for 3 examples, .* runs on 2"):
            lab.run(it.inputs, torch.ones(3, 2, 4), tower="vision")
        one = Scale([(0, 1)], 0.0, examples=slice(1, 2))
        with pytest.raises(InputError, match="all pictures as one row"):
            lab.run(it.inputs, ablate=[one], tower="vision")
    hook.remove()
    clean, second, both = (torch.cat([*out]) if isinstance(out, tuple) else out for out in kept[:3])
    assert torch.equal(second[:8], clean[:8])  # the first picture: 8 tokens
    assert torch.equal(second[8:], both[8:])
    assert not torch.allclose(second[8:], clean[8:], atol=1e-4)


def test_grouped_heads_share_their_keys(specimen: Specimens) -> None:
    """Head 4 of 6 reads key head 1 of 2: its pattern is that of its own key head."""
    it = specimen("llama")
    attention = it.model.model.layers[0].self_attn
    weight: nn.Parameter = attention.k_proj.weight
    kept = weight.detach().clone()
    with HeadLab(it.model) as lab, torch.no_grad():
        clean = lab.capture(it.inputs, LastQueryRow())["last_query_row"][:, 0]
        weight[:8] = 0  # the first key head
        changed = lab.capture(it.inputs, LastQueryRow())["last_query_row"][:, 0]
        weight.copy_(kept)
        groups = [lab.heads.sites[0].kv_group(head) for head in range(6)]
    moved = [not torch.equal(changed[:, h], clean[:, h]) for h in range(6)]
    assert moved == [group == 0 for group in groups]

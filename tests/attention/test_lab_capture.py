"""Captured weights against eager attention, and every reducer against whole maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from headsight.attention.ablations import Undifferentiated
from headsight.attention.call import AttentionCall
from headsight.attention.lab import HeadLab
from headsight.attention.reducers import (
    BlockSum,
    Diagonal,
    Entropy,
    HeadOutputs,
    LastQueryRow,
    MeanOverBatch,
    Rows,
    TopK,
)
from headsight.errors import InputError

Specimens = Callable[[str], Any]


def eager_maps(it: Any, tower: str) -> Tensor:
    """(B, L, H, Q, K) by transformers' own `output_attentions`."""
    model = {"vision": getattr(it.model, "vision_model", it.model)}.get(tower, it.model)
    inputs = it.inputs if model is it.model else {"pixel_values": it.inputs["pixel_values"]}
    before = it.model.config._attn_implementation
    it.model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            answer = model(**inputs, output_attentions=True)
    finally:
        it.model.set_attn_implementation(before)
    names = {"decoder": "decoder_attentions", "encoder": "encoder_attentions"}
    names |= {"cross": "cross_attentions"}
    return torch.stack(getattr(answer, names.get(tower, "attentions")), 1)


CASES = [
    *[(name, "text") for name in ("llama", "llama, plain", "llama, left", "qwen3", "gpt2", "bert")],
    *[(name, "text") for name in ("mistral", "mistral, left", "gemma2", "llava", "paligemma")],
    *[(name, "text") for name in ("gemma3", "qwen2.5-vl", "nano")],
    *[("vit", "vision"), ("clip", "vision")],
    *[("t5", tower) for tower in ("encoder", "decoder", "cross")],
]


@pytest.mark.parametrize(("name", "tower"), CASES)
def test_all_rows_equal_eager(specimen: Specimens, name: str, tower: str) -> None:
    it = specimen(name)
    with HeadLab(it.model, chunk_rows=4) as lab:
        queries = lab.capture(it.inputs, Entropy(), tower=tower)["entropy"].shape[-1]
        found = lab.capture(it.inputs, Rows(range(queries)), tower=tower)
    maps, valid = eager_maps(it, tower).float(), found["rows_valid"]
    assert found["rows"].shape == maps.shape
    assert not found["rows"].isnan().any()
    error = (found["rows"] - maps).abs() * valid[..., None]
    assert error.max() < 1e-6  # both in fp32, sums in another order
    expected = valid.float().expand(found["rows_sum"].shape)
    torch.testing.assert_close(found["rows_sum"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["llama, left", "mistral, left", "llava", "gemma2"])
def test_left_padding_is_flagged_and_never_nan(specimen: Specimens, name: str) -> None:
    it = specimen(name)
    mask = it.inputs["attention_mask"].bool()
    with HeadLab(it.model) as lab:
        found = lab.capture(it.inputs, [Rows(range(mask.shape[1])), Entropy(), TopK(2)])
    for key in ("rows_valid", "entropy_valid", "topk_valid"):
        assert torch.equal(found[key][:, 0, 0], mask)
    rows = found["rows"]
    assert (rows[0, :, :, :2] == 0).all()  # padded queries
    assert (rows[0, :, :, :, :2] == 0).all()  # padded keys
    assert all(value.isfinite().all() for value in found.values())


def test_right_padding_is_not_seen(specimen: Specimens) -> None:
    it = specimen("bert")
    with HeadLab(it.model) as lab:
        found = lab.capture(it.inputs, Rows([0, 1]))
    assert (found["rows"][0, ..., -3:] == 0).all()
    assert found["rows_valid"].all()


def test_batch_equals_single(specimen: Specimens) -> None:
    """A left-padded row and the same row alone."""
    it = specimen("llama, left")
    alone = {"input_ids": it.inputs["input_ids"][:1, 3:]}
    with HeadLab(it.model) as lab:
        both = lab.capture(it.inputs, LastQueryRow())["last_query_row"]
        one = lab.capture(alone, LastQueryRow())["last_query_row"]
    torch.testing.assert_close(both[:1, ..., 3:], one, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def maps(specimen: Specimens) -> tuple[Any, Tensor]:
    it = specimen("llama, left")
    with HeadLab(it.model) as lab:
        return it, lab.capture(it.inputs, Rows(range(10)))["rows"]


@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_reducers_equal_what_the_maps_give(maps: tuple[Any, Tensor], chunk: int) -> None:
    it, whole = maps
    reducers = [
        LastQueryRow(),
        Rows([2, -1], columns=[3, -1, 5], name="some"),
        Rows([[8], [1]], columns=[[3, 4], [0, -1]], name="each"),
        BlockSum([7, 8, 9], [3, 4]),
        Entropy(),
        Diagonal(-1),
        MeanOverBatch(),
        TopK(3),
    ]
    with HeadLab(it.model, chunk_rows=chunk) as lab:
        found = lab.capture(it.inputs, reducers)

    def same(name: str, expected: Tensor) -> None:
        torch.testing.assert_close(found[name], expected, atol=1e-6, rtol=1e-5)

    same("last_query_row", whole[..., -1:, :])
    some = whole[..., [2, 9], :][..., [3, 0, 5]]
    some[..., 1] = 0  # a negative column has no token
    same("some", some)
    first, second = whole[0, :, :, [8]][..., [3, 4]], whole[1, :, :, [1]][..., [0, 0]]
    second[..., 1] = 0
    same("each", torch.stack([first, second]))
    same("block_sum", whole[..., 7:, 3:5].sum((-1, -2)))
    same("entropy", -(whole * whole.clamp(min=1e-30).log()).sum(-1))
    previous = whole.diagonal(-1, -2, -1)
    same("diagonal", torch.cat([torch.zeros_like(previous[..., :1]), previous], -1))
    assert not found["diagonal_valid"][1, 0, 0, 0]
    assert found["diagonal_valid"][1, 0, 0, 1:].all()
    valid = it.inputs["attention_mask"].float().sum(0)[:, None]
    same("mean_over_batch", (whole.sum(0) / valid)[None])
    same("topk", whole.topk(3).values)
    same("topk", whole.gather(-1, found["topk_index"]))


def test_generate_records_every_step(specimen: Specimens) -> None:
    it = specimen("llama, left")
    options = {"max_new_tokens": 4, "do_sample": False, "min_new_tokens": 4}
    plain = it.model.generate(**it.inputs, **options)
    reducers = [LastQueryRow(), Rows([5]), Diagonal(0)]
    with HeadLab(it.model) as lab, lab.recording(reducers) as record:
        tokens = lab.run(it.inputs, generate=options)
    assert torch.equal(tokens, plain)
    assert [step["last_query_row"].shape for step in record.steps] == [
        (2, 3, 6, 1, 10 + i) for i in range(4)
    ]
    assert "rows" in record.steps[0]
    assert "rows" not in record.steps[1]  # a decoding step has one query
    # each step is the row of the whole sequence in one pass
    mask = torch.cat([it.inputs["attention_mask"], torch.ones(2, 4, dtype=torch.long)], 1)
    with HeadLab(it.model) as lab:
        whole = lab.capture({"input_ids": tokens, "attention_mask": mask}, Rows(range(9, 13)))
    for i, step in enumerate(record.steps):
        row = whole["rows"][..., i, : 10 + i]
        torch.testing.assert_close(step["last_query_row"][..., 0, :], row, atol=2e-6, rtol=0)
        torch.testing.assert_close(step["diagonal"][..., -1], row[..., -1], atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", ["t5", "mistral", "gemma2", "llava"])
def test_generate_is_unchanged(specimen: Specimens, name: str) -> None:
    it = specimen(name)
    inputs = {k: v for k, v in it.inputs.items() if k != "decoder_input_ids"}
    options = {"max_new_tokens": 6, "do_sample": False}
    plain = it.model.generate(**inputs, **options)
    with HeadLab(it.model) as lab, lab.recording(LastQueryRow()) as record:
        assert torch.equal(lab.run(inputs, generate=options), plain)
    assert 1 <= len(record.steps) <= 6
    for step in record.steps:
        total = torch.cat(step.by_call("last_query_row")[0]).sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_head_outputs_make_the_output_of_the_layer(specimen: Specimens) -> None:
    it = specimen("qwen3")
    attention = it.model.model.layers[1].self_attn
    kept: list[Tensor] = []
    hook = attention.o_proj.register_forward_hook(lambda m, args, out: kept.append(args[0]))
    with HeadLab(it.model) as lab:
        outputs = lab.capture(it.inputs, HeadOutputs())["outputs"]  # (B, L, H, T, D)
    hook.remove()
    assert torch.equal(outputs[:, 1].transpose(1, 2).flatten(2), kept[0])


def test_chunks_of_a_vision_tower(specimen: Specimens) -> None:
    """Window and picture chunks differ in length, so they come one by one."""
    it = specimen("qwen2.5-vl")
    with HeadLab(it.model) as lab:
        with lab.recording([LastQueryRow(), BlockSum([0], [0])], tower="vision") as record:
            it.logits()
        step = record.steps[0]
        windows, pictures = step.by_call("last_query_row")
        assert [part.shape[-1] for part in windows] == [16, 16, 16]
        assert [part.shape[-1] for part in pictures] == [32, 16]
        for part in (*windows, *pictures):
            torch.testing.assert_close(part.sum(-1), torch.ones(1, 4, 1))
        assert list(step.num_calls.values()) == [3, 2]
        with pytest.raises(InputError, match=r"use recording\(\) and by_call|Use recording"):
            step["last_query_row"]


def test_bidirectional_image_tokens_are_seen(specimen: Specimens) -> None:
    """Gemma 3: an image token attends to later tokens of its picture; a text token never does."""
    it = specimen("gemma3")
    with HeadLab(it.model) as lab:
        rows = lab.capture(it.inputs, Rows(range(14)))["rows"]
        types = {**it.inputs, "token_type_ids": torch.zeros(2, 14, dtype=torch.long)}
        causal = lab.capture(types, Rows(range(14)))["rows"]
    assert (rows[0, :, :, 3, 4:7] > 0).all()
    assert (rows[0, :, :, 3, 7:] == 0).all()
    assert (rows[0, :, :, 8, 9:] == 0).all()
    assert (causal[0, :, :, 3, 4:7] == 0).all()


def test_paligemma_reads_its_prefix_both_ways(specimen: Specimens) -> None:
    it = specimen("paligemma")
    with HeadLab(it.model) as lab:
        rows = lab.capture(it.inputs, Rows([0]))["rows"]
    assert (rows > 0).all()


def test_sliding_windows_are_honoured(specimen: Specimens) -> None:
    it = specimen("mistral")
    with HeadLab(it.model) as lab:
        row = lab.capture(it.inputs, LastQueryRow())["last_query_row"]
    assert (row[..., :6] == 0).all()
    assert (row[..., 6:] > 0).all()


def test_capture_shows_what_an_ablation_does(specimen: Specimens) -> None:
    it = specimen("llama, plain")
    with HeadLab(it.model) as lab, lab.editing(ablate=[Undifferentiated([(1, 2)])]):
        rows = lab.capture(it.inputs, Rows(range(10)))["rows"]
    uniform = torch.ones(10, 10).tril() / torch.arange(1, 11)[:, None]
    torch.testing.assert_close(rows[:, 1, 2], uniform.expand(2, 10, 10))
    assert not torch.allclose(rows[:, 1, 3], uniform)


# what is refused


def test_bad_rows_and_columns(specimen: Specimens) -> None:
    it = specimen("llama")
    with HeadLab(it.model) as lab:
        with pytest.raises(InputError, match="Rows reach from 10 to 10, but the call has 10"):
            lab.capture(it.inputs, Rows([10]))
        with pytest.raises(InputError, match="Column 10 was asked for, but the call has 10 keys"):
            lab.capture(it.inputs, Rows([-1], columns=[10]))
        with pytest.raises(InputError, match="given for 3 examples, but there are 2"):
            lab.capture(it.inputs, Rows([-1], columns=[[1], [2], [3]]))
        with pytest.raises(InputError, match="given for 3 examples, but there are 2"):
            lab.capture(it.inputs, Rows([[1], [2], [3]]))
        with pytest.raises(InputError, match="11 largest weights"):
            lab.capture(it.inputs, TopK(11))
        with pytest.raises(InputError, match="called the same"):
            lab.capture(it.inputs, [Rows([0]), Rows([1])])
        with pytest.raises(InputError, match="must be"):
            lab.capture(it.inputs, Rows(torch.zeros(1, 1, 1)))


def test_a_tower_that_did_not_run(specimen: Specimens) -> None:
    it = specimen("llava")
    text = {"input_ids": torch.arange(5, 10)[None]}
    with HeadLab(it.model) as lab, pytest.raises(InputError, match="'vision' did not run"):
        lab.capture(text, LastQueryRow(), tower="vision")


# the weights of one call against the definition


@settings(max_examples=25)
@given(
    groups=st.integers(1, 3),
    shared=st.integers(1, 3),
    queries=st.integers(1, 6),
    extra=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_weights_by_definition(
    groups: int, shared: int, queries: int, extra: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    keys = queries + extra
    query = torch.randn(2, groups * shared, queries, 4, generator=generator)
    key = torch.randn(2, groups, keys, 4, generator=generator)
    mask = torch.rand(2, 1, queries, keys, generator=generator) < 0.6
    call = AttentionCall(nn.Identity(), query, key, key, mask, {"scaling": 0.7})
    found = call.weights(slice(None))
    scores = query @ key.repeat_interleave(shared, 1).transpose(2, 3) * 0.7
    expected = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num()
    torch.testing.assert_close(found.weights, expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(found.valid, mask.any(-1))
    rows = torch.randint(0, queries, (2, 3), generator=generator)
    picked = call.weights(rows).weights
    each = torch.stack([expected[i][:, rows[i]] for i in range(2)])
    torch.testing.assert_close(picked, each, atol=1e-6, rtol=1e-5)


MASKS = ("none", "causal", "boolean", "added", "by head")


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("keys", [5, 8])
def test_weights_times_values_are_the_outputs(
    specimen: Specimens, kind: str, eager: bool, biased: bool, keys: int
) -> None:
    """What is shown is what the model's own function computes, cached keys and all."""
    t5 = specimen("t5").model.decoder.block[0].layer[0].SelfAttention  # takes a position bias
    generator = torch.Generator().manual_seed(keys)
    query = torch.randn(2, 6, 5, 8, generator=generator)
    key, value = torch.randn(2, 2, 6, keys, 8, generator=generator).unbind()
    mask = torch.rand(2, 6 if kind == "by head" else 1, 5, keys, generator=generator) < 0.7
    mask[..., 0] = True
    options: dict[str, Any] = {"scaling": 0.5, "is_causal": kind == "causal"}
    if biased:
        options["position_bias"] = torch.randn(1, 6, 5, keys, generator=generator)
    added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    given = {"none": None, "causal": None, "added": added}.get(kind, mask)
    call = AttentionCall(t5, query, key, value, given, options, eager=eager)
    with torch.no_grad():
        expected, _ = call.run()
        found = torch.cat([chunk.weights for chunk in call.chunks(2)], 2) @ value
    torch.testing.assert_close(found.transpose(1, 2), expected, atol=2e-6, rtol=1e-5)


def test_sinks_take_their_share(specimen: Specimens) -> None:
    """A learned score beside the keys (gpt-oss): rows sum to less than 1."""
    import transformers

    torch.manual_seed(0)
    config = transformers.GptOssConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
        sliding_window=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
    )
    model = transformers.GptOssForCausalLM(config).eval()
    batch = {"input_ids": torch.arange(3, 11)[None]}
    with torch.no_grad(), HeadLab(model) as lab:
        found = lab.capture(batch, Rows(range(8)))
        maps = torch.stack(lab.run({**batch, "output_attentions": True}).attentions, 1)
    torch.testing.assert_close(found["rows"], maps, atol=1e-6, rtol=0)
    assert found["rows_sum"].min() < 0.9


def test_half_precision_weights_are_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 4, 9, 8, generator=generator).bfloat16().unbind()
    call = AttentionCall(nn.Identity(), query, key, key, None, {"is_causal": True})
    found = call.weights(slice(None)).weights
    scores = query.double() @ key.double().transpose(2, 3) * 8**-0.5
    blocked = torch.ones(9, 9, dtype=torch.bool).triu(1)
    expected = scores.masked_fill(blocked, -torch.inf).softmax(-1)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-6

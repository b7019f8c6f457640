"""Gate gradients against differences, and batched sweeps against one run a head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from headsight.attention.ablations import PatternPreserving, Scale, Undifferentiated, mean, zero
from headsight.attention.lab import HeadLab
from headsight.errors import InputError

Specimens = Callable[[str], Any]


def loss_of(answer: Any) -> Tensor:
    """A loss an example, (B,)."""
    if "logits" in answer:
        return answer.logits.log_softmax(-1)[:, -1, 7] + answer.logits[:, 0].square().mean(-1)
    if "image_embeds" in answer:
        return answer.image_embeds[:, 0] + answer.text_embeds[:, 1]
    return answer.last_hidden_state[:, 0, 3]


def central_difference(it: Any, tower: str, step: float, lab: HeadLab) -> Tensor:
    sites = lab.heads.tower(tower)
    found = torch.zeros(2, len(sites), sites[0].num_heads, dtype=torch.float64)
    for layer in range(len(sites)):
        for head in range(sites[0].num_heads):
            sides = []
            for sign in (1, -1):
                gates = torch.ones(len(sites), sites[0].num_heads, dtype=torch.float64)
                gates[layer, head] += sign * step
                sides.append(loss_of(lab.run(it.inputs, gates, tower=tower)))
            found[:, layer, head] = (sides[0] - sides[1]) / (2 * step)
    return found


DIFFERENCES = {
    # LayerNorm models are fp64 throughout; RMSNorm computes in fp32, so its step is large
    "gpt2": ("text", 1e-5, 1e-8),
    "bert": ("text", 1e-5, 1e-8),
    "vit": ("vision", 1e-5, 1e-8),
    "clip": ("vision", 1e-5, 1e-8),
    "llama": ("text", 1e-2, 1e-4),
    "qwen3": ("text", 1e-2, 1e-4),
    "t5": ("cross", 1e-2, 1e-4),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_gradients_equal_central_differences(specimen: Specimens, name: str) -> None:
    """Every example's own derivative, from one backward pass."""
    tower, step, tolerance = DIFFERENCES[name]
    it = specimen(name)
    kept = {k: v for k, v in it.inputs.items()}
    it.model.double()
    it.inputs.update({k: v.double() for k, v in kept.items() if v.is_floating_point()})
    try:
        with HeadLab(it.model) as lab, torch.no_grad():
            found = lab.gate_gradients(it.inputs, loss_of, tower=tower)
            expected = central_difference(it, tower, step, lab)
            shared = lab.gate_gradients(
                it.inputs, lambda out: loss_of(out).sum(), per_example=False, tower=tower
            )
    finally:
        it.model.float()
        it.inputs.update(kept)
    scale = expected.abs().max() if step > 1e-3 else 1.0
    assert (found - expected).abs().max() < tolerance * max(float(scale), 1.0)
    assert expected.abs().max() > 1e-4  # there is something to find
    torch.testing.assert_close(shared, found.sum(0))


def test_gradients_leave_the_parameters_alone(specimen: Specimens) -> None:
    it = specimen("llama")
    frozen = it.model.model.embed_tokens.weight
    frozen.requires_grad_(False)
    before = [p.requires_grad for p in it.model.parameters()]
    with HeadLab(it.model) as lab:
        lab.gate_gradients(it.inputs, loss_of)
        with pytest.raises(RuntimeError, match="on purpose"):
            lab.gate_gradients(
                it.inputs, lambda out: (_ for _ in ()).throw(RuntimeError("on purpose"))
            )
        assert not lab.run(it.inputs).logits.isnan().any()  # the gates are gone
    assert [p.requires_grad for p in it.model.parameters()] == before
    assert all(p.grad is None for p in it.model.parameters())
    frozen.requires_grad_(True)


def test_gradients_of_pictures_in_a_chunked_tower(specimen: Specimens) -> None:
    """One row a picture; text row i depends on picture i alone."""
    it = specimen("qwen2.5-vl")
    last = [lambda out, i=i: out.logits[i : i + 1, -1, 7] for i in range(2)]
    with HeadLab(it.model) as lab:
        found = lab.gate_gradients(it.inputs, lambda out: out.logits[:, -1, 7], tower="vision")
        alone = [
            lab.gate_gradients(
                it.inputs, lambda out, f=f: f(out).sum(), per_example=False, tower="vision"
            )
            for f in last
        ]
    assert found.shape == (2, 2, 4)
    torch.testing.assert_close(found, torch.stack(alone))


def test_left_padding_does_not_spoil_gradients(specimen: Specimens) -> None:
    it = specimen("llama, left")
    alone = {"input_ids": it.inputs["input_ids"][:1, 3:]}

    def last(answer: Any) -> Tensor:
        return answer.logits[:, -1, 7]

    with HeadLab(it.model) as lab:
        both = lab.gate_gradients(it.inputs, last)
        one = lab.gate_gradients(alone, last)
    assert both.isfinite().all()
    torch.testing.assert_close(both[:1], one, atol=1e-5, rtol=1e-3)


def test_trap_losses_that_couple_examples(specimen: Specimens) -> None:
    """CLIP's contrastive loss is one number: no example has a derivative of its own."""
    it = specimen("clip")

    def contrastive(answer: Any) -> Tensor:
        targets = torch.arange(2)
        return torch.nn.functional.cross_entropy(answer.logits_per_image, targets)

    with HeadLab(it.model) as lab:
        with pytest.raises(InputError, match="couples examples has no derivative by example"):
            lab.gate_gradients(it.inputs, contrastive, tower="vision")
        shared = lab.gate_gradients(it.inputs, contrastive, per_example=False, tower="vision")
    assert shared.shape == (2, 4)


def test_losses_without_gradient(specimen: Specimens) -> None:
    it = specimen("llama")
    with HeadLab(it.model) as lab, pytest.raises(InputError, match="does not depend on the heads"):
        lab.gate_gradients(it.inputs, lambda out: loss_of(out).detach())
    it = specimen("llava")
    text = {"input_ids": torch.arange(5, 10)[None]}
    with HeadLab(it.model) as lab, pytest.raises(InputError, match="0 of 2 layers ran"):
        lab.gate_gradients(text, loss_of, tower="vision")


# sweeps


def one_by_one(it: Any, lab: HeadLab, tower: str, make: Any) -> Tensor:
    sites = lab.heads.tower(tower)
    with torch.no_grad():
        return torch.stack(
            [
                torch.stack(
                    [
                        loss_of(lab.run(it.inputs, ablate=[make((s.layer, h))], tower=tower)).mean()
                        for h in range(s.num_heads)
                    ]
                )
                for s in sites
            ]
        )


SWEEPS = [
    ("llama, left", "text"),
    ("qwen3", "text"),
    ("gpt2", "text"),
    ("bert", "text"),
    ("vit", "vision"),
    ("t5", "decoder"),
    ("t5", "encoder"),
    ("t5", "cross"),
    ("gemma2", "text"),
    ("llava", "text"),
    ("llava", "vision"),
    ("gemma3", "text"),
    ("qwen2.5-vl", "text"),
    ("qwen2.5-vl", "vision"),
]


@pytest.mark.parametrize(("name", "tower"), SWEEPS)
def test_a_sweep_equals_one_run_a_head(specimen: Specimens, name: str, tower: str) -> None:
    it = specimen(name)
    with HeadLab(it.model) as lab:
        found = lab.sweep(it.inputs, loss_of, tower=tower)
        expected = one_by_one(it, lab, tower, zero)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert expected.std() > 1e-6


@pytest.mark.parametrize("ablation", ["undifferentiated", "pattern-preserving", "mean", "half"])
def test_sweeps_of_every_kind(specimen: Specimens, ablation: str) -> None:
    it = specimen("llama")
    with HeadLab(it.model) as lab:
        means = lab.mean_outputs(it.inputs)
        makers: dict[str, Any] = {
            "undifferentiated": lambda head: Undifferentiated([head]),
            "pattern-preserving": lambda head: PatternPreserving([head]),
            "mean": lambda head: mean(head, means[head]),
            "half": lambda head: Scale([head], 0.5),
        }
        asked = makers["half"] if ablation == "half" else ablation
        found = lab.sweep(it.inputs, loss_of, asked)
        expected = one_by_one(it, lab, "text", makers[ablation])
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        part = lab.sweep(it.inputs, loss_of, asked, heads=[(1, 2), (1, 5), (2, 0)], batch_heads=1)
    wanted = torch.zeros(3, 6, dtype=torch.bool)
    wanted[1, 2] = wanted[1, 5] = wanted[2, 0] = True
    torch.testing.assert_close(part[wanted], expected[wanted], atol=2e-5, rtol=1e-4)
    assert part[~wanted].isnan().all()


def test_a_sweep_runs_lower_layers_and_the_vision_tower_once(specimen: Specimens) -> None:
    """3 layers: clean 3, then layers 0-2, 1-2 and 2: 9 calls in all, not 3 x 6 x 3."""
    it = specimen("llava")
    counts = {"text": 0, "vision": 0}

    def count(tower: str) -> Callable[..., None]:
        def hook(*args: Any) -> None:
            counts[tower] += 1

        return hook

    with HeadLab(it.model) as lab:
        removers = [
            it.model.get_submodule(s.module).register_forward_hook(count(s.tower)).remove
            for s in lab.heads
        ]
        plain = it.logits()
        counts.update(text=0, vision=0)
        lab.sweep(it.inputs, loss_of)
        assert counts == {"text": 3 + 3 + 2 + 1, "vision": 2}
        for remove in removers:
            remove()
        assert torch.equal(it.logits(), plain)  # nothing stays patched
    assert not any("forward" in vars(module) for module in it.model.modules())


def test_what_cannot_be_swept(specimen: Specimens) -> None:
    it = specimen("llama")
    with HeadLab(it.model) as lab:
        with pytest.raises(InputError, match="'labels' cannot be among the inputs of a sweep"):
            lab.sweep({**it.inputs, "labels": it.inputs["input_ids"]}, loss_of)
        with pytest.raises(InputError, match="No ablation is called 'remove'"):
            lab.sweep(it.inputs, loss_of, "remove")
        with pytest.raises(InputError, match="which tell the batch"):
            lab.sweep({"nothing": 1}, loss_of)
        assert lab.sweep(it.inputs, loss_of, heads=[]).isnan().all()

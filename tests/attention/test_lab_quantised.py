"""Heads of models whose linear maps hold 8 or 4 bits a weight: the lab needs none of their weights.

torch's own modules have no `weight` tensor at all (it is a method that unpacks), those of
bitsandbytes have one of bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from headsight.attention.ablations import zero
from headsight.attention.lab import HeadLab
from headsight.attention.prune import prune_heads_
from headsight.attention.reducers import HeadOutputs, Rows
from headsight.errors import InputError

Specimens = Callable[[str], Any]

PROJECTIONS = {"wide": "...o_proj", "qwen3": "...o_proj", "bert": "...attention.output.dense"}
pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.ao.quantization is deprecated:DeprecationWarning",
    "ignore:torch.quantize_per_tensor:UserWarning",
)


def torch_int8(model: nn.Module) -> nn.Module:
    """Weights in 8 bits, inputs quantised on the way."""
    kinds = {nn.Linear}
    return torch.ao.quantization.quantize_dynamic(model, kinds, dtype=torch.qint8)  # type: ignore[no-untyped-call]


def bitsandbytes(bits: int) -> Callable[[nn.Module], nn.Module]:
    def quantised(model: nn.Module) -> nn.Module:
        bnb: Any = pytest.importorskip("bitsandbytes").nn
        for name, linear in list(model.named_modules()):
            if type(linear) is not nn.Linear:
                continue
            shape = (linear.in_features, linear.out_features, linear.bias is not None)
            if bits == 4:
                small = bnb.Linear4bit(*shape, quant_type="nf4")
            else:
                small = bnb.Linear8bitLt(*shape, has_fp16_weights=False)
            small.load_state_dict(linear.state_dict())
            model.set_submodule(name, small.to("cpu"))
        return model

    return quantised


WAYS = {"torch 8": torch_int8, "bnb 8": bitsandbytes(8), "bnb 4": bitsandbytes(4)}
CASES = [
    *[(way, name) for way in ("torch 8", "bnb 8") for name in ("wide", "qwen3", "bert", "vit")],
    ("bnb 4", "wide"),
]
"""4 bits are multiplied on the CPU only where widths are powers of two."""


def wide() -> Any:
    """No padding: torch's maps take one scale for all rows, also for those that see nothing."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.12,
    )  # fmt: skip
    ids = torch.randint(5, 60, (2, 10), generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        model=transformers.LlamaForCausalLM(config).eval(), inputs={"input_ids": ids}
    )


class Small:
    """A specimen of which every linear map is quantised."""

    def __init__(self, it: Any, way: Callable[[nn.Module], nn.Module]) -> None:
        self.model: Any = way(copy.deepcopy(it.model)).eval().requires_grad_(False)
        self.inputs = it.inputs

    def run(self, **options: Any) -> Any:
        with torch.no_grad():
            return self.model(**self.inputs, **options)

    def maps(self) -> Tensor:
        """(B, L, H, Q, K) by its own eager attention."""
        self.model.set_attn_implementation("eager")
        found = self.run(output_attentions=True).attentions
        self.model.set_attn_implementation("sdpa")
        return torch.stack(found, 1)


@pytest.fixture
def quantised(specimen: Specimens) -> Callable[[str, str], Small]:
    return lambda way, name: Small(wide() if name == "wide" else specimen(name), WAYS[way])


def output(answer: Any) -> Tensor:
    found = getattr(answer, "logits", None)
    return answer.last_hidden_state if found is None else found


@pytest.mark.parametrize(("way", "name"), CASES)
def test_captures_equal_eager(quantised: Callable[[str, str], Small], way: str, name: str) -> None:
    it = quantised(way, name)
    assert not any(type(module) is nn.Linear for module in it.model.modules())
    plain = output(it.run())
    with HeadLab(it.model) as lab:
        assert torch.equal(output(it.run()), plain)
        queries = lab.capture(it.inputs, HeadOutputs())["outputs"].shape[3]
        kept = lab.capture(it.inputs, Rows(range(queries)))
    valid = kept["rows_valid"].expand(kept["rows"].shape[:-1])
    assert bool(valid.any())
    wanted = it.maps()
    torch.testing.assert_close(kept["rows"][valid], wanted[valid], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("way", "name"), CASES)
def test_gates_are_ablations_are_slices_of_what_the_projection_takes(
    quantised: Callable[[str, str], Small], way: str, name: str
) -> None:
    it = quantised(way, name)
    plain = output(it.run())
    with HeadLab(it.model) as lab, torch.no_grad():
        site = lab.heads.tower()[1]
        gates = torch.ones(len(lab.heads.tower()), site.num_heads)
        gates[1, 2] = 0
        gated = output(lab.run(it.inputs, gates=gates))
        ablated = output(lab.run(it.inputs, ablate=[zero((1, 2))]))
    assert torch.equal(gated, ablated)
    assert not torch.equal(gated, plain)
    if name in PROJECTIONS:
        with HeadLab(it.model, output_projection=PROJECTIONS[name]) as lab, torch.no_grad():
            assert torch.equal(output(lab.run(it.inputs, gates=gates)), gated)
    assert torch.equal(output(it.run()), plain)


@pytest.mark.parametrize("way", WAYS)
def test_a_sweep_is_one_head_after_the_other(
    quantised: Callable[[str, str], Small], way: str
) -> None:
    it = quantised(way, "wide")

    def metric(answer: Any) -> Tensor:
        return answer.logits.float().square().mean((1, 2))

    with HeadLab(it.model) as lab, torch.no_grad():
        swept = lab.sweep(it.inputs, metric, batch_heads=1)
        for layer, head in ((0, 1), (1, 3)):
            alone = metric(lab.run(it.inputs, ablate=[zero((layer, head))])).mean()
            torch.testing.assert_close(swept[layer, head], alone, atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:quantized..linear_dynamic:UserWarning")
def test_what_cannot_be_had_is_told(quantised: Callable[[str, str], Small]) -> None:
    """torch's 8-bit maps have no gradient, and no weights that rows could be cut from."""
    it = quantised("torch 8", "wide")
    with HeadLab(it.model) as lab, pytest.raises(InputError, match="No gradient reaches"):
        lab.gate_gradients(it.inputs, lambda answer: answer.logits.square().mean((1, 2)))
    with pytest.raises(InputError, match=r"has a torch\.ao\.nn\.quantized\.\S+ for its query"):
        prune_heads_(it.model, {0: [0, 1]})

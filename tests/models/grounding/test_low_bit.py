"""Decoder layers in 4 and 8 bits: who may have them, what is left alone, and what memory is saved.

bitsandbytes computes on the CPU too, slowly; so its arithmetic is tested here below the check that
asks for CUDA.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from headsight import load
from headsight.errors import InputError, LimitError, MissingExtraError
from headsight.models.grounding import GroundingProcessor, GroundingVLM, GroundingVLMConfig
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.convert import (
    count_parameters,
    load_cogvlm,
    published_config,
    require_memory,
)
from headsight.models.grounding.low_bit import require_low_bit
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.models.grounding.weights import empty_model, load_weights_, weight_files
from headsight.picture import Picture

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with the tower of CogVLM, visual experts and a bias on their qkv."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    tower = {
        "encoder": "eva", "image_size": 28, "patch_size": 14, "hidden_size": 16, "num_heads": 2,
        "num_hidden_layers": 1, "intermediate_size": 24,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = GroundingVLMConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            initializer_range=0.1,
            expert_qkv_bias=True,
            expert_init="random",
            vision_config=tower,
        )
        model = GroundingVLM(config)
    model.save_pretrained(path)
    GroundingProcessor.for_model(config, tokenizer).save_pretrained(path)
    return path


@pytest.mark.parametrize("bits", [3, 16, 0])
def test_four_or_eight(folder: Path, bits: int) -> None:
    with pytest.raises(InputError, match=rf"quantize is {bits}; expected 4 or 8"):
        load(str(folder), device="cpu", quantize=bits)


def test_the_cpu_is_refused(folder: Path) -> None:
    message = r"quantize=4 needs a CUDA device, but the model would go to 'cpu'\. Leave"
    with pytest.raises(InputError, match=message):
        load(str(folder), device="cpu", quantize=4)
    with pytest.raises(InputError, match=message):
        load_cogvlm(folder, quantize=4)


def test_names_are_refused() -> None:
    with pytest.raises(InputError, match="'nano' is a name"):
        load("nano", quantize=8)


def test_without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'headsight\[quantize\]'"):
        require_low_bit(8, CUDA)


def test_cuda_and_the_package_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    for bits in (4, 8):
        require_low_bit(bits, CUDA)


@pytest.mark.parametrize(("bits", "error"), [(4, 0.11), (8, 0.01)])
def test_only_the_linear_maps_of_the_layers_are_rounded(
    folder: Path, bits: int, error: float
) -> None:
    """Root-mean-square error of normal weights: NF4 about 0.09; 8 bits, 3 sigma / 127 / 12^0.5.

    Some eight maps in a row then err by 8^0.5 times as much, rounding of inputs aside: less than 4.
    """
    pytest.importorskip("bitsandbytes")
    whole = GroundingVLM.from_pretrained(folder, dtype=torch.float32).eval()
    small = _low_bit(folder, bits)
    kept = dict(small.named_parameters())
    for name, weight in whole.named_parameters():
        if name.startswith("model.layers.") and weight.ndim == 2:
            size = weight.numel() // 2 if bits == 4 else weight.numel()
            assert kept[name].numel() * kept[name].element_size() == size, name
            linear = small.get_submodule(name.removesuffix(".weight"))
            columns = linear(torch.eye(weight.shape[1]))
            if linear.bias is not None:
                columns = columns - linear.bias
            assert 0 < (columns.T - weight).norm() / weight.norm() < error, name
        else:
            assert torch.equal(kept[name], weight), name
    reader = GroundingProcessor.from_pretrained(folder)
    inputs = reader(Image.new("RGB", (40, 30), "#c03060"), "Where is the red cup?")
    del inputs["content_wh_rel"]
    with torch.no_grad():
        wanted, got = whole(**inputs).logits, small(**inputs).logits
    assert 0 < (got - wanted).norm() / wanted.norm() < 4 * error


@pytest.mark.parametrize("bits", [4, 8])
def test_it_answers(folder: Path, bits: int) -> None:
    pytest.importorskip("bitsandbytes")
    reader = GroundingProcessor.from_pretrained(folder)
    vlm = GroundingAdapter(_low_bit(folder, bits), reader, name="small")
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for _ in range(2):  # the second answer uses weights that the first has laid out
        replies = vlm.answer(
            Picture(Image.fromarray(pixels)), ["Where is it?", "How many are there?"],
            max_new_tokens=4,
        )  # fmt: skip
        assert all(len(reply.tokens) == 4 for reply in replies)


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [4, 8])
def test_on_cuda(folder: Path, bits: int) -> None:
    pytest.importorskip("bitsandbytes")
    picture = Picture(Image.new("RGB", (40, 30), "#c03060"))
    [reply] = load(str(folder), device="cuda", quantize=bits).ask(picture, "Where is it?")
    assert reply.tokens


def test_memory_that_is_saved() -> None:
    """Linear maps of CogVLM 17B: 32 layers, twice 4 x 4096^2 and 3 x 4096 x 11008."""
    counts = count_parameters(GroundingVLMConfig.from_hf(published_config(1)))
    assert counts.linear == 32 * 2 * (4 * 4096**2 + 3 * 4096 * 11008) == 12_952_010_752
    rest = 2 * (counts.total - counts.linear)
    assert counts.bytes_in(torch.bfloat16, quantize=8) == rest + counts.linear
    sizes = [counts.bytes_in(torch.bfloat16, quantize=b) / 1e9 for b in (None, 8, 4)]
    assert [round(size, 1) for size in sizes] == [35.3, 22.3, 16.1]
    with pytest.raises(LimitError, match=r"bf16 needs 35\.3 GB.* quantize=4"):
        _require(35_279_370_752, None)
    with pytest.raises(LimitError, match=r"4 bits in bf16 needs 30\.0 GB, have 21\.0"):
        _require(30_000_000_000, 4)


def _require(needed: int, bits: int | None) -> None:
    require_memory(
        needed, dtype=torch.bfloat16, device=CUDA, available=21_000_000_000, quantize=bits
    )


def _low_bit(folder: Path, bits: int) -> GroundingVLM:
    model = empty_model(GroundingVLMConfig.from_pretrained(folder))
    load_weights_(model, weight_files(folder), dtype=torch.float32, device=CPU, quantize=bits)
    return model

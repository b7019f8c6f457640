"""Decoder layers in 4 or 8 bits through bitsandbytes, for models that a GPU could not hold else.

4 bits are NF4 with quantised scales (QLoRA, arXiv 2305.14314), 8 bits are LLM.int8() (arXiv
2208.07339). Only the linear maps of the decoder layers are made small, visual experts included.
Vision part, adapter, embedding, norms and language head stay as they are: they read the picture and
write the numbers, where rounding is seen first.
"""
# mypy: disable-error-code="no-untyped-call"
# (bitsandbytes and parts of torch are only partly typed)

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from headsight.errors import InputError, require
from headsight.models.grounding.model import GroundingVLM

__all__ = ["BYTES_A_WEIGHT", "put_low_bit_", "require_low_bit", "shrink_layers_"]

BYTES_A_WEIGHT = {4: 0.5 + 1 / 64 + 4 / (64 * 256), 8: 1.0}
"""Memory of a weight: 4 bits share a scale of one byte in blocks of 64, 8 bits one a row."""
_OUTLIER = 6.0  # inputs this large are multiplied in 16 bits, as the paper has it


def require_low_bit(bits: int, device: torch.device) -> None:
    """Pass where weights can be loaded in so many bits.

    Raises:
        InputError: neither 4 nor 8, or the device is not CUDA.
        MissingExtraError: bitsandbytes is not installed.
    """
    if bits not in BYTES_A_WEIGHT:
        raise InputError(f"quantize is {bits!r}; expected 4 or 8, or None for weights as stored.")
    if device.type != "cuda":
        raise InputError(
            f"quantize={bits} needs a CUDA device, but the model would go to '{device.type}'. Leave"
            " quantize out, or run on a machine with an NVIDIA GPU and a CUDA build of torch."
        )
    require("bitsandbytes")


def shrink_layers_(model: GroundingVLM, bits: int) -> set[str]:
    """Replace the linear maps of the decoder layers by empty ones of 4 or 8 bits.

    Returns:
        The names of their weights, which wait for `put_low_bit_`.
    """
    bnb: Any = require("bitsandbytes").nn
    if bits == 8:  # else every product of bf16 warns that it is rounded to fp16 on the way
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    names = set()
    for name, linear in list(model.named_modules()):
        if not name.startswith("model.layers.") or not isinstance(linear, nn.Linear):
            continue
        shape = (linear.in_features, linear.out_features, linear.bias is not None)
        with torch.device("meta"):
            if bits == 4:
                small = bnb.Linear4bit(*shape, quant_type="nf4")
            else:
                small = bnb.Linear8bitLt(*shape, has_fp16_weights=False, threshold=_OUTLIER)
        model.set_submodule(name, small.requires_grad_(False).train(model.training))
        names.add(f"{name}.weight")
    return names


def put_low_bit_(model: GroundingVLM, name: str, value: Tensor, device: torch.device) -> None:
    """Quantise `value`, a tensor on the CPU, into the weight `name` on `device`."""
    linear: Any = model.get_submodule(name.rpartition(".")[0])
    empty = linear.weight
    if hasattr(empty, "quant_type"):
        options = {"quant_type": empty.quant_type, "module": linear}
    else:
        options = {"has_fp16_weights": False}
    # moving it off the CPU is what quantises it
    linear.weight = type(empty)(value, requires_grad=False, **options).to(device)

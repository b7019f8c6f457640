"""Attention in plain steps while a model learns on a CPU.

The backward pass of torch's fused attention is slow there in bf16: a step of short rows takes about
half as long with matrix products and a softmax (benchmarks/plain_attention.py measures it).
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

__all__ = ["attend_plainly", "plain_attention"]

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

_NAME = "headsight_plain"
LONGEST = 768
"""Tokens up to which plain steps are the faster way."""


@contextmanager
def plain_attention(model: nn.Module) -> Iterator[None]:
    """Within it a model that lies on a CPU attends in plain steps; any other is left as it is.

    Of use in bf16: in fp32 the fused attention is faster.
    """
    told = getattr(getattr(model, "config", None), "_attn_implementation", None)
    is_meant = isinstance(model, PreTrainedModel) and told == "sdpa" and model.device.type == "cpu"
    if not is_meant:
        yield
        return
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def attend_plainly(
    module: nn.Module,
    query: Float[Tensor, "b h l c"],
    key: Float[Tensor, "b k m c"],
    value: Float[Tensor, "b k m c"],
    attention_mask: Bool[Tensor, "b 1 l m"] | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Float[Tensor, "b l h c"], None]:
    """What transformers' `sdpa` gives: without a mask it is causal where the module is."""
    if query.shape[2] > LONGEST:
        return sdpa_attention_forward(  # type: ignore[return-value]
            module, query, key, value, attention_mask,
            scaling=scaling, dropout=dropout, is_causal=is_causal,
        )  # fmt: skip
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scale, key.transpose(2, 3))
    length, total = scores.shape[-2:]
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    if attention_mask is None and is_causal and length > 1:
        # as torch counts it: the first query sees the first key
        attention_mask = torch.ones(length, total, dtype=torch.bool, device=scores.device).tril()
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = nn.functional.dropout(scores.softmax(-1), p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


AttentionInterface.register(_NAME, attend_plainly)
AttentionMaskInterface.register(_NAME, sdpa_mask)

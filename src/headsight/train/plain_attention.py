"""Attention in plain steps while a model learns on a CPU.

The backward pass of torch's fused attention is slow there in bf16: a step of short rows takes about
half as long with matrix products and a softmax (benchmarks/plain_attention.py measures it).
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

__all__ = ["attend_plainly", "plain_attention"]

from collections.abc import Iterator, Mapping
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

    Of a model of several parts those change that attend by `sdpa`. Of use in bf16: in fp32 the
    fused attention is faster.
    """
    if not isinstance(model, PreTrainedModel) or model.device.type != "cpu":
        yield
        return
    before = _ways(model.config)
    model.set_attn_implementation(_ways(model.config, {"sdpa": _NAME}))
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _ways(config: Any, other: Mapping[str, str] | None = None) -> dict[str, Any]:
    """How a model and its parts attend, as `set_attn_implementation` takes it.

    Args:
        config: the model's.
        other: what stands for a way.
    """
    own = config._attn_implementation
    parts = {key: getattr(config, key) for key in config.sub_configs}
    return {
        "": (other or {}).get(own, own),
        **{key: _ways(part, other) for key, part in parts.items() if part is not None},
    }


def attend_plainly(
    module: nn.Module,
    query: Float[Tensor, "b h l c"],
    key: Float[Tensor, "b k m c"],
    value: Float[Tensor, "b k m c"],
    attention_mask: Bool[Tensor, "b 1 l m"] | Float[Tensor, "#b #h l m"] | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "b l h c"], None]:
    """What transformers' `sdpa` gives: without a mask it is causal where the module is.

    Long rows, and masks or biases that are added to the scores, are left to it.
    """
    is_added = attention_mask is not None and attention_mask.is_floating_point()
    if query.shape[2] > LONGEST or is_added or others.get("position_bias") is not None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask,
            scaling=scaling, dropout=dropout, is_causal=is_causal, **others,
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

"""A cache whose rows share one prefix, and attention to prefix and own tokens under one softmax.

transformers' caches hold whole rows, so that a prefix shared by n rows would be kept and read n
times. Here it is one row. Where the decoder runs transformers' `sdpa`, each step meets the prefix
in one matrix product for all rows (as bifurcated attention, arXiv:2403.08845), and the scores of
the rows' own tokens are joined to these under one softmax. With any other implementation the
prefix is laid beside the own tokens, one layer at a time.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Cache, PreTrainedModel
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = ["PrefixedCache", "PrefixedLayer", "can_share", "joined_attention"]

_NAME = "headsight_shared_prefix"

_SOURCE = "prefixed_layer"
"""Attribute of own keys: the layer they come from, which knows the prefix before them."""


def can_share(cache: Cache) -> bool:
    """Whether all layers of a cache keep keys and values and nothing else."""
    return all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer, DummyLayer)
        for layer in cache.layers
    )


class PrefixedCache(Cache):
    """Own tokens of n rows behind the one row of `prefix`, which is left as it is."""

    def __init__(self, prefix: Cache, *, joined: bool) -> None:
        super().__init__(
            layers=[
                PrefixedLayer(layer, joined=joined)
                if isinstance(layer, DynamicLayer) and layer.is_initialized
                else layer  # without keys, as it takes those of another layer
                for layer in prefix.layers
            ]
        )

    @property
    def was_read(self) -> bool:
        """Whether the prefix took part in the latest step of every layer."""
        return all(layer.was_read for layer in self.layers if isinstance(layer, PrefixedLayer))


class PrefixedLayer(DynamicLayer):
    """Keys and values of n rows' own tokens in one layer, behind a prefix they share."""

    def __init__(self, prefix: DynamicLayer, *, joined: bool) -> None:
        super().__init__()
        assert prefix.keys is not None
        assert prefix.values is not None
        self.prefix_keys: Float[Tensor, "1 k p c"] = prefix.keys
        self.prefix_values: Float[Tensor, "1 k p d"] = prefix.values
        self._prefix_length = int(prefix.get_seq_length())
        self.is_sliding = prefix.is_sliding
        self._joined = joined
        self.was_read = False
        self.lazy_initialization(prefix.keys, prefix.values)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values (n, k, t, c) of all tokens so far; where joined, of the own ones."""
        keys, values = super().update(key_states, value_states)
        self.was_read = not self._joined
        if not self._joined:
            return self.beside(keys, values)
        setattr(keys, _SOURCE, ref(self))  # weak, or the tensors would outlive the cache
        return keys, values

    def beside(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Own keys and values with a copy of the prefix before each row."""
        return _beside(self.prefix_keys, keys), _beside(self.prefix_values, values)

    def get_seq_length(self) -> int:
        """Tokens of each row so far, the prefix included."""
        return self._prefix_length + int(super().get_seq_length())

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys a step of `query_length` tokens meets, and the position of the first."""
        dropped = self._prefix_length - self.prefix_keys.shape[2]  # by a sliding window
        return self.get_seq_length() + query_length - dropped, dropped


def _beside(prefix: Float[Tensor, "1 k p c"], own: Float[Tensor, "n k t c"]) -> Tensor:
    return torch.cat([prefix.expand(len(own), -1, -1, -1), own], 2)


@contextmanager
def joined_attention(model: PreTrainedModel) -> Iterator[bool]:
    """While entered, the decoder may attend through a joined `PrefixedCache`; yields whether.

    It does where its attention is transformers' own `sdpa`, which is put back at the end.
    """
    decoder = model.get_decoder()
    if decoder.config._attn_implementation != "sdpa":
        yield False
        return
    decoder.set_attn_implementation(_NAME)
    try:
        yield decoder.config._attn_implementation == _NAME
    finally:
        decoder.set_attn_implementation("sdpa")


def _attention(
    module: nn.Module,
    query: Float[Tensor, "n h t c"],
    key: Float[Tensor, "n k own c"],
    value: Float[Tensor, "n k own d"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    source = getattr(key, _SOURCE, None)
    layer: PrefixedLayer | None = source and source()
    if layer is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    layer.was_read = True
    _, heads, new, width = query.shape
    if heads // key.shape[1] * new > 2 * width:  # scores would outweigh copies of the prefix
        keys, values = layer.beside(key, value)
        return sdpa_attention_forward(
            module, query, keys, values, attention_mask, scaling=scaling, **options
        )
    scaled = query * (width**-0.5 if scaling is None else scaling)
    context = _join(
        scaled, layer.prefix_keys[0], layer.prefix_values[0], key, value, attention_mask
    )
    return context.transpose(1, 2).contiguous(), None


def _join(
    query: Float[Tensor, "n h t c"],
    prefix_keys: Float[Tensor, "k p c"],
    prefix_values: Float[Tensor, "k p d"],
    keys: Float[Tensor, "n k own c"],
    values: Float[Tensor, "n k own d"],
    mask: Tensor | None,
) -> Float[Tensor, "n h t d"]:
    """Context of scaled queries over the prefix and each row's own tokens, under one softmax."""
    rows, heads, new, width = query.shape
    kv_heads, prefix, _ = prefix_keys.shape
    each = heads // kv_heads * new
    query = query.reshape(rows, kv_heads, each, width)
    asked = query.transpose(0, 1).reshape(kv_heads, rows * each, width)
    far = (asked @ prefix_keys.transpose(1, 2)).view(kv_heads, rows, each, prefix).transpose(0, 1)
    scores = torch.cat([far, query @ keys.transpose(2, 3)], -1)  # (n, k, h / k * t, p + own)
    if mask is not None:
        shut = ~mask[:, :, None]  # (n, 1, 1, t, p + own)
        scores = scores.view(rows, kv_heads, -1, new, scores.shape[-1])
        scores = scores.masked_fill(shut, -torch.inf).flatten(2, 3)
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    far, near = weights.split([prefix, keys.shape[2]], -1)
    far = far.transpose(0, 1).reshape(kv_heads, rows * each, prefix) @ prefix_values
    context = far.view(kv_heads, rows, each, -1).transpose(0, 1) + near @ values
    joined: Tensor = context.reshape(rows, heads, new, -1)
    return joined


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)

"""Decoder layers with a visual expert: second weights for image tokens (arXiv 2311.03079).

Image and language tokens meet in one attention; only the linear maps differ. Every token is
computed once: the index lists of `Routes` split the flat token list, and the results are put back
in order. The output projection is doubled too, as in the published code and parameter counts (the
paper's text names qkv and MLP only).
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.positions import Routes

__all__ = [
    "RMSNorm",
    "VisualExpertAttention",
    "VisualExpertLayer",
    "VisualExpertMLP",
    "copy_language_to_expert_",
    "eager_attention",
    "rotary_cos_sin",
    "rotate",
]


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """`x` over its root mean square, times the weight."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class VisualExpertAttention(nn.Module):
    """Attention over all tokens with separate projections for image tokens."""

    is_causal = True

    def __init__(self, config: GroundingVLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_heads = config.num_attention_heads
        self.num_kv_heads = config.num_key_value_heads or config.num_attention_heads
        self.num_key_value_groups = self.num_heads // self.num_kv_heads
        self.scaling = self.head_dim**-0.5
        width = config.hidden_size
        qkv = (self.num_heads + 2 * self.num_kv_heads) * self.head_dim
        self.language_expert_query_key_value: nn.Module
        if config.split_qkv:
            kv = self.num_kv_heads * self.head_dim
            self.language_expert_query_key_value = _SplitProjection(width, qkv - 2 * kv, kv)
        else:
            self.language_expert_query_key_value = nn.Linear(width, qkv, bias=False)
        self.language_expert_dense = nn.Linear(width, width, bias=False)
        has_expert = config.has_expert(layer_idx) and config.expert_parts == "full"
        self.vision_expert_query_key_value: nn.Linear | None = None
        self.vision_expert_dense: nn.Linear | None = None
        if has_expert:
            self.vision_expert_query_key_value = nn.Linear(width, qkv, bias=config.expert_qkv_bias)
        if has_expert and config.expert_output_proj:
            self.vision_expert_dense = nn.Linear(width, width, bias=False)

    def forward(
        self,
        hidden_states: Float[Tensor, "b l d"],
        *,
        routes: Routes | None,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Float[Tensor, "b l d"], Tensor | None]:
        """The attended tokens and, under eager attention, the weights (B, H, L, K)."""
        query, key, value = self.project(hidden_states, routes)
        cos, sin = position_embeddings
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention
        )
        context, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        context = context.flatten(2)  # (B, L, H * head_dim)
        dense, expert = self.language_expert_dense, self.vision_expert_dense
        return _route(context, dense, expert, routes), weights

    def project(
        self, hidden_states: Float[Tensor, "b l d"], routes: Routes | None
    ) -> tuple[Float[Tensor, "b h l c"], Float[Tensor, "b k l c"], Float[Tensor, "b k l c"]]:
        """Query, key and value by head, before rotation."""
        language, expert = self.language_expert_query_key_value, self.vision_expert_query_key_value
        packed = _route(hidden_states, language, expert, routes)
        heads = packed.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        query, key, value = heads.split([self.num_heads, self.num_kv_heads, self.num_kv_heads], 1)
        return query, key, value


class _SplitProjection(nn.Module):
    """What one fused map gives, from three."""

    def __init__(self, width: int, query: int, kv: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, query, bias=False)
        self.k_proj = nn.Linear(width, kv, bias=False)
        self.v_proj = nn.Linear(width, kv, bias=False)

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch e"]:
        return torch.cat([self.q_proj(x), self.k_proj(x), self.v_proj(x)], -1)


class VisualExpertMLP(nn.Module):
    """SwiGLU with separate weights for image tokens."""

    def __init__(self, config: GroundingVLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.language_mlp = _SwiGLU(config.hidden_size, config.intermediate_size)
        self.vision_mlp: _SwiGLU | None = None
        if config.has_expert(layer_idx):
            self.vision_mlp = _SwiGLU(config.hidden_size, config.intermediate_size)

    def forward(
        self, hidden_states: Float[Tensor, "b l d"], routes: Routes | None
    ) -> Float[Tensor, "b l d"]:
        """Each token through its own weights."""
        return _route(hidden_states, self.language_mlp, self.vision_mlp, routes)


class VisualExpertLayer(GradientCheckpointingLayer):
    """Attention and MLP, pre-normalised; the norms are shared by all tokens."""

    def __init__(self, config: GroundingVLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = VisualExpertAttention(config, layer_idx)
        self.mlp = VisualExpertMLP(config, layer_idx)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden_states: Float[Tensor, "b l d"],
        *,
        routes: Routes | None,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> Float[Tensor, "b l d"]:
        """One layer."""
        attended, _ = self.self_attn(
            self.input_layernorm(hidden_states),
            routes=routes,
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **kwargs,
        )
        hidden_states = hidden_states + attended
        normed = self.post_attention_layernorm(hidden_states)
        return hidden_states + self.mlp(normed, routes)  # type: ignore[no-any-return]


def rotary_cos_sin(
    position_ids: Int[Tensor, "b l"], config: GroundingVLMConfig, dtype: torch.dtype
) -> tuple[Float[Tensor, "b l c"], Float[Tensor, "b l c"]]:
    """Cosines and sines of the rotary angles, each frequency twice (rotate-half layout).

    `rope_dtype="checkpoint"` rounds frequencies, positions and angles to bf16, as the published
    code does when its model is bf16 (positions above 256 then fall together); needed only to
    reproduce published outputs.
    """
    angle_dtype = torch.bfloat16 if config.rope_dtype == "checkpoint" else torch.float32
    steps = torch.arange(0, config.head_dim, 2, device=position_ids.device).float()
    frequency = 1.0 / (config.rope_theta ** (steps / config.head_dim))
    if config.llama3_rope is not None:
        frequency = _stretched(frequency, config.llama3_rope)
    frequency = frequency.to(angle_dtype)
    angle = position_ids.to(angle_dtype)[..., None] * frequency
    angle = torch.cat([angle, angle], -1)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _stretched(frequency: Float[Tensor, " c"], settings: dict[str, Any]) -> Float[Tensor, " c"]:
    """Slow angles slower by a factor, fast ones as they were, and a ramp between (Llama 3.1)."""
    low, high = settings["low_freq_factor"], settings["high_freq_factor"]
    turns = settings["original_max_position_embeddings"] * frequency / (2 * torch.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    share: Tensor = kept + (1 - kept) / settings["factor"]
    return frequency * share


def rotate(
    x: Float[Tensor, "b h l c"], cos: Float[Tensor, "b l c"], sin: Float[Tensor, "b l c"]
) -> Float[Tensor, "b h l c"]:
    """`x` turned by the rotary angles."""
    low, high = x.chunk(2, -1)
    turned = torch.cat([-high, low], -1)
    return x * cos[:, None] + turned * sin[:, None]


def eager_attention(
    module: nn.Module,
    query: Float[Tensor, "b h l c"],
    key: Float[Tensor, "b k m c"],
    value: Float[Tensor, "b k m c"],
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Float[Tensor, "b l h c"], Float[Tensor, "b h l m"]]:
    """Attention in plain steps, with its weights; the mask is added to the scores."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def copy_language_to_expert_(module: nn.Module, *, force: bool = False) -> None:
    """Make the visual expert of a layer's attention or MLP a copy of its language weights.

    Weights that came from a file are passed over, unless `force` is given.
    """
    pairs: list[tuple[nn.Module, nn.Module | None]] = []
    if isinstance(module, VisualExpertAttention):
        pairs.append((module.language_expert_query_key_value, module.vision_expert_query_key_value))
        pairs.append((module.language_expert_dense, module.vision_expert_dense))
    elif isinstance(module, VisualExpertMLP):
        pairs.append((module.language_mlp, module.vision_mlp))
    with torch.no_grad():
        for language, expert in pairs:
            if expert is None:
                continue
            for name, weight in language.named_parameters():
                target = expert.get_parameter(name)
                if force:
                    target.copy_(weight)
                else:  # looks at the mark that transformers sets on loaded weights
                    init.copy_(target, weight)


class _SwiGLU(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


def _route(
    x: Tensor, language: nn.Module, vision: nn.Module | None, routes: Routes | None
) -> Tensor:
    """`x` (B, L, D) through the weights of each token; (B, L, E) in the old order."""
    if routes is None or vision is None:
        return language(x)  # type: ignore[no-any-return]
    flat = x.flatten(0, 1)
    parts = [
        language(flat.index_select(0, routes.language)),
        vision(flat.index_select(0, routes.vision)),
    ]
    return torch.cat(parts).index_select(0, routes.inverse).view(*x.shape[:2], -1)

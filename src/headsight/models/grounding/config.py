"""The config of `GroundingVLM`: one form for our nano and for CogVLM (arXiv 2311.03079)."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, no_type_check

from transformers import PreTrainedConfig

from headsight.errors import ConfigError

__all__ = ["GroundingVLMConfig"]

_CHOICES = {
    "expert_parts": ("full", "mlp"),
    "image_mask": ("causal", "full"),
    "expert_init": ("copy", "random"),
    "rope_dtype": ("fp32", "checkpoint"),
    "template": ("base", "chat", "vqa"),
    "adapter": ("glu", "linear"),
}


# runtime checkers would hold its __init__ to the fields, but configs of transformers take any key
@no_type_check
class GroundingVLMConfig(PreTrainedConfig):
    """Shape and options of a `GroundingVLM`; the defaults are CogVLM v1 without its tower."""

    model_type = "headsight_grounding"
    keys_to_ignore_at_inference = ("past_key_values",)

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    """Key and value heads; None = as many as attention heads."""
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    attention_dropout: float = 0.0
    use_cache: bool = True
    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    rope_dtype: str = "fp32"
    """`checkpoint` rounds the angles to bf16 as the published code does."""
    llama3_rope: dict[str, float] | None = None
    """Llama 3.1's stretched angles: `factor`, `low_freq_factor`, `high_freq_factor` and
    `original_max_position_embeddings`."""
    split_qkv: bool = False
    """Query, key and value of language tokens as maps of their own, so that each can be adapted."""
    expert_layers: str | int | list[int] = "all"
    """Layers with a visual expert: `all`, every k-th from the first, or a list."""
    expert_parts: str = "full"
    """`full` doubles qkv, output projection and MLP; `mlp` only the MLP."""
    expert_output_proj: bool = True
    """False shares the output projection, as the text of the paper (but not its code) has it."""
    expert_qkv_bias: bool = False
    """Bias on the expert's qkv (CogVLM2)."""
    expert_init: str = "copy"
    """New experts start as copies of the language weights, or at random."""
    image_mask: str = "causal"
    """`full` lets all slots of a picture see each other."""
    share_image_position: bool = True
    """All patches of a picture share one position id."""
    vision_config: dict[str, Any] | None = None
    """`encoder` names an entry of VISION_ENCODERS, the rest is that encoder's; None = text only."""
    vision_conv: bool = False
    """A stride-2 convolution after the encoder quarters the patches (CogVLM2)."""
    adapter: str = "glu"
    """`glu` as CogVLM; one `linear` map where the tokens already say what the decoder copies."""
    adapter_intermediate_size: int | None = None
    """Inner width of the adapter; None = `intermediate_size`."""
    image_token_id: int | None = None
    """Id at the slots of a picture; None = the pad id."""
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    template: str = "base"
    """How a question becomes a prompt: `base` for grounding checkpoints, `chat` or `vqa`."""
    codec: dict[str, Any] | None = None
    """The text format that the model was trained to write."""

    def __post_init__(self, **kwargs: Any) -> None:
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ConfigError(
                f"hidden_size is {self.hidden_size}, but must be a multiple of twice the"
                f" {self.num_attention_heads} attention heads."
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads is {self.num_attention_heads}, but must be a multiple of the"
                f" {self.num_key_value_heads} key and value heads."
            )
        self.has_expert(0)
        super().__post_init__(**kwargs)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def slot_token_id(self) -> int:
        """Id that stands at the slots of a picture."""
        return self.image_token_id if self.image_token_id is not None else self.pad_token_id or 0

    def has_expert(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) has a visual expert."""
        chosen = self.expert_layers
        if chosen == "all":
            return True
        if isinstance(chosen, int) and not isinstance(chosen, bool) and chosen > 0:
            return layer % chosen == 0
        if isinstance(chosen, list | tuple):
            return layer in chosen
        raise ConfigError(
            f"expert_layers is {chosen!r}; expected 'all', a positive step or a list of layers."
        )

    @classmethod
    def from_hf(cls, values: Mapping[str, Any]) -> GroundingVLMConfig:
        """The config of a published CogVLM (v1) or CogVLM2 (v2) checkpoint, from its config.json.

        Raises:
            ConfigError: the values are those of another kind of model.
        """
        version = cogvlm_version(values)
        vision = copy.deepcopy(dict(values["vision_config"]))
        names = (
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "max_position_embeddings", "num_attention_heads", "rms_norm_eps", "initializer_range",
            "tie_word_embeddings", "pad_token_id", "bos_token_id", "eos_token_id", "dtype",
            "torch_dtype",
        )  # fmt: skip
        mine = {name: values[name] for name in names if name in values}
        mine.setdefault("rms_norm_eps", 1e-6 if version == 1 else 1e-5)
        if version == 2:
            mine |= {
                "num_key_value_heads": values["num_multi_query_heads"],
                "expert_qkv_bias": True,
                "vision_conv": True,
            }
            mine.setdefault("pad_token_id", 128002)
            mine.setdefault("bos_token_id", 128000)
            mine.setdefault("eos_token_id", 128001)
        return cls(
            rope_theta=float(values.get("rope_theta", 10000.0 if version == 1 else 500000.0)),
            template=values.get("template_version", "base"),
            vision_config={"encoder": "eva", **vision},
            **mine,
        )


def cogvlm_version(values: Mapping[str, Any]) -> Literal[1, 2]:
    """1 or 2, from a published config: v2 has `num_multi_query_heads`.

    Raises:
        ConfigError: the values are those of another kind of model.
    """
    vision = values.get("vision_config")
    if "num_multi_query_heads" in values and isinstance(vision, Mapping):
        return 2
    if isinstance(vision, Mapping) and "num_positions" in vision:
        return 1
    raise ConfigError(
        f"The config of a {values.get('model_type', 'unnamed')!r} model was given, but CogVLM has a"
        " vision_config with num_positions (v1) or num_multi_query_heads (v2)."
    )

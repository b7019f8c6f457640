"""`GroundingVLM`: vision encoder, adapter and a decoder with visual experts.

It is an ordinary transformers model. The parts and key names are those of CogVLM (arXiv
2311.03079), so its published checkpoints load key for key; our own nano is the same class with a
small convolutional encoder.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from headsight.errors import InputError
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.positions import (
    build_position_ids,
    image_slots,
    token_routes,
    vision_expert_mask,
)
from headsight.models.grounding.vision import VisionPart
from headsight.models.grounding.visual_expert import (
    RMSNorm,
    VisualExpertAttention,
    VisualExpertLayer,
    copy_language_to_expert_,
    rotary_cos_sin,
)

__all__ = ["GroundingVLM", "GroundingVLMModel", "GroundingVLMPreTrainedModel"]


class GroundingVLMPreTrainedModel(PreTrainedModel):
    """What the decoder and the model with its language head have in common."""

    config_class = GroundingVLMConfig
    config: GroundingVLMConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _no_split_modules = ["VisualExpertLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {  # noqa: RUF012 - read as a class attribute by transformers
        "hidden_states": VisualExpertLayer,
        "attentions": VisualExpertAttention,
    }

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """As every model's, with the names that the modules have: those that we load by."""
        super().save_pretrained(*args, **{"save_original_format": False, **kwargs})

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, VisionPart):
            for border in (module.boi, module.eoi):
                init.normal_(border, std=self.config.initializer_range)

    def initialize_weights(self) -> None:
        """Start every weight that no file gave; visual experts as copies if the config says so."""
        super().initialize_weights()
        if self.config.expert_init == "copy":
            for module in self.modules():
                copy_language_to_expert_(module)


class GroundingVLMModel(GroundingVLMPreTrainedModel):
    """Token embedding, vision part and decoder layers."""

    def __init__(self, config: GroundingVLMConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            VisualExpertLayer(config, i) for i in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.vision = VisionPart(config) if config.vision_config is not None else None
        self.post_init()

    def encode_pictures(
        self,
        pixel_values: Float[Tensor, "m 3 s s"],
        content_wh_rel: Float[Tensor, "m 2"] | None = None,
    ) -> Float[Tensor, "m n c"]:
        """Encoder tokens of pictures: the `image_features` that forward takes for pixels."""
        return self._vision().encode(pixel_values, content_wh_rel)

    @property
    def slots_per_image(self) -> int:
        """Tokens that a picture takes in a sequence, its two borders included."""
        return self._vision().slots_per_image

    @merge_with_config_defaults  # type: ignore[untyped-decorator]
    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Int[Tensor, "b l"] | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Int[Tensor, "b t"] | None = None,
        position_ids: Int[Tensor, "b t"] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Float[Tensor, "b l d"] | None = None,
        pixel_values: Float[Tensor, "m 3 s s"] | None = None,
        content_wh_rel: Float[Tensor, "m 2"] | None = None,
        image_features: Float[Tensor, "m n c"] | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states of B rows of L tokens with M pictures in all, in the order of their slots.

        `attention_mask` is (B, T) with T the cached and the new tokens, 0 at padding; or (B, 1, L,
        T) boolean, True where attention is allowed, for packed questions (give `position_ids`
        then). `token_type_ids` is 1 at the slots of pictures; by default those whose id is the
        config's `image_token_id`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        length = inputs_embeds.shape[1]
        if (
            token_type_ids is None
            and input_ids is not None
            and self.config.image_token_id is not None
        ):
            token_type_ids = (input_ids == self.config.image_token_id).long()
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past_length = int(past_key_values.get_seq_length()) if past_key_values is not None else 0
        slots = None if self.vision is None else self.slots_per_image
        tokens = self._picture_tokens(pixel_values, content_wh_rel, image_features)
        if tokens is not None:
            slots = tokens.shape[1]
        if position_ids is None:
            padding = (
                attention_mask if attention_mask is None or attention_mask.dim() == 2 else None
            )
            position_ids = self._positions(
                inputs_embeds, padding, token_type_ids, past_length=past_length, slots=slots
            )
        position_ids = position_ids[:, -length:]
        routes = blocks = None
        if token_type_ids is not None:
            new_types = token_type_ids[:, -length:]
            routes = token_routes(vision_expert_mask(new_types, slots_per_image=slots))
            if tokens is not None:
                inputs_embeds = _fill_slots(inputs_embeds, new_types == 1, tokens)
            if self.config.image_mask == "full" and routes is not None:
                blocks = _image_numbers(new_types, slots)
        mask = self._mask(inputs_embeds, attention_mask, past_key_values, blocks)
        position_embeddings = rotary_cos_sin(position_ids, self.config, inputs_embeds.dtype)
        hidden_states = inputs_embeds
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                routes=routes,
                position_embeddings=position_embeddings,
                attention_mask=mask,
                past_key_values=past_key_values,
                **kwargs,
            )
        return BaseModelOutputWithPast(
            last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values
        )

    def _vision(self) -> VisionPart:
        if self.vision is None:
            raise InputError("This model was loaded without its vision part. Load it with vision.")
        return self.vision

    def _picture_tokens(
        self, pixels: Tensor | None, content_wh_rel: Tensor | None, features: Tensor | None
    ) -> Tensor | None:
        """Decoder tokens (M, N + 2, D) of the pictures, if there are any."""
        if features is None and pixels is not None:
            features = self._vision().encode(pixels, content_wh_rel)
        return None if features is None else self._vision()(features)

    def _positions(
        self,
        inputs_embeds: Tensor,
        padding: Tensor | None,
        token_type_ids: Tensor | None,
        *,
        past_length: int,
        slots: int | None,
    ) -> Tensor:
        """Position ids of all tokens so far."""
        batch, length = inputs_embeds.shape[:2]
        total = past_length + length
        types = token_type_ids
        if types is None:
            types = torch.zeros(batch, length, dtype=torch.long, device=inputs_embeds.device)
        if types.shape[1] != total or (padding is not None and padding.shape[1] != total):
            raise InputError(
                f"{past_length} tokens are cached and {length} are new, but token_type_ids or"
                f" attention_mask do not cover all {total}. Pass both for all tokens, or pass"
                " position_ids."
            )
        return build_position_ids(
            types,
            padding,
            share_image_position=self.config.share_image_position,
            slots_per_image=slots,
        )

    def _mask(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None,
        past_key_values: Cache | None,
        blocks: Tensor | None,
    ) -> Tensor | None:
        if attention_mask is not None and attention_mask.dim() == 4:
            if self.config._attn_implementation == "eager" and attention_mask.dtype == torch.bool:
                low = torch.finfo(inputs_embeds.dtype).min
                zero = torch.zeros((), dtype=inputs_embeds.dtype, device=attention_mask.device)
                return torch.where(attention_mask, zero, low)
            return attention_mask
        # position_ids are kept from it: shared positions would be taken for packed sequences
        return create_causal_mask(  # type: ignore[return-value]
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            block_sequence_ids=blocks,
        )


class GroundingVLM(GroundingVLMPreTrainedModel, GenerationMixin):
    """The model with its language head: `generate`, losses, and all that a causal LM can do."""

    _tied_weights_keys = {  # noqa: RUF012 - read as a class attribute by transformers
        "lm_head.weight": "model.embed_tokens.weight"
    }

    def __init__(self, config: GroundingVLMConfig) -> None:
        super().__init__(config)
        self.model = GroundingVLMModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Int[Tensor, "b l"] | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Int[Tensor, "b t"] | None = None,
        position_ids: Int[Tensor, "b t"] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Float[Tensor, "b l d"] | None = None,
        pixel_values: Float[Tensor, "m 3 s s"] | None = None,
        content_wh_rel: Float[Tensor, "m 2"] | None = None,
        image_features: Float[Tensor, "m n c"] | None = None,
        labels: Int[Tensor, "b l"] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Int[Tensor, " k"] | Bool[Tensor, "b l"] = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and with `labels` (-100 = not counted) the mean loss of the next tokens.

        `logits_to_keep`: 0 = all, n = the last n, indices along L, or a boolean mask (B, L) such as
        `answer_positions(labels)`: the head then runs on those places alone and the logits are (n,
        V) in row order. The other arguments are those of `GroundingVLMModel.forward`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            content_wh_rel=content_wh_rel,
            image_features=image_features,
            use_cache=use_cache,
            **kwargs,
        )
        hidden, targets = outputs.last_hidden_state, None
        if labels is not None:
            targets = F.pad(labels[:, 1:], (0, 1), value=-100)
        hidden, targets = _keep(hidden, targets, logits_to_keep)
        logits = self.lm_head(hidden)
        loss = None
        if targets is not None:
            flat = logits.float().flatten(0, -2)
            loss = F.cross_entropy(flat, targets.flatten().to(flat.device), ignore_index=-100)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def init_experts_from_language_(self) -> None:
        """Overwrite every visual expert by a copy of the language weights of its layer."""
        for module in self.modules():
            copy_language_to_expert_(module, force=True)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, *, is_first_iteration: bool | None = False, **kwargs: Any
    ) -> dict[str, Any]:
        """The inputs of one step: pictures are encoded in the first step only."""
        parent: Any = super()
        inputs: dict[str, Any] = parent.prepare_inputs_for_generation(
            input_ids, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in ("pixel_values", "content_wh_rel", "image_features"):
                inputs.pop(name, None)
        return inputs

    def _prepare_attention_mask_for_generation(  # type: ignore[override]
        self, inputs_tensor: Tensor, generation_config: Any, model_kwargs: dict[str, Any]
    ) -> Tensor:
        mask: Tensor = super()._prepare_attention_mask_for_generation(
            inputs_tensor, generation_config, model_kwargs
        )
        types = model_kwargs.get("token_type_ids")
        if types is not None:  # the slots of a picture hold the pad id, but are no padding
            mask = mask.masked_fill(types == 1, 1)
        return mask

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict[str, Any]
    ) -> Tensor:
        types = model_kwargs.get("token_type_ids")
        if types is None:
            ids = model_kwargs.get("input_ids", inputs_tensor)
            types = torch.zeros(ids.shape[:2], dtype=torch.long, device=ids.device)
            if self.config.image_token_id is not None and ids.dim() == 2:
                types = (ids == self.config.image_token_id).long()
        return build_position_ids(
            types,
            model_kwargs.get("attention_mask"),
            share_image_position=self.config.share_image_position,
            slots_per_image=self.model.slots_per_image if self.model.vision is not None else None,
        )

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        types = model_kwargs.pop("token_type_ids", None)
        updated: dict[str, Any] = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, *args, **kwargs
        )
        if types is not None:  # what is written is language, also right after a picture
            updated["token_type_ids"] = F.pad(types, (0, kwargs.get("num_new_tokens", 1)))
        return updated


def _fill_slots(embeds: Tensor, inside: Tensor, tokens: Tensor) -> Tensor:
    """`embeds` with the slots of the pictures, in reading order, replaced by the `tokens`."""
    wanted, given = int(inside.sum()), tokens.shape[0] * tokens.shape[1]
    if wanted != given:
        raise InputError(
            f"The rows have {wanted} image slots, but {tokens.shape[0]} pictures of"
            f" {tokens.shape[1]} slots need {given}. Build them with the model's own processor."
        )
    return embeds.masked_scatter(inside[..., None], tokens.to(embeds.dtype))


def _image_numbers(token_type_ids: Tensor, slots_per_image: int | None) -> Tensor:
    """Number of the picture that each slot belongs to, -1 for language tokens."""
    slots = image_slots(token_type_ids, slots_per_image=slots_per_image)
    return torch.where(slots.inside, slots.first.long().cumsum(1) - 1, -1)


def _keep(
    hidden: Tensor, targets: Tensor | None, keep: int | Tensor
) -> tuple[Tensor, Tensor | None]:
    """The places whose logits are wanted, and their targets."""
    chosen: Any
    if isinstance(keep, int):
        if keep == 0:
            return hidden, targets
        chosen = (slice(None), slice(-keep, None))
    elif keep.dtype == torch.bool:
        chosen = keep
    else:
        chosen = (slice(None), keep)
    return hidden[chosen], None if targets is None else targets[chosen]

"""Our name in transformers' attention interface: attention and mask under one name, or neither.

A name without a mask function makes transformers skip the masks: padding is attended to, windows
vanish, and nothing is raised. So a name is registered here only together with its mask function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import (
    ALL_MASK_ATTENTION_FUNCTIONS,
    AttentionMaskInterface,
    sdpa_mask,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from headsight.attention.call import AttentionCall
from headsight.errors import InputError

__all__ = ["NAME", "Attend", "is_eager", "is_watched", "register_attention", "switched"]

NAME = "headsight"
"""The attention implementation that a model has while a `HeadLab` is open on it."""

Attend = Callable[[AttentionCall], tuple[Tensor, Tensor | None]]
"""What happens instead of the ordinary function: head outputs (B, Q, H, D), weights or None."""

_WATCHED: WeakKeyDictionary[nn.Module, tuple[Attend | None, bool]] = WeakKeyDictionary()


def register_attention(
    name: str, function: Callable[..., Any], mask_function: Callable[..., Any] | None
) -> None:
    """Make `name` an attention implementation of transformers, with its masks.

    Raises:
        InputError: there is no mask function.
    """
    if mask_function is None:
        raise InputError(
            f"Attention '{name}' came without a mask function; transformers would then build no"
            " masks at all, and padding and causality would be ignored without an error. Pass the"
            " mask function of the attention that computes the numbers, e.g. sdpa_mask."
        )
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, mask_function)


@contextmanager
def switched(
    model: nn.Module, modules: Sequence[nn.Module], attend: Callable[[nn.Module], Attend] | None
) -> Iterator[None]:
    """Send the attention calls of `modules` to their `attend`; all is as before at the end.

    Without `attend` they are only marked as watched.

    Raises:
        InputError: one of them has an implementation without masks.
    """
    configs = [] if attend is None else _configs(model, modules)
    before = [config._attn_implementation_internal for config in configs]
    for name in before:
        _check_masks(name)
    try:
        for module in modules:
            config = getattr(module, "config", None)
            eager = getattr(config, "_attn_implementation_internal", None) == "eager"
            _WATCHED[module] = (attend and attend(module), eager)
        for config in configs:
            config._attn_implementation_internal = NAME
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation_internal = name
        for module in modules:
            _WATCHED.pop(module, None)


def is_watched(module: nn.Module) -> bool:
    """Whether a `HeadLab` is open on this module."""
    return module in _WATCHED


def is_eager(module: nn.Module) -> bool:
    """Whether this watched module runs attention in plain steps."""
    return _WATCHED[module][1]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    if attention_mask is not None and attention_mask.dim() != 4:
        raise InputError(
            f"{type(module).__name__} was given a mask of {attention_mask.dim()} axes, made for"
            " another attention. Call model.set_attn_implementation('sdpa') before opening the lab."
        )
    attend, eager = _WATCHED.get(module, (None, False))
    call = AttentionCall(module, query, key, value, attention_mask, options, eager)
    return call.run() if attend is None else attend(call)


def _configs(model: nn.Module, modules: Sequence[nn.Module]) -> list[Any]:
    """Configs of the modules, and of models around them whose masks only their own kernel reads."""
    configs: dict[int, Any] = {id(module.config): module.config for module in modules}
    for owner in model.modules():
        if not isinstance(owner, PreTrainedModel):
            continue
        name = owner.config._attn_implementation_internal
        if name not in ("sdpa", "eager") and not set(modules).isdisjoint(owner.modules()):
            configs[id(owner.config)] = owner.config
    return list(configs.values())


def _check_masks(name: str | None) -> None:
    known = name is None or name == "eager" or name not in ALL_ATTENTION_FUNCTIONS
    if not known and name not in ALL_MASK_ATTENTION_FUNCTIONS:
        raise InputError(
            f"The model's attention '{name}' was registered without a mask function, so that it"
            " runs without masks. Register one under the same name, or call"
            " model.set_attn_implementation('sdpa')."
        )


register_attention(NAME, _attention, sdpa_mask)

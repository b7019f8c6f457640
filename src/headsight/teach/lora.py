"""Which weights a LoRA stage teaches (arXiv 2106.09685), on peft: names and files are peft's."""
# mypy: disable-error-code="no-untyped-call"
# (transformers, peft and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["PRESETS", "LoraSpec", "attach", "fold_", "saved_modules", "target_modules"]

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from headsight.attention.heads import find_heads
from headsight.errors import CheckpointError, ConfigError, require


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """One low-rank adapter; the defaults suit small budgets."""

    r: int = 16
    """Rank."""
    alpha: int | float = 32
    """The update is scaled by alpha / r."""
    dropout: float = 0.0
    """Of the adapter's input, in [0, 1)."""
    rslora: bool = False
    """Scale by alpha / sqrt(r) instead (arXiv 2312.03732)."""
    targets: str | tuple[str, ...] = "decoder"
    """Names of presets (see PRESETS) and regular expressions of module names; one or several."""
    save: tuple[str, ...] = ()
    """Regular expressions of modules that are trained whole (embeddings, norms, projectors)."""

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ConfigError(f"The rank r is {self.r}, but must be at least 1.")
        if not self.alpha > 0:
            raise ConfigError(f"alpha is {self.alpha}, but must be positive.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}, but must be in [0, 1).")


def _attention(model: nn.Module) -> list[str]:
    return _inside(model, [site.module for site in find_heads(model).tower()])


def _decoder(model: nn.Module) -> list[str]:
    layers = [site.module.rpartition(".")[0] for site in find_heads(model).tower()]
    return _inside(model, dict.fromkeys(layers))


def _every(model: nn.Module) -> list[str]:
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head]


_OFFICIAL = (
    r"layers\.\d+\.self_attn\.language_expert_(query_key_value|dense)",
    r"vision\.transformer\.layers\.\d+\.attention\.(query_key_value|dense)",
)
_EXPERTS = (r"layers\.\d+\.(self_attn\.vision_expert_\w+|mlp\.vision_mlp\.\w+)",)

PRESETS: dict[str, Callable[[nn.Module], list[str]]] = {
    "attention": _attention,
    "decoder": _decoder,
    "all-linear": _every,
    "cogvlm-official": lambda model: _matching(model, _OFFICIAL),
    "vision-expert": lambda model: _matching(model, _OFFICIAL + _EXPERTS),
}
"""Linear modules of a model by name: of the decoder's attention; of its layers whole; of the whole
model; those of CogVLM's official fine-tuning (190 modules: two in each of
32 + 63 layers); those with the visual experts."""


def target_modules(model: nn.Module, spec: LoraSpec) -> list[str]:
    """Full names of the linear modules that get an adapter.

    Raises:
        ConfigError: no preset of that name, or a pattern that fits nothing.
    """
    wanted = (spec.targets,) if isinstance(spec.targets, str) else spec.targets
    chosen: dict[str, None] = {}
    for target in wanted:
        found = PRESETS[target](model) if target in PRESETS else _matching(model, (target,))
        _require_some(found, target, model)
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _require_some(found: Sequence[str], target: str, model: nn.Module) -> None:
    if not found:
        some = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
        raise ConfigError(
            f"The LoRA target {target!r} fits no linear module of this model. Presets:"
            f" {', '.join(PRESETS)}. Its linear modules are called, for instance,"
            f" {', '.join(some[:: max(1, len(some) // 5)][:5])}."
        )


def attach(model: nn.Module, spec: LoraSpec, *, seed: int = 0) -> Any:
    """The peft model around `model`, whose linear modules are replaced in place by adapted ones.

    The adapter's weights are fp32 whatever the model's are, the same for the same seed.

    Raises:
        ConfigError: targets that fit nothing.
        MissingExtraError: peft is not installed.
    """
    peft = require("peft")
    saved = saved_modules(model, spec)
    config = peft.LoraConfig(
        r=spec.r,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        use_rslora=spec.rslora,
        target_modules=target_modules(model, spec),
        modules_to_save=saved or None,
        ensure_weight_tying=_are_tied(model, saved),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft 0.21 asks transformers 5.2x for a property by its former name
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        torch.manual_seed(seed)
        adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=True)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


@torch.no_grad()
def fold_(adapted: Any) -> nn.Module:
    """The plain model with the adapter's update added to its weights: `W + s B A`, summed in fp32.

    Raises:
        CheckpointError: an update that is not finite.
    """
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise CheckpointError(
                f"{name} holds values that are not finite: the training has diverged. Lower the"
                " learning rate and start the stage anew."
            )
    plain: nn.Module = adapted.merge_and_unload()
    return plain.requires_grad_(True)


def _are_tied(model: nn.Module, saved: Iterable[str]) -> bool:
    """Whether embeddings that share their weights with the language head are among `saved`."""
    config: Any = getattr(model, "config", None)
    if not getattr(config, "tie_word_embeddings", False):
        return False
    ends = [getattr(model, f"get_{end}_embeddings", lambda: None)() for end in ("input", "output")]
    modules = dict(model.named_modules())
    return any(modules[name] is end for name in saved for end in ends)


def saved_modules(model: nn.Module, spec: LoraSpec) -> list[str]:
    """Full names of the modules that are trained whole.

    Raises:
        ConfigError: a pattern that fits nothing.
    """
    names = [n for n, m in model.named_modules() if n and next(m.parameters(), None) is not None]
    for pattern in spec.save:
        if not _fitting(names, [pattern]):
            raise ConfigError(
                f"The LoRA setting save names {pattern!r}, which fits no module of this model."
                " Give regular expressions of module names, such as"
                f" {re.escape(names[-1])}."
            )
    return _fitting(names, spec.save)


def _inside(model: nn.Module, prefixes: Iterable[str]) -> list[str]:
    starts = tuple(f"{prefix}." for prefix in prefixes)
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    return [name for name in names if name.startswith(starts)]


def _matching(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    return _fitting([n for n, m in model.named_modules() if isinstance(m, nn.Linear)], patterns)


def _fitting(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that a pattern fits whole, or from some dot on."""
    found = []
    for pattern in patterns:
        try:
            found.append(re.compile(rf"(?:.*\.)?(?:{pattern})"))
        except re.error as error:
            raise ConfigError(
                f"{pattern!r} among the LoRA settings is no regular expression: {error.msg}."
                " Expected patterns of module names."
            ) from error
    return [name for name in names if any(p.fullmatch(name) for p in found)]

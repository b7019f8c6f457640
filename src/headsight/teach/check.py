"""What a plan would do, and everything that is wrong with it, before hours are spent."""
# mypy: disable-error-code="no-untyped-call"
# (transformers, peft and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["Estimate", "check_plan", "estimate_memory"]

import difflib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headsight.errors import ConfigError, HeadsightError
from headsight.models.checkpoints import HUB_ID, check_hub
from headsight.teach.job import Mixture
from headsight.teach.lora import LoraSpec, target_modules
from headsight.teach.plan import MergeStage, Plan, TuneStage
from headsight.teach.stages import read_from

_GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Memory of a training step, bytes; a rule of thumb within some tens of per cent."""

    weights: int
    """All weights in the dtype they are kept in."""
    learning: int
    """Adapter (or whole model) in fp32: weights, gradients and two moments."""
    activations: int
    """What the backward pass needs of one micro-batch."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.learning + self.activations

    def __str__(self) -> str:
        parts = ("weights", "learning", "activations", "total")
        return ", ".join(f"{name} {getattr(self, name) / _GIB:.2f} GiB" for name in parts)


def check_plan(plan: Plan) -> tuple[list[str], list[str]]:
    """Lines that say what will be done, and lines that say what is wrong."""
    told: list[str] = [f"{plan.name}: {len(plan.stages)} stages from {plan.model} to {plan.output}"]
    wrong: list[str] = []
    model: nn.Module | None = None
    try:
        model = empty_model(plan.model)
        size = sum(p.numel() for p in model.parameters())
        told.append(f"  model: {size / 1e6:.1f} million weights")
    except HeadsightError as error:
        wrong.append(str(error))
    for name, data in plan.skills.items():
        try:
            told.append(f"  skill {name}: {len(read_from(data))} questions of {data.path}")
        except HeadsightError as error:
            wrong.append(f"skill {name}: {error}")
    for stage in plan.stages:
        for line, is_wrong in _stage(plan, stage, model):
            (wrong if is_wrong else told).append(line)
    free = shutil.disk_usage(_existing(plan.output)).free
    if model is not None:
        stored = sum(p.numel() for p in model.parameters()) * 2 * len(plan.stages)
        told.append(
            f"  disk: about {stored / _GIB:.2f} GiB are written, {free / _GIB:.1f} are free"
        )
        if stored > free:
            wrong.append(
                f"The checkpoints of {len(plan.stages)} stages take about {stored / _GIB:.1f} GiB,"
                f" but {free / _GIB:.1f} GiB are free at {plan.output}. Choose another output."
            )
    return told, wrong


def empty_model(model: str) -> nn.Module:
    """The architecture of a model without its weights, on the meta device.

    Raises:
        HeadsightError: no such model.
    """
    from headsight.models.base import MODELS, NANO
    from headsight.models.grounding.adapter import is_ours
    from headsight.models.grounding.config import GroundingVLMConfig
    from headsight.models.grounding.weights import empty_model as empty_grounding
    from headsight.models.grounding.weights import read_json

    path = NANO if model in MODELS else Path(model).expanduser()
    if path.is_dir() and is_ours(path):
        values = read_json(path / "config.json")
        if values.get("model_type") == GroundingVLMConfig.model_type:
            return empty_grounding(GroundingVLMConfig.from_dict(dict(values)))
        return empty_grounding(GroundingVLMConfig.from_hf(values))
    from transformers import AutoConfig, AutoModelForImageTextToText

    if not path.is_dir() and not HUB_ID.fullmatch(model):
        near = difflib.get_close_matches(model, MODELS, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known models: {', '.join(MODELS)}."
        raise ConfigError(f"No model and no folder is called '{model}'. {hint} Or give a hub id.")
    is_local = path.is_dir() or not check_hub(model)
    try:
        source = str(path) if path.is_dir() else model
        config = AutoConfig.from_pretrained(source, local_files_only=is_local)
        with torch.device("meta"):
            built: nn.Module = AutoModelForImageTextToText.from_config(config)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"The model {model!r} cannot be found: {reason} Give a known name, a model folder or a"
            " hub id."
        ) from error
    return built


def estimate_memory(
    model: nn.Module, stage: TuneStage, *, tokens: int = 1000, weight_bytes: int = 2
) -> Estimate:
    """Memory of a step of `stage`, for rows of so many tokens."""
    total = sum(p.numel() for p in model.parameters())
    learning = total if stage.lora is None else lora_size(model, stage.lora)
    config: Any = getattr(model.config, "text_config", None) or model.config
    width, layers = int(config.hidden_size), int(config.num_hidden_layers)
    rows = stage.micro_batch or stage.batch_size
    # some 34 numbers of the width a token and layer; with checkpointing the layers' inputs only
    kept = 2 * layers + 34 if stage.gradient_checkpointing else 34 * layers
    return Estimate(total * weight_bytes, learning * 16, kept * width * tokens * rows * 2)


def lora_size(model: nn.Module, spec: LoraSpec) -> int:
    """Weights of the adapter."""
    modules = dict(model.named_modules())
    linear = [modules[name] for name in target_modules(model, spec)]
    return sum(spec.r * (m.in_features + m.out_features) for m in linear)


def _stage(
    plan: Plan, stage: TuneStage | MergeStage, model: nn.Module | None
) -> Iterator[tuple[str, bool]]:
    """Lines about a stage, and whether they say what is wrong."""
    if isinstance(stage, MergeStage):
        from headsight.teach.merging import check_merge

        settings = {k: v for k, v in stage.merge.items() if k not in ("method", "base", "expert")}
        yield (
            f"  {stage.name}: {stage.merge['method']} of {', '.join(stage.parents)} {settings}",
            False,
        )
        try:
            check_merge(stage)
        except HeadsightError as error:
            yield f"stage {stage.name}: {error}", True
        return
    try:
        new, old = [read_from(d) for d in stage.data], [read_from(d) for d in stage.old]
        mixture = Mixture(new, old, stage.rehearsal, seed=plan.seed)
        counts = mixture.counts()
        steps = stage.steps or max(1, round(stage.epochs * mixture.epoch_length / stage.batch_size))
        stage.loop_config(steps)
        yield (
            f"  {stage.name}: {steps} steps of {stage.batch_size}; an epoch has {counts['new']} new"
            f" samples and {counts['old']} rehearsed",
            False,
        )
        if model is not None:
            if stage.lora is not None:
                names = target_modules(model, stage.lora)
                size = lora_size(model, stage.lora)
                yield f"    LoRA on {len(names)} modules, {size / 1e6:.2f} million weights", False
            yield f"    memory about {estimate_memory(model, stage)}", False
    except HeadsightError as error:
        yield f"stage {stage.name}: {error}", True


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path

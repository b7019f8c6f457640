"""What a plan would do, and everything that is wrong with it, before hours are spent."""
# mypy: disable-error-code="no-untyped-call"
# (transformers, peft and parts of torch are only partly typed)

from __future__ import annotations

__all__ = [
    "Estimate",
    "check_plan",
    "empty_model",
    "estimate_memory",
    "lora_size",
    "refuse_faults",
    "refuse_spoilt",
]

import difflib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from headsight.errors import CheckpointError, ConfigError, HeadsightError
from headsight.models.base import MODELS, model_folder
from headsight.models.checkpoints import HUB_ID, check_hub
from headsight.models.grounding.adapter import is_ours
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.weights import read_json, sketch_model, weight_files
from headsight.picture import open_picture
from headsight.teach.features import picture_hash
from headsight.teach.hints import first_number_of
from headsight.teach.keypoint_rounds import KeypointData
from headsight.teach.lora import LoraSpec, saved_modules, target_modules
from headsight.teach.merging import check_merge
from headsight.teach.plan import Data, MergeStage, Plan, TuneStage

_GIB = 2**30
_MOST_FAULTS = 5


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


def check_plan(
    plan: Plan, *, only: Sequence[str] = (), thorough: bool = False
) -> tuple[list[str], list[str]]:
    """Lines that say what will be done, and lines that say what is wrong.

    Args:
        plan: what is to be run.
        only: names of the stages to look at; all by default.
        thorough: also open every picture, and look at every weight of the first model.
    """
    told: list[str] = [f"{plan.name}: {len(plan.stages)} stages from {plan.model} to {plan.output}"]
    wrong: list[str] = []
    model: nn.Module | None = None
    try:
        model = empty_model(plan.model)
        size = sum(p.numel() for p in model.parameters())
        told.append(f"  model: {size / 1e6:.1f} million weights")
        if thorough:
            refuse_spoilt(_folder(plan.model))
    except HeadsightError as error:
        wrong.append(str(error))
    opened: set[str] = set()
    for name, data in plan.skills.items():
        try:
            source = data.read()
            told.append(f"  skill {name}: {len(source)} questions of {data.path}")
            wrong += _unreadable(data, opened) if thorough else []
        except HeadsightError as error:
            wrong.append(f"skill {name}: {error}")
    stages = [stage for stage in plan.stages if not only or stage.name in only]
    for stage in stages:
        try:
            told += _merged(stage) if isinstance(stage, MergeStage) else _tuned(plan, stage, model)
            if thorough and isinstance(stage, TuneStage):
                for data in (*stage.data, *stage.old):
                    wrong += _unreadable(data, opened)
        except HeadsightError as error:
            wrong.append(f"stage {stage.name}: {error}")
    above = _existing(plan.output)
    if not above.is_dir():
        wrong.append(f"The output {plan.output} lies at or below the file {above}. Choose another.")
    elif model is not None:
        free = shutil.disk_usage(above).free
        stored = sum(p.numel() for p in model.parameters()) * 2 * len(stages)
        told.append(
            f"  disk: about {stored / _GIB:.2f} GiB are written, {free / _GIB:.1f} are free"
        )
        if stored > free:
            wrong.append(
                f"The checkpoints of {len(stages)} stages take about {stored / _GIB:.1f} GiB,"
                f" but {free / _GIB:.1f} GiB are free at {plan.output}. Choose another output."
            )
    return told, wrong


def refuse_faults(wrong: Sequence[str], name: str) -> None:
    """Pass if nothing is wrong.

    Raises:
        ConfigError: all that is, a line each.
    """
    if wrong:
        faults = "\n".join(f"- {line}" for line in wrong)
        count = "1 thing is" if len(wrong) == 1 else f"{len(wrong)} things are"
        raise ConfigError(f"{count} wrong with {name}:\n{faults}")


def refuse_spoilt(folder: Path | None) -> None:
    """Pass if every weight of the model in `folder` is a finite number; None is passed over.

    Raises:
        CheckpointError: one that is not, or files that cannot be read.
    """
    for path in [] if folder is None else weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - safe_open is no dict
                    weight = file.get_tensor(name)
                    if weight.is_floating_point() and not torch.isfinite(weight).all():
                        raise CheckpointError(
                            f"{path}: {name} holds values that are not finite (NaN or infinite)."
                            " Nothing can be taught to it; get a whole copy of the model."
                        )
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}. Get a whole copy.") from error


def empty_model(model: str) -> nn.Module:
    """The architecture of a model without its weights, on the meta device.

    Raises:
        HeadsightError: no such model.
    """
    path = model_folder(model)
    if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
        raise ConfigError(
            f"{path} holds an adapter, not a model. Fold it into its base first (headsight fold),"
            " and name the folder that comes of it."
        )
    if path.is_dir() and is_ours(path):
        values = read_json(path / "config.json")
        if values.get("model_type") == GroundingVLMConfig.model_type:
            return sketch_model(GroundingVLMConfig.from_dict(dict(values)))
        return sketch_model(GroundingVLMConfig.from_hf(values))
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
    """Weights of the adapter, and of what is trained whole."""
    modules = dict(model.named_modules())
    linear: list[Any] = [modules[name] for name in target_modules(model, spec)]
    sizes = [spec.r * (m.in_features + m.out_features) for m in linear]
    for name in saved_modules(model, spec):
        sizes += [p.numel() for p in modules[name].parameters()]
    return sum(sizes)


def _merged(stage: MergeStage) -> list[str]:
    check_merge(stage)
    settings = {k: v for k, v in stage.merge.items() if k not in ("method", "base", "expert")}
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    parents = ", ".join(stage.parents)
    return [f"  {stage.name}: {stage.merge['method']} of {parents}{told and f' ({told})'}"]


def _tuned(plan: Plan, stage: TuneStage, model: nn.Module | None) -> list[str]:
    mixture = stage.mixture(seed=plan.seed)
    counts = mixture.counts()
    steps = stage.num_steps(mixture.epoch_length)
    stage.loop_config(steps)
    if model is not None and (folder := _folder(plan.model)) is not None:
        for setting in ("number_spread", "number_hints"):
            if getattr(stage, setting):
                first_number_of(_tokenizer(folder), setting)
    told = [
        f"  {stage.name}: {steps} steps of {stage.batch_size}; an epoch has {counts['new']} new"
        f" samples and {counts['old']} rehearsed"
    ]
    if model is not None:
        if stage.lora is not None:
            names = target_modules(model, stage.lora)
            size = lora_size(model, stage.lora)
            told.append(f"    LoRA on {len(names)} modules, {size / 1e6:.2f} million weights")
        told.append(f"    memory about {estimate_memory(model, stage)}")
    return told


def _unreadable(data: Data | KeypointData, opened: set[str]) -> list[str]:
    """What is wrong with the first pictures of `data` that cannot be opened; fills `opened`."""
    faults: list[str] = []
    source = data.read()
    for number in range(len(source)):
        try:
            picture = source.draw(number, None).picture
            if (digest := picture_hash(picture)) not in opened:
                open_picture(picture)
                opened.add(digest)
        except HeadsightError as error:
            faults.append(f"{data.path}, question {number + 1}: {error}")
            if len(faults) == _MOST_FAULTS:
                break
    return faults


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        if is_ours(folder):
            return GroundingProcessor.from_pretrained(folder, local_files_only=True).tokenizer
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"The tokenizer in {folder} cannot be read: {error}. Get the whole folder again."
        ) from error


def _folder(model: str) -> Path | None:
    """Where a model lies; None of one at the hub."""
    path = model_folder(model)
    return path if path.is_dir() else None


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path

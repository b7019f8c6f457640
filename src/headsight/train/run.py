"""Runs a recipe: stage after stage, each from the averaged weights of the one before."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from headsight.errors import ConfigError
from headsight.models.grounding.headgrid import HeadGrid, HeadGridConfig
from headsight.train.checkpoint import load_average_
from headsight.train.crops import head_crops
from headsight.train.dense import DenseJob, DenseSource
from headsight.train.labels import LabelledPicture, read_labels
from headsight.train.lite0 import load_lite0_
from headsight.train.loop import run_stage
from headsight.train.pictures import Augmentation
from headsight.train.recipe import Recipe, Stage, fingerprint

__all__ = ["run_recipe"]

_log = logging.getLogger(__name__)


def run_recipe(recipe: Recipe, *, quiet: bool = False, only: Sequence[str] = ()) -> Path:
    """Train every stage of `recipe` (or those named in `only`) and return the last checkpoint.

    Raises:
        ConfigError: `only` names a stage that the recipe does not have.
        ResumeError: a checkpoint in the output folder was made with other settings.
    """
    unknown = set(only) - {s.name for s in recipe.stages}
    if unknown:
        raise ConfigError(
            f"no stage named {sorted(unknown)}; the recipe has {[s.name for s in recipe.stages]}."
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "The stages of this recipe train in one process, but several were launched. Run"
            " `headsight train` without `accelerate launch`."
        )
    recipe.output.mkdir(parents=True, exist_ok=True)
    written = json.dumps(asdict(recipe), indent=1, default=str)
    (recipe.output / "recipe.json").write_text(written, "utf-8")
    validation = read_labels(recipe.validation, limit=recipe.validation_limit)
    torch.manual_seed(recipe.seed)
    encoder = HeadGrid(HeadGridConfig.from_dict(recipe.encoder))
    checkpoint = recipe.output
    for number, stage in enumerate(recipe.stages):
        if only and stage.name not in only:
            continue
        _log.info("stage=%s kind=%s", stage.name, stage.kind)
        mark = fingerprint(recipe.seed, recipe.encoder, recipe.decoder, asdict(stage))
        starts = _starts(recipe, number)
        if stage.kind == "dense":
            checkpoint = _run_dense(
                recipe, stage, encoder, starts, validation, mark=mark, quiet=quiet
            )
        elif stage.kind == "crop_regressor":
            from headsight.train.crop_regressor import run_crop_regressor

            checkpoint = run_crop_regressor(
                recipe, stage, starts, validation, mark=mark, quiet=quiet
            )
        else:
            from headsight.train.language import run_language

            checkpoint = run_language(recipe, stage, starts, validation, mark=mark, quiet=quiet)
    return checkpoint


def _starts(recipe: Recipe, number: int) -> list[tuple[str, Path]]:
    """Kind and checkpoint of every stage that stage `number` starts from."""
    stage = recipe.stages[number]
    names = stage.starts_from
    if names is None:
        names = (recipe.stages[number - 1].name,) if number else ()
    kinds = {s.name: s.kind for s in recipe.stages[:number]}
    if unknown := [n for n in names if n not in kinds]:
        raise ConfigError(
            f"stage {stage.name!r} starts from {unknown}, but the stages before it are"
            f" {list(kinds)}."
        )
    return [(kinds[n], recipe.output / n / "checkpoint.safetensors") for n in names]


def read_sources(
    stage: Stage, base: Augmentation
) -> list[tuple[Sequence[LabelledPicture], float, Augmentation]]:
    """Pictures, share and augmentation of each source."""
    result: list[tuple[Sequence[LabelledPicture], float, Augmentation]] = []
    for source in stage.sources:
        own = replace(base, zoom_range=source.zoom_range) if source.zoom_range else base
        pictures = read_labels(source.labels, limit=source.limit)
        if source.crops:
            pictures = head_crops(pictures, np.random.default_rng(0))
        result.append((pictures, source.share, own))
    return result


def _run_dense(
    recipe: Recipe,
    stage: Stage,
    encoder: HeadGrid,
    starts: Sequence[tuple[str, Path]],
    validation: Sequence[LabelledPicture],
    *,
    mark: str,
    quiet: bool,
) -> Path:
    if not starts:
        load_lite0_(encoder)
    for _, checkpoint in starts:
        load_average_(encoder, checkpoint)
    base = Augmentation(image_size=encoder.config.image_size)
    sources = [
        DenseSource(pictures=pictures, share=share, augmentation=own, mosaic=source.mosaic)
        for source, (pictures, share, own) in zip(
            stage.sources, read_sources(stage, base), strict=True
        )
    ]
    job = DenseJob(
        encoder.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        sources,
        validation,
        batch_size=stage.batch_size,
        lr=stage.lr,
        backbone_lr=stage.backbone_lr,
        frozen_blocks=stage.frozen_blocks,
        seed=int(np.random.SeedSequence([recipe.seed, len(stage.name)]).generate_state(1)[0]),
    )
    return run_stage(job, stage.loop, recipe.output / stage.name, fingerprint=mark, quiet=quiet)

"""A plan's merge stage: what it says in YAML as a call of `headsight.merging`."""

from __future__ import annotations

__all__ = ["check_merge", "merge_stage"]

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from headsight.errors import ConfigError
from headsight.merging.job import PARAMETERS, MergeJob, Model
from headsight.merging.run import merge
from headsight.merging.selection import parse_threshold
from headsight.teach.plan import MergeStage

_NAMES = ("method", "base", "expert")
_SETTINGS = tuple(
    field.name for field in fields(MergeJob) if field.name not in (*_NAMES, "models", "parameters")
)


def check_merge(stage: MergeStage) -> None:
    """Pass if the stage's settings are those of a merge.

    Raises:
        ConfigError: an unknown method or key, or a value out of range.
    """
    _job(stage, {name: Path(name) for name in stage.parents})


def merge_stage(stage: MergeStage, places: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write the stage's model and report below `folder`; what is to be said about it.

    Args:
        stage: what is to be merged.
        places: model folder of every parent.
        folder: of the stage.

    Raises:
        ConfigError: as `check_merge`.
        CheckpointError: models that do not fit each other, or a full disk.
    """
    report = merge(_job(stage, places), folder / "model", overwrite=True)
    units = ", ".join(f"{count} {name}" for name, count in sorted(report.taken.items()))
    facts: dict[str, Any] = {"method": stage.merge["method"], "units": units}
    if report.warnings:
        facts["warnings"] = " ".join(report.warnings)
    return facts


def _job(stage: MergeStage, places: Mapping[str, Path]) -> MergeJob:
    values = dict(stage.merge)
    known = (*_NAMES, *_SETTINGS, *PARAMETERS)
    for key in values:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."
            raise ConfigError(f"stage {stage.name!r}: merge has an unknown key '{key}'. {hint}")
    base, *experts = stage.parents
    settings = {key: values[key] for key in _SETTINGS if key in values}
    if "threshold" in settings:
        settings["threshold"] = parse_threshold(settings["threshold"])
    return MergeJob(
        method=str(values["method"]),
        base=str(places[base]),
        models=tuple(Model(str(places[name])) for name in experts),
        parameters={key: values[key] for key in PARAMETERS if key in values},
        **settings,
    )

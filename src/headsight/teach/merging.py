"""A plan's merge stage: what it says in YAML as a call of `headsight.merging`."""

from __future__ import annotations

__all__ = ["check_merge", "merge_stage"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headsight.teach.plan import MergeStage


def check_merge(stage: MergeStage) -> None:
    raise NotImplementedError


def merge_stage(stage: MergeStage, places: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    raise NotImplementedError

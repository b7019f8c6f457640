"""See, score and edit attention heads (`HeadLab`), and find those that localize (`HeadSet`).

The names below are imported when they are first asked for: `import headsight.attention` loads
neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headsight.attention.ablations import (
        Ablation,
        PatternPreserving,
        Replace,
        Scale,
        TokenMask,
        Undifferentiated,
        mean,
        resample,
        zero,
    )
    from headsight.attention.head_set import HeadRow, HeadSet, model_fingerprint
    from headsight.attention.heads import HeadAddress, HeadId, HeadSite, HeadTable
    from headsight.attention.interface import register_attention
    from headsight.attention.lab import HeadLab
    from headsight.attention.localization import (
        attention_sum,
        elbow_threshold,
        fuse_maps,
        map_centroid,
        merge_views,
        select_low_entropy,
        spatial_entropy,
        valid_cells,
    )
    from headsight.attention.prune import prune_heads_
    from headsight.attention.recording import Recording, Step
    from headsight.attention.reducers import (
        BlockSum,
        Diagonal,
        Entropy,
        HeadOutputs,
        LastQueryRow,
        MeanOverBatch,
        Reducer,
        Rows,
        TopK,
    )
    from headsight.attention.run_log import RunLog
    from headsight.attention.selection import (
        PRESETS,
        Head,
        HeadStatistics,
        SelectionRule,
        candidate_heads,
        head_statistics,
        sample_heads,
    )
    from headsight.attention.selection_counts import (
        HeadNote,
        Selection,
        SelectionCounts,
        diagnose,
        frequency_spread,
    )

__all__ = [
    "PRESETS",
    "Ablation",
    "BlockSum",
    "Diagonal",
    "Entropy",
    "Head",
    "HeadAddress",
    "HeadId",
    "HeadLab",
    "HeadNote",
    "HeadOutputs",
    "HeadRow",
    "HeadSet",
    "HeadSite",
    "HeadStatistics",
    "HeadTable",
    "LastQueryRow",
    "MeanOverBatch",
    "PatternPreserving",
    "Recording",
    "Reducer",
    "Replace",
    "Rows",
    "RunLog",
    "Scale",
    "Selection",
    "SelectionCounts",
    "SelectionRule",
    "Step",
    "TokenMask",
    "TopK",
    "Undifferentiated",
    "attention_sum",
    "candidate_heads",
    "diagnose",
    "elbow_threshold",
    "frequency_spread",
    "fuse_maps",
    "head_statistics",
    "map_centroid",
    "mean",
    "merge_views",
    "model_fingerprint",
    "prune_heads_",
    "register_attention",
    "resample",
    "sample_heads",
    "select_low_entropy",
    "spatial_entropy",
    "valid_cells",
    "zero",
]

_HOMES = {
    "PRESETS": "selection",
    "Ablation": "ablations",
    "BlockSum": "reducers",
    "Diagonal": "reducers",
    "Entropy": "reducers",
    "Head": "selection",
    "HeadAddress": "heads",
    "HeadId": "heads",
    "HeadLab": "lab",
    "HeadNote": "selection_counts",
    "HeadOutputs": "reducers",
    "HeadRow": "head_set",
    "HeadSet": "head_set",
    "HeadSite": "heads",
    "HeadStatistics": "selection",
    "HeadTable": "heads",
    "LastQueryRow": "reducers",
    "MeanOverBatch": "reducers",
    "PatternPreserving": "ablations",
    "Recording": "recording",
    "Reducer": "reducers",
    "Replace": "ablations",
    "Rows": "reducers",
    "RunLog": "run_log",
    "Scale": "ablations",
    "Selection": "selection_counts",
    "SelectionCounts": "selection_counts",
    "SelectionRule": "selection",
    "Step": "recording",
    "TokenMask": "ablations",
    "TopK": "reducers",
    "Undifferentiated": "ablations",
    "attention_sum": "localization",
    "candidate_heads": "selection",
    "diagnose": "selection_counts",
    "elbow_threshold": "localization",
    "frequency_spread": "selection_counts",
    "fuse_maps": "localization",
    "head_statistics": "selection",
    "map_centroid": "localization",
    "mean": "ablations",
    "merge_views": "localization",
    "model_fingerprint": "head_set",
    "prune_heads_": "prune",
    "register_attention": "interface",
    "resample": "ablations",
    "sample_heads": "selection",
    "select_low_entropy": "localization",
    "spatial_entropy": "localization",
    "valid_cells": "localization",
    "zero": "ablations",
}
"""The file of each name."""


def __getattr__(name: str) -> Any:
    """The public name, imported when first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headsight.attention' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"headsight.attention.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

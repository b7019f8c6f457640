"""Merging checkpoints without training: averages, changes added up, layers chosen by cosine.

Everything streams from safetensors to safetensors in numpy; torch is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headsight.merging.job import MergeJob, Model
    from headsight.merging.method import Params
    from headsight.merging.methods import METHODS, merge_tensors
    from headsight.merging.packed_lora import join_parts, split_parts
    from headsight.merging.report import MergeReport, UnitRow
    from headsight.merging.run import Difference, TensorDifference, check, diff, fold, merge
    from headsight.merging.selection import Threshold, parse_threshold
    from headsight.merging.yaml_file import job_from_yaml, read_job

__all__ = [
    "METHODS",
    "Difference",
    "MergeJob",
    "MergeReport",
    "Model",
    "Params",
    "TensorDifference",
    "Threshold",
    "UnitRow",
    "check",
    "diff",
    "fold",
    "job_from_yaml",
    "join_parts",
    "merge",
    "merge_tensors",
    "parse_threshold",
    "read_job",
    "split_parts",
]

_HOMES = {
    "Difference": "run",
    "METHODS": "methods",
    "MergeJob": "job",
    "MergeReport": "report",
    "Model": "job",
    "Params": "method",
    "TensorDifference": "run",
    "Threshold": "selection",
    "UnitRow": "report",
    "check": "run",
    "diff": "run",
    "fold": "run",
    "job_from_yaml": "yaml_file",
    "join_parts": "packed_lora",
    "merge": "run",
    "merge_tensors": "methods",
    "parse_threshold": "selection",
    "read_job": "yaml_file",
    "split_parts": "packed_lora",
}


def __getattr__(name: str) -> Any:
    """The public name, imported when first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headsight.merging' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"headsight.merging.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

"""What a merge did, unit by unit, as a value, as JSON and as a model card."""

from __future__ import annotations

__all__ = ["MergeReport", "UnitRow", "no_op_warning"]

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

SCHEMA = "headsight.merge-report/1"
_EDGES = (-1.0, 0.0, 0.5, 0.8, 0.9, 0.92, 0.95, 0.98, 0.99, 0.999, 1.0)

Decision = Literal["base", "expert", "merged", "equal"]


@dataclass(frozen=True)
class UnitRow:
    """One unit: what was compared, and where it came from."""

    name: str
    tensors: tuple[str, ...]
    cosine: float
    """Of base and expert (layer-cosine), else of base and result; 1 where they
    are equal, NaN where a whole model passes through and nobody looked."""
    relative_norm: float
    """Length of the change over that of the base; infinite where the base is zero."""
    decision: Decision
    """`equal`: the same in all models and copied."""
    bytes: int
    """Of the result."""


@dataclass(frozen=True)
class MergeReport:
    """What a merge did."""

    method: str
    base: str
    models: tuple[str, ...]
    out: str
    settings: Mapping[str, Any]
    units: tuple[UnitRow, ...]
    files: tuple[str, ...]
    total_bytes: int
    warnings: tuple[str, ...] = ()

    @property
    def taken(self) -> dict[str, int]:
        """How many units had each decision."""
        return dict(Counter(unit.decision for unit in self.units))

    @property
    def compared(self) -> list[UnitRow]:
        """The units that changed and were looked at: not those that are equal or only copied."""
        return [u for u in self.units if u.decision != "equal" and math.isfinite(u.cosine)]

    @property
    def histogram(self) -> list[tuple[float, float, int]]:
        """Lower and upper cosine, and how many units that changed are between (above lower)."""
        found = [unit.cosine for unit in self.compared]
        bins = []
        for low, high in pairwise(_EDGES):
            is_first = low == _EDGES[0]
            count = sum((low < c or (is_first and c == low)) and c <= high for c in found)
            bins.append((low, high, count))
        return bins

    def to_dict(self) -> dict[str, Any]:
        """For JSON; infinite figures are null."""
        values = {"schema": SCHEMA, **asdict(self)}
        for unit in values["units"]:
            for key in ("cosine", "relative_norm"):
                unit[key] = unit[key] if math.isfinite(unit[key]) else None
        values["taken"] = self.taken
        values["histogram"] = [
            {"above": low, "to": high, "units": count} for low, high, count in self.histogram
        ]
        return values

    def summary(self) -> str:
        """A few lines for people."""
        gigabytes = self.total_bytes / 1e9
        lines = [
            f"{self.method}: {len(self.units)} units, {gigabytes:.3g} GB in {len(self.files)}"
            f" {'file' if len(self.files) == 1 else 'files'}: {self.out}",
            "  " + ", ".join(f"{count} {name}" for name, count in sorted(self.taken.items())),
        ]
        changed = sorted(self.compared, key=lambda u: (u.cosine, u.name))
        if changed:
            low, high = changed[0], changed[-1]
            lines.append(
                f"  cosine {low.cosine:.6f} ({low.name}) to {high.cosine:.6f} ({high.name})"
            )
        return "\n".join([*lines, *(f"  note: {w}" for w in self.warnings), ""])

    def card(self) -> str:
        """A model card in Markdown."""
        parents = "\n".join(f"- {name}" for name in (self.base, *self.models))
        settings = "\n".join(f"- {key}: {value}" for key, value in self.settings.items())
        taken = "\n".join(f"| {name} | {count} |" for name, count in sorted(self.taken.items()))
        notes = "".join(f"\nNote: {w}\n" for w in self.warnings)
        return (
            "---\nlibrary_name: transformers\ntags:\n- merge\n- headsight\n---\n\n"
            f"# {Path(self.out).name}\n\nMade by `headsight merge` with the method"
            f" {self.method}. The parents' licences apply.\n\n"
            f"Parents, the base first:\n\n{parents}\n\nSettings:\n\n{settings}\n\n"
            f"| units | number |\n| --- | --- |\n{taken}\n{notes}\n"
            "Every unit's cosine, change and origin: merge-report.json and merge-report.png.\n"
        )


def no_op_warning(units: Sequence[UnitRow], threshold: str, models: Sequence[str]) -> str | None:
    """What to say where all units that differ come from one parent; None where both gave some.

    `models` are the name of the one that is kept and of the one that is taken.
    """
    changed = [unit for unit in units if unit.decision != "equal"]
    winners = {unit.decision for unit in changed}
    if len(winners) != 1:
        return None if changed else "the models are equal: there was nothing to merge"
    winner = models[1] if winners == {"expert"} else models[0]
    return (
        f"the merge is a no-op at {threshold}: all {len(changed)} units that differ come from"
        f" {winner}. A threshold by quantile, such as quantile:0.2, always keeps some of each"
    )

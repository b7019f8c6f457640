"""The tables of the README, from results/rows.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headsight.eval.tables import fill_table, mean_and_spread
from headsight.files import write_atomic

ROWS = {
    "frontal": "all heads face the camera",
    "cnn": "CNN on crops (6DRepNet's kind)",
    "base": "M0: boxes only",
    "weak": "M1: weak labels",
    "r0": "M2: direct LoRA, no rehearsal",
    "r01": "direct LoRA, rehearsal 1 %",
    "r10": "direct LoRA, rehearsal 10 %",
    "r25": "direct LoRA, rehearsal 25 %",
    "arithmetic": "task arithmetic of M0 and M2",
    "ties": "TIES of M0 and M2",
    "cosine": "M3: layer-cosine of M0 and M2",
    "arithmetic+": "task arithmetic, then 25 %",
    "ties+": "TIES, then 25 %",
    "cosine+": "M4: layer-cosine, then 25 %",
}
SWEEP = {
    "cosine90": "0.90", "cosine92": "0.92", "cosine": "0.95", "cosine98": "0.98",
}  # fmt: skip
SETS = {
    "probe": "scenes of other people",
    "other": "scenes rendered otherwise",
    "aflw": "AFLW2000 sample",
    "panoptic": "Panoptic sample",
}

NOBODY = "nobody there"
"""The case without a truth."""


def write_tables(results: Path, readme: Path | None) -> None:
    """Put every table between its markers; without a file they are printed."""
    record = json.loads(results.read_text("utf-8"))
    tables = {name: _table(record, name) for name in ("probe", "other")}
    tables["photographs"] = _photographs(record)
    tables["failures"] = _failures(record)
    tables["sweep"] = _sweep(record)
    if record.get("plain"):
        tables["plain"] = _table({"seeds": {"0": record["plain"]}}, "probe")
    tables["stress"] = _stress(record.get("stress", {}))
    if readme is None:
        print("\n".join(f"{SETS.get(name, name)}\n\n{table}" for name, table in tables.items()))
        return
    text = readme.read_text("utf-8")
    for name, table in tables.items():
        text = fill_table(text, name, table)
    write_atomic(readme, text.encode())


def _table(record: dict[str, Any], where: str) -> str:
    rows = [
        "| model | box F1 | box answers not strict | yaw | pitch | roll | MAE | MAE penalised |"
        " geodesic median | pose answers not strict |",
        "| --- |" + " ---: |" * 9,
    ]
    boxes, pose = f"boxes {where}", f"pose {where}"
    for name, title in ROWS.items():
        cells = [
            _cell(record, name, boxes, "score", digits=2),
            _cell(record, name, boxes, "strict_invalid", factor=100, unit=" %"),
            *(_cell(record, name, pose, key) for key in ("yaw", "pitch", "roll", "mae")),
            _cell(record, name, pose, "mae_penalised"),
            _cell(record, name, pose, "geodesic_median"),
            _cell(record, name, pose, "strict_invalid", factor=100, unit=" %"),
        ]
        if any(cell != "-" for cell in cells):
            rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join([*rows, ""])


def _photographs(record: dict[str, Any]) -> str:
    titles = " | ".join(f"{SETS[name]}: MAE penalised" for name in ("aflw", "panoptic"))
    rows = [f"| model | {titles} |", "| --- | ---: | ---: |"]
    for name, title in ROWS.items():
        cells = [_cell(record, name, f"pose {s}", "mae_penalised") for s in ("aflw", "panoptic")]
        if any(cell != "-" for cell in cells):
            rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join([*rows, ""])


def _failures(record: dict[str, Any]) -> str:
    """Answers that are not as asked, by kind, in all test sets and seeds together."""
    counts: dict[str, Counter[str]] = {}
    asked: Counter[str] = Counter()
    for seed in record["seeds"].values():
        for name, skills in seed.items():
            for figures in skills.values():
                counts.setdefault(name, Counter()).update(figures.get("failures", {}))
                asked[name] += round(figures.get("questions", 0))
    kinds = sorted({kind for found in counts.values() for kind in found}) or ["none"]
    rows = [
        f"| model | questions | {' | '.join(kinds)} |",
        "| --- |" + " ---: |" * (1 + len(kinds)),
    ]
    for name, title in ROWS.items():
        if asked[name]:
            cells = " | ".join(str(counts[name][kind]) for kind in kinds)
            rows.append(f"| {title} | {asked[name]} | {cells} |")
    return "\n".join([*rows, ""])


def _sweep(record: dict[str, Any]) -> str:
    rows = [
        "| threshold | modules of M2, of those that differ | box F1 | yaw | MAE penalised |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    merges = record.get("merges", {})
    for name, title in SWEEP.items():
        merge = merges.get(name)
        cells = [f"{merge['from_expert']} of {merge['modules']}" if merge else "-"]
        cells.append(_cell(record, name, "boxes probe", "score", digits=2, first=True))
        cells += [
            _cell(record, name, "pose probe", key, first=True) for key in ("yaw", "mae_penalised")
        ]
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    rows.append("")
    for merge in list(merges.values())[:1]:
        low, middle, high = merge["cosine"]
        rows.append(
            f"Cosines of the modules that differ: {low:.3f} to {high:.3f}, median {middle:.3f}; the"
            f" change has {merge['relative_norm']:.2f} of the norm of what was there (median)."
        )
    return "\n".join([*rows, ""])


def _stress(found: dict[str, Any]) -> str:
    titles = "".join(f" {ROWS[name]}: not strict | MAE |" for name in found)
    rows = [f"| asked for | heads |{titles}", "| --- | ---: |" + " ---: | ---: |" * len(found)]
    cases = next(iter(found.values()), {})
    for case, first in cases.items():
        cells = [f"{first['questions']:.0f}"]
        for figures in found.values():
            cells.append(f"{100 * figures[case]['strict_invalid']:.1f} %")
            cells.append("-" if case == NOBODY else f"{figures[case]['mae']:.1f}")
        rows.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join([*rows, ""])


def _cell(
    record: dict[str, Any],
    row: str,
    skill: str,
    key: str,
    *,
    factor: float = 1.0,
    digits: int = 1,
    unit: str = "",
    first: bool = False,
) -> str:
    """Mean over the seeds, and how far they lie from it."""
    values = _values(record, row, skill, key)[: 1 if first else None]
    shown = mean_and_spread([factor * value for value in values], digits=digits)
    return shown + unit if values else shown


def _values(record: dict[str, Any], row: str, skill: str, key: str) -> Sequence[float]:
    found = []
    for seed in record["seeds"].values():
        value = seed.get(row, {}).get(skill, {}).get(key)
        if value is not None and np.isfinite(value):
            found.append(float(value))
    return found

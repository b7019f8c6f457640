"""The tables of the README, from results/rows.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headsight.eval.tables import fill_table, mean_and_spread
from headsight.files import write_atomic

ROWS = {
    "base independent 0": "M0, which has seen no rounds (`base.py`), asked alone",
    "single independent 0": "one keypoint a picture (LocLLM's way), asked alone",
    "fixed independent 0": "fixed rounds of 4, asked alone",
    "fixed cumulative 3": "fixed rounds of 4, cumulative, the last 3 kept",
    "fixed cumulative 16": "fixed rounds of 4, cumulative, the last 16 kept",
    "dynamic independent 0": "dynamic rounds 1 to 8, asked alone",
    "dynamic cumulative 3": "dynamic rounds, cumulative, the last 3 kept",
    "dynamic cumulative 7": "dynamic rounds, cumulative, the last 7 kept",
    "vague cumulative 7": "dynamic, cumulative, names without descriptions",
    "digits2 cumulative 7": "dynamic, cumulative, 2 decimals",
    "image cumulative 7": "dynamic, cumulative, whole picture in place of the crop",
    "nano-keypoints cumulative 7": "`nano-keypoints`, as shipped (older, see below), cumulative",
    "names": "the encoder alone: its own words of seen names, no decoder",
    "support": "one annotated example, matched by features (no words)",
    "middle": "the middle of the box as every point",
}
SETS = {"seen_test": "seen categories", "unseen_test": "unseen categories"}
THRESHOLDS = ("0.05", "0.1", "0.15", "0.2")
NEW = ("bed", "skirt", "teapot", "axe")
"""Unseen categories whose points no seen category has: only their descriptions tell them."""


def write_tables(results: Path, readme: Path | None) -> None:
    """Put every table between its markers; without a file they are printed."""
    record = json.loads(results.read_text("utf-8"))
    tables = {name: _table(record, name) for name in SETS}
    tables["categories"] = _categories(record)
    if readme is None:
        print("\n".join(f"{SETS.get(name, name)}\n\n{table}" for name, table in tables.items()))
        return
    text = readme.read_text("utf-8")
    for name, table in tables.items():
        text = fill_table(text, name, table)
    write_atomic(readme, text.encode())


def _table(record: dict[str, Any], where: str) -> str:
    head = " | ".join(f"PCK@{float(t):.2f}" for t in THRESHOLDS)
    rows = [f"| model | {head} |", "| --- |" + " ---: |" * len(THRESHOLDS)]
    for name, title in ROWS.items():
        found = [seed[name][where] for seed in record["seeds"].values() if name in seed]
        if found:
            cells = [mean_and_spread([100 * one[f"pck@{t}"] for one in found]) for t in THRESHOLDS]
            rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join([*rows, ""])


def _categories(record: dict[str, Any]) -> str:
    """PCK@0.2 of each unseen category."""
    chosen = {
        "dynamic cumulative 7": "with descriptions",
        "vague cumulative 7": "names alone",
        "support": "one example",
    }
    seeds = record["seeds"].values()
    chosen = {k: v for k, v in chosen.items() if all(k in seed for seed in seeds)}
    rows = [
        "| category | " + " | ".join(chosen.values()) + " |", "| --- |" + " ---: |" * len(chosen)
    ]  # fmt: skip
    tables = {k: [seed[k]["unseen_test"]["by_category"] for seed in seeds] for k in chosen}
    names = sorted(next(iter(tables.values()))[0], key=lambda name: (name in NEW, name))
    for name in names:
        cells = [
            mean_and_spread([100 * table[name]["pck@0.2"] for table in found if name in table])
            for found in tables.values()
        ]
        rows.append(
            f"| {name}{' (new points)' if name in NEW else ''} | " + " | ".join(cells) + " |"
        )
    return "\n".join([*rows, ""])

"""The tables of the README, from the files in results/ and the figures that the paper prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from headsight.eval.tables import fill_table
from headsight.files import write_atomic

PAPER_CRITERIA = {
    "greedy, sum": 23.7, "greedy, entropy": 29.8, "greedy, both": 67.4,
    "fixed, sum": 23.9, "fixed, entropy": 31.3, "fixed, both": 87.2,
}  # fmt: skip
"""Table 5, LLaVA-1.5-13B, RefCOCO val, REC Acc@0.5."""
PAPER_COUNTS = {"k = 1": 64.5, "k = 2": 66.0, "k = 3": 67.1, "k = 4": 66.6, "k = 5": 58.9}
"""Table 4, RES cIoU on RefCOCO val, mean of ten models (of k = 4 recomputed: 65.4 is printed)."""
PAPER_SMOOTHING = {
    "sigma 0": 85.5, "sigma 0.4": 86.8, "sigma 0.8": 87.2, "sigma 1": 87.2, "sigma 1.4": 86.8,
    "sigma 1.8": 84.3, "kernel 1": 85.5, "kernel 3": 86.5, "kernel 5": 86.5, "kernel 7": 87.2,
    "kernel 9": 87.2, "kernel 11": 87.2,
}  # fmt: skip
"""Table 8, LLaVA-1.5-13B, RefCOCO val, REC Acc@0.5, in cells of 24 x 24."""
_SHOWN = 10


def write_tables(readme: Path, results: Path) -> None:
    """Put every table between its markers."""
    text = readme.read_text("utf-8")
    write_atomic(readme, render(text, results).encode())


def render(text: str, results: Path) -> str:
    """`text` with the tables of the files in `results` between its markers."""
    nano = json.loads((results / "nano.json").read_text("utf-8"))
    simulated = json.loads((results / "simulated.json").read_text("utf-8"))
    tables: dict[str, Callable[[], str]] = {
        "target": lambda: _target(nano),
        "criteria": lambda: _both(nano, "criteria", PAPER_CRITERIA),
        "head-counts": lambda: _both(nano, "head_counts", PAPER_COUNTS),
        "smoothing": lambda: _both(nano, "smoothing", PAPER_SMOOTHING),
        "thresholds": lambda: _one(nano["tables"]["thresholds"]),
        "queries": lambda: _one(nano["tables"]["queries"]),
        "layers": lambda: _one(nano["tables"]["layers"]),
        "heads": lambda: _heads(nano),
        "simulated": lambda: _simulated(simulated),
    }
    for name, make in tables.items():
        text = fill_table(text, name, make())
    return text


def _target(nano: dict[str, Any]) -> str:
    found = {row["name"]: row for row in nano["tables"]["layers"]}
    native = nano["native_acc50"]
    rows = [("the answer that nano writes", "", _share(native), "1.00")]
    shown = {
        "three heads, layer 0 excluded": found["candidates from layer 1 on"],
        "three heads, layers 0 and 1 excluded (the paper's rule)": found[
            "candidates from layer 2 on"
        ],
        "the two guided heads": found["the guided heads themselves"],
        "three heads, layer 0 excluded, smoothed as in the paper": nano["paper_smoothing"],
    }
    rows += [
        (name, _named(row["heads"]), _share(row["acc50"]), f"{row['acc50'] / native:.2f}")
        for name, row in shown.items()
    ]
    return _table(("place from", "heads (layer, head)", "Acc@0.5", "of native"), rows)


def _both(nano: dict[str, Any], name: str, published: dict[str, float]) -> str:
    """A table that was made with and without the guided layer."""
    made = nano["tables"][name]
    head = ("chosen", *(f"nano, {which}" for which in made), "paper")
    rows = [
        (
            first["name"],
            *(_share(rows[i]["acc50"]) for rows in made.values()),
            f"{published[first['name']]:.1f}" if first["name"] in published else "-",
        )
        for i, first in enumerate(next(iter(made.values())))
    ]
    return _table(head, rows)


def _one(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        (row["name"], _named(row["heads"]), _share(row["acc50"]), f"{row['mean_iou']:.2f}")
        for row in rows
    ]
    return _table(("chosen", "heads (layer, head)", "Acc@0.5", "mean IoU"), cells)


def _heads(nano: dict[str, Any]) -> str:
    guided = {tuple(head) for head in nano["guided"]}
    found = nano["tables"]["heads"]["with the guided layer"]
    rows = [
        (
            f"{row['head'][0]}, {row['head'][1]}" + " (guided)" * (tuple(row["head"]) in guided),
            f"{100 * row['frequency']:.0f} %",
            f"{row['mean_sum']:.2f}",
            f"{row['mean_entropy']:.2f}",
            f"{row['mean_iou']:.2f}",
        )
        for row in found["table"][:_SHOWN]
    ]
    table = _table(("layer, head", "taken in", "attention sum", "entropy", "pseudo-mask IoU"), rows)
    told = [
        f"- Spearman's correlation of frequency and IoU, {which}: {_correlation(s)}"
        f" over {s['heads']} heads."
        for which, s in ((w, t["spearman"]) for w, t in nano["tables"]["heads"].items())
    ]
    return table + "\n" + "\n".join(told) + "\n"


def _correlation(spearman: dict[str, Any]) -> str:
    if spearman["rho"] is None:
        return "none can be told, all are taken equally often,"
    return f"{spearman['rho']:.2f} (p = {spearman['p']:.2g})"


def _simulated(simulated: dict[str, Any]) -> str:
    seeds = simulated["seeds"]
    head = ("seed", "true three found", "a sink enters the top three", *seeds[0]["acc50"])
    rows = [
        (
            str(row["seed"]),
            "yes" if row["trio_found"] else "no",
            "yes" if row["sink_in_top_3"] else "no",
            *(_share(value) for value in row["acc50"].values()),
        )
        for row in seeds
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _share(value: float) -> str:
    return f"{100 * value:.1f}"


def _named(heads: Any) -> str:
    if heads is None:
        return "chosen anew"
    return "; ".join(f"{layer}, {head}" for layer, head in heads)

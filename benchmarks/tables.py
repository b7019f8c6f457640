"""Write the measured tables into README.md and docs, between their markers.

The figures come from `benchmarks/results/<version>/`, made by `headsight eval heads --output ...`,
`headsight eval refer --output ...` and the files of `benchmarks/`. With `--check`, nothing is
written and the exit code tells whether the documents are true.

Example:
    python benchmarks/tables.py --check
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from speed_table import speed_table

from headsight.eval.tables import fill_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "0.1.0"
DOCUMENTS = tuple(ROOT / name for name in ("README.md", "docs/nano.md", "docs/speed.md"))
NAMES = {
    "scenes_heldout": "500 rendered scenes, other people than in training",
    "scenes_heldout--24px": "the same, heads of 24 px and more",
    "scenes_heldout--constrained": "the same, 24 px and more, well-formed answers only",
    "aflw2000_sample": "15 portraits of AFLW2000-3D",
    "panoptic_sample": "2 frames of CMU Panoptic, front and back",
    "hardhat_workers": "360 photographs of workers, heads with a hard hat",
}


def main() -> None:
    """Render every table into every document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check = parser.parse_args().check
    stale = False
    for document in DOCUMENTS:
        old = document.read_text("utf-8")
        new = old
        for name, table in TABLES.items():
            if f"headsight:table {name} -->" in new:
                new = fill_table(new, name, table())
        stale |= new != old
        if not check:
            document.write_text(new, "utf-8")
    sys.exit(1 if check and stale else 0)


def heads_table() -> str:
    """One row a data set: what nano reaches."""
    rows = [
        "| pictures | heads found (recall) | precision | AP50 | yaw / pitch / roll / MAE, degrees |"
        " geodesic median | answers not well-formed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    commands = []
    for data, title in NAMES.items():
        path = RESULTS / f"heads--{data}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text("utf-8"))
        figures = result["figures"]
        answers = figures["answers"].values()
        asked = sum(a["asked"] for a in answers)
        wrong = sum(a["not_strict"] * a["asked"] for a in answers)
        angles = " / ".join(_number(figures[n], 1) for n in ("yaw", "pitch", "roll", "mae"))
        found = f"{figures['recall'] * figures['heads']:.0f} of {figures['heads']:.0f}"
        rows.append(
            f"| {title} | {found} ({_number(figures['recall'], 2)}) |"
            f" {_number(figures['precision'], 2)} |"
            f" {_number(figures['ap50'], 2)}{_interval(figures, 'ap50')} | {angles} |"
            f" {_number(figures['geodesic_median'], 1)} | {wrong / max(asked, 1):.1%} of {asked} |"
        )
        settings = result["settings"]
        extra = "".join(
            f" --{k.replace('_', '-')}{'' if settings[k] is True else f' {settings[k]:g}'}"
            for k in ("min_size", "limit", "constrain")
            if settings[k]
        )
        commands.append(f"`headsight eval heads --data {settings['data']}{extra}`")
    if not commands:
        return "No figures yet.\n"
    return "\n".join([*rows, "", "Commands: " + "; ".join(commands) + ".", ""])


def peers_table() -> str:
    """One row a peer and source of boxes: the figures that say most about each data set."""
    columns = {
        "aflw2000_sample": ("AFLW2000: MAE, degrees (found)", "mae", 1),
        "panoptic_sample": ("Panoptic: MAE, degrees (found)", "mae", 1),
        "scenes_heldout": ("scenes: geodesic median (found)", "geodesic_median", 1),
        "hardhat_workers": ("hard hats: AP50 (found)", "ap50", 2),
    }
    cells: dict[tuple[str, str], dict[str, str]] = {}
    commands = []
    for data, (_, name, digits) in columns.items():
        path = RESULTS / f"head_peers--{data}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text("utf-8"))
        commands.append(f"`{result['command']}`")
        for row in result["rows"]:
            figures = row["figures"]
            value = f"{_number(figures[name], digits)} ({figures['recall']:.0%})"
            cells.setdefault((row["peer"], row["boxes"]), {})[data] = value
    if not cells:
        return "No figures yet.\n"
    used = [d for d in columns if any(d in row for row in cells.values())]
    lines = [
        "| who | boxes from | " + " | ".join(columns[d][0] for d in used) + " |",
        "| --- | --- |" + " --- |" * len(used),
    ]
    for (who, boxes), row in cells.items():
        lines.append(f"| {who} | {boxes} | " + " | ".join(row.get(d, "") for d in used) + " |")
    return "\n".join([*lines, "", "Commands: " + "; ".join(commands) + ".", ""])


def refer_table() -> str:
    """One row a kind of expression."""
    path = RESULTS / "refer--scenes_heldout.json"
    if not path.exists():
        return "No figures yet.\n"
    figures = json.loads(path.read_text("utf-8"))["figures"]
    low, high = figures["interval"]["acc@0.5"]
    lines = [
        "| expressions go by | expressions | those for one head: Acc@0.5 |",
        "| --- | --- | --- |",
        f"| anything | {figures['expressions']} | {figures['acc@0.5']:.2f}"
        f" ({low:.2f} to {high:.2f}) |",
    ]
    for name, row in sorted(figures["by_type"].items(), key=lambda item: -item[1]["acc@0.5"]):
        lines.append(f"| {name} | {row['expressions']:.0f} | {row['acc@0.5']:.2f} |")
    command = "headsight eval refer --data runs/scenes_heldout"
    return "\n".join([*lines, "", f"Command: `{command}`.", ""])


TABLES = {
    "heads": heads_table,
    "peers": peers_table,
    "refer": refer_table,
    "speed": lambda: speed_table(RESULTS),
}


def _number(value: Any, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(figures: dict[str, Any], name: str) -> str:
    span = figures.get("interval", {}).get(name)
    return "" if not span else f" ({span[0]:.2f} to {span[1]:.2f})"


if __name__ == "__main__":
    main()

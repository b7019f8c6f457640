"""What `headsight eval keypoints` prints: figures, categories, keypoints."""

from __future__ import annotations

__all__ = ["show_keypoints"]

import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_PX = ("epe",)
_TITLES = {
    "pck@0.05": "PCK@0.05",
    "pck@0.1": "PCK@0.10",
    "pck@0.15": "PCK@0.15",
    "pck@0.2": "PCK@0.20",
    "pck@0.25": "PCK@0.25",
    "mpck": "mPCK, mean of the five",
    "nme": "NME, units of the box",
    "epe": "EPE, px",
    "auc_mmpose": "AUC as in mmpose (perfect: 0.95)",
    "auc_trapezoid": "AUC, trapezoid (perfect: 1)",
}
_OKS_TITLES = {
    "oks": "mean OKS",
    "ap": "AP, OKS 0.50 to 0.95",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_medium": "AP, medium",
    "ap_large": "AP, large",
    "ar": "AR, 20 a picture",
    "ar50": "AR50",
    "ar75": "AR75",
    "ar_medium": "AR, medium",
    "ar_large": "AR, large",
}
_COUNTS = {
    "instances": "instances that count",
    "points": "labelled keypoints",
    "missed": "of these, without a usable answer",
    "dropped": "without a keypoint that counts",
}
_GROUP = ("pck@0.05", "pck@0.2", "mpck", "nme")
_POINT = ("pck@0.05", "pck@0.2")
_MOST_POINTS = 40
"""A longer table of keypoints is left to --json."""


def show_keypoints(result: dict[str, Any]) -> None:
    """Print the tables of a result."""
    from rich.console import Console

    console = Console()
    figures = result["figures"]
    protocols = [name for name in ("all", "episodes") if name in figures]
    for protocol in protocols:
        console.print(_figure_table(result, protocol))
    if protocols:
        for table in _group_tables(figures, protocols[0]):
            console.print(table)
    if "oks" in figures:
        console.print(_oks_table(result))
    answers = figures["answers"]
    if answers["asked"]:
        failures = ", ".join(f"{n} {name}" for name, n in answers["failures"].items())
        sys.stdout.write(
            f"{answers['asked']} answers: {answers['strict_invalid']:.1%} not as asked,"
            f" {answers['invalid']:.1%} of no use{' (' + failures + ')' if failures else ''}\n"
        )
    if figures.get("unanswered"):
        sys.stdout.write(
            f"{figures['unanswered']} instances have no prediction: missed as a whole\n"
        )
    for reason, number in result["left_out"].items():
        sys.stdout.write(f"left out of the labels: {number} ({reason})\n")
    if result["coverage"]:
        sys.stdout.write(f"coverage: {result['coverage']}\n")
    for note in result["notes"]:
        sys.stdout.write(f"note: {note}\n")


def _set_name(result: dict[str, Any]) -> str:
    """Of a file only its name, which is seldom broken into lines."""
    return PurePath(result["settings"]["gt"]).name


def _figure_table(result: dict[str, Any], protocol: str) -> Table:
    from rich.table import Table

    settings, row = result["settings"], result["figures"][protocol]
    how = "every instance once"
    if protocol == "episodes":
        how = (
            f"{settings['episodes']} a category, {settings['shots']} shot,"
            f" {settings['queries']} queries"
        )
    compat = ", compat" if settings["compat"] else ""
    table = Table(title=f"{_set_name(result)}, protocol {protocol}", caption=f"{how}{compat}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, title in _TITLES.items():
        digits = 2 if name in _PX else 4
        span = row["interval"].get(name)
        text = f"{span[0]:.{digits}f} to {span[1]:.{digits}f}" if span else ""
        table.add_row(title, _cell(row[name], digits), text)
    for name, title in _COUNTS.items():
        if row[name] or name in ("instances", "points"):
            pairs = protocol == "episodes" and name == "instances"
            table.add_row("pairs that count" if pairs else title, str(row[name]), "")
    return table


def _group_tables(figures: dict[str, Any], protocol: str) -> list[Table]:
    """By category where there are several; by keypoint where that is short."""
    from rich.table import Table

    row, tables = figures[protocol], []
    if len(row["by_category"]) > 1:
        table = Table(title=f"by category, protocol {protocol}")
        for column in ("category", "instances", *_GROUP):
            table.add_column(column, justify="left" if column == "category" else "right")
        for category, group in row["by_category"].items():
            cells = [_cell(group[name], 4) for name in _GROUP]
            table.add_row(category, f"{group['instances']:.0f}", *cells)
        tables.append(table)
    points = [
        (category, name, point)
        for category, group in row["by_keypoint"].items()
        for name, point in group.items()
    ]
    if len(points) <= _MOST_POINTS and len(row["by_keypoint"]) == 1:
        table = Table(title=f"by keypoint, protocol {protocol}")
        for column in ("keypoint", "labelled", "missed", *_POINT):
            table.add_column(column, justify="left" if column == "keypoint" else "right")
        for _, name, point in points:
            counts = (f"{point[what]:.0f}" for what in ("points", "missed"))
            table.add_row(name, *counts, *(_cell(point[what], 4) for what in _POINT))
        tables.append(table)
    return tables


def _oks_table(result: dict[str, Any]) -> Table:
    from rich.table import Table

    row = result["figures"]["oks"]
    table = Table(title=_set_name(result), caption="keypoint similarity")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in row.items():
        if name != "by_category":
            table.add_row(_OKS_TITLES[name], _cell(value, 4))
    return table


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None or value < 0 else f"{value:.{digits}f}"

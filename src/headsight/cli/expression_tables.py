"""What `headsight eval refer` and `eval segment` print: the figures, and a row a group."""

from __future__ import annotations

__all__ = ["show_figures"]

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def show_figures(result: dict[str, Any]) -> None:
    """Print the tables of a result."""
    from rich.console import Console
    from rich.table import Table

    figures, settings = result["figures"], result["settings"]
    where = " ".join(part for part in (settings["data"], settings["split"]) if part)
    title = f"{where}: {figures['expressions']} expressions"
    table = Table(title=title, caption="\n".join(result["notes"]) or None)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, value in figures.items():
        if isinstance(value, float):
            span = figures["interval"].get(name)
            table.add_row(name, _cell(value), f"{span[0]:.3f} to {span[1]:.3f}" if span else "")
    answers = figures["answers"]
    if answers["asked"]:
        table.add_row("answers that cannot be used", f"{answers['invalid']:.3f}", "")
    for name, number in answers["failures"].items():
        table.add_row(f"  {name}", str(number), "")
    for name, number in figures.get("mask_kinds", {}).items():
        table.add_row(f"masks: {name}", str(number), "")
    table.add_row("seconds an expression (median)", f"{result['seconds_per_expression']:.2f}", "")
    left_out = result["left_out"]["expressions"] + len(result["failures"])
    if left_out:
        table.add_row("left out", str(left_out), "")
    console = Console()
    console.print(table)
    console.print(_group_table(figures))


def _group_table(figures: dict[str, Any]) -> Table:
    """One row a category, type, size and number of places."""
    from rich.table import Table

    groups = [
        (title.removeprefix("by_"), name, row)
        for title in ("by_target", "by_size", "by_type", "by_category")
        for name, row in figures[title].items()
    ]
    columns = list(groups[0][2]) if groups else []
    table = Table(title="groups")
    for column in ("group", "of"):
        table.add_column(column)
    for column in columns:
        table.add_column(column, justify="right")
    for title, name, row in groups:
        cells = [f"{v:.0f}" if k == "expressions" else _cell(v) for k, v in row.items()]
        table.add_row(name, title, *cells)
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

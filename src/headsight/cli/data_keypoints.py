"""What `headsight data check` prints of keypoints: of MP-100 by source, of a file by category."""

from __future__ import annotations

__all__ = ["show_keypoint_file", "show_mp100"]

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headsight.data.keypoint_check import KeypointCheck
    from headsight.data.mp100 import Mp100Check


def show_mp100(folder: Path, result: Mp100Check) -> None:
    """Print the tables of a check."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    sources = Table(title=f"{folder.name}: MP-100, by source")
    for column in ("source", "pictures found", "missing", "instances with a picture"):
        sources.add_column(column, justify="left" if column == "source" else "right")
    for name, row in result.sources.items():
        sources.add_row(
            name,
            f"{row.found} of {row.labelled}",
            str(row.labelled - row.found),
            f"{row.usable} of {row.instances}",
        )
    console.print(sources)
    files = Table(title="by annotation file")
    for column in ("file", "categories", "instances with a picture"):
        files.add_column(column, justify="left" if column == "file" else "right")
    for name, counts in result.files.items():
        of = f"{counts['usable']} of {counts['instances']}"
        files.add_row(name, str(counts["categories"]), of)
    console.print(files)
    if result.missing_files:
        sys.stdout.write(f"annotation files not there: {', '.join(result.missing_files)}\n")
    for note in result.notes:
        sys.stdout.write(f"note: {note}\n")
    whole = sum(row.instances for row in result.sources.values())
    sys.stdout.write(
        "Every instance can be used.\n"
        if result.is_good
        else f"{result.usable} of {whole} instances can be used; evaluations tell their share.\n"
    )


def show_keypoint_file(path: Path, result: KeypointCheck) -> None:
    """Print the table of a check."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{path.name}: keypoints")
    columns = ("category", "keypoints", "instances", "labelled a piece", "with a picture")
    for column in columns:
        table.add_column(column, justify="left" if column == "category" else "right")
    for name, row in result.categories.items():
        share = row["labelled"] / row["instances"]
        counts = (row["keypoints"], row["instances"], f"{share:.1f}", row["usable"])
        table.add_row(name, *map(str, counts))
    Console().print(table)
    for reason, number in result.left_out.items():
        sys.stdout.write(f"left out: {number} ({reason})\n")
    for note in result.notes:
        sys.stdout.write(f"note: {note}\n")
    sys.stdout.write(
        f"{len(result.problems)} records or pictures cannot be used.\n"
        if result.problems
        else "Every instance can be used.\n"
    )

"""`headsight diff`: how two checkpoints differ, tensor by tensor."""

from __future__ import annotations

__all__ = ["diff"]

import json
import math
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from headsight.cli import options


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="Model folder, or FOLDER+ADAPTER.")],
    two: Annotated[
        str, typer.Argument(metavar="B", help="Model folder, FOLDER+ADAPTER, or an adapter for A.")
    ],
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Tensors shown, those that differ most first.")
    ] = 20,
    as_json: options.Json = False,
) -> None:
    """Tell how two models differ: cosine, relative norm and largest difference of every tensor.

    Examples:
      headsight diff A B
      headsight diff A adapter/ --json
    """
    from headsight.merging.run import diff as compare

    found = compare(one, two)
    changed = [row for row in found.tensors if row.relative_norm > 0]
    if as_json:
        rows = [asdict(row) for row in found.tensors]
        for row in rows:
            if not math.isfinite(row["relative_norm"]):
                row["relative_norm"] = None
        document = {
            "schema": "headsight.diff/1",
            "a": one,
            "b": two,
            "tensors": rows,
            "only_in_a": found.only_in_one,
            "only_in_b": found.only_in_two,
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    changed.sort(key=lambda row: (-row.relative_norm, row.name))
    width = max((len(row.name) for row in changed[:limit]), default=0)
    lines = [f"{len(changed)} of {len(found.tensors)} tensors differ"]
    if changed:
        lines.append(f"  {'tensor':<{width}}    cosine  relative norm   max abs")
    lines += [
        f"  {r.name:<{width}}  {r.cosine:8.6f}  {r.relative_norm:13.4g}  {r.max_abs:8.3g}"
        for r in changed[:limit]
    ]
    if len(changed) > limit:
        lines.append(f"  ... and {len(changed) - limit} more: --limit, or --json for all")
    for title, names in ((one, found.only_in_one), (two, found.only_in_two)):
        if names:
            more = ", ..." if len(names) > 5 else ""
            lines.append(f"  only in {title}: {', '.join(names[:5])}{more} ({len(names)})")
    sys.stdout.write("\n".join([*lines, ""]))

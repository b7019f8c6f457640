"""`headsight doctor`: is everything in order?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    model: Annotated[str, typer.Option("--model", help="Name of a model, or a local folder.")] = "nano",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check what is installed, which device is used, and whether the model answers; 1 where something is broken.

    Examples:

      headsight doctor

      headsight doctor --model ./my-model --device cuda
    """
    from headsight.doctor import examine

    findings = examine(model, device=device)
    if as_json:
        document = {"schema": "headsight.doctor/1", "findings": [asdict(f) for f in findings]}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        width = max(len(f.name) for f in findings)
        for finding in findings:
            mark = "ok  " if finding.is_good else "FAIL"
            sys.stdout.write(f"{mark} {finding.name:<{width}}  {finding.said}\n")
    if not all(f.is_good for f in findings):
        raise typer.Exit(1)

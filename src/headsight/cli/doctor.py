"""`headsight doctor`: is everything in order?"""

from __future__ import annotations

__all__ = ["doctor"]

import json
import sys
from dataclasses import asdict

import typer

from headsight.cli import options


def doctor(
    model: options.Model = "nano",
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Check packages, device and model, and find the head in the shipped picture.

    Leaves with 1 where something is broken; every such line says what to do.

    Examples:
      headsight doctor
      headsight doctor --model ./my-model --device cuda
    """
    from headsight.doctor import examine

    findings = examine(model, device=device)
    is_good = all(finding.is_good for finding in findings)
    if as_json:
        document = {
            "schema": "headsight.doctor/1",
            "is_good": is_good,
            "findings": [asdict(finding) for finding in findings],
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            mark = "ok  " if finding.is_good else "FAIL"
            sys.stdout.write(f"{mark} {finding.name:<{width}}  {finding.said}\n")
    if not is_good:
        raise typer.Exit(1)

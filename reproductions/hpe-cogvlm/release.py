"""The same recipe on the shipped nano: would it be a better release?

Nano tells poses already, from its encoder's reading. Here it is taught as the small base is (weak
labels, poses with 10 % rehearsal, and the cosine merge with its last stage), and both results are
compared with the shipped weights by `headsight eval forget`, above all on photographs.

    python reproductions/hpe-cogvlm/release.py --run runs/hpe-release --weak runs/labels/hardhat_fit.jsonl
"""  # noqa: E501 - a command stands on one line

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rows import Steps, plan_of
from tables import ROWS

from headsight.cli.reproduce import run_headsight
from headsight.eval.forget_report import tables
from headsight.eval.tables import fill_table
from headsight.files import write_atomic

HERE = Path(__file__).parent
LIMIT = 100
"""Pictures, or expressions, of each set."""
TAUGHT = {"r10": ("weak", "r10"), "cosine+": ("r0", "cosine", "cosine+")}
"""Models that are compared, each with the stages that lead to it."""
SKILLS = (
    "pose=aflw2000_sample", "pose=panoptic_sample", "boxes=aflw2000_sample",
    "boxes=panoptic_sample", "boxes=hardhat_workers", "pose={scenes}", "boxes={scenes}",
    "refer={referred}",
)  # fmt: skip


def main() -> None:
    """Teach, compare, write a report for each and the table of the README."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of reproduce.py")
    parser.add_argument("--weak", type=Path, required=True, help="weak labels of photographs")
    parser.add_argument("--scenes", default="runs/scenes_release", help="boxes and poses")
    parser.add_argument("--referred", default="runs/scenes_release", help="expressions")
    given = parser.parse_args()
    out: Path = given.run / "release"
    plan = plan_of(
        0,
        base=Path("nano"),
        data={"new": given.run / "new", "weak": given.weak, "probe": given.run / "probe"},
        out=out,
        features=given.run / "features",
        steps=Steps(),
        sweep=False,
        rows=("r0", "r10", "cosine"),
    )
    plan_path = out / "plan.yaml"
    write_atomic(plan_path, yaml.safe_dump(plan, sort_keys=False).encode())
    skills = [skill.format(scenes=given.scenes, referred=given.referred) for skill in SKILLS]
    asked = [word for skill in skills for word in ("--skill", skill)]
    # one of several sets of a kind is named with its set
    for skill in skills:
        kind, _, data = skill.partition("=")
        asked += ["--new", f"{kind} {data}"] if kind == "pose" else []
    for name, stages in TAUGHT.items():
        chosen = [word for stage in stages for word in ("--stage", stage)]
        run_headsight("train", str(plan_path), *chosen, "--threads", "1", "--quiet")
        path = out / f"{name}.json"
        if not path.exists():
            run_headsight(
                "eval", "forget", "--before", "nano", "--after", str(out / name / "model"),
                *asked, "--limit", str(LIMIT), "--out", str(path),
            )  # fmt: skip
    reports = {name: json.loads((out / f"{name}.json").read_text("utf-8")) for name in TAUGHT}
    readme = HERE / "README.md"
    write_atomic(
        readme, fill_table(readme.read_text("utf-8"), "release", table_of(reports)).encode()
    )


def table_of(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Every skill and figure of nano, and what each recipe changes, with its verdict."""
    known = {name: tables(report)[0][2] for name, report in reports.items()}
    titles = " | ".join(f"{ROWS[name]}: change (95 %) | verdict" for name in known)
    lines = [
        f"| skill | figure | nano | {titles} |",
        "| --- | --- | ---: |" + " ---: | --- |" * len(known),
    ]
    for cells in zip(*known.values(), strict=True):
        skill, figure, shipped = cells[0][:3]
        changes = " | ".join(f"{row[4]} | {row[5]}" for row in cells)
        lines.append(f"| {skill} | {figure} | {shipped} | {changes} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

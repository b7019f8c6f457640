r"""HPE-CogVLM (arXiv 2406.01914) on a small grounding VLM: every row of the table in one run.

    headsight reproduce hpe-cogvlm                  # about 3 hours on two cores; can be stopped
    headsight reproduce hpe-cogvlm --quick          # 10 minutes: a few steps a stage, to see it run

Renders the scenes, trains M0 (see base.py), runs one plan a seed (see rows.py) and a crop regressor
of CNN type, and writes results/rows.json and the tables of the README. `--weak` takes weak labels
of photographs in place of rendered ones: the published table used

    python reproductions/nano/weak_labels.py --data-root DATA --out runs/labels
    headsight reproduce hpe-cogvlm --weak runs/labels/hardhat_fit.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from base import make_base
from crops import crop_row, frontal_row, train_crops
from rows import PLAIN_BASE_STEPS, PLAIN_ROWS, QUICK, Steps, plan_of
from stress import stress, stress_questions
from tables import write_tables
from testsets import photographs, weakened

from headsight.cli.reproduce import at_once, run_headsight
from headsight.files import write_atomic

HERE = Path(__file__).parent
PLAIN = "plain"
"""Name of the second architecture."""
STRESSED = ("r10", "cosine+")
"""Rows of the first seed that are asked broken questions."""
SCENES: dict[str, tuple[int, tuple[str, ...]]] = {
    "new": (3000, ("--seed", "41", "--size", "384", "--crowds", "0.1", "--portraits", "0.2")),
    "probe": (
        150,
        ("--seed", "42", "--size", "384", "--crowds", "0.1", "--portraits", "0.2",
         "--split", "heldout"),
    ),
    "other": (
        150,
        ("--seed", "43", "--size", "480x360", "--people", "1-3", "--crowds", "0", "--portraits",
         "0.4", "--split", "heldout"),
    ),
}  # fmt: skip
"""Pictures and options of `headsight scenes`; "other" also takes --assets where there are any."""


def main() -> None:
    """Everything that is not there yet, then the tables."""
    given = arguments()
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    steps = QUICK if given.quick else Steps()
    data = render(out, given)
    data["weak"] = given.weak or weakened(data["new"], out / "weak.jsonl")
    data |= photographs(out)
    scenes = [data["new"], data["weak"]]
    few = 6 if given.quick else None
    base = make_base(scenes, out / "base", steps=few)
    seeds = [str(seed) for seed in range(given.seeds)]
    plans = [write_plan(name, base, data, steps, given) for name in seeds]
    # the longest first
    tasks: list[Callable[[], Any]] = []
    tasks += [] if given.quick else [lambda: train_plain(scenes, data, steps, given)]
    tasks += [partial(train, plan) for plan in plans]
    crops = out / "cnn"
    tasks += [partial(train_crops, int(name), data, crops, quick=given.quick) for name in seeds]
    at_once(tasks, given.jobs)
    rows = {name: collect(out / "seeds" / name) for name in seeds}
    for name in seeds:
        rows[name]["cnn"] = crop_row(int(name), data, crops)
    rows[seeds[0]]["frontal"] = frontal_row(data)
    plain = None if given.quick else collect(out / "seeds" / PLAIN)
    asked = stress_questions(data["probe"], out / "stress", limit=few)
    broken = {
        name: stress(out / "seeds" / "0" / name / "model", asked, data["probe"], limit=few)
        for name in STRESSED
    }
    results = out / "rows.json" if given.quick else HERE / "results" / "rows.json"
    record = {"schema": "headsight.reproduction/1", "steps": vars(steps), "seeds": rows}
    record |= {"plain": plain, "stress": broken, "merges": merged(out / "seeds" / "0")}
    write_atomic(results, json.dumps(record, indent=1).encode() + b"\n")
    write_tables(results, None if given.quick else HERE / "README.md")


def arguments() -> argparse.Namespace:
    """What is to be done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/hpe-cogvlm"))
    parser.add_argument("--weak", type=Path, help="weak labels (.jsonl) of photographs")
    parser.add_argument("--assets", type=Path, help="MakeHuman folder for the other scenes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at once")
    parser.add_argument("--quick", action="store_true", help="a few steps a stage")
    given = parser.parse_args()
    if given.quick:
        given.seeds = min(given.seeds, 1)
        given.out /= "quick"  # what is small must not be taken for the whole
    return given


def render(out: Path, given: argparse.Namespace) -> dict[str, Path]:
    """The scenes, by what they stand for."""
    folders = {}
    for name, (number, options) in SCENES.items():
        folder = out / name
        count = 24 if given.quick else number
        assets = ("--assets", str(given.assets)) if given.assets and name == "other" else ()
        if not (folder / "annotations.json").exists():
            run_headsight(
                "scenes", "--n", str(count), "--out", str(folder), "--resume", *options, *assets
            )
        folders[name] = folder
    return folders


def write_plan(
    name: str, base: Path, data: dict[str, Path], steps: Steps, given: argparse.Namespace
) -> Path:
    """The YAML of one seed, or of the second architecture."""
    folder = given.out / "seeds" / name
    plan = plan_of(
        0 if name == PLAIN else int(name),
        base=base,
        data=data,
        out=folder,
        features=given.out / "features",
        steps=steps,
        sweep=name == "0" and not given.quick,
        rows=PLAIN_ROWS if name == PLAIN else None,
        limit=6 if given.quick else None,
    )
    path = folder / "plan.yaml"
    write_atomic(path, yaml.safe_dump(plan, sort_keys=False).encode())
    return path


def train(plan: Path) -> None:
    """In a process and on a thread of its own."""
    run_headsight("train", str(plan), "--threads", "1", "--quiet")


def train_plain(
    scenes: Sequence[Path], data: dict[str, Path], steps: Steps, given: argparse.Namespace
) -> None:
    """The second architecture: its base, and what it is taught."""
    base = given.out / PLAIN / "base"
    words = [str(HERE / "base.py"), "--no-experts", "--out", str(base)]
    words += ["--steps", str(PLAIN_BASE_STEPS), "--scenes"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words, *map(str, scenes)], check=True, env=environment)
    train(write_plan(PLAIN, base, data, steps, given))


def collect(folder: Path) -> dict[str, Any]:
    """Figures of every skill after every stage, and of the model before all."""
    files = {"base": folder / "start.json"}
    files |= {path.parent.name: path for path in sorted(folder.glob("*/after.json"))}
    found: dict[str, Any] = {}
    for name, path in files.items():
        skills = json.loads(path.read_text("utf-8"))["skills"]
        found[name] = {
            skill: {**result["figures"], "failures": (result["format"] or {}).get("failures", {})}
            for skill, result in skills.items()
        }
    return found


def merged(folder: Path) -> dict[str, Any]:
    """Of every cosine merge: modules that differ, how many came from M2, and their cosines."""
    found = {}
    for path in sorted(folder.glob("cosine*/model/merge-report.json")):
        units = [
            unit
            for unit in json.loads(path.read_text("utf-8"))["units"]
            if unit["decision"] != "equal"
        ]
        cosines = [unit["cosine"] for unit in units]
        found[path.parents[1].name] = {
            "modules": len(units),
            "from_expert": sum(unit["decision"] == "expert" for unit in units),
            "cosine": [float(q) for q in np.quantile(cosines, (0, 0.5, 1))],
            "relative_norm": float(np.median([unit["relative_norm"] for unit in units])),
        }
    return found


if __name__ == "__main__":
    main()

r"""CapeLLM (arXiv 2411.06869) at a small scale: every row of the table in one run.

    headsight reproduce capellm                # hours on two cores; can be stopped and goes on
    headsight reproduce capellm --quick        # minutes: a few steps a stage, to see it run

Renders objects of seen and unseen categories, trains the encoder (encoder.py) and M0 (base.py), one
plan of trainings a seed (rows.py), asks every model and the rivals that read no words (scoring.py),
and writes results/rows.json and the tables of the README.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from base import make_base
from encoder import PointFinder, PointJob, train_encoder
from rows import ASKED, QUICK, TRAININGS, Steps, plan_of
from scoring import by_name, match_supports, middles
from tables import write_tables

from headsight.cli.reproduce import in_processes, run_headsight
from headsight.data.keypoint_files import read_keypoints
from headsight.files import write_atomic
from headsight.train.checkpoint import load_average_

HERE = Path(__file__).parent
OBJECTS = {
    "seen": (8000, ("--split", "seen", "--seed", "11")),
    "seen_test": (102, ("--split", "seen", "--seed", "12")),
    "unseen_test": (120, ("--split", "unseen", "--seed", "13")),
}
"""Pictures and options of `headsight scenes --objects`."""
SIZE = "224"
SHIPPED = "nano-keypoints"


def main() -> None:
    """Everything that is not there yet, then the tables."""
    given = arguments()
    out: Path = given.out
    steps = QUICK if given.quick else Steps()
    objects = {name: render(name, out, given) for name in OBJECTS}
    encoder = train_encoder(objects["seen"], out / "encoder", steps=steps.encoder)
    base = make_base(objects["seen"], encoder, out / "base", steps=steps.base)
    seeds = [str(seed) for seed in range(given.seeds)]
    names = ("dynamic",) if given.quick else tuple(TRAININGS)
    trainings = []
    for seed in seeds:
        path = write_plan(seed, names, base=base, objects=objects["seen"], out=out, steps=steps)
        options = ("--threads", "1", "--quiet")
        trainings += [("train", str(path), "--stage", name, *options) for name in names]
    in_processes(trainings, given.jobs)
    tested = {name: objects[name] for name in ("seen_test", "unseen_test")}
    limit = 4 if given.quick else None
    asked = {
        (seed, *key): task
        for seed in seeds
        for name in names
        for key, task in questions(out / "seeds" / seed / name, name, tested, limit).items()
    }
    once = questions(base.parent, "base", tested, limit, model=str(base))
    if not given.quick:
        once |= questions(out / SHIPPED, SHIPPED, tested, None, model=SHIPPED)
    asked |= {(seeds[0], *key): task for key, task in once.items()}
    in_processes([words for path, words in asked.values() if not path.exists()], given.jobs)
    rows: dict[str, Any] = {seed: {} for seed in seeds}
    for (seed, row, where), (path, _) in asked.items():
        rows[seed].setdefault(row, {})[where] = json.loads(path.read_text("utf-8"))["figures"][
            "all"
        ]
    words = PointJob(objects["seen"]).words
    finder = PointFinder(len(words)).eval()
    load_average_(finder, encoder)
    for where, path in tested.items():
        instances = read_keypoints(path).instances
        for seed in seeds:
            row = match_supports(finder.encoder, instances, seed=int(seed))
            rows[seed].setdefault("support", {})[where] = row
        rows[seeds[0]].setdefault("names", {})[where] = by_name(finder, words, instances)
        rows[seeds[0]].setdefault("middle", {})[where] = middles(instances)
    kept = {
        seed: {row: {k: small(v) for k, v in sets.items()} for row, sets in found.items()}
        for seed, found in rows.items()
    }
    record = {"schema": "headsight.reproduction/1", "steps": vars(steps), "seeds": kept}
    results = out / "rows.json" if given.quick else HERE / "results" / "rows.json"
    write_atomic(results, json.dumps(record, indent=1).encode() + b"\n")
    write_tables(results, None if given.quick else HERE / "README.md")


def small(figures: dict[str, Any]) -> dict[str, Any]:
    """Of all figures those of the tables."""
    thresholds = {key: value for key, value in figures.items() if key.startswith("pck@")}
    parts = {name: {"pck@0.2": one["pck@0.2"]} for name, one in figures["by_category"].items()}
    return {**thresholds, "by_category": parts}


def arguments() -> argparse.Namespace:
    """What is to be done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/capellm"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--quick", action="store_true", help="a few steps a stage")
    given = parser.parse_args()
    if given.quick:
        given.seeds = min(given.seeds, 1)
        given.out /= "quick"  # what is small must not be taken for the whole
    return given


def render(name: str, out: Path, given: argparse.Namespace) -> Path:
    """The folder of rendered objects."""
    folder = out / name
    number, options = OBJECTS[name]
    count = 34 if given.quick else number
    if not (folder / "annotations.json").exists():
        words = ("scenes", "--objects", "--n", str(count), "--out", str(folder), "--size", SIZE)
        run_headsight(*words, "--resume", *options)
    return folder


def write_plan(
    seed: str, chosen: Sequence[str], *, base: Path, objects: Path, out: Path, steps: Steps
) -> Path:
    """The YAML of one seed."""
    folder = out / "seeds" / seed
    plan = plan_of(
        int(seed),
        model=base,
        objects=objects,
        out=folder,
        features=out / "features",
        steps=steps,
        trainings={name: TRAININGS[name] for name in chosen},
    )
    path = folder / "plan.yaml"
    write_atomic(path, yaml.safe_dump(plan, sort_keys=False).encode())
    return path


def questions(
    folder: Path,
    name: str,
    tested: dict[str, Path],
    limit: int | None,
    *,
    model: str | None = None,
) -> dict[tuple[str, str], tuple[Path, list[str]]]:
    """Where figures of a model go and the command that makes them, by row and test set."""
    asked = model or str(folder / "model")
    few = [] if limit is None else ["--limit", str(limit)]
    found = {}
    for mode, window in ASKED[name]:
        for where, objects in tested.items():
            path = folder / f"{mode}-{window}-{where}.json"
            words = ["eval", "keypoints", "--gt", str(objects), "--model", asked]
            words += ["--mode", mode, "--window", str(window), "--output", str(path), "--quiet"]
            found[f"{name} {mode} {window}", where] = path, [*words, *few]
    return found


if __name__ == "__main__":
    main()

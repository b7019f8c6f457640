"""Keypoint metrics: a full pass over a set of MP-100's size, and average precision against peers.

The pass is everything that `headsight eval keypoints` measures by PCK: five thresholds, NME, EPE,
both AUCs, tables by category and keypoint, scores of items and 1,000 bootstrap resamples over
pictures; beside it the 60,000 pairs of the protocol of episodes. Average precision is measured on
made persons, from labels and results in memory to the ten figures, against pycocotools and, where
they are installed, faster-coco-eval and hotcoco; all give the same figures, which is checked.

    python benchmarks/keypoint_metrics.py            prints the table
    python benchmarks/keypoint_metrics.py --json     also writes the results file
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from paired import compare, show
from reporting import write_report

from headsight.data.coco_keypoints import keypoint_set
from headsight.data.episodes import draw_episodes
from headsight.data.keypoint_results import read_predictions
from headsight.data.keypoints import KeypointInstance, KeypointPrediction, KeypointSet
from headsight.eval.keypoints import (
    compare_keypoints,
    keypoint_scores,
    oks_figures,
    pck_figures,
)
from headsight.eval.oks import COCO_SIGMAS

TARGET_S = 2.0
INSTANCES, CATEGORIES, TEST_CATEGORIES = 18_000, 100, 20
PEERS = {"pycocotools": "pycocotools", "faster_coco_eval": "faster-coco-eval", "hotcoco": "hotcoco"}
NAMES = ["nose"] + [f"{side}_{p}" for p in list(COCO_SIGMAS)[1:] for side in ("left", "right")]


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=400, help="of persons")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    truth, predictions = mp100_like(rng)
    passed = _times(lambda: full_pass(truth, predictions), options.repeats)
    paired = _times(lambda: episodes_pass(truth, predictions), options.repeats)
    print(f"{INSTANCES} instances, all: {passed['cpu_s']:.2f} s (target {TARGET_S:.0f} s)")
    print(f"60000 pairs of episodes: {paired['cpu_s']:.2f} s")
    labels, results = persons(rng, options.pictures)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.json")
        path.write_text(json.dumps(results), "utf-8")
        expected = ours(labels, path)
        for module, package in PEERS.items():
            if find_spec(module) is None:
                continue
            peer = _peer(module, labels, path)
            np.testing.assert_allclose(peer(), expected, atol=1e-9, rtol=0)
            timed = compare(lambda: ours(labels, path), peer, options.repeats)
            rows.append({"peer": package, **timed})
            show(f"average precision, {options.pictures} pictures: {package}", rows[-1])
    if options.json:
        values = {
            "instances": INSTANCES,
            "target_s": TARGET_S,
            "pass": passed,
            "episodes": paired,
            "pictures": options.pictures,
            "persons": len(labels["annotations"]),
            "results": len(results),
            "rows": rows,
            "seed": options.seed,
        }
        packages = ["numpy", *(row["peer"] for row in rows)]
        path = write_report("keypoint_metrics", values, packages=packages)
        print(f"written: {path}", file=sys.stderr)
    return 0


def mp100_like(rng: np.random.Generator) -> tuple[KeypointSet, list[KeypointPrediction]]:
    """As many instances, categories and keypoints as MP-100 has; a picture each."""
    numbers = rng.choice(
        [8, 9, 15, 17, 19, 21, 33, 68], CATEGORIES, p=[0.1, 0.3, 0.1, 0.34, 0.1, 0.02, 0.02, 0.02]
    )
    instances, predictions = [], []
    for n in range(INSTANCES):
        category = n % CATEGORIES
        number = int(numbers[category])
        corner, side = rng.uniform(0, 300, 2), rng.uniform(60, 200)
        points = corner + side * rng.random((number, 2))
        one = KeypointInstance(
            str(n), Path(f"{n}.jpg"), (640, 640), np.array([*corner, *(corner + side)]), points,
            rng.random(number) < 0.8, f"category {category}", tuple(map(str, range(number))),
        )  # fmt: skip
        instances.append(one)
        said = points + rng.normal(0, 0.1 * side, points.shape)
        predictions.append(KeypointPrediction(said, id=one.id, category=one.category))
    return KeypointSet("mp100", tuple(instances)), predictions


def full_pass(truth: KeypointSet, predictions: list[KeypointPrediction]) -> float:
    """Every figure of the protocol `all`."""
    compared = compare_keypoints(truth, predictions)
    keypoint_scores(compared)
    return pck_figures(compared).mpck


def episodes_pass(truth: KeypointSet, predictions: list[KeypointPrediction]) -> float:
    """Every figure of the protocol `episodes`, on the categories of one test part."""
    wanted = {f"category {n}" for n in range(TEST_CATEGORIES)}
    part = KeypointSet("part", tuple(i for i in truth.instances if i.category in wanted))
    known = {i.id for i in part.instances}
    compared = compare_keypoints(part, [one for one in predictions if one.id in known])
    return pck_figures(compared, draw_episodes(compared.instances)).mpck


def persons(rng: np.random.Generator, pictures: int) -> tuple[dict[str, Any], list[Any]]:
    """COCO labels of some three persons a picture, and results for them and some false alarms."""
    images, annotations, results = [], [], []
    for image in range(pictures):
        images.append({"id": image, "file_name": f"{image}.jpg", "width": 640, "height": 480})
        for _ in range(int(rng.integers(1, 6))):
            corner, side = rng.uniform(0, 250, 2), rng.uniform(30, 220)
            points = corner + side * rng.random((17, 2))
            seen = 2 * (rng.random(17) < 0.8)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
                "bbox": [*corner.tolist(), side, side], "area": side * side / 2,
                "num_keypoints": int((seen > 0).sum()),
                "keypoints": np.column_stack([points, seen]).reshape(-1).tolist(),
            })  # fmt: skip
            for off in (0.04, 0.3):
                said = points + rng.normal(0, off * side, (17, 2))
                triples = np.column_stack([said, np.ones(17)]).reshape(-1).tolist()
                results.append({
                    "image_id": image, "category_id": 1, "keypoints": triples,
                    "score": float(rng.random()),
                })  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": []}
    return {"images": images, "annotations": annotations, "categories": [category]}, results


def ours(labels: dict[str, Any], results: Path) -> list[float]:
    """The ten figures, from labels in memory and a file of results."""
    truth = keypoint_set(labels, Path("labels.json"), images=Path("none"))
    predictions, _ = read_predictions(results, truth)
    figures = oks_figures(truth, predictions)
    return [v for k, v in figures.items() if k not in ("oks", "by_category", "notes")]


def _peer(module: str, labels: dict[str, Any], results: Path) -> Callable[[], Any]:
    """The same with a peer that has pycocotools' classes."""
    if module == "pycocotools":
        base, judge = import_module("pycocotools.coco").COCO, import_module("pycocotools.cocoeval")
        evaluation = judge.COCOeval
    elif module == "faster_coco_eval":
        package = import_module(module)
        base, evaluation = package.COCO, package.COCOeval_faster
    else:
        package = import_module(module)
        base, evaluation = package.COCO, package.COCOeval

    def run() -> Any:
        with _silence():
            truth = _loaded(base, labels, module)
            judged = evaluation(truth, truth.loadRes(str(results)), "keypoints")
            judged.evaluate()
            judged.accumulate()
            judged.summarize()
            return np.asarray(judged.stats)[:10]

    return run


def _loaded(base: Any, labels: dict[str, Any], module: str) -> Any:
    if module != "pycocotools":
        return base(labels)
    truth = base()
    truth.dataset = labels
    truth.createIndex()
    return truth


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _times(function: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Seconds of the processor, median and span."""
    function()
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return {
        "cpu_s": statistics.median(seconds),
        "cpu_s_low": min(seconds),
        "cpu_s_high": max(seconds),
        "repeats": repeats,
    }


if __name__ == "__main__":
    sys.exit(main())

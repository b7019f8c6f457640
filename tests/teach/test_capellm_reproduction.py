"""`reproductions/capellm`: encoder, base, one training, its questions and tables, made small."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bars import SCHEMA, SIDE, write_bars
from scripts import REPRODUCTIONS, scripts_of

from headsight.data.keypoint_files import read_keypoints
from headsight.models.base import load_vlm
from headsight.teach.plan import read_plan
from headsight.teach.stages import run_plan

FOLDER = REPRODUCTIONS / "capellm"


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """The scripts as modules."""
    with scripts_of("capellm") as found:
        yield found


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_bars(tmp_path_factory.mktemp("objects") / "bars", 8, seed=0)
    schemas = {"categories": {"bar": "bar"}, "schemas": [SCHEMA.to_dict()]}
    (folder / "schemas.json").write_text(json.dumps(schemas))
    return folder


def test_every_part_runs_and_the_tables_are_written(
    scripts: Any, bars: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.encoder, "BATCH", 2)
    monkeypatch.setattr(scripts.base, "BATCH", 2)
    monkeypatch.setattr(scripts.base, "PROBE", 2)
    found = scripts.encoder.train_encoder(bars, tmp_path / "encoder", steps=1)
    base = scripts.base.make_base(
        bars, found.parent, tmp_path / "base", steps=1, names=1, pictures=4
    )
    tokenizer = load_vlm(str(base)).processor.tokenizer  # type: ignore[attr-defined]
    assert len(tokenizer.encode(" opposite", add_special_tokens=False)) == 1
    out = tmp_path / "0"
    plan = scripts.rows.plan_of(
        0,
        base=base,
        objects=bars,
        out=out,
        features=tmp_path / "features",
        steps=scripts.rows.Steps(rows=1, batch=2),
        trainings={"dynamic": scripts.rows.TRAININGS["dynamic"]},
    )
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    run_plan(read_plan(path), quiet=True)
    asked = scripts.reproduce.questions(out / "dynamic", "dynamic", {"unseen_test": bars}, 2)
    (_, where), (figures, words) = list(asked.items())[1]
    assert run(*words).code == 0
    support = scripts.scoring.match_supports(
        scripts.encoder.PointFinder(3).encoder.eval(), read_keypoints(bars).instances, seed=0
    )
    row = {where: json.loads(figures.read_text())["figures"]["all"]}
    rows = {"dynamic cumulative 7": row, "support": {where: support}}
    results = tmp_path / "rows.json"
    results.write_text(
        json.dumps({"seeds": {"0": {n: {**r, "seen_test": r[where]} for n, r in rows.items()}}})
    )
    readme = tmp_path / "README.md"
    readme.write_text((FOLDER / "README.md").read_text("utf-8"))
    scripts.tables.write_tables(results, readme)
    written = readme.read_text("utf-8")
    assert "| dynamic rounds, cumulative, the last 7 kept |" in written
    assert "| bar |" in written


def test_the_middle_of_the_box(scripts: Any, bars: Path) -> None:
    instances = read_keypoints(bars).instances
    middle = (SIDE - 1) / 2
    far = [np.linalg.norm(one.points - middle, axis=1) / one.box_length for one in instances]
    assert scripts.scoring.middles(instances)["pck@0.2"] == pytest.approx(
        np.mean(np.concatenate(far) < 0.2), abs=1e-9
    )


def test_a_name_that_the_encoder_does_not_know_is_a_miss(scripts: Any, bars: Path) -> None:
    job = scripts.encoder.PointJob(bars)
    instances = read_keypoints(bars).instances
    finder = job.module.eval()
    everything = scripts.scoring.by_name(finder, job.names, instances)
    assert everything["missed"] == 0
    first = scripts.scoring.by_name(finder, job.names[:1], instances)
    assert first["pck@0.2"] <= everything["pck@0.2"]
    unknown = scripts.scoring.by_name(finder, ["another name"], instances)
    assert unknown["pck@0.2"] == 0


def test_shapes_stand_where_they_are_said(scripts: Any) -> None:
    image, known = scripts.base.draw_shapes(np.random.default_rng(3))
    assert known
    for (colour, shape), place in known.items():
        x, y = (place * image.width).astype(int)
        r, g, b = image.getpixel((int(x), int(y)))
        if shape == "ring":
            continue
        wanted = scripts.base.COLOURS[colour].lstrip("#")
        expected = [int(wanted[i : i + 2], 16) for i in (0, 2, 4)]
        np.testing.assert_allclose([r, g, b], expected, atol=25)

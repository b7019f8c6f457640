"""`reproductions/capellm`: encoder, base, one training, its questions and tables, made small."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from bars import SCHEMA, SIDE, write_bars
from PIL import Image
from scripts import REPRODUCTIONS, scripts_of

from headsight.data.keypoint_files import read_keypoints
from headsight.models.base import load_vlm
from headsight.teach.loss import answer_logits
from headsight.teach.plan import read_plan
from headsight.teach.sample import Sample
from headsight.teach.stages import run_plan
from headsight.teach.tokens import collate, encode_sample

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
    found = scripts.encoder.train_encoder(bars, tmp_path / "encoder", steps=(1, 1, 1))
    base = scripts.base.make_base(bars, found, tmp_path / "base", steps=1)
    tokenizer = load_vlm(str(base)).processor.tokenizer  # type: ignore[attr-defined]
    assert len(tokenizer.encode(" opposite", add_special_tokens=False)) == 1
    out = tmp_path / "0"
    plan = scripts.rows.plan_of(
        0,
        model=base,
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


def test_a_name_of_which_no_word_is_known_is_a_miss(scripts: Any, bars: Path) -> None:
    job = scripts.encoder.PointJob(bars)
    instances = read_keypoints(bars).instances
    finder = job.module.eval()
    everything = scripts.scoring.by_name(finder, job.words, instances)
    assert everything["missed"] == 0
    few = scripts.encoder.Words([replace(one, names=("red",) * 3) for one in instances])
    unknown = scripts.scoring.by_name(finder, few, instances)
    assert unknown["missed"] == 2 / 3 * sum(int(one.visible.sum()) for one in instances)


def test_a_name_is_the_sum_of_its_words(scripts: Any, bars: Path) -> None:
    job = scripts.encoder.PointJob(bars)
    words, finder = job.words, job.module.eval()
    pixels = torch.zeros(1, 3, scripts.encoder.SIDE, scripts.encoder.SIDE)
    asked = words(["red", "blue", "red blue", "red never blue"])[None]
    with torch.no_grad():
        red, blue, both, with_unknown = finder(pixels, asked)[0][0]
    torch.testing.assert_close(red + blue, both)
    torch.testing.assert_close(both, with_unknown)


def test_points_stay_on_their_places_in_the_mirror(scripts: Any, bars: Path) -> None:
    one = read_keypoints(bars).instances[0]
    views = [scripts.encoder.view(one, np.random.default_rng(seed)) for seed in range(40)]
    assert {is_mirrored for _, _, is_mirrored in views} == {False, True}
    red = one.names.index("red")
    for image, places, _ in views:  # the end lies on or beside pixels of its colour
        pixels = np.asarray(image, float)
        rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 2] > 60)
        x, y = places[red] * image.width
        assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).min() < 0.06 * image.width


def test_points_stay_on_their_places_when_a_picture_is_stretched(scripts: Any) -> None:
    side = scripts.encoder.SIDE
    pixels = np.zeros((side, side, 3), np.uint8)
    place = np.array([[0.25, 0.625]])
    x, y = (place[0] * side).astype(int)
    pixels[y - 4 : y + 4, x - 4 : x + 4] = 255
    for factors in ((1.5, 1.0), (1.0, 1.3)):
        image, moved = scripts.encoder.stretched(Image.fromarray(pixels), place, np.array(factors))
        rows, columns = np.nonzero(np.asarray(image)[..., 0] > 128)
        middle = np.array([columns.mean(), rows.mean()]) + 0.5
        np.testing.assert_allclose(middle, moved[0] * side, atol=1)


def test_a_wild_round_validates_on_plain_crops(scripts: Any, bars: Path) -> None:
    plain, wild = (scripts.encoder.PointJob(bars, is_wild=is_wild) for is_wild in (False, True))
    one = plain.held_out[0]
    for a, b in zip(plain._view(one, None), wild._view(one, None), strict=True):
        np.testing.assert_array_equal(a, b)
    assert wild.validate() == plain.validate()


def test_recoloured_pictures_differ_and_keep_their_shapes(scripts: Any, bars: Path) -> None:
    one = read_keypoints(bars).instances[0]
    plain, _, _ = scripts.encoder.view(one, None)
    found = [scripts.encoder.recoloured(plain, np.random.default_rng(seed)) for seed in range(12)]
    assert {image.size for image in found} == {plain.size}
    means = np.array([np.asarray(image, float).mean((0, 1)) for image in found])
    assert means.std(0).min() > 5


def test_questions_that_share_a_picture_score_as_rows_of_their_own(
    scripts: Any, bars: Path, tmp_path: Path
) -> None:
    base = scripts.base
    checkpoint = scripts.encoder.train_encoder(bars, tmp_path / "encoder", steps=(1, 1))
    named = scripts.encoder.Words(read_keypoints(bars).instances)
    base.write_blank(checkpoint, tmp_path / "blank", base.words_of([SCHEMA]), named)
    job = base.ReadingJob(load_vlm(str(tmp_path / "blank"), device="cpu"), bars)
    job.module.eval()
    image, pairs = job.questions(read_keypoints(bars).instances[0], described=True)
    assert len(pairs) == 3
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    samples = [Sample(buffer.getvalue(), q, a, "point", later=()) for q, a in pairs]
    with torch.no_grad():
        scores, labels = job.logits(job.stack([(image, pairs)]))
        packed = sorted(scores.log_softmax(-1).gather(1, labels[:, None])[:, 0].tolist())
        alone = []
        for sample in samples:
            [batch] = collate([encode_sample(job.vlm, sample)], pad_id=0)
            said = answer_logits(job.module, batch).log_softmax(-1)
            alone += said.gather(2, batch.labels[..., None])[0, :, 0].tolist()
    np.testing.assert_allclose(packed, sorted(alone), atol=1e-4)


def test_garbled_words_are_letters_and_the_rest_stays(scripts: Any) -> None:
    text = "Where is the left ear?\nBehind the eye, above the neck."
    word = r"[^\W\d_]+"
    found = [scripts.base.garbled(text, np.random.default_rng(seed)) for seed in range(60)]
    assert {re.sub(word, "w", one) for one in found} == {re.sub(word, "w", text)}
    plain = re.findall(word, text)
    words = [re.findall(word, one) for one in found]
    changed = np.mean([a != b for one in words for a, b in zip(one, plain, strict=True)])
    assert 0.05 < changed < 0.15

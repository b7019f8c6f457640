"""Whole plans on a tiny model: killed and gone on with, refused where settings changed, reported."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from headsight.errors import ConfigError, ResumeError
from headsight.models import base
from headsight.models.base import load_vlm
from headsight.teach.answering import answer_samples
from headsight.teach.merging import check_merge
from headsight.teach.plan import MergeStage, Plan, read_plan
from headsight.teach.stages import run_plan


def plan_of(school: Any, output: Path, **changes: Any) -> Path:
    """A plan of two stages, the second with rehearsal."""
    lora = {"r": 4, "alpha": 8}
    values = {
        "name": "tiny",
        "model": str(school.model),
        "output": str(output),
        "features": str(school.folder / "features"),
        "skills": {
            "boxes": {"path": str(school.old), "tasks": "boxes", "limit": 2},
            "pose": {"path": str(school.labels), "tasks": "pose", "limit": 3},
        },
        "stages": [
            {
                "name": "weak",
                "data": [str(school.labels)],
                "lora": lora,
                "steps": 6,
                "batch_size": 4,
                "lr": 0.01,
                "loop": {"save_every": 2, "log_every": 1},
            },
            {
                "name": "pose",
                "data": [{"path": str(school.labels), "tasks": ["pose"]}],
                "old": [{"path": str(school.old), "tasks": ["boxes"]}],
                "rehearsal": 0.25,
                "lora": {**lora, "dropout": 0.1},
                "steps": 6,
                "batch_size": 4,
                "lr": 0.01,
                "number_spread": 2,
                "loop": {"save_every": 2, "log_every": 1},
            },
        ],
    }
    output.mkdir(parents=True, exist_ok=True)
    path = output / "plan.yaml"
    path.write_text(yaml.safe_dump({**values, **changes}))
    return path


def _plan(school: Any, output: Path, **changes: Any) -> Plan:
    return read_plan(plan_of(school, output, **changes))


@pytest.fixture(scope="module")
def finished(school: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    output = tmp_path_factory.mktemp("run")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that are killed
    assert run_plan(_plan(school, output), quiet=True) == output / "pose" / "model"
    yield output
    torch.set_num_threads(threads)


def test_every_stage_leaves_a_model_its_lineage_and_a_report(school: Any, finished: Path) -> None:
    start = load_file(school.model / "model.safetensors")
    for name in ("weak", "pose"):
        folder = finished / name
        weights = load_file(folder / "model" / "model.safetensors")
        assert weights.keys() == start.keys()
        changed = {n for n in start if not weights[n].equal(start[n])}
        assert changed
        assert all(n.startswith("model.layers.") for n in changed)
        assert {p.name for p in folder.iterdir()} >= {
            "adapter",
            "report.md",
            "report.html",
            "curves.svg",
        }
        vlm = load_vlm(str(folder / "model"), device="cpu")
        assert vlm.name == "model"
    lineage = json.loads((finished / "pose" / "lineage.json").read_text())
    assert list(lineage["parents"]) == ["weak"]
    assert lineage["facts"]["samples"] == {"new": 10, "old": 2}
    assert lineage["data"][str(school.labels)]
    report = (finished / "pose" / "report.md").read_text()
    assert "samples of an epoch: 10 new, 2 rehearsed" in report
    assert "| pose | 6 | geodesic median, deg |" in report
    page = (finished / "pose" / "report.html").read_text()
    assert page.count("<figure>") >= 4
    assert "<polyline" in page


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_the_adapter_on_the_disk_gives_the_folded_model(school: Any, finished: Path) -> None:
    peft = pytest.importorskip("peft")
    base = load_vlm(str(school.model), device="cpu").model  # type: ignore[attr-defined]
    adapted = peft.PeftModel.from_pretrained(base, finished / "weak" / "adapter")
    merged = adapted.merge_and_unload().state_dict()
    stored = load_file(finished / "weak" / "model" / "model.safetensors")
    assert all(merged[name].equal(stored[name]) for name in stored)


def test_merged_stages_are_taught_further(school: Any, finished: Path) -> None:
    lora = {"r": 2, "alpha": 4}
    new = [{"path": str(school.labels), "tasks": ["pose"]}]
    merges = [
        {"name": "cosine", "merge": {"method": "layer-cosine", "base": "model", "expert": "pose", "threshold": 1.01}},
        {"name": "half", "merge": {"method": "task-arithmetic", "base": "model", "expert": "pose", "lambda": 0.5}},
        {"name": "after", "start": "half", "data": new, "lora": lora, "steps": 1, "batch_size": 2},
    ]  # fmt: skip
    stages = yaml.safe_load((finished / "plan.yaml").read_text())["stages"]
    run_plan(_plan(school, finished, stages=[*stages[:2], *merges]), quiet=True)
    first, pose, kept, half = (
        load_file(path / "model.safetensors")
        for path in (school.model, *(finished / n / "model" for n in ("pose", "cosine", "half")))
    )
    assert all(kept[name].equal(first[name]) for name in first)
    for name in first:
        torch.testing.assert_close(half[name], (first[name] + pose[name]) / 2)
    assert (finished / "cosine" / "model" / "merge-report.json").exists()
    lineage = json.loads((finished / "after" / "lineage.json").read_text())
    assert list(lineage["parents"]) == ["half"]
    report = (finished / "half" / "report.md").read_text()
    assert "made from model, pose" in report
    assert "| skill | questions | figure | before: model | before: pose | after |" in report
    assert "![merged units](model/merge-report.png)" in report
    assert "data:image/png" in (finished / "half" / "report.html").read_text()


def test_a_shipped_model_is_merged_with_what_it_borrows(
    school: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lean"
    shutil.copytree(school.model, folder)
    whole = load_file(folder / "model.safetensors")
    own = {n: t for n, t in whole.items() if not n.startswith("model.vision.encoder.blocks")}
    save_file(own, folder / "model.safetensors", {"format": "pt"})
    monkeypatch.setitem(base.SHIPPED, "nano-keypoints", folder)
    monkeypatch.setattr(base, "NANO", school.model)
    (stage, *_) = yaml.safe_load(plan_of(school, tmp_path / "plan").read_text())["stages"]
    merge = {"method": "task-arithmetic", "base": "model", "expert": "weak", "lambda": 0.0}
    stages = [{**stage, "steps": 1, "loop": {}}, {"name": "half", "merge": merge}]
    plan = _plan(school, tmp_path / "run", model="nano-keypoints", stages=stages, skills={})
    merged = load_file(run_plan(plan, quiet=True) / "model.safetensors")
    assert merged.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(merged[name].float(), value, rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("merge", "said"),
    [
        ({"method": "layer-cosin"}, "layer-cosine"),
        ({"method": "layer-cosine", "treshold": 0.9}, "Did you mean 'threshold'"),
        ({"method": "layer-cosine", "granularity": "word"}, "granularity"),
    ],
)
def test_faults_of_a_merge_are_found_beforehand(merge: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_merge(MergeStage(name="m", merge={"base": "model", "expert": "pose", **merge}))


def test_finished_stages_are_not_run_again(school: Any, finished: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    run_plan(_plan(school, finished), quiet=True)
    after = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    changed = {p.name for p in after if before.get(p) != after[p]}
    assert changed == {"plan.yaml"}  # written by the test itself


def test_other_settings_and_unknown_stages_are_refused(school: Any, finished: Path) -> None:
    with pytest.raises(ResumeError, match="other settings"):
        run_plan(_plan(school, finished, seed=5), quiet=True)
    with pytest.raises(ConfigError, match="No stage is called"):
        run_plan(_plan(school, finished), quiet=True, only=["pse"])


def test_a_stage_before_its_parent_is_refused(school: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has not been run"):
        run_plan(_plan(school, tmp_path), quiet=True, only=["pose"])


def test_it_learns(school: Any, finished: Path, tmp_path: Path) -> None:
    stage = {
        "name": "s",
        "data": [{"path": str(school.labels), "tasks": ["pose"], "jitter": 0}],
        "lora": None,
        "steps": 60,
        "batch_size": 10,
        "lr": 0.01,
    }
    skills = {"pose": {"path": str(school.labels), "tasks": "pose"}}
    run_plan(_plan(school, tmp_path, stages=[stage], skills=skills), quiet=True)
    after = json.loads((tmp_path / "s" / "after.json").read_text())["skills"]["pose"]
    assert after["figures"]["strict_invalid"] < 0.5  # before: 1.0, random weights
    before = json.loads((tmp_path / "start.json").read_text())["skills"]["pose"]
    assert before["figures"]["strict_invalid"] == 1.0


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_bytes_are_the_same(
    school: Any, finished: Path, tmp_path: Path, kills: int
) -> None:
    path = plan_of(school, tmp_path)
    rng, killed = random.Random(kills), 0
    while killed < kills:
        child = _start(path)
        _wait_for_a_stage(tmp_path, child)
        time.sleep(rng.uniform(0, 1.5))
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            killed += 1
        child.wait()
        if (tmp_path / "pose" / "lineage.json").exists():  # too late: a stage anew
            shutil.rmtree(tmp_path / rng.choice(["weak", "pose"]))
    run_plan(read_plan(path), quiet=True)
    for name in ("weak", "pose"):
        for file in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
            assert (tmp_path / name / file).read_bytes() == (finished / name / file).read_bytes()
        mine = json.loads((tmp_path / name / "after.json").read_text())
        assert mine == json.loads((finished / name / "after.json").read_text())


_ORDER = ("adapter", "model", "after.json", "report.html", "report.md", "lineage.json")
"""What a stage writes when it is trained, in this order."""


@pytest.mark.parametrize("written", range(len(_ORDER)))
def test_killed_between_files_the_bytes_are_the_same(
    school: Any, finished: Path, tmp_path: Path, written: int
) -> None:
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("cosine", "half"))
    folder = tmp_path / "run" / "pose"
    for name in _ORDER[written:]:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    torn = folder / f"{_ORDER[written]}.part"  # what was being written
    if _ORDER[written] in ("adapter", "model"):
        torn.mkdir()
        (torn / "config.json").write_text('{"half')
    else:
        torn.write_text('{"half')
    run_plan(_plan(school, tmp_path / "run"), quiet=True)
    for path in (finished / "pose").rglob("*"):
        if path.is_file():
            copy = folder / path.relative_to(finished / "pose")
            assert copy.read_bytes() == path.read_bytes(), path
    assert not torn.is_dir()


def test_other_questions_are_asked_of_finished_stages(
    school: Any, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("cosine", "half"))
    skills = {"pose": {"path": str(school.labels), "tasks": "pose", "limit": 1}}
    run_plan(_plan(school, tmp_path / "run", skills=skills), quiet=True)
    for place in ("start.json", "weak/after.json", "pose/after.json"):
        told = json.loads((tmp_path / "run" / place).read_text())["skills"]
        assert list(told) == ["pose"]
        assert told["pose"]["figures"]["questions"] == 1
    assert "| pose | 1 | score |" in (tmp_path / "run" / "pose" / "report.md").read_text()
    weights = "pose/model/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (finished / weights).read_bytes()


def test_the_figures_are_those_of_the_model_on_the_disk(school: Any, tmp_path: Path) -> None:
    """Weights that are rounded when they are written are rounded when they are asked."""
    stage = {"name": "s", "data": str(school.labels), "lora": {"r": 2}, "steps": 1, "batch_size": 2}
    half = tmp_path / "half"
    shutil.copytree(school.model, half)
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    skills = {"pose": {"path": str(school.labels), "tasks": "pose", "limit": 2}}
    plan = _plan(school, tmp_path / "run", stages=[stage], skills=skills, model=str(half))
    run_plan(plan, quiet=True)
    stored = load_file(tmp_path / "run" / "s" / "model" / "model.safetensors")
    assert {str(value.dtype) for value in stored.values()} == {"torch.bfloat16"}
    vlm = load_vlm(str(tmp_path / "run" / "s" / "model"), device="cpu")
    source = plan.skills["pose"].read()
    samples = [source.draw(index, None) for index in range(len(source))]
    texts = [reply.text for reply in answer_samples(vlm, samples)]  # type: ignore[arg-type]
    told = json.loads((tmp_path / "run" / "s" / "after.json").read_text())["skills"]["pose"]
    assert told["texts"] == texts


def test_an_adapter_may_be_kept_apart(school: Any, tmp_path: Path) -> None:
    stage = {"name": "s", "data": str(school.labels), "lora": {"r": 2}, "steps": 1, "batch_size": 2}
    plan = _plan(school, tmp_path, stages=[{**stage, "then": "keep_adapter"}])
    for _ in range(2):
        assert run_plan(plan, quiet=True) == tmp_path / "s" / "adapter"
    assert (tmp_path / "s" / "adapter" / "adapter_config.json").exists()
    assert not (tmp_path / "s" / "model").exists()
    assert "| pose |" in (tmp_path / "s" / "report.md").read_text()


def test_tokens_of_an_encoder_that_learns_are_not_kept(school: Any, tmp_path: Path) -> None:
    stage = {"name": "s", "data": str(school.labels), "steps": 1, "batch_size": 2, "lr": 0.01}
    vision = {"r": 2, "targets": [r"vision\..*linear_proj", r"layers\.0\..*down_proj"]}
    for name, lora, kept in (("seen", vision, False), ("frozen", {"r": 2}, True)):
        out = tmp_path / name
        stages = [{**stage, "lora": lora}]
        run_plan(_plan(school, out, stages=stages, skills={}, features=str(out / "f")), quiet=True)
        assert bool(list(out.glob("f/*.npy"))) == kept


def _start(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headsight", "train", str(path), "--quiet", "--threads", "1"]
    with (path.parent / "log.txt").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _wait_for_a_stage(output: Path, child: subprocess.Popen[bytes]) -> None:
    """Until training has begun, so that kills do not all fall into the start of Python."""
    begun = time.monotonic()
    files = [output / name / "log.csv" for name in ("weak", "pose")]
    before = {file: file.stat().st_mtime_ns if file.exists() else 0 for file in files}
    while child.poll() is None and time.monotonic() - begun < 60:
        if any(f.exists() and f.stat().st_mtime_ns != before[f] for f in files):
            return
        time.sleep(0.05)

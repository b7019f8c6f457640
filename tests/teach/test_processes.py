"""Two processes train as one: gradients of both, one checkpoint, one report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from headsight.teach.plan import read_plan
from headsight.teach.stages import run_plan


def _plan(school: Any, output: Path, batch_size: int) -> Path:
    stage = {
        "name": "pose",
        "data": [{"path": str(school.labels), "tasks": ["pose"]}],
        "lora": {"r": 2, "alpha": 4},
        "steps": 4,
        "batch_size": batch_size,
        "lr": 0.01,
    }
    plan = {
        "name": "two",
        "model": str(school.model),
        "output": str(output),
        "features": str(output / "features"),
        "skills": {"pose": {"path": str(school.old), "tasks": "pose", "limit": 1}},
        "stages": [stage],
    }
    output.mkdir()
    path = output / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


def _run(*words: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_processes_learn_what_one_learns_from_both_their_batches(
    school: Any, tmp_path: Path
) -> None:
    # answers of one length: then the mean of two means is the mean
    one, two = _plan(school, tmp_path / "one", 4), _plan(school, tmp_path / "two", 2)
    run_plan(read_plan(one), quiet=True)
    launch = ("torch.distributed.run", "--nproc_per_node", "2", "-m", "headsight")
    _run(*launch, "train", str(two), "--quiet")
    mine = load_file(tmp_path / "two" / "pose" / "adapter" / "adapter_model.safetensors")
    theirs = load_file(tmp_path / "one" / "pose" / "adapter" / "adapter_model.safetensors")
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-3, atol=2e-5)
    lineage = json.loads((tmp_path / "two" / "pose" / "lineage.json").read_text())
    assert lineage["facts"]["steps"] == 4
    assert (tmp_path / "two" / "pose" / "report.html").exists()

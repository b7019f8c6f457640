"""The loop: killed at any step, it ends with the same bytes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from headsight.errors import CheckpointError, ConfigError, ResumeError
from headsight.train.loop import LoopConfig, run_stage


class _Line:
    """Fit y = 2x; may be killed after so many steps."""

    def __init__(self, dies_at: int | None = None) -> None:
        torch.manual_seed(3)
        self.module = nn.Linear(1, 1)
        self._dies_at = dies_at
        self._seen = 0

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr": 0.2}]

    def batch(self, step: int) -> Tensor:
        return torch.randn(8, 1, generator=torch.Generator().manual_seed(step))

    def loss(self, batch: Tensor, module: nn.Module) -> tuple[Tensor, dict[str, float]]:
        self._seen += 1
        if self._dies_at is not None and self._seen > self._dies_at:
            raise KeyboardInterrupt
        loss = (module(batch) - 2 * batch).square().mean()
        return loss, {"error": float(loss.detach())}

    def validate(self) -> dict[str, float]:
        return {"slope": float(self.module.weight.detach())}


CONFIG = LoopConfig(steps=40, warmup_steps=5, save_every=7, log_every=5, validate_every=20)


def _tensors(path: Path) -> dict[str, Tensor]:
    return load_file(path)


@pytest.mark.parametrize("dies_at", [3, 7, 12, 33])
def test_a_killed_run_ends_as_an_unbroken_one(tmp_path: Path, dies_at: int) -> None:
    whole = run_stage(_Line(), CONFIG, tmp_path / "whole", fingerprint="a", quiet=True)
    with pytest.raises(KeyboardInterrupt):
        run_stage(_Line(dies_at), CONFIG, tmp_path / "torn", fingerprint="a", quiet=True)
    torn = run_stage(_Line(), CONFIG, tmp_path / "torn", fingerprint="a", quiet=True)
    expected, found = _tensors(whole), _tensors(torn)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    log = (tmp_path / "torn" / "log.csv").read_text()
    assert log.count("val_slope") == 2
    assert len([line for line in log.splitlines() if line.startswith("10,")]) == 3


def test_it_learns_and_finished_runs_do_nothing(tmp_path: Path) -> None:
    job = _Line()
    path = run_stage(job, CONFIG, tmp_path, fingerprint="a", quiet=True)
    assert abs(float(job.module.weight.detach()) - 2) < 0.7
    before = path.read_bytes()
    run_stage(_Line(dies_at=0), CONFIG, tmp_path, fingerprint="a", quiet=True)
    assert path.read_bytes() == before


def test_stages_of_one_process_may_differ_in_precision(tmp_path: Path) -> None:
    found = {}
    for name, bf16 in (("one", True), ("two", False), ("three", True)):
        config = dataclasses.replace(CONFIG, bf16=bf16)
        path = run_stage(_Line(), config, tmp_path / name, fingerprint="a", quiet=True)
        found[name] = _tensors(path)
    weight = next(name for name in found["one"] if name.endswith("weight"))
    assert torch.equal(found["one"][weight], found["three"][weight])
    assert not torch.equal(found["one"][weight], found["two"][weight])


def test_other_settings_are_refused(tmp_path: Path) -> None:
    run_stage(_Line(), CONFIG, tmp_path, fingerprint="a", quiet=True)
    with pytest.raises(ResumeError, match="other settings"):
        run_stage(_Line(), CONFIG, tmp_path, fingerprint="b", quiet=True)


def test_training_that_diverges_stops_and_its_checkpoint_stays_whole(tmp_path: Path) -> None:
    class Spoilt(_Line):
        def batch(self, step: int) -> Tensor:
            return super().batch(step) * (float("nan") if step == 23 else 1.0)

    with pytest.raises(CheckpointError, match="Step 24: the loss is nan"):
        run_stage(Spoilt(), CONFIG, tmp_path, fingerprint="a", quiet=True)
    kept = _tensors(tmp_path / "checkpoint.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.values())
    assert (tmp_path / "log.csv").read_text().splitlines()[-1].startswith("20,")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    whole = run_stage(_Line(), CONFIG, tmp_path / "whole", fingerprint="a", quiet=True)
    room = whole.stat().st_size - 1
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_loop import _Line, CONFIG
from headsight.errors import CheckpointError
from headsight.train.loop import run_stage
class Filling(_Line):
    def loss(self, batch, module):
        if self._seen == 20:  # from now on a checkpoint lacks a byte of room
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))
        return super().loss(batch, module)
try:
    run_stage(Filling(), CONFIG, Path({str(tmp_path / "full")!r}), fingerprint="a", quiet=True)
except CheckpointError as error:
    assert "cannot be written" in str(error), error
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 7, done.stderr.decode()
    assert not list((tmp_path / "full").glob("*.part"))
    with safe_open(tmp_path / "full" / "checkpoint.safetensors", "pt") as file:
        assert file.metadata()["step"] == "14"
    path = run_stage(_Line(), CONFIG, tmp_path / "full", fingerprint="a", quiet=True)
    expected, found = _tensors(whole), _tensors(path)
    assert all(torch.equal(expected[k], found[k]) for k in expected)


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    path = run_stage(_Line(), CONFIG, tmp_path, fingerprint="a", quiet=True)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="is damaged"):
        run_stage(_Line(), CONFIG, tmp_path, fingerprint="a", quiet=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("log_every", 0),
        ("save_every", -1),
        ("clip_norm", float("nan")),
        ("warmup_steps", -1),
        ("betas", (0.9, 1.0)),
        ("average_decay", 1.0),
    ],
)
def test_settings_out_of_range_are_told(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        LoopConfig(**{"steps": 1, name: value})

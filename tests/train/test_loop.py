"""The loop: killed at any step, it ends with the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from headsight.errors import ConfigError, ResumeError
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


def test_other_settings_are_refused(tmp_path: Path) -> None:
    run_stage(_Line(), CONFIG, tmp_path, fingerprint="a", quiet=True)
    with pytest.raises(ResumeError, match="other settings"):
        run_stage(_Line(), CONFIG, tmp_path, fingerprint="b", quiet=True)


def test_config_checks() -> None:
    with pytest.raises(ConfigError, match="steps is 0"):
        LoopConfig(steps=0)

"""A stage's job: pieces as good as the whole, checkpointed layers, dropout that resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from headsight.models.grounding.adapter import load_folder
from headsight.teach.job import TuneJob
from headsight.teach.lora import LoraSpec, attach
from headsight.teach.loss import checkpoint_activations_
from headsight.teach.mixture import Mixture
from headsight.teach.rehearsal import Rehearsal
from headsight.teach.samples import read_source
from headsight.train.loop import LoopConfig, run_stage


def _job(school: Any, spec: LoraSpec, **settings: Any) -> TuneJob:
    vlm = load_folder(school.model, device="cpu")
    vlm.model.train().requires_grad_(False)
    learner = attach(vlm.model, spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if "lora_B" in name:  # else no gradient reaches lora_A
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    if settings.pop("gradient_checkpointing", False):
        checkpoint_activations_(vlm.model)
    mixture = Mixture([read_source(school.labels)], [], Rehearsal(), seed=0)
    return TuneJob(vlm, learner, mixture, **{"batch_size": 6, "lr": 0.01, "seed": 0, **settings})


def _gradients(job: TuneJob) -> tuple[float, dict[str, Tensor]]:
    total, parts = 0.0, job.batch(0)
    for part in parts:
        loss, _ = job.loss(part, job.module)
        loss.backward()
        total += float(loss.detach())
    named = job.module.named_parameters()
    return total, {name: p.grad for name, p in named if p.grad is not None}


@pytest.mark.parametrize("targets", ["decoder", "all-linear"])
@pytest.mark.parametrize(
    "settings",
    [
        {"micro_batch": 1},
        {"micro_batch": 4},
        {"gradient_checkpointing": True},
        {"micro_batch": 4, "gradient_checkpointing": True},
    ],
)
def test_ways_to_save_memory_change_no_gradient(
    school: Any, targets: str, settings: dict[str, Any]
) -> None:
    spec = LoraSpec(r=2, targets=targets)
    loss, expected = _gradients(_job(school, spec))
    same_loss, found = _gradients(_job(school, spec, **settings))
    assert same_loss == pytest.approx(loss, rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_every_piece_of_a_step_has_dropout_of_its_own(school: Any) -> None:
    job = _job(school, LoraSpec(r=2, dropout=0.5), micro_batch=1)
    first, second, *_ = job.batch(0)
    rows, total, place = first
    _, _, other_place = second
    one, again, other = (
        float(job.loss((rows, total, p), job.module)[0].detach())
        for p in (place, place, other_place)
    )
    assert one == again
    assert one != other


def test_with_dropout_too_a_killed_stage_ends_with_the_same_weights(
    school: Any, tmp_path: Path
) -> None:
    class Dying(TuneJob):
        left = 3

        def loss(self, batch: Any, module: nn.Module) -> tuple[Tensor, dict[str, float]]:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().loss(batch, module)

    spec = LoraSpec(r=2, dropout=0.3)
    config = LoopConfig(steps=5, warmup_steps=1, save_every=2, trained_only=True)

    def run(folder: str, kind: type[TuneJob]) -> Path:
        job = _job(school, spec, batch_size=2)
        job.__class__ = kind
        return run_stage(job, config, tmp_path / folder, fingerprint="a", quiet=True)

    whole = run("whole", TuneJob)
    with pytest.raises(KeyboardInterrupt):
        run("torn", Dying)
    expected, found = load_file(whole), load_file(run("torn", TuneJob))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)

"""Runs a plan: stage after stage, each leaving a checkpoint, its lineage and a report.

Everything can be killed at any time: a stage that is done is not done again, one that is not goes
on from its last step with the same batches, and files are renamed into place when they are whole.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers, peft and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["run_plan"]

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import nn

from headsight.attention.head_set import model_fingerprint
from headsight.errors import CheckpointError, ConfigError, ResumeError, require
from headsight.files import write_atomic
from headsight.models.base import AttentiveVLM, load_vlm
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.teach.features import FeatureStore
from headsight.teach.job import Mixture, TuneJob
from headsight.teach.lineage import Lineage, manifest
from headsight.teach.lora import attach, fold_
from headsight.teach.loss import soft_number_loss
from headsight.teach.plan import START, Data, MergeStage, Plan, TuneStage
from headsight.teach.probing import Probe, ProbeResult, probe
from headsight.teach.samples import SampleSource, read_source
from headsight.teach.stage_report import write_report
from headsight.train.loop import run_stage
from headsight.train.recipe import fingerprint

_LOG = logging.getLogger(__name__)


def run_plan(plan: Plan, *, quiet: bool = False, only: Sequence[str] = ()) -> Path:
    """Run every stage of `plan` (or those named in `only`); the last model's folder.

    Raises:
        ConfigError: `only` names a stage that the plan does not have.
        ResumeError: a stage in the output folder was made with other settings or data.
        AnnotationError: data that are missing or not in their format.
    """
    if unknown := set(only) - {stage.name for stage in plan.stages}:
        raise ConfigError(
            f"No stage is called {sorted(unknown)}; the plan has {[s.name for s in plan.stages]}."
        )
    plan.output.mkdir(parents=True, exist_ok=True)
    probes = [Probe(name, _held_out(data)) for name, data in plan.skills.items()]
    run = _Run(plan, probes, quiet)
    folder = plan.output
    for number, stage in enumerate(plan.stages):
        if only and stage.name not in only:
            continue
        folder = run.stage(number)
    return folder


class _Run:
    """One run of a plan: what its stages share."""

    def __init__(self, plan: Plan, probes: Sequence[Probe], quiet: bool) -> None:
        self._plan, self._probes, self._quiet = plan, probes, quiet
        self._state: Any = require("accelerate").PartialState()
        self._marks: dict[str, str] = {}

    def stage(self, number: int) -> Path:
        """Run stage `number`, unless that is done; its model's folder."""
        stage, plan = self._plan.stages[number], self._plan
        folder = plan.output / stage.name
        data = manifest(_files(stage))
        parents = {name: self._mark(name) for name in plan.parents(number)}
        mark = fingerprint(plan.seed, asdict(stage), data, parents)
        done = Lineage.load(folder / "lineage.json")
        if done is not None and done.mark != mark:
            raise ResumeError(
                f"{folder} was made with other settings, data or parents. Choose another output"
                f" folder, or delete {folder} to run the stage anew."
            )
        if done is None:
            _LOG.info("stage=%s", stage.name)
            kind = self._tune if isinstance(stage, TuneStage) else self._merge
            facts = kind(cast(Any, stage), number, folder, mark)
            if self._state.is_main_process:
                lineage = Lineage(stage.name, mark, parents, data, facts)
                write_report(folder, plan=plan, stage=stage, lineage=lineage)
                lineage.save(folder / "lineage.json")  # last: it says that the stage is done
        self._state.wait_for_everyone()
        keeps_adapter = isinstance(stage, TuneStage) and stage.then == "keep_adapter"
        return folder / ("adapter" if keeps_adapter else "model")

    def _tune(self, stage: TuneStage, number: int, folder: Path, mark: str) -> dict[str, Any]:
        plan = self._plan
        [parent] = plan.parents(number)
        vlm = self._load(parent)
        self._probe_once(parent, vlm)
        model = vlm.model.train()
        model.requires_grad_(False)
        if stage.lora is not None:
            learner: nn.Module = attach(model, stage.lora, seed=plan.seed)
        else:
            learner = _all_but_vision_(model)
        if stage.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        features = self._features(vlm)
        old = [read_from(data) for data in stage.old]
        weights = [data.weight for data in stage.old]
        mixture = Mixture(
            [read_from(data) for data in stage.data],
            old,
            stage.rehearsal,
            old_weights=[w or 0.0 for w in weights] if any(weights) else None,
            seed=plan.seed,
        )
        per_step = stage.batch_size * self._state.num_processes
        steps = stage.steps or max(1, round(stage.epochs * mixture.epoch_length / per_step))
        job = TuneJob(
            vlm,
            learner,
            mixture,
            batch_size=stage.batch_size,
            micro_batch=stage.micro_batch,
            lr=stage.lr,
            seed=plan.seed,
            features=features,
            token_loss=soft_number_loss(_tokenizer(vlm), stage.number_spread)
            if stage.number_spread
            else None,
            held_out=[s for one in self._probes for s in one.samples[:64]],
            rank_of=(self._state.process_index, self._state.num_processes),
        )
        config = stage.loop_config(steps)
        checkpoint = run_stage(job, config, folder, fingerprint=mark, quiet=self._quiet)
        facts = {"steps": steps, "samples": mixture.counts(), "learning": _count(learner)}
        if self._state.is_main_process:
            _load_average_(job.module, checkpoint)
            if stage.lora is not None:
                _replace_folder(folder / "adapter", lambda path: _save_adapter(learner, path))
            self._probe(folder / "after.json", vlm, features)
            if stage.then == "fold":
                if stage.lora is not None:
                    fold_(learner)
                _replace_folder(folder / "model", lambda path: _save_model(vlm, path))
        self._state.wait_for_everyone()
        return facts

    def _merge(self, stage: MergeStage, number: int, folder: Path, mark: str) -> dict[str, Any]:
        from headsight.teach.merging import merge_stage

        places = {name: self._folder(name) for name in stage.parents}
        for parent in stage.parents:
            self._probe_once(parent, None)
        if self._state.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            facts = merge_stage(stage, places, folder)
            vlm = self._load_folder(str(folder / "model"))
            self._probe(folder / "after.json", vlm, self._features(vlm))
            return facts
        return {}

    def _mark(self, name: str) -> str:
        """What identifies a parent: its settings, or for the first model its weights."""
        if name not in self._marks:
            if name == START:
                self._marks[name] = model_fingerprint(self._load(START).model)
            else:
                done = Lineage.load(self._plan.output / name / "lineage.json")
                if done is None:
                    raise ConfigError(f"The stage {name!r} has not been run yet. Run it first.")
                self._marks[name] = done.mark
        return self._marks[name]

    def _folder(self, name: str) -> Path:
        """The checkpoint of a parent, on the disk."""
        if name != START:
            return self._plan.output / name / "model"
        from headsight.models.base import NANO

        return NANO if self._plan.model == "nano" else Path(self._plan.model).expanduser()

    def _load(self, name: str) -> AttentiveVLM:
        at = self._plan.model if name == START else str(self._plan.output / name / "model")
        return self._load_folder(at)

    def _load_folder(self, at: str) -> AttentiveVLM:
        vlm = load_vlm(at, device=str(self._state.device))
        if not isinstance(vlm, AttentiveVLM):
            raise ConfigError(f"{at} is no model that can be taught: its weights are elsewhere.")
        return vlm

    def _features(self, vlm: AttentiveVLM) -> FeatureStore | None:
        """The encoder's tokens, where it does not learn and can be asked apart."""
        if not isinstance(vlm, GroundingAdapter) or _vision_learns(vlm.model):
            return None
        return FeatureStore(vlm, self._plan.features or self._plan.output / "features")

    def _probe_once(self, name: str, vlm: AttentiveVLM | None) -> None:
        """Ask the first model too, before anything is taught."""
        path = self._plan.output / "start.json"
        if name == START and not path.exists() and self._state.is_main_process:
            vlm = vlm or self._load(START)
            self._probe(path, vlm, self._features(vlm))
        self._state.wait_for_everyone()

    def _probe(self, path: Path, vlm: AttentiveVLM, features: FeatureStore | None) -> None:
        results: list[ProbeResult] = []
        for one in self._probes:
            _LOG.info("probe=%s questions=%d", one.name, len(one.samples))
            results.append(probe(vlm, one, features))
        written = {"schema": "headsight.probes/1", "skills": {r.name: r.to_dict() for r in results}}
        write_atomic(path, json.dumps(written, indent=1).encode() + b"\n")


def read_from(data: Data) -> SampleSource:
    """The samples of one source of a plan."""
    return read_source(
        data.path,
        tasks=data.tasks,
        limit=data.limit,
        jitter=data.jitter,
        max_heads=data.max_heads,
        min_pixels=data.min_pixels,
    )


def _held_out(data: Data) -> tuple[Any, ...]:
    source = read_from(data)
    return tuple(source.draw(index, None) for index in range(len(source)))


def _files(stage: TuneStage | MergeStage) -> list[Path]:
    if isinstance(stage, MergeStage):
        return []
    return [data.path for data in (*stage.data, *stage.old)]


def _tokenizer(vlm: AttentiveVLM) -> Any:
    return vlm.processor.tokenizer  # type: ignore[attr-defined]


def _all_but_vision_(model: nn.Module) -> nn.Module:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not _is_vision(name) and parameter.is_floating_point())
    return model


def _is_vision(name: str) -> bool:
    """Weights of the encoder, not of a decoder's visual experts."""
    parts = name.split(".")
    return any(p in ("vision", "visual", "vision_tower", "vision_model", "encoder") for p in parts)


def _vision_learns(model: nn.Module) -> bool:
    return any(p.requires_grad and _is_vision(n) for n, p in model.named_parameters())


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _load_average_(module: nn.Module, checkpoint: Path) -> None:
    """The averaged weights of a finished stage; without averaging these are the last ones."""
    state = module.state_dict()
    with safe_open(checkpoint, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - safe_open is no dict
            if name.startswith("average/"):
                state[name.removeprefix("average/")] = file.get_tensor(name)
    module.load_state_dict(state)


def _save_adapter(learner: Any, path: Path) -> None:
    learner.save_pretrained(path)
    (path / "README.md").unlink(missing_ok=True)  # peft's empty form of a model card


def _save_model(vlm: AttentiveVLM, path: Path) -> None:
    model = vlm.model.eval()
    dtype = getattr(model.config, "dtype", None) or model.dtype
    for name, value in model.state_dict().items():
        if not torch.isfinite(value.to(dtype)).all():
            raise CheckpointError(
                f"{name} does not fit into {dtype} any more: the training has diverged. Lower the"
                " learning rate and run the stage anew."
            )
    model.to(dtype)
    model.save_pretrained(path)
    vlm.processor.save_pretrained(path)  # type: ignore[attr-defined]


def _replace_folder(path: Path, write: Any) -> None:
    """`path` is written beside itself and renamed when it is whole."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    write(part)
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)

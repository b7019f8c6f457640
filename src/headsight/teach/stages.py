"""Runs a plan: stage after stage, each leaving a checkpoint, its lineage and a report.

Everything can be killed at any time: a stage that is done is not done again, one that is not goes
on from its last step with the same batches, and files are renamed into place when they are whole.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers, peft and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["run_plan"]

import gc
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import nn

from headsight.attention.head_set import model_fingerprint
from headsight.errors import ConfigError, ResumeError, require
from headsight.files import write_shared
from headsight.models.base import NANO, SHIPPED, AttentiveVLM, load_vlm
from headsight.models.checkpoints import local_checkpoint
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.teach.check import check_plan, refuse_faults
from headsight.teach.features import FeatureStore, picture_hash
from headsight.teach.hints import Hint
from headsight.teach.job import TuneJob
from headsight.teach.keypoint_rounds import KeypointData
from headsight.teach.lineage import Lineage, manifest
from headsight.teach.lora import attach, fold_
from headsight.teach.loss import checkpoint_activations_, soft_number_loss
from headsight.teach.merging import merge_stage
from headsight.teach.plan import START, Data, MergeStage, Plan, TuneStage
from headsight.teach.probing import Probe, ProbeResult, probe
from headsight.teach.stage_report import write_report
from headsight.teach.storing import replace_folder, save_adapter, save_model
from headsight.train.checkpoint import load_average_
from headsight.train.loop import on_cpus, run_stage
from headsight.train.recipe import fingerprint

_LOG = logging.getLogger(__name__)
_HELD_OUT = 24
"""Questions of each skill whose loss is followed while a stage trains."""


def run_plan(plan: Plan, *, quiet: bool = False, only: Sequence[str] = ()) -> Path:
    """Run every stage of `plan` (or those named in `only`); the last model's folder.

    Raises:
        ConfigError: something is wrong with the plan or its data, all of it told before anything
            is trained; or `only` names a stage that the plan does not have.
        ResumeError: a stage in the output folder was made with other settings or data.
        CheckpointError: a model that cannot be loaded or written, or a training that diverged.
    """
    if unknown := set(only) - {stage.name for stage in plan.stages}:
        raise ConfigError(
            f"No stage is called {sorted(unknown)}; the plan has {[s.name for s in plan.stages]}."
        )
    refuse_faults(check_plan(plan, only=only)[1], plan.name)
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
        self._questions = {one.name: _content(one) for one in probes}
        # processes wait for the first one's probes, which may take longer than a collective may
        patience = timedelta(days=2)
        self._state: Any = require("accelerate").PartialState(cpu=on_cpus(), timeout=patience)
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
        if self._state.is_main_process and START in parents:
            self._probe(plan.output / "start.json", parents[START], lambda: self._load(START))
        self._state.wait_for_everyone()
        facts: dict[str, Any] = {} if done is None else dict(done.facts)
        if done is None:
            _LOG.info("stage=%s", stage.name)
            if isinstance(stage, TuneStage):
                facts = self._tune(stage, number, folder, mark)
            elif self._state.is_main_process:
                folder.mkdir(parents=True, exist_ok=True)
                places = {name: self._folder(name) for name in stage.parents}
                facts = merge_stage(stage, places, folder)
            gc.collect()  # what was trained goes before it is loaded anew
        keeps_adapter = isinstance(stage, TuneStage) and stage.then == "keep_adapter"
        if self._state.is_main_process:
            asked = not keeps_adapter and self._probe(
                folder / "after.json", mark, lambda: self._load(stage.name)
            )
            if done is None or asked:
                lineage = Lineage(stage.name, mark, parents, data, facts)
                write_report(folder, plan=plan, stage=stage, lineage=lineage)
                lineage.save(folder / "lineage.json")  # last: it says that the stage is done
        self._state.wait_for_everyone()
        return folder / ("adapter" if keeps_adapter else "model")

    def _tune(self, stage: TuneStage, number: int, folder: Path, mark: str) -> dict[str, Any]:
        """Train, and write the adapter and the model."""
        plan, state = self._plan, self._state
        vlm = self._load(plan.parents(number)[0])
        model = vlm.model.train()
        model.requires_grad_(False)
        if stage.lora is not None:
            learner: nn.Module = attach(model, stage.lora, seed=plan.seed)
        else:
            learner = _all_but_vision_(model)
        if stage.gradient_checkpointing:
            checkpoint_activations_(model)
        mixture = stage.mixture(seed=plan.seed)
        if kept := [data.kept() for data in stage.data if isinstance(data, KeypointData)]:
            # how the model wants to be asked: with as many rounds as it has seen
            most = max(kept, key=lambda one: (one["rounds"] == "dynamic", one["k"]))
            vlm.model.config.headsight_keypoints = most
        steps = stage.num_steps(mixture.epoch_length, state.num_processes)
        features = None if _vision_learns(model) else self._features(vlm)
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
            hint=Hint(_tokenizer(vlm)) if stage.number_hints else None,
            held_out=[s for one in self._probes for s in one.samples[:_HELD_OUT]],
            rank_of=(state.process_index, state.num_processes),
        )
        config = stage.loop_config(steps)
        # another number of processes makes other batches
        own = mark if state.num_processes == 1 else fingerprint(mark, state.num_processes)
        checkpoint = run_stage(job, config, folder, fingerprint=own, quiet=self._quiet)
        facts = {"steps": steps, "samples": mixture.counts(), "learning": _count(learner)}
        if state.is_main_process:
            load_average_(job.module, checkpoint, learned_only=stage.lora is not None)
            if stage.lora is not None:
                replace_folder(folder / "adapter", lambda path: save_adapter(learner, path))
            if stage.then == "keep_adapter":
                self._probe(folder / "after.json", mark, lambda: vlm, features)
            else:
                if stage.lora is not None:
                    fold_(learner)
                replace_folder(folder / "model", lambda path: save_model(vlm, path))
        return facts

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
        shipped = SHIPPED.get(self._plan.model)
        if shipped is None or shipped == NANO:
            return shipped or local_checkpoint(self._plan.model)
        whole = self._plan.output / "start"  # with the weights that it borrows from nano
        if not whole.exists():
            replace_folder(whole, lambda path: save_model(self._load(START), path))
        return whole

    def _load(self, name: str) -> AttentiveVLM:
        at = self._plan.model if name == START else str(self._plan.output / name / "model")
        vlm = load_vlm(at, device=str(self._state.device))
        if not isinstance(vlm, AttentiveVLM):
            raise ConfigError(
                f"{at} holds {type(vlm).__name__}, which is no language model that can be taught."
                " Name a vision-language model's folder or hub id."
            )
        return vlm

    def _features(self, vlm: AttentiveVLM) -> FeatureStore | None:
        """The encoder's tokens, where it can be asked apart; only if it does not learn."""
        if not isinstance(vlm, GroundingAdapter):
            return None
        return FeatureStore(vlm, self._plan.features or self._plan.output / "features")

    def _probe(
        self,
        path: Path,
        mark: str,
        load: Callable[[], AttentiveVLM],
        features: FeatureStore | None = None,
    ) -> bool:
        """Ask the model called `mark` all questions, unless `path` says that it was asked them."""
        asked = fingerprint(mark, self._questions)
        if path.exists() and json.loads(path.read_bytes()).get("asked") == asked:
            return False
        vlm = load()
        features = features or self._features(vlm)
        results: list[ProbeResult] = []
        for one in self._probes:
            _LOG.info("probe=%s questions=%d", one.name, len(one.samples))
            results.append(probe(vlm, one, features))
        skills = {result.name: result.to_dict() for result in results}
        written = {"schema": "headsight.probes/1", "asked": asked, "skills": skills}
        # stages that run at once in processes of their own all probe the first model
        write_shared(path, json.dumps(written, indent=1).encode() + b"\n")
        return True


def _held_out(data: Data | KeypointData) -> tuple[Any, ...]:
    source = data.read()
    return tuple(source.draw(index, None) for index in range(len(source)))


def _content(what: Probe) -> list[tuple[str, ...]]:
    """What must be the same for answers to be compared."""
    return [(s.question, s.answer, s.kind, picture_hash(s.picture)) for s in what.samples]


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

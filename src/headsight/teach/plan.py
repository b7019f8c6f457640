"""A teaching run written down: a model, what it is to learn, and what it must not forget.

Stages run one after another. A `tune` stage trains a LoRA adapter (or the whole model) on its data,
with old data rehearsed among it, and folds it into a checkpoint; a `merge` stage makes a checkpoint
of earlier ones. Every stage leaves a checkpoint of one layout.
"""

from __future__ import annotations

__all__ = ["Data", "Plan", "TuneStage", "is_plan", "read_plan"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headsight.errors import ConfigError
from headsight.teach.keypoint_rounds import KeypointData
from headsight.teach.lora import LoraSpec
from headsight.teach.mixture import Mixture
from headsight.teach.rehearsal import Rehearsal
from headsight.teach.samples import SampleSource, read_source
from headsight.train.loop import LoopConfig
from headsight.train.recipe import build_config, read_yaml

START = "model"
"""What stages call the model that the plan starts from."""
_CAPELLM = {
    "lora": {"r": 8, "alpha": 16, "dropout": 0.05, "targets": "attention"},
    "epochs": 12,
    "batch_size": 128,
    "lr": 5e-4,
}
"""The paper's settings of a stage; the targets are named in its recipe."""
_NAME = re.compile(r"[^./\\][^/\\]*")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Samples to learn from, or to be asked."""

    path: Path
    """Label file, folder of `headsight scenes`, or instruct file; see `headsight.teach.samples`."""
    tasks: tuple[str, ...] = ("boxes", "pose")
    """What is asked of labels: boxes, pose, refer."""
    limit: int | None = None
    """Only the first so many pictures or lines."""
    weight: int | float | None = None
    """Among old data: share of this source; by default its size."""
    jitter: int | float = 0.05
    """Largest shift of the box in a pose question, share of its side."""
    max_heads: int = 20
    """Most boxes in an answer."""
    min_pixels: int | float = 0
    """Heads whose shorter side is below that are not asked for, px."""

    def __post_init__(self) -> None:
        for name in ("limit", "max_heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{self.path}: {name} is {value}, but must be at least 1.")
        if not (0 <= self.jitter <= 0.5 and self.min_pixels >= 0):
            raise ConfigError(
                f"{self.path}: jitter is {self.jitter} and min_pixels {self.min_pixels}, but the"
                " first must be in [0, 0.5] and the second 0 or more."
            )
        if self.weight is not None and not self.weight > 0:
            raise ConfigError(f"{self.path}: weight is {self.weight}, but must be positive.")

    def read(self) -> SampleSource:
        """The samples.

        Raises:
            AnnotationError: missing, or not in its format.
            ConfigError: a task that is none.
        """
        return read_source(
            self.path,
            tasks=self.tasks,
            limit=self.limit,
            jitter=self.jitter,
            max_heads=self.max_heads,
            min_pixels=self.min_pixels,
        )


@dataclass(frozen=True, kw_only=True)
class TuneStage:
    """One stage of training."""

    name: str
    """Folder of the stage below the output."""
    start: str = ""
    """An earlier stage, or "model"; by default the stage before."""
    type: str = "tune"
    """`tune`, or `capellm`: data are labelled keypoints, settings are the paper's where not given
    (arXiv 2411.06869)."""
    data: tuple[Data | KeypointData, ...]
    """What is new."""
    old: tuple[Data | KeypointData, ...] = ()
    """What is rehearsed."""
    rehearsal: Rehearsal = field(default_factory=Rehearsal)
    """How much of it."""
    lora: LoraSpec | None = field(default_factory=LoraSpec)
    """The adapter; None trains the whole model but its vision encoder."""
    then: str = "fold"
    """`fold`: the stage's model holds the update in its weights; `keep_adapter`: the adapter alone
    is written, and no stage can start from this one."""
    epochs: int | float = 1
    """Passes over the new samples; `steps` goes before."""
    steps: int | None = None
    """Optimiser steps."""
    batch_size: int = 32
    """Samples a step in each process."""
    micro_batch: int | None = None
    """Most samples that are run at once, those of similar length; all by default."""
    lr: int | float = 1e-4
    """Peak learning rate."""
    number_spread: int | float = 0
    """Deviation of soft targets of numbers in steps; 0 = plain cross entropy."""
    number_hints: bool = False
    """The last number of a box in the question has to say the answer's first number too."""
    gradient_checkpointing: bool = False
    """Compute activations twice rather than keep them."""
    loop: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of `LoopConfig`, but `steps`."""

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError(f"stage {self.name!r} has no data. List at least one source.")
        if self.type not in ("tune", "capellm"):
            raise ConfigError(
                f"stage {self.name!r}: type is {self.type!r}, but must be tune or capellm."
            )
        if self.rehearsal.ratio > 0 and not self.old:
            raise ConfigError(
                f"stage {self.name!r} rehearses a ratio of {self.rehearsal.ratio}, but names no"
                " old data. List what is to be rehearsed under `old`."
            )
        for name in ("epochs", "steps", "batch_size", "micro_batch", "lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"stage {self.name!r}: {name} is {value}; it must be positive.")
        if not self.number_spread >= 0:
            raise ConfigError(
                f"stage {self.name!r}: number_spread is {self.number_spread}, but must be 0 (plain"
                " cross entropy) or more."
            )
        if len({data.weight is None for data in self.old}) > 1:
            raise ConfigError(
                f"stage {self.name!r}: some old data have a weight and some have none. Give all of"
                " them one, or none."
            )
        if differing := _asked_otherwise(self.data):
            raise ConfigError(
                f"stage {self.name!r}: its keypoint data are asked with {'; '.join(differing)}, but"
                " a model remembers one way. Ask alike, or make two stages."
            )
        if self.then not in ("fold", "keep_adapter"):
            raise ConfigError(
                f"stage {self.name!r}: then is {self.then!r}, but must be fold or keep_adapter."
            )
        if self.then == "keep_adapter" and self.lora is None:
            raise ConfigError(
                f"stage {self.name!r} is to keep its adapter, but trains without one (lora: null)."
                " Leave `then` out."
            )
        if "steps" in self.loop:
            raise ConfigError(
                f"stage {self.name!r}: loop names steps. Put steps into the stage itself."
            )

    def mixture(self, *, seed: int) -> Mixture:
        """The samples that the stage trains on.

        Raises:
            AnnotationError: data that are missing or not in their format.
            ConfigError: a task that is none.
        """
        weights = [data.weight for data in self.old if data.weight is not None]
        return Mixture(
            [data.read() for data in self.data],
            [data.read() for data in self.old],
            self.rehearsal,
            old_weights=weights or None,
            seed=seed,
        )

    def num_steps(self, epoch_length: int, processes: int = 1) -> int:
        """Optimiser steps for epochs of so many samples."""
        per_step = self.batch_size * processes
        return self.steps or max(1, round(self.epochs * epoch_length / per_step))

    def loop_config(self, steps: int) -> LoopConfig:
        """The loop's settings: those of CogVLM's official fine-tuning where the stage has none."""
        usual = {
            "warmup_steps": max(1, round(0.02 * steps)),
            "weight_decay": 0.05,
            "average_decay": 0.0,
            "betas": (0.9, 0.95),
            "trained_only": self.lora is not None,
            "save_every": max(1, min(200, steps // 4)),
            "validate_every": max(1, steps // 4),
            "log_every": max(1, min(20, steps // 50)),
        }
        if self.type == "capellm":
            usual |= {"warmup_steps": max(1, round(0.03 * steps)), "weight_decay": 0.01}
            usual["betas"] = (0.9, 0.999)
        where = f"stage {self.name} loop"
        return build_config(LoopConfig, {**usual, **self.loop, "steps": steps}, where)


@dataclass(frozen=True, kw_only=True)
class MergeStage:
    """One stage that makes a checkpoint of earlier ones; nothing is trained."""

    name: str
    """Folder of the stage below the output."""
    merge: Mapping[str, Any]
    """`method`, `base` and `expert` (stages, or "model"; several experts in a list), and the
    method's parameters, as for `headsight merge`."""

    def __post_init__(self) -> None:
        missing = [key for key in ("method", "base", "expert") if not self.merge.get(key)]
        if missing:
            raise ConfigError(f"stage {self.name!r}: merge names no {' and no '.join(missing)}.")
        names = _merged(self.merge)
        if not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"stage {self.name!r}: base and expert are {names}, but must be names of stages, or"
                f" {START!r}."
            )

    @property
    def parents(self) -> tuple[str, ...]:
        """Base, then experts."""
        return _merged(self.merge)


def _merged(merge: Mapping[str, Any]) -> tuple[Any, ...]:
    expert = merge["expert"]
    return (merge["base"], *(expert if isinstance(expert, list | tuple) else [expert]))


def _asked_otherwise(data: Sequence[Data | KeypointData]) -> list[str]:
    """In what questions of keypoints differ, as `digits 2 and 3`; rounds and their k may."""
    ways = [one.kept() for one in data if isinstance(one, KeypointData)]
    found = []
    for key in sorted(set(ways[0] if ways else ()) - {"rounds", "k"}):
        values = dict.fromkeys(str(way[key]) for way in ways)
        if len(values) > 1:
            found.append(f"{key} {' and '.join(values)}")
    return found


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run."""

    name: str
    """Name of the run."""
    model: str
    """What is taught: a name, folder or hub id that `headsight.load` takes."""
    output: Path
    """Folder of stages and reports."""
    features: Path | None = None
    """Folder of the encoder's tokens, which runs may share; by default below the output."""
    seed: int = 0
    """Of everything drawn."""
    skills: Mapping[str, Data | KeypointData] = field(default_factory=dict)
    """Probe set of each skill, asked before and after every stage."""
    stages: tuple[TuneStage | MergeStage, ...]
    """What to run."""

    def __post_init__(self) -> None:
        known = [START]
        folded = {START}
        for number, stage in enumerate(self.stages):
            if stage.name in (*known, "features") or not _NAME.fullmatch(stage.name):
                raise ConfigError(
                    f"A stage is called {stage.name!r}; names must differ from each other, from"
                    f" {START!r} and from 'features', and name a folder: no slash, no dot first."
                )
            for parent in self.parents(number):
                if parent not in known:
                    raise ConfigError(
                        f"stage {stage.name!r} starts from {parent!r}, but what comes before it is"
                        f" {', '.join(known)}."
                    )
                if parent not in folded:
                    raise ConfigError(
                        f"stage {stage.name!r} starts from {parent!r}, which keeps its adapter"
                        " apart. Let that stage fold (then: fold)."
                    )
            known.append(stage.name)
            if not (isinstance(stage, TuneStage) and stage.then == "keep_adapter"):
                folded.add(stage.name)

    def parents(self, number: int) -> tuple[str, ...]:
        """What stage `number` is made of."""
        stage = self.stages[number]
        if isinstance(stage, MergeStage):
            return stage.parents
        return (stage.start or (self.stages[number - 1].name if number else START),)


def is_plan(path: Path) -> bool:
    """True of a teaching recipe (it names a `model`), False of one that trains from nothing."""
    return "model" in read_yaml(path)


def read_plan(path: Path, *, overrides: Mapping[str, Any] | None = None) -> Plan:
    """The plan in a YAML file; relative paths in it are relative to the working folder.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value is out of range.
    """
    values = dict(read_yaml(path))
    values |= {k: v for k, v in (overrides or {}).items() if v is not None}
    stages = values.get("stages")
    if not isinstance(stages, list) or not stages:
        raise ConfigError(f"{path} lists no stages; expected at least one under `stages`.")
    values["stages"] = tuple(_stage(s, f"{path} stage {n}") for n, s in enumerate(stages, 1))
    skills = values.get("skills") or {}
    if not isinstance(skills, Mapping):
        raise ConfigError(f"{path}: skills is {type(skills).__name__}, but must map names to data.")
    values["skills"] = {k: _asked(_data(v, f"{path} skill {k}")) for k, v in skills.items()}
    return build_config(Plan, values, str(path))


def _stage(values: Any, where: str) -> TuneStage | MergeStage:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {type(values).__name__}, but must be a mapping.")
    values = dict(values)
    if "merge" in values:
        return build_config(MergeStage, values, where)
    is_capellm = values.get("type") == "capellm"
    if is_capellm:
        values = {**_CAPELLM, **values}
    for key in ("data", "old"):
        if key in values:
            given = values[key] or ()
            listed = given if isinstance(given, list | tuple) else (given,)
            of_points = is_capellm and key == "data"
            values[key] = tuple(_data(v, f"{where} {key}", points=of_points) for v in listed)
    if values.get("old") and "rehearsal" not in values:
        raise ConfigError(f"{where} names old data, but no `rehearsal`. Say how much: 0.1, or 0.")
    rehearsal = values.get("rehearsal")
    if rehearsal is not None:
        as_mapping = rehearsal if isinstance(rehearsal, Mapping) else {"ratio": rehearsal}
        values["rehearsal"] = build_config(Rehearsal, as_mapping, f"{where} rehearsal")
    if values.get("lora") is not None:
        values["lora"] = build_config(LoraSpec, values["lora"], f"{where} lora")
    return build_config(TuneStage, values, where)


def _asked(data: Data | KeypointData) -> Data | KeypointData:
    """Keypoints are asked one by one."""
    return data if isinstance(data, Data) else replace(data, rounds="single")


def _data(values: Any, where: str, *, points: bool = False) -> Data | KeypointData:
    if isinstance(values, str):
        values = {"path": values}
    if not isinstance(values, Mapping) or "path" not in values:
        raise ConfigError(f"{where} names no path. Give {{path: ..., tasks: [...]}}.")
    if points or "schemas" in values:
        return build_config(KeypointData, values, where)
    tasks = values.get("tasks")
    given = {**values, "tasks": [tasks]} if isinstance(tasks, str) else values
    return build_config(Data, given, where)

"""A training run written down: sources, stages, output; read from YAML and checked.

It is run stage by stage.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from headsight.errors import ConfigError, require
from headsight.train.loop import LoopConfig

__all__ = [
    "KINDS",
    "Recipe",
    "Source",
    "Stage",
    "build_config",
    "fingerprint",
    "read_recipe",
    "read_yaml",
]

KINDS = ("dense", "language", "crop_regressor")
"""Kinds of stages."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file of labelled pictures and how often it is drawn."""

    labels: Path
    """File in the form of `headsight.train.labels`, or a folder of `headsight scenes`."""
    share: float
    """Share of the pictures drawn from it; the shares of a stage are normalised."""
    limit: int | None = None
    """Read only the first so many pictures."""
    zoom_range: tuple[float, float] | None = None
    """Own crop zoom for this source."""
    crops: bool = False
    """Not the pictures themselves, but a small crop around every head whose pose is known."""
    mosaic: int = 1
    """Dense stages: so many of its pictures along each side of a square (crops: 4)."""

    def __post_init__(self) -> None:
        if self.share <= 0:
            raise ConfigError(f"share is {self.share}, but must be positive.")
        if not 1 <= self.mosaic <= 6:
            raise ConfigError(f"mosaic is {self.mosaic}, but must be from 1 to 6.")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a recipe."""

    name: str
    """Folder of the stage below the output."""
    kind: str
    """`dense` (the encoder's reading of heads), `language` (answers as text) or `crop_regressor`
    (a network of its own that reads the pose from a crop)."""
    loop: LoopConfig
    """Steps and intervals."""
    sources: tuple[Source, ...]
    """Where the pictures come from."""
    starts_from: tuple[str, ...] | None = None
    """Earlier stages whose weights it starts from, loaded in this order; None = the one before.

    A dense stage that starts from nothing takes the ImageNet weights; of a dense stage a language
    stage takes the encoder's reading, not the projection of its tokens."""
    batch_size: int = 12
    """Pictures a step."""
    lr: float = 1e-3
    """Peak learning rate of what is new."""
    backbone_lr: float = 1e-2
    """Dense stages: peak step of the pre-trained backbone, relative to each tensor's size."""
    frozen_blocks: int = 3
    """First backbone blocks that do not learn."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the kind."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind is {self.kind!r}, but must be one of {', '.join(KINDS)}.")
        if not self.sources:
            raise ConfigError(f"stage {self.name!r} has no sources. List at least one label file.")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Stages that run one after another; each goes on from the one before."""

    name: str
    """Name of the run."""
    output: Path
    """Folder of checkpoints and logs."""
    validation: Path
    """Label file of held-out pictures."""
    validation_limit: int = 200
    """Held-out pictures looked at in each validation."""
    seed: int = 0
    """Seed of everything drawn."""
    encoder: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the vision encoder."""
    decoder: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the decoder."""
    stages: tuple[Stage, ...]
    """What to run."""


def read_recipe(path: Path, *, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in a YAML file; relative paths in it are relative to the working folder.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value is out of range.
    """
    values = read_yaml(path)
    values |= {k: v for k, v in (overrides or {}).items() if v is not None}
    values["stages"] = tuple(
        _stage(stage, f"{path} stage {number}")
        for number, stage in enumerate(values.get("stages", ()), 1)
    )
    for key in ("output", "validation"):
        if key in values:
            values[key] = Path(values[key])
    return build_config(Recipe, values, str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML recipe holds.

    Raises:
        ConfigError: the file cannot be read or holds something else.
    """
    yaml = require("yaml")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as a YAML recipe: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, but a recipe is a mapping.")
    return values


def fingerprint(*settings: Any) -> str:
    """Short hash of settings; two runs with the same one may continue each other."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _source(values: Mapping[str, Any], where: str) -> Source:
    kinds = {"labels": Path, "zoom_range": tuple}
    read = {k: kinds[k](v) if k in kinds and v is not None else v for k, v in values.items()}
    return build_config(Source, read, where)


def _stage(values: Mapping[str, Any], where: str) -> Stage:
    values = dict(values)
    sources = tuple(_source(s, f"{where} source") for s in values.get("sources", ()))
    loop = build_config(LoopConfig, values.get("loop", {}), f"{where} loop")
    if values.get("starts_from") is not None:
        values["starts_from"] = tuple(values["starts_from"])
    return build_config(Stage, {**values, "sources": sources, "loop": loop}, where)


_T = TypeVar("_T")


def build_config(kind: type[_T], values: Mapping[str, Any], where: str) -> _T:
    """`kind` made of `values`.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), or one that is missing.
    """
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."
            raise ConfigError(f"{where}: unknown key '{key}'. {hint}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}. Known keys: {', '.join(known)}.") from error

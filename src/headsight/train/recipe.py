"""A training run written down: sources, stages, output; read from YAML and checked.

It is run stage by stage.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

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


def _stage(values: Mapping[str, Any], where: str) -> Stage:
    values = dict(values)
    sources = tuple(build_config(Source, s, f"{where} source") for s in values.get("sources", ()))
    loop = build_config(LoopConfig, values.get("loop", {}), f"{where} loop")
    return build_config(Stage, {**values, "sources": sources, "loop": loop}, where)


_T = TypeVar("_T")


def build_config(kind: type[_T], values: Any, where: str) -> _T:
    """`kind` made of `values`; lists become tuples and texts paths where its fields are such.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), one that is missing, or a
            value of another type than its field's.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}, but must be a mapping of settings.")
    types = {f.name: f.type for f in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in types:
            near = difflib.get_close_matches(str(key), types, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(types)}."
            raise ConfigError(f"{where}: unknown key '{key}'. {hint}")
    hints = get_type_hints(kind)
    read = {}
    for key, value in values.items():
        try:
            read[key] = _as(value, hints[key])
        except TypeError as error:
            wanted = str(types[key])
            for name, words in _IN_WORDS:
                wanted = wanted.replace(name, words)
            is_number = isinstance(value, str) and re.fullmatch(r"[-+\d.]+(e[-+]?\d+)?", value)
            hint = " Write it without quotes, and 1e-4 as 1.0e-4." if is_number else ""
            raise ConfigError(
                f"{where}: {key} is {value!r}, but must be {wanted}.{hint}"
            ) from error
    try:
        return kind(**read)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}. Known keys: {', '.join(types)}.") from error


_IN_WORDS = (
    ("Mapping[str, Any]", "a mapping of settings"),
    ("int | float", "a number"),
    ("float", "a number"),
    ("int", "a whole number"),
    ("bool", "true or false"),
    ("str", "text"),
    ("Path", "a path"),
    ("None", "null"),
    (" | ", " or "),
)
"""How types of fields are told to the writer of a recipe; replaced in this order."""


def _as(value: Any, hint: Any) -> Any:
    """`value` as a field of the type `hint` takes it; a TypeError where it is something else."""
    if hint is Any:
        return value
    kind, kinds = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        for one in kinds:
            with suppress(TypeError):
                return _as(value, one)
        raise TypeError
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is tuple and isinstance(value, list | tuple):
        wanted = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(wanted) != len(value):
            raise TypeError
        return tuple(_as(v, w) for v, w in zip(value, wanted, strict=True))
    if isinstance(value, bool) and kind is not bool:
        raise TypeError
    if not isinstance(value, int | float if kind is float else kind):
        raise TypeError
    return value

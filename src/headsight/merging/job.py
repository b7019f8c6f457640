"""What is to be merged and how, before any file is opened."""

from __future__ import annotations

__all__ = ["MISSING", "SPACES", "MergeJob", "Model", "params_for"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from headsight.errors import ConfigError
from headsight.merging.method import Method, Params
from headsight.merging.methods import check_number, find_method
from headsight.merging.numbers import dtype_name
from headsight.merging.selection import Threshold
from headsight.merging.settings import Setting, check_setting, value_at

_PAPERS = Threshold(0.95)
MISSING = ("error", "base", "skip")
SPACES = ("weight", "delta", "factors")
_GRANULARITIES = ("module", "block", "part")
_OWN = ("weight", "density")
"""Parameters that each model may set for itself."""
_SHARED = ("normalize", "rescale", "lambda", "t", "int8_mask", "sign_weights", "divide_by")
PARAMETERS = (*_OWN, *_SHARED)
SMALLEST_SHARD = 1_000_000


@dataclass(frozen=True)
class Model:
    """One model beside the base."""

    source: str
    """`folder`, `folder+adapter`, or an adapter folder that is put on the base."""
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    """Its own `weight` and `density`."""


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """One merge."""

    method: str
    models: tuple[Model, ...]
    """In the order in which they are added."""
    base: str | None = None
    """What changes are counted from; also where config, tokenizer and the like come from."""
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    """mergekit's: weight, density, normalize, rescale, lambda, t, ..."""
    threshold: Threshold = _PAPERS
    """Layer-cosine: what a unit's cosine must exceed."""
    granularity: str = "module"
    """Layer-cosine: a `module` with its bias, a `block` (layer), or a `part` of packed maps."""
    space: str = "weight"
    """Layer-cosine: compare each `weight` with the base's; or two models' `delta` or `factors`."""
    dtype: str | None = None
    """Of the result; None: as the base has each tensor."""
    missing: str = "error"
    """Where a model lacks a tensor: `error`, take the `base`'s, or `skip` the model."""
    shard_bytes: int = 5_000_000_000
    """Most bytes of weights in a file; a larger tensor has a file of its own."""
    seed: int = 0
    """Of DARE."""
    layers: int | None = None
    """Decoder layers that a file with slices speaks of: the models must have as many."""

    def __post_init__(self) -> None:
        for name, known in (
            ("granularity", _GRANULARITIES),
            ("space", SPACES),
            ("missing", MISSING),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} is '{getattr(self, name)}'; expected one of {', '.join(known)}."
                )
        if self.shard_bytes < SMALLEST_SHARD:
            raise ConfigError(
                f"The files would hold {self.shard_bytes} bytes; expected {SMALLEST_SHARD} or more."
            )
        if self.dtype is not None:
            dtype_name(self.dtype)
        if not self.models:
            raise ConfigError("No model is given to be merged. Give --expert, or models: in YAML.")
        for model in self.models:
            _check_keys(model.parameters, _OWN, f"the parameters of {model.source}")
        _check_keys(self.parameters, PARAMETERS, "the parameters")
        has_two = self.is_selection and self.space != "weight"
        if has_two and (len(self.models) != 2 or self.base is None):
            raise ConfigError(
                f"space is {self.space}, which compares two models that came from one base; found"
                f" {len(self.models)}. Give --base and two --expert: the first is kept unless the"
                " second is alike."
            )
        if not has_two:
            check_number(self.way, len(self.models), has_base=self.base is not None)

    @property
    def way(self) -> Method:
        """The method itself."""
        return find_method(self.method)

    @property
    def is_selection(self) -> bool:
        """Whether units are taken whole from one parent."""
        return self.way.name == "layer-cosine"


def params_for(job: MergeJob, models: Sequence[int], name: str, depth: float) -> Params:
    """The settings for one tensor, in which the models at these indices take part."""

    def own(key: str) -> tuple[float, ...]:
        values = []
        for index in models:
            setting = job.models[index].parameters.get(key, job.parameters.get(key))
            value = value_at(setting, name, depth)
            values.append(1.0 if value is None else _number(key, value))
        return tuple(values)

    def shared(key: str, default: Any) -> Any:
        value = value_at(job.parameters.get(key), name, depth)
        return default if value is None else value

    rescale = shared("rescale", "density")
    normalize = shared("normalize", None)
    return Params(
        weights=own("weight"),
        densities=own("density"),
        scale=_number("lambda", shared("lambda", 1.0)),
        t=_number("t", shared("t", 0.5)),
        normalize=None if normalize is None else bool(normalize),
        rescale={True: "density", False: "none"}.get(rescale, rescale),
        sign_weights=bool(shared("sign_weights", True)),
        divide_by=shared("divide_by", "weights"),
        seed=job.seed,
        key=name,
    )


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key} is {value!r}; expected a number.")
    return float(value)


def _check_keys(parameters: Mapping[str, Setting], known: Sequence[str], where: str) -> None:
    for key, setting in parameters.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known)}."
            raise ConfigError(f"{where} have an unknown key '{key}'.{hint}")
        check_setting(key, setting)

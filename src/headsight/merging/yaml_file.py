"""mergekit's YAML files as a `MergeJob`, so that files people have run unchanged."""

from __future__ import annotations

__all__ = ["job_from_yaml", "read_job"]

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from headsight.errors import ConfigError, require
from headsight.merging.job import MergeJob, Model
from headsight.merging.methods import find_method
from headsight.merging.selection import parse_threshold

_KEYS = (
    "merge_method", "base_model", "models", "slices", "parameters", "dtype", "out_dtype",
    "tokenizer_source", "tokenizer", "chat_template", "name",
    "threshold", "granularity", "space", "missing", "seed", "out_shard_size",
)  # fmt: skip
_MODEL_KEYS = ("model", "parameters")


def read_job(path: Path, overrides: Mapping[str, Any] | None = None) -> MergeJob:
    """The merge that a YAML file describes; values in `overrides` that are not None go before it.

    Raises:
        ConfigError: it cannot be read, or as in `job_from_yaml`.
    """
    yaml = require("yaml")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}.") from error
    try:
        return job_from_yaml(values, overrides)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def job_from_yaml(values: Any, overrides: Mapping[str, Any] | None = None) -> MergeJob:
    """The merge that the content of a YAML file describes.

    mergekit's keys mean what they mean there. Ours beside them: threshold, granularity, space,
    missing, seed, out_shard_size.

    Raises:
        ConfigError: an unknown key (the message names the nearest), a missing one, a method that
            there is not, or slices that build a model of other layers.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"It holds {type(values).__name__}; expected keys such as merge_method.")
    _check(values, _KEYS, "the file")
    if "merge_method" not in values:
        raise ConfigError("merge_method is missing. Write, for example, merge_method: ties.")
    method = find_method(str(values["merge_method"]))
    base = None if values.get("base_model") is None else _name(values["base_model"])
    models, parameters = _models(values)
    if method.needs_base:
        if base is None and method.name == "slerp" and len(models) == 2:
            base = models[0].source
        models = [m for m in models if m.source != base]
    fields: dict[str, Any] = {
        "method": method.name,
        "base": base,
        "models": tuple(models),
        "parameters": parameters,
        "dtype": values.get("out_dtype") or values.get("dtype"),
        "layers": _layers(values),
        **{k: values[k] for k in ("granularity", "space", "missing", "seed") if k in values},
    }
    if "threshold" in values:
        fields["threshold"] = parse_threshold(values["threshold"])
    if "out_shard_size" in values:
        fields["shard_bytes"] = parse_bytes(values["out_shard_size"])
    return MergeJob(**fields | {k: v for k, v in (overrides or {}).items() if v is not None})


def parse_bytes(text: str | int) -> int:
    """`5B`, `500M` or `2GB` as a number: K, M and G are powers of 1000; B alone is a billion.

    Raises:
        ConfigError: not of that form.
    """
    word = str(text).strip().upper()
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
    for unit, factor in units.items():
        if word.endswith(unit):
            word, scale = word.removesuffix(unit), factor
            break
    else:
        scale = 1.0
    try:
        return int(float(word) * scale)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"The size of a file is '{text}'; expected such as 5GB.") from error


def _models(values: Mapping[str, Any]) -> tuple[list[Model], dict[str, Any]]:
    parameters = dict(_parameters(values))
    if values.get("slices"):
        return _from_slices(values, parameters)
    listed = values.get("models")
    if not isinstance(listed, list) or not listed:
        raise ConfigError("models is missing or no list. Write models: with - model: FOLDER below.")
    return [_model(item, _MODEL_KEYS) for item in listed], parameters


def _from_slices(
    values: Mapping[str, Any], parameters: dict[str, Any]
) -> tuple[list[Model], dict[str, Any]]:
    """One slice of the same layers of all models is a merge of whole models."""
    slices = values["slices"]
    if not isinstance(slices, list) or len(slices) != 1 or "models" in values:
        raise ConfigError(
            "slices that stack layers of several models build another architecture, which is not"
            " done here. Give models:, or one slice of all layers."
        )
    _check(slices[0], ("sources", "parameters"), "a slice")
    sources = slices[0].get("sources") or []
    ranges = [s.get("layer_range") for s in sources if isinstance(s, dict)]
    if any(r is not None and (r != ranges[0] or r[0] != 0) for r in ranges):
        raise ConfigError(
            f"The slice has the layer ranges {ranges}; expected the same for all models, from"
            " layer 0 on."
        )
    keys = (*_MODEL_KEYS, "layer_range")
    return [_model(s, keys) for s in sources], parameters | dict(_parameters(slices[0]))


def _layers(values: Mapping[str, Any]) -> int | None:
    if not values.get("slices"):
        return None
    layers = values["slices"][0]["sources"][0].get("layer_range")
    return None if layers is None else int(layers[1])


def _model(item: Any, keys: Sequence[str]) -> Model:
    _check(item, keys, "a model")
    if "model" not in item:
        raise ConfigError(f"{item!r} names no model. Write - model: FOLDER.")
    return Model(_name(item["model"]), dict(_parameters(item)))


def _name(value: Any) -> str:
    """A model's name; mergekit also writes `{model: {path: ...}, lora: {path: ...}}`."""
    if isinstance(value, dict):
        inner, lora = value.get("model", value), value.get("lora")
        path = inner.get("path") if isinstance(inner, dict) else inner
        lora = lora.get("path") if isinstance(lora, dict) else lora
        return f"{path}+{lora}" if lora else str(path)
    return str(value)


def _parameters(values: Mapping[str, Any]) -> Mapping[str, Any]:
    found = values.get("parameters") or {}
    if not isinstance(found, dict):
        raise ConfigError(f"parameters is {found!r}; expected keys and values.")
    return found


def _check(values: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {values!r}; expected keys and values.")
    for key in values:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            raise ConfigError(f"{where} has an unknown key '{key}'. {hint}")

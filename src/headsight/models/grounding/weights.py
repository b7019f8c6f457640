"""Strict, streaming loading of safetensors into a `GroundingVLM`, one tensor at a time."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from headsight.errors import CheckpointError
from headsight.models.checkpoints import refuse_pickle
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.low_bit import put_low_bit_, shrink_layers_
from headsight.models.grounding.model import GroundingVLM

__all__ = ["empty_model", "load_weights_", "read_json", "sketch_model", "weight_files"]

ENCODER = "model.vision.encoder."
"""How names of the vision encoder's weights begin."""
_SHOWN = 5
_INDEX = "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in `path`.

    Raises:
        CheckpointError: no such file, or no JSON object.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        inside = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else []
        raise CheckpointError(
            f"{path.parent} has no {path.name} (found: {', '.join(inside) or 'nothing'}), so it is"
            " no model folder. Pass the folder that save_pretrained wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON: {error}. Get the file again."
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{path} holds a {type(values).__name__}, but a JSON object is needed."
        )
    return values


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a model folder: one file, or the shards that its index names.

    Raises:
        CheckpointError: none, only pickles, or a shard is missing.
    """
    single = folder / "model.safetensors"
    if single.exists():
        return [single]
    if (folder / _INDEX).exists():
        shards = read_json(folder / _INDEX).get("weight_map")
        names = sorted(set(shards.values())) if isinstance(shards, dict) else []
        files = [folder / Path(str(name)).name for name in names]
        missing = [file.name for file in files if not file.exists()]
        if missing or not files:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} of the {len(files)} shards its index names"
                f" ({', '.join(missing[:_SHOWN])}). Get the missing files."
            )
        return files
    for file in sorted(folder.iterdir()):
        refuse_pickle(file)
    raise CheckpointError(
        f"{folder} holds no weights: model.safetensors is missing. Put the file beside config.json,"
        " or reinstall headsight if this is a model that it ships."
    )


def sketch_model(config: GroundingVLMConfig) -> GroundingVLM:
    """A model without weights, on the meta device: to be counted and looked at."""
    with torch.device("meta"):
        return GroundingVLM(config)


def empty_model(config: GroundingVLMConfig) -> GroundingVLM:
    """A model whose weights wait to be loaded; on the meta device where its encoder allows it."""
    encoder = (config.vision_config or {}).get("encoder")
    # backbones of transformers may own buffers that no file holds
    device = "cpu" if encoder == "transformers" else "meta"
    with torch.device(device):
        model = GroundingVLM(config)
    model.eval()
    return model


def load_weights_(
    model: GroundingVLM,
    files: Sequence[Path],
    *,
    dtype: torch.dtype,
    device: torch.device,
    rename: Callable[[str], str | None] = lambda name: name,
    quantize: int | None = None,
    lent: Sequence[Path] = (),
) -> None:
    """Put the tensors of `files` into `model`; every weight must be there, and nothing else.

    `rename` maps a name in the file to one of the model; None passes the tensor over. All names and
    shapes are compared before the first tensor is read. With `quantize` (4 or 8) the linear maps of
    the decoder layers are rounded to so many bits as they come, see `low_bit.py`. Weights of the
    encoder that `files` lack are looked for in `lent`, whatever else those hold.

    Raises:
        CheckpointError: a file is damaged, or names or shapes do not fit.
        MissingExtraError: bitsandbytes is needed and not installed.
    """
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    tied = set(model.all_tied_weights_keys or {})
    found = _tensors(files, rename)
    for name, tensor in _tensors(lent).items():
        if name in expected and name.startswith(ENCODER):
            found.setdefault(name, tensor)
    _compare(expected, {name: tensor.shape for name, tensor in found.items()}, tied, files)
    low_bit = set() if quantize is None else shrink_layers_(model, quantize)
    for file in dict.fromkeys(tensor.file for tensor in found.values()):
        with _opened(file) as (_, _, read):
            for target, tensor in found.items():
                if tensor.file != file or target not in expected:
                    continue
                value = read(tensor.name).to(dtype)
                if target in low_bit:
                    put_low_bit_(model, target, value, device)
                else:
                    _put(model, target, value.to(device))
    model.tie_weights()
    model.to(device)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Tensor:
    """Where one is stored."""

    file: Path
    name: str
    shape: tuple[int, ...]


def _tensors(
    files: Sequence[Path], rename: Callable[[str], str | None] = lambda name: name
) -> dict[str, _Tensor]:
    """All tensors of the files, by their names in the model."""
    found = {}
    for file in files:
        with _opened(file) as (names, shape, _):
            for name in names:
                if (target := rename(name)) is not None:
                    found[target] = _Tensor(file, name, shape(name))
    return found


def _compare(
    expected: dict[str, tuple[int, ...]],
    found: dict[str, tuple[int, ...]],
    tied: set[str],
    files: Sequence[Path],
) -> None:
    missing = sorted(set(expected) - set(found) - tied)
    unexpected = sorted(set(found) - set(expected))
    wrong = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{len(names)} {title}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for title, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", wrong),
        )
        if names
    ]
    if missing and not wrong and not unexpected and all(n.startswith(ENCODER) for n in missing):
        raise CheckpointError(
            f"{files[0].parent} lacks weights of its vision encoder: {problems[0]}. It is one that"
            " borrows them from another model, as `nano-keypoints` does from nano: load that by its"
            " name. Otherwise get the whole folder again."
        )
    if problems:
        raise CheckpointError(
            f"The weights in {files[0].parent} do not fit its config.json: {'; '.join(problems)}."
            " The files are foreign or from another version; get the whole folder again."
        )


@contextmanager
def _opened(
    file: Path,
) -> Iterator[
    tuple[Iterable[str], Callable[[str], tuple[int, ...]], Callable[[str], torch.Tensor]]
]:
    """Names, shapes and tensors of a safetensors file, read when asked for."""
    try:
        with safe_open(file, "pt") as opened:
            yield (
                list(opened.keys()),
                lambda name: tuple(opened.get_slice(name).get_shape()),
                opened.get_tensor,
            )
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} cannot be read as safetensors: {error}. The file is damaged or cut;"
            " get it again."
        ) from error


def _put(model: nn.Module, name: str, value: torch.Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    if leaf in module._buffers:
        module._buffers[leaf] = value
    else:
        module._parameters[leaf] = nn.Parameter(value, requires_grad=value.is_floating_point())

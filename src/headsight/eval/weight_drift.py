"""How far the weights of a model moved from another's, module by module, read tensor by tensor."""

from __future__ import annotations

__all__ = ["ModuleDrift", "weight_drift"]

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headsight.errors import CheckpointError

_INDEX = "model.safetensors.index.json"
_CHUNK = 1 << 22  # numbers widened at once, so that memory stays flat


@dataclass(frozen=True)
class ModuleDrift:
    """One module: the tensors that share all but the last part of their name."""

    module: str
    numbers: int
    """How many weights."""
    norm_ratio: float
    """Norm of the change over norm of what was there; 0 = untouched, infinite from nothing."""
    cosine: float
    """Of old and new weights; NaN where one of them is all zero."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def weight_drift(before: Path, after: Path) -> list[ModuleDrift]:
    """Drift of every module that both folders have, the most changed first.

    Sums are taken in float64; no more than one tensor of each model is in memory.

    Raises:
        CheckpointError: a folder without safetensors, or models of different architecture.
    """
    with ExitStack() as stack:
        old, new = (_Tensors(folder, stack) for folder in (before, after))
        odd = sorted(set(old.files) ^ set(new.files))
        if odd:
            raise CheckpointError(
                f"{before} and {after} hold different tensors ({len(odd)} in one only, such as"
                f" {odd[0]}), so their weights cannot be compared. Compare two states of one model."
            )
        sums: dict[str, list[float]] = {}
        for name in old.files:
            module = name.rpartition(".")[0] or name
            row = sums.setdefault(module, [0.0] * 5)
            for index, value in enumerate(_sums(name, old, new)):
                row[index] += value
    drifts = [_drift(module, *row) for module, row in sums.items()]
    return sorted(drifts, key=lambda d: (-d.norm_ratio, d.module))


class _Tensors:
    """The tensors of a folder by name."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        from safetensors import SafetensorError, safe_open

        self.folder = folder
        self.files: dict[str, Any] = {}
        for path in _weight_files(folder):
            try:
                file = stack.enter_context(safe_open(path, "pt"))
            except (OSError, SafetensorError) as error:
                raise CheckpointError(
                    f"{path} cannot be read as safetensors: {error}. Get the file again."
                ) from error
            self.files |= dict.fromkeys(file.keys(), file)

    def __getitem__(self, name: str) -> Any:
        return self.files[name].get_tensor(name)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if index.exists():
        shards = json.loads(index.read_text("utf-8")).get("weight_map", {})
        return [folder / Path(name).name for name in sorted(set(shards.values()))]
    single = folder / "model.safetensors"
    if single.exists():
        return [single]
    raise CheckpointError(
        f"{folder} holds no model.safetensors, so its weights cannot be compared. Pass the folder"
        " that save_pretrained wrote."
    )


def _sums(name: str, old: _Tensors, new: _Tensors) -> Iterator[float]:
    """How many weights, and the sums of old², new², old * new and (new - old)²."""
    a, b = old[name].flatten(), new[name].flatten()
    if a.shape != b.shape:
        raise CheckpointError(
            f"{name} has {len(a)} numbers in {old.folder} and {len(b)} in {new.folder}. Compare two"
            " states of one model."
        )
    totals = [float(len(a)), 0.0, 0.0, 0.0, 0.0]
    for start in range(0, len(a), _CHUNK):
        x, y = (t[start : start + _CHUNK].double() for t in (a, b))
        for index, value in enumerate((x @ x, y @ y, x @ y, (y - x) @ (y - x)), 1):
            totals[index] += float(value)
    return iter(totals)


def _drift(
    module: str, numbers: float, old: float, new: float, inner: float, change: float
) -> ModuleDrift:
    from_nothing = float("inf") if change > 0 else 0.0
    ratio = (change / old) ** 0.5 if old > 0 else from_nothing
    cosine = inner / (old * new) ** 0.5 if old > 0 and new > 0 else float("nan")
    return ModuleDrift(module, int(numbers), ratio, min(max(cosine, -1.0), 1.0))

"""What was done in a `HeadLab`, as a JSON record beside the tensors that came of it.

Two runs compare where their records agree: the model and its heads, precision, device, packages,
and everything that was captured, gated and ablated, with a hash of the inputs.
"""

from __future__ import annotations

__all__ = ["RunLog"]

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headsight.attention.head_set import model_fingerprint
from headsight.attention.heads import HeadAddress, HeadTable
from headsight.files import write_atomic
from headsight.versions import versions

SCHEMA = "headsight.head_lab/1"
_WRITTEN_OUT = 4096
"""Numbers of a tensor that are written; of a larger one its shape and hash are."""


class RunLog:
    """What one lab does while it is logged, in order."""

    def __init__(
        self, model: nn.Module, table: Callable[[], HeadTable], attention: str | None
    ) -> None:
        self._model, self._table, self._attention = model, table, attention
        self._open: list[int] = []
        self._is_inside = False
        self.steps: list[dict[str, Any]] = []
        """One a call of the lab, JSON-ready: `call`, `tower`, `inputs` (a hash), what was asked
        for, `times` in a row, and `within`, the numbers of the contexts that were open."""

    @contextmanager
    def call(self, name: str, inputs: Mapping[str, Any], **asked: Any) -> Iterator[None]:
        """Note a call of the lab, but not what it calls in its turn."""
        if self._is_inside:
            yield
            return
        self._note({"call": name, "inputs": _digest(inputs), **self._described(asked)})
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False

    @contextmanager
    def context(self, name: str, **asked: Any) -> Iterator[None]:
        """Note a context of the lab, within which further calls are noted."""
        if self._is_inside:
            yield
            return
        self.steps.append({"call": name, **self._described(asked), "within": list(self._open)})
        self._open.append(len(self.steps) - 1)
        try:
            yield
        finally:
            self._open.pop()

    def to_dict(self) -> dict[str, Any]:
        """Plain values with a `schema` key."""
        config = getattr(self._model, "config", None)
        parameters = list(self._model.parameters())
        return {
            "schema": SCHEMA,
            "model": {
                "class": type(self._model).__name__,
                "family": getattr(config, "model_type", None),
                "id": getattr(config, "_name_or_path", "") or "",
                "fingerprint": model_fingerprint(self._model),
                "parameters": sum(one.numel() for one in parameters),
                "dtypes": sorted({str(one.dtype).removeprefix("torch.") for one in parameters}),
                "devices": sorted({str(one.device) for one in parameters}),
                "attention": self._attention,
            },
            "versions": versions(),
            "numbering": "from 0",
            "heads": [asdict(site) for site in self._table()],
            "steps": self.steps,
        }

    def save(self, path: Path) -> None:
        """Write as JSON."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomic(path, text.encode() + b"\n")

    def _note(self, step: dict[str, Any]) -> None:
        """Add a step, or count it where it is the last one over again."""
        step["within"] = list(self._open)
        last = self.steps[-1] if self.steps else {}
        if {**last, "times": 0} == {**step, "times": 0}:
            last["times"] += 1
        else:
            self.steps.append({**step, "times": 1})

    def _described(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked for; what was left out is not told."""
        tower = asked.get("tower") or self._table().main_tower
        told: dict[str, Any] = {"tower": tower}
        for name, value in asked.items():
            if name != "tower" and value is not None and value != ():
                told[name] = self._plain(value, tower)
        return told

    def _plain(self, value: Any, tower: str) -> Any:
        if value is None or isinstance(value, (str, bool, int)):
            return value
        if isinstance(value, float):
            return value if value == value and abs(value) != float("inf") else str(value)
        if isinstance(value, Tensor):
            return _tensor(value)
        if isinstance(value, slice):
            return [value.start, value.stop, value.step]
        if is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value, tower)
        if isinstance(value, Mapping):
            return {str(key): self._plain(item, tower) for key, item in value.items()}
        if isinstance(value, Sequence):
            return [self._plain(item, tower) for item in value]
        return getattr(value, "__qualname__", type(value).__qualname__)

    def _dataclass(self, value: Any, tower: str) -> dict[str, Any]:
        told: dict[str, Any] = {"kind": type(value).__name__}
        for field in fields(value):
            item = getattr(value, field.name)
            if field.name == "heads":
                told["heads"] = [self._head(head, tower) for head in item]
            elif field.name != "examples" or item != slice(None):
                told[field.name] = self._plain(item, tower)
        return told

    def _head(self, address: HeadAddress, tower: str) -> list[Any]:
        head = self._table().resolve(address, tower)
        return [head.layer, head.head] if head.tower == tower else [*asdict(head).values()]


def _digest(inputs: Mapping[str, Any]) -> str:
    """16 hex digits of the inputs, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(inputs.items()):
        told = _hash(value) if isinstance(value, Tensor) else repr(value)
        digest.update(f"{name}={told};".encode())
    return digest.hexdigest()[:16]


def _tensor(value: Tensor) -> dict[str, Any]:
    told: dict[str, Any] = {
        "shape": list(value.shape),
        "dtype": str(value.dtype).removeprefix("torch."),
        "hash": _hash(value),
    }
    if value.numel() <= _WRITTEN_OUT and bool(torch.isfinite(value).all()):
        told["values"] = value.tolist()
    return told


def _hash(value: Tensor) -> str:
    """16 hex digits of dtype, shape and every byte."""
    whole = value.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{whole.dtype}{tuple(whole.shape)}".encode())
    digest.update(whole.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]

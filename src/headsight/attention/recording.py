"""What reducers kept, forward pass by forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from headsight.attention.call import AttentionCall, QueryRows
from headsight.attention.heads import HeadSite
from headsight.attention.reducers import HeadOutputs, Reducer
from headsight.errors import InputError

__all__ = ["Recording", "Step"]


class Step(Mapping[str, Tensor]):
    """One forward pass: `step["entropy"]` is stacked over the layers of the tower, axis 1.

    Where a tower calls its attention once per picture or window (Qwen2.5-VL), the calls are put
    side by side on axis 0 if their shapes agree; `by_call` has them one by one in any case.
    """

    def __init__(self, sites: Sequence[HeadSite]) -> None:
        self._parts: dict[str, list[dict[str, Tensor]]] = {site.module: [] for site in sites}

    def __getitem__(self, name: str) -> Tensor:
        layers = self.by_call(name)
        missing = [module for module, calls in zip(self._parts, layers, strict=True) if not calls]
        if missing:
            raise KeyError(name)
        try:
            return torch.stack([torch.cat(calls) for calls in layers], 1)
        except RuntimeError as error:
            shapes = sorted({tuple(part.shape) for calls in layers for part in calls})
            raise InputError(
                f"'{name}' has different shapes in different calls of this tower: {shapes[:6]}, so"
                " that it cannot be one tensor. Use recording() and by_call(name)."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(n for calls in self._parts.values() for c in calls for n in c))

    def __len__(self) -> int:
        return len(list(iter(self)))

    @property
    def num_calls(self) -> dict[str, int]:
        """How often each attention module called its attention: 1, or the number of its chunks."""
        return {module: len(calls) for module, calls in self._parts.items()}

    def by_call(self, name: str) -> list[list[Tensor]]:
        """The answer of every call (B, H, ...), layer by layer."""
        return [[c[name] for c in calls if name in c] for calls in self._parts.values()]


class Recording:
    """What is kept while `HeadLab.recording` is open; `steps` has one entry a forward pass."""

    def __init__(
        self, sites: Sequence[HeadSite], reduce: Sequence[Reducer | HeadOutputs], chunk_rows: int
    ) -> None:
        names = [reducer.name for reducer in reduce]
        if len(set(names)) != len(names):
            raise InputError(
                f"Two reducers are called the same: {names}. Give one another name, e.g."
                " Rows(..., name='question')."
            )
        self.steps: list[Step] = []
        self._sites = tuple(sites)
        self._reducers = [r for r in reduce if not isinstance(r, HeadOutputs)]
        self._outputs = [r for r in reduce if isinstance(r, HeadOutputs)]
        self._chunk_rows = chunk_rows

    def add(
        self, module: str, step: int, call: AttentionCall | None, out: Float[Tensor, "b q h d"]
    ) -> None:
        """Keep what the reducers make of one call."""
        if module not in {site.module for site in self._sites}:
            return
        if call is None and self._reducers:
            raise InputError(
                f"'{module}' is watched at its output projection, where there are no attention"
                f" weights for {[r.name for r in self._reducers]}. Only HeadOutputs() can be"
                " recorded."
            )
        while len(self.steps) <= step:
            self.steps.append(Step(self._sites))
        kept = {r.name: out.detach().transpose(1, 2) for r in self._outputs}
        with torch.no_grad():
            kept |= {} if call is None else self._reduce(call, is_first=step == 0)
        self.steps[step]._parts[module].append(kept)

    def _reduce(self, call: AttentionCall, *, is_first: bool) -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {}
        whole: list[Reducer] = []
        for reducer in self._reducers:
            try:
                rows = reducer.rows(call.query.shape[2], call.query.device)
            except InputError:
                if is_first:
                    raise
                continue  # a decoding step that does not have the row
            if rows is None:
                whole.append(reducer)
            else:
                kept |= self._stream(call, [reducer], rows)
        return kept | self._stream(call, whole, None)

    def _stream(
        self, call: AttentionCall, reducers: Sequence[Reducer], rows: QueryRows | None
    ) -> dict[str, Tensor]:
        """What reducers make of the same rows, a part of the rows at a time."""
        if not reducers:
            return {}
        kept: dict[str, Tensor] = {}
        chunks = [
            [reducer.reduce(chunk) for reducer in reducers]
            for chunk in call.chunks(self._chunk_rows, rows)
        ]
        for reducer, parts in zip(reducers, zip(*chunks, strict=True), strict=True):
            for name in parts[0]:
                found = [part[name] for part in parts]
                kept[name] = sum(found[1:], found[0]) if reducer.sums else torch.cat(found, 2)
        return kept

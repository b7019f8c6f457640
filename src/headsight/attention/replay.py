"""Layers below the one under study answer from memory, so that a sweep runs them once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

__all__ = ["Replay", "part_of", "tile", "tile_inputs"]


class Replay:
    """Remembers one clean run: what every layer of a tower gave, and the towers beside it."""

    def __init__(self, model: nn.Module, modules: list[str]) -> None:
        self._model = model
        self._layers = _layers(model, modules)
        self._beside = _beside(model, set(self._layers.values()), modules)
        self._outputs: dict[str, list[Any]] = {}
        self._order: list[str] = []

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Keep the outputs of the run inside."""
        self._order = []
        self._outputs = {name: [] for name in {*self._siblings(), *self._beside}}
        with ExitStack() as stack:
            for name, outputs in self._outputs.items():
                module = self._model.get_submodule(name)
                hook = module.register_forward_hook(self._keep(name, outputs))
                stack.callback(hook.remove)
            yield

    @contextmanager
    def from_layer(self, module: str, copies: int, batch: int) -> Iterator[None]:
        """Inside, everything that runs before `module`'s layer gives `copies` of its clean answer.

        A part that did not run exactly once is run again, which costs time and nothing else.
        """
        layer = self._layers.get(module)
        below = [] if layer is None else self._below(layer)
        if any(len(self._outputs[name]) != 1 for name in below):
            below = []
        answers: dict[str, Callable[..., Any]] = {}
        for name in self._before_the_tower():
            answers[name] = _constant(tile(self._outputs[name][0], copies))
        for i, name in enumerate(below):
            clean = self._outputs[name][0]
            if i < len(below) - 1 and isinstance(clean, Tensor):
                answers[name] = _first_of(clean)  # never read: the last one below answers
            else:
                answers[name] = _constant(tile(clean, copies, only=batch))
        with ExitStack() as stack:
            for name, answer in answers.items():
                stack.enter_context(_patched(self._model.get_submodule(name), answer))
            yield

    def _before_the_tower(self) -> list[str]:
        """Towers that ran once, and before any layer of the swept one."""
        layers = self._siblings()
        start = next((i for i, name in enumerate(self._order) if name in layers), 0)
        return [name for name in self._beside if self._order[:start].count(name) == 1]

    def _keep(self, name: str, outputs: list[Any]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._order.append(name)
            outputs.append(_mapped(output, lambda inner: inner))  # callers may write into it

        return hook

    def _siblings(self) -> set[str]:
        return {name for layer in self._layers.values() for name in [*self._below(layer), layer]}

    def _below(self, layer: str) -> list[str]:
        parent, _, number = layer.rpartition(".")
        return [f"{parent}.{i}" for i in range(int(number))]


def tile(value: Any, copies: int, *, only: int | None = None) -> Any:
    """`value` with the first axis of its tensors repeated, the copies one after the other.

    With `only`, tensors whose first axis has another length stand for all examples and stay.
    """
    if isinstance(value, Tensor):
        if value.dim() == 0 or (only is not None and value.shape[0] != only):
            return value
        return value.repeat(copies, *[1] * (value.dim() - 1))
    return _mapped(value, lambda inner: tile(inner, copies, only=only))


def tile_inputs(inputs: Mapping[str, Any], copies: int) -> dict[str, Any]:
    """Model inputs for `copies` of the same batch."""
    tiled = {name: tile(value, copies) for name, value in inputs.items()}
    position_ids = inputs.get("position_ids")
    if isinstance(position_ids, Tensor) and position_ids.dim() == 3:  # (axes, B, T)
        tiled["position_ids"] = position_ids.repeat(1, copies, 1)
    return tiled


def part_of(value: Any, index: int, copies: int) -> Any:
    """The answer to copy `index` of a tiled batch."""
    if isinstance(value, Tensor):
        if value.dim() == 0 or value.shape[0] % copies:
            return value
        size = value.shape[0] // copies
        return value[index * size : (index + 1) * size]
    return _mapped(value, lambda inner: part_of(inner, index, copies))


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """`function` of every member of tuples, lists, dicts and model outputs; other things as is."""
    if isinstance(value, ModelOutput) and is_dataclass(value):
        return type(value)(**{f.name: function(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, dict):
        return {name: function(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)([function(inner) for inner in value])
    return value


def _layers(model: nn.Module, modules: list[str]) -> dict[str, str]:
    """The decoder or encoder layer of each attention module: a numbered child of a list."""
    found: dict[str, str] = {}
    for module in modules:
        parts = module.split(".")
        for n in range(1, len(parts)):
            holder = model.get_submodule(".".join(parts[:n]))
            if isinstance(holder, nn.ModuleList) and parts[n].isdigit():
                found[module] = ".".join(parts[: n + 1])
                break
    return found


def _beside(model: nn.Module, layers: set[str], modules: list[str]) -> list[str]:
    """Models inside the model, such as a vision tower, that hold nothing of the swept tower."""
    inside = {*layers, *modules}
    found: list[str] = []
    for name, module in model.named_modules():
        if not name or any(_holds(name, one) or _holds(one, name) for one in inside):
            continue
        is_tower = isinstance(module, PreTrainedModel) or name.rpartition(".")[2] == "vision"
        if is_tower and not any(_holds(outer, name) for outer in found):
            found.append(name)
    return found


def _holds(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(outer + ".")


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _first_of(otherwise: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: args[0] if args else kwargs.get("hidden_states", otherwise)


@contextmanager
def _patched(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own

"""The ways of merging by name, and each as a pure function on arrays."""

from __future__ import annotations

__all__ = ["ALIASES", "METHODS", "find_method", "merge_tensors"]

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from headsight.errors import ConfigError, InputError
from headsight.merging.averages import LINEAR, PASSTHROUGH, SLERP
from headsight.merging.blocks import WholeBlocks
from headsight.merging.changes import DARE_LINEAR, DARE_TIES, TASK_ARITHMETIC, TIES
from headsight.merging.method import Method, Params
from headsight.merging.selection import LAYER_COSINE

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        LAYER_COSINE, TASK_ARITHMETIC, LINEAR, SLERP, TIES, DARE_LINEAR, DARE_TIES, PASSTHROUGH,
    )
}  # fmt: skip
ALIASES = {"dare": "dare-ties", "cosine-select": "layer-cosine"}
"""Other names; underscores, as mergekit writes them, are read as hyphens."""


def find_method(name: str) -> Method:
    """The method called `name`, in our words or mergekit's.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    plain = name.strip().lower().replace("_", "-")
    plain = ALIASES.get(plain, plain)
    if plain not in METHODS:
        near = difflib.get_close_matches(plain, METHODS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"There is no method '{name}'; expected {', '.join(METHODS)}.{hint}")
    return METHODS[plain]


def merge_tensors(
    method: str,
    base: NDArray[Any] | None,
    tensors: Sequence[NDArray[Any]],
    params: Params | None = None,
) -> Float32[NDArray[np.float32], ...]:
    """One tensor of all models merged, in float32 and of the shape of the inputs.

    `base` may be None for linear and passthrough, which do not use it.

    Raises:
        ConfigError: no such method.
        InputError: shapes differ, a base or a model is missing, or there are too many.

    Example:
        >>> base, expert = np.array([1.0, 2.0]), np.array([2.0, 2.0])
        >>> merge_tensors("task-arithmetic", base, [expert], Params(weights=(0.5,))).tolist()
        [1.5, 2.0]
    """
    way, settings = find_method(method), params or Params()
    check_number(way, len(tensors), has_base=base is not None)
    given = [*([base] if base is not None and way.needs_base else []), *tensors]
    if len({np.shape(g) for g in given}) != 1:
        raise InputError(
            f"The tensors have the shapes {[np.shape(g) for g in given]}; expected one shape."
        )
    flat = [np.array(g, np.float32).reshape(-1) for g in given]
    blocks = WholeBlocks(flat.pop(0) if way.needs_base else None, tuple(flat))
    found = way.survey(blocks, settings)
    merged = [way.combine(block, settings, found) for block in blocks]
    return (merged[0] if merged else np.zeros(0, np.float32)).reshape(np.shape(given[0]))


def check_number(method: Method, number: int, *, has_base: bool) -> None:
    """Pass if a method can merge so many models beside the base.

    Raises:
        InputError: it cannot, or needs a base.
    """
    if method.needs_base and not has_base:
        raise InputError(f"{method.name} merges changes against a base, and none is given.")
    least, most = method.models
    if number < least or (most is not None and number > most):
        wanted = f"{least}" if most == least else f"{least} or more"
        where = " beside the base" if method.needs_base else ""
        raise InputError(f"{method.name} needs {wanted} model{where}; found {number}.")

"""One spelling for numpy arrays and torch tensors, so that the maths is written once.

The functions of this package accept either and answer with the same kind, dtype and device. torch
is never imported here: a tensor can only arrive when its caller has imported it.
"""

from __future__ import annotations

__all__ = ["ArrayT", "namespace"]

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    ArrayT = TypeVar("ArrayT", NDArray[Any], Tensor)
else:
    ArrayT = TypeVar("ArrayT")  # jaxtyping reads this as "anything with a shape and a dtype"


def namespace(*arrays: Any) -> Any:
    """The module whose functions fit `arrays`: torch as soon as one is a tensor, else numpy."""
    torch = sys.modules.get("torch")
    if torch is not None and any(isinstance(array, torch.Tensor) for array in arrays):
        return torch
    return np

"""Weights as files hold them, to float32 and back, in numpy: torch is not needed to merge.

bf16, which numpy does not know, is the upper half of a float32; rounding is to the nearest, ties to
the even one, as torch does it.
"""

from __future__ import annotations

__all__ = ["BLOCK", "FLOATS", "ITEM_BYTES", "Floats", "dtype_name", "narrow", "widen"]

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from headsight.errors import ConfigError

Floats = NDArray[np.float32]

BLOCK = 1 << 16
"""Numbers handled at a time: what a core keeps in its own cache."""

FLOATS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}
"""Types that can be merged, and bytes of a number."""
ITEM_BYTES = {**FLOATS, "I8": 1, "U8": 1, "BOOL": 1, "I16": 2, "U16": 2}
ITEM_BYTES |= {"I32": 4, "U32": 4, "I64": 8, "U64": 8}
"""Bytes of a number of every type that a merge can copy."""

_NUMPY = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}
_NAMES |= {"bf16": "BF16", "fp16": "F16", "half": "F16", "fp32": "F32", "float": "F32"}


def dtype_name(word: str) -> str:
    """The name that safetensors has for `bfloat16`, `torch.float32`, `F16` and the like.

    Raises:
        ConfigError: no type of weights that can be merged.
    """
    plain = word.removeprefix("torch.")
    found = _NAMES.get(plain.lower(), plain.upper())
    if found not in FLOATS:
        raise ConfigError(
            f"dtype is '{word}'; expected one of bfloat16, float16, float32, float64, or none for"
            " that of the base."
        )
    return found


def widen(raw: UInt8[NDArray[np.uint8], " bytes"], dtype: str) -> Float32[Floats, " n"]:
    """Stored bytes as float32 numbers, exactly where the type is not wider."""
    if dtype == "BF16":
        wide = raw.view("<u2").astype(np.uint32)
        return np.left_shift(wide, 16, out=wide).view(np.float32)
    return raw.view(_NUMPY[dtype]).astype(np.float32)


def narrow(values: Float32[Floats, " n"], dtype: str) -> UInt8[NDArray[np.uint8], " bytes"]:
    """Finite float32 numbers as stored bytes, each rounded once, to the nearest.

    What is too large becomes infinite, without a warning.
    """
    if dtype == "BF16":
        bits = values.view(np.uint32)
        rounded = bits >> 16
        rounded &= 1
        rounded += 0x7FFF
        rounded += bits
        rounded >>= 16
        return rounded.astype(np.uint16).view(np.uint8)
    with np.errstate(over="ignore"):
        return values.astype(_NUMPY[dtype]).view(np.uint8)

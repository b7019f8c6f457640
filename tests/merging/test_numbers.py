"""Types of weights to float32 and back, as torch does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headsight.errors import ConfigError
from headsight.merging.numbers import dtype_name, narrow, widen

TORCH = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def test_every_bf16_and_f16_comes_back() -> None:
    """All finite bit patterns."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    for name in ("BF16", "F16"):
        expected = torch.from_numpy(bits.view(np.int16)).view(TORCH[name]).float().numpy()
        values = widen(bits.view(np.uint8), name)
        np.testing.assert_array_equal(values, expected)
        finite = np.isfinite(values)
        np.testing.assert_array_equal(narrow(values, name).view(np.uint16)[finite], bits[finite])


def test_rounding_is_torchs() -> None:
    """Ties to even, subnormal and huge numbers."""
    random = np.random.default_rng(0)
    bits = random.integers(0, 1 << 32, 200_000, dtype=np.uint32)
    bits[:60_000] &= np.uint32(0xFFFF8000)  # exact halves between two bf16
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    for name, dtype in TORCH.items():
        expected = torch.from_numpy(values).to(dtype).view(torch.uint8).numpy()
        np.testing.assert_array_equal(narrow(values, name), expected.reshape(-1))


@pytest.mark.parametrize("word", ["bfloat16", "torch.bfloat16", "BF16", "bf16"])
def test_names(word: str) -> None:
    assert dtype_name(word) == "BF16"


def test_names_of_other_types() -> None:
    with pytest.raises(ConfigError, match="dtype is 'int8'; expected one of bfloat16"):
        dtype_name("int8")

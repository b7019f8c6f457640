"""Forward and backward of a 5 x 5 depthwise convolution on one core: ours beside PyTorch's.

The shapes are those of nano's encoder in training, bfloat16, channels last, alternating.

    python benchmarks/depthwise.py            prints the ratios
    python benchmarks/depthwise.py --json     also writes benchmarks/results/<version>/...json
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from reporting import write_report

from headsight.models.grounding.depthwise import Depthwise

SHAPES = ((672, 24, 1), (672, 24, 2), (192, 24, 1), (1152, 12, 1))
"""Channels, side, stride."""
REPEATS = 9
BATCH = 12


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(*shape) for shape in SHAPES]
    for row in rows:
        print(
            f"{row['channels']} channels, {row['side']} px, stride {row['stride']}: PyTorch"
            f" {row['pytorch_ms']:.1f} ms, ours {row['ours_ms']:.1f} ms, {row['ratio']:.1f} x"
        )
    if options.json:
        print(f"written: {write_report('depthwise', {'rows': rows}, packages=['torch'])}")


def measure(channels: int, side: int, stride: int) -> dict[str, Any]:
    """Median milliseconds of both, and the median of the paired ratios."""
    layer = Depthwise(channels, kernel=5, stride=stride).to(torch.bfloat16)
    x = torch.randn(BATCH, channels, side, side, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()

    def ours() -> torch.Tensor:
        return layer(x)  # type: ignore[no-any-return]

    def theirs() -> torch.Tensor:
        return F.conv2d(x, layer.weight, layer.bias, stride, 2, groups=channels)

    pairs = [(_milliseconds(theirs), _milliseconds(ours)) for _ in range(REPEATS + 1)][1:]
    return {
        "channels": channels,
        "side": side,
        "stride": stride,
        "pytorch_ms": statistics.median(a for a, _ in pairs),
        "ours_ms": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def _milliseconds(forward: Any) -> float:
    began = time.perf_counter()
    y = forward()
    y.backward(torch.ones_like(y))
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()

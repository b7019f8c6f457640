"""Attention of the last query in every layer: `HeadLab.capture` against eager maps and plain SDPA.

One decoder with random weights (32 heads, 1024 wide, fp32, one thread), four ways, alternating in
one process: plain SDPA, which gives no weights; ours, the last row of every head in every layer on
top of it; eager attention; and eager attention with `output_attentions`, from which the last rows
are cut. The rows of ours and of eager are compared, and ours must leave the hidden states of SDPA
as they are, to the last bit. Times are CPU seconds, which other work on the machine does not count
into. The memory of each way is the peak of a fresh process over what it held before; the extra
memory of capture and of eager maps is what they take beyond plain SDPA.

    python benchmarks/attention_capture.py           prints the table; exit code 1 if a claim fails
    python benchmarks/attention_capture.py --json    also writes a file in benchmarks/results
    python benchmarks/attention_capture.py --tokens 600 --repeats 3      a quick look
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from memory import status_mb
from reporting import write_report
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from headsight.attention.lab import HeadLab
from headsight.attention.reducers import LastQueryRow

WAYS = ("sdpa", "ours", "eager", "eager_maps")
TOLERANCE = 1e-6
TIMES_FASTER, TIMES_LESS_MEMORY, TIMES_OF_SDPA = 3.0, 25.0, 1.05
CLAIMED_FROM = 2000
"""Tokens from which the three are claimed."""

PROCESSES = 3
"""Fresh ones for each memory figure, of which the median counts."""

Way = Callable[[], tuple[Tensor, Tensor | None]]
"""Gives the last hidden state, and the last rows (B, L, H, 1, N) where there are any."""


def main() -> int:
    """Measure, print, and write where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(extra_mb(options.memory_of, options))
        return 0
    rows = [measure(tokens, options) for tokens in options.tokens]
    for row in rows:
        print(
            f"{row['tokens']} tokens, {row['layers']} layers: "
            + ", ".join(
                f"{way} {row[f'{way}_s']:.2f} s / {row[f'{way}_mb']:.0f} MB" for way in WAYS
            )
            + f"\n  ours: {row['ratio']:.2f}x faster than eager maps ({row['ratio_low']:.2f} to"
            f" {row['ratio_high']:.2f}), {extra_ratio(row):.1f}x less extra memory"
            f" ({row['memory_ratio']:.1f}x with the pass itself),"
            f" {row['of_sdpa']:.3f}x the time of SDPA ({row['of_sdpa_low']:.3f} to"
            f" {row['of_sdpa_high']:.3f}); largest difference of a weight {row['difference']:.1e}"
        )
    if options.json:
        path = write_report(
            "attention_capture",
            {"rows": rows, "threads": options.threads, "seed": options.seed},
            packages=("torch", "transformers"),
            options="".join(f" {word}" for word in sys.argv[1:] if word != "--json"),
        )
        print(f"written: {path}", file=sys.stderr)
    return 0 if all(holds(row) for row in rows if row["tokens"] >= CLAIMED_FROM) else 1


def extra_ratio(row: dict[str, Any]) -> float:
    """Memory of eager maps over that of capture, each beyond a plain SDPA pass."""
    ours = max(row["ours_mb"] - row["sdpa_mb"], 1.0)
    return float((row["eager_maps_mb"] - row["sdpa_mb"]) / ours)


def holds(row: dict[str, Any]) -> bool:
    """Whether a length shows what is claimed."""
    return bool(
        row["ratio"] >= TIMES_FASTER
        and extra_ratio(row) >= TIMES_LESS_MEMORY
        and row["of_sdpa"] <= TIMES_OF_SDPA
    )


def measure(tokens: int, options: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds and megabytes of every way at one length, and the ratios."""
    ways = make_ways(tokens, options)
    difference = check(ways)  # also the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            gc.collect()
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    memory = {  # what the allocator holds on to differs by some 30 MB from process to process
        name: statistics.median(_fresh_mb(name, tokens, options) for _ in range(PROCESSES))
        for name in ways
    }
    faster = _ratios(seconds["eager_maps"], seconds["ours"])
    slower = _ratios(seconds["ours"], seconds["sdpa"])
    return {
        "tokens": tokens,
        "layers": options.layers,
        "kv_heads": options.kv_heads,
        **{f"{name}_s": statistics.median(values) for name, values in seconds.items()},
        **{f"{name}_mb": value for name, value in memory.items()},
        "ratio": statistics.median(faster),
        "ratio_low": faster[0],
        "ratio_high": faster[-1],
        "of_sdpa": statistics.median(slower),
        "of_sdpa_low": slower[0],
        "of_sdpa_high": slower[-1],
        "memory_ratio": memory["eager_maps"] / max(memory["ours"], 1e-9),
        "difference": difference,
        "repeats": options.repeats,
    }


def make_ways(tokens: int, options: argparse.Namespace) -> dict[str, Way]:
    """The four ways through one model."""
    torch.manual_seed(options.seed)
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=options.layers,
        num_attention_heads=32,
        num_key_value_heads=options.kv_heads,
        max_position_embeddings=max(tokens, 64),
    )
    model = LlamaModel(config).eval()
    ids = torch.randint(3, 1000, (1, tokens))

    def run(implementation: str, **extra: Any) -> Any:
        model.set_attn_implementation(implementation)
        with torch.no_grad():
            return model(ids, use_cache=False, **extra)

    def ours() -> tuple[Tensor, Tensor | None]:
        model.set_attn_implementation("sdpa")
        with HeadLab(model) as lab, torch.no_grad(), lab.recording(LastQueryRow()) as record:
            answer = lab.run({"input_ids": ids, "use_cache": False})
        return answer.last_hidden_state, record.steps[0]["last_query_row"]

    def eager_maps() -> tuple[Tensor, Tensor | None]:
        answer = run("eager", output_attentions=True)
        rows = torch.stack([one[:, :, -1:] for one in answer.attentions], 1)
        return answer.last_hidden_state, rows

    return {
        "sdpa": lambda: (run("sdpa").last_hidden_state, None),
        "ours": ours,
        "eager": lambda: (run("eager").last_hidden_state, None),
        "eager_maps": eager_maps,
    }


def check(ways: dict[str, Way]) -> float:
    """The largest difference between a weight of ours and one of eager attention."""
    hidden, _ = ways["sdpa"]()
    same, rows = ways["ours"]()
    _, expected = ways["eager_maps"]()
    ways["eager"]()
    assert rows is not None
    assert expected is not None
    difference = float((rows - expected).abs().max())
    if not torch.equal(hidden, same) or difference > TOLERANCE:
        raise SystemExit(f"The ways do not agree: weights differ by {difference:.1e}.")
    return difference


def extra_mb(name: str, options: argparse.Namespace) -> float:
    """Peak of the second of two runs over the memory held before it, in this process."""
    (tokens,) = options.tokens
    make_ways(64, options)[name]()  # libraries load, threads start
    way = make_ways(tokens, options)[name]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status_mb("VmRSS")
    way()
    return status_mb("VmHWM") - before


def _fresh_mb(name: str, tokens: int, options: argparse.Namespace) -> float:
    shape = ["--layers", options.layers, "--kv-heads", options.kv_heads, "--seed", options.seed]
    command = [sys.executable, __file__, "--memory-of", name, "--tokens", tokens, *shape]
    command += ["--threads", options.threads]
    ran = subprocess.run(map(str, command), capture_output=True, text=True, check=True)
    return float(ran.stdout.splitlines()[-1])


def _ratios(over: list[float], under: list[float]) -> list[float]:
    return sorted(a / b for a, b in zip(over, under, strict=True))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--tokens", type=int, nargs="+", default=[600, 1200, 2000])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--kv-heads", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

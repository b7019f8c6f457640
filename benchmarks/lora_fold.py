"""Folding a LoRA adapter: `headsight fold` and peft's merge_and_unload + save_pretrained, in turns.

A model folder of random bf16 weights (2.1 GB, the shape of a LLaMA) and an adapter of rank 16 on
all linear maps are made in a temporary folder. Ours and peft alternate, each run in a process of
its own on one thread; CPU seconds of the process tree and its peak anonymous memory (RssAnon,
looked at every 10 ms) are medians. Both results are compared number by number.

What memory a model of the size of CogVLM (35 GB) needs is told by the same job on models of the
same width and more and more layers (--bound): it does not grow with them, since only a piece of one
tensor is held.

    python benchmarks/lora_fold.py           prints the figures; exit code 1 if a target is missed
    python benchmarks/lora_fold.py --json    also writes a file in benchmarks/results
    python benchmarks/lora_fold.py --layers 2 --repeats 1 --bound 1 2     a quick look
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from process_tree import ONE_THREAD, compare_runs, median_of, run_in_turns, run_measured
from reporting import write_report
from synthetic_models import Shape, make_adapter, make_model

from headsight.merging import diff

MEMORY_TARGET, TIME_TARGET, BOUND_TARGET_MB = 0.15, 1.0, 4096.0

PEER = """
import sys, torch, transformers, peft
base, adapter, out = sys.argv[1:]
model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
"""
WIDTH = 4096
"""Of CogVLM's decoder; its 35 GB are more such maps, none much larger than these."""


def main() -> int:
    """Measure, print, and write where asked."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        found = measure(Path(name), Shape(options.hidden, options.layers), options.repeats)
        print(
            f"{found['model_bytes'] / 1e9:.2f} GB: ours {found['ours']['cpu_s']:.2f} CPU s,"
            f" {found['ours']['anon_mb']:.0f} MB; peft {found['peer']['cpu_s']:.2f} CPU s,"
            f" {found['peer']['anon_mb']:.0f} MB; time {found['time_ratio']:.3f}x, memory"
            f" {found['memory_ratio']:.3f}x; {found['different']:.2e} of the numbers differ",
            flush=True,
        )
    bound = []
    for layers in options.bound:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            bound.append(one_size(Path(name), Shape(WIDTH, layers, files=2)))
        print(
            f"width {WIDTH}, {layers} layers, {bound[-1]['model_bytes'] / 1e9:.1f} GB:"
            f" {bound[-1]['anon_mb']:.0f} MB, {bound[-1]['cpu_s']:.1f} CPU s",
            flush=True,
        )
    if options.json:
        words = " ".join(word for word in sys.argv[1:] if word != "--json")
        path = write_report(
            "lora_fold",
            {**found, "bound": bound, "bound_target_mb": BOUND_TARGET_MB, "threads": 1},
            packages=("numpy", "torch", "transformers", "peft"),
            options=f" {words}" if words else "",
        )
        print(f"written: {path}", file=sys.stderr)
    is_met = (
        found["memory_ratio"] <= MEMORY_TARGET
        and found["time_ratio"] <= TIME_TARGET
        and found["different"] < 1e-4
        and all(row["anon_mb"] < BOUND_TARGET_MB for row in bound)
    )
    return 0 if is_met else 1


def measure(folder: Path, shape: Shape, repeats: int) -> dict[str, Any]:
    """Medians of both, their ratios, and the share of numbers that are not the same."""
    size = make_model(folder / "base", shape, seed=0)
    make_adapter(folder / "adapter", shape, rank=16)
    python, paths = sys.executable, [str(folder / n) for n in ("base", "adapter")]
    commands = {
        "ours": [*_command(folder), "--out", str(folder / "ours")],
        "peer": [python, "-c", PEER, *paths, str(folder / "peer")],
    }
    runs = run_in_turns(commands, folder, repeats)
    found: dict[str, Any] = {who: median_of(list_)._asdict() for who, list_ in runs.items()}
    return found | {
        "model_bytes": size,
        "repeats": repeats,
        **compare_runs(runs["ours"], runs["peer"]),
        "memory_target": MEMORY_TARGET,
        "time_target": TIME_TARGET,
        "different": _different(folder),
    }


def one_size(folder: Path, shape: Shape) -> dict[str, float]:
    """What ours alone uses for one model."""
    size = make_model(folder / "base", shape, seed=0)
    make_adapter(folder / "adapter", shape, rank=16)
    used = run_measured([*_command(folder), "--out", str(folder / "ours")], ONE_THREAD)
    return {"model_bytes": size, "layers": shape.layers, **used._asdict()}


def _command(folder: Path) -> list[str]:
    paths = ["--base", str(folder / "base"), "--adapter", str(folder / "adapter")]
    return [sys.executable, "-m", "headsight", "fold", *paths]


def _different(folder: Path) -> float:
    """Share of the numbers of changed tensors that peft and ours do not have alike."""
    from headsight.merging.checkpoint import open_checkpoint

    ours, peer = (open_checkpoint(folder / who).tensors for who in ("ours", "peer"))
    names = [row.name for row in diff(folder / "ours", folder / "peer").tensors if row.max_abs > 0]
    unlike = sum(
        int(np.count_nonzero(ours[n].read().view("<u2") != peer[n].read().view("<u2")))
        for n in names
    )
    return unlike / sum(t.size for t in ours.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--bound", type=int, nargs="*", default=[2, 8, 32], help="numbers of layers"
    )
    parser.add_argument("--folder", help="where the temporary folders are made")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

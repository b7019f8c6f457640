"""Merging of whole checkpoints: `headsight merge` and mergekit do the same jobs, in turns.

Three model folders of random bf16 weights (0.59 GB each, the shape of a LLaMA) are made in a
temporary folder. Each job runs in a process of its own, ours and mergekit's alternating, on one
thread; CPU seconds of the process tree and its peak anonymous memory (RssAnon, looked at every
10 ms) are medians. Each result of mergekit and of ours is compared with the exact one in float64 on
three tensors (but DARE's, which are drawn): ours must not be further away. On small float32 models
with float32 results both must give the same bits (task arithmetic, TIES, passthrough) or the same
numbers but for rounding (linear, SLERP).

mergekit chooses no layers: the row layer-cosine stands beside its linear merge of the same two
models, and the row passthrough copies one model, which is what choosing layers comes down to.

mergekit runs in the interpreter that the variable HEADSIGHT_MERGEKIT names, for example of a
virtual environment with mergekit 0.1.4; without it only ours is measured.

    python benchmarks/merging.py           prints the table; exit code 1 if a target is missed
    python benchmarks/merging.py --json    also writes a file in benchmarks/results
    python benchmarks/merging.py --layers 2 --repeats 1     a quick look
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from process_tree import compare_runs, median_of, run_in_turns, run_measured
from reporting import write_report
from synthetic_models import Shape, make_model

from headsight.merging import Params, merge_tensors
from headsight.merging.checkpoint import open_checkpoint
from headsight.merging.numbers import widen

MODELS = ("base", "one", "two")
STEPS = {"base": 0.0, "one": 0.2, "two": 0.25}
ROWS: dict[str, dict[str, Any]] = {
    "linear": {"ours": ["--method", "linear"], "models": 3, "time": 0.75, "memory": 0.35},
    "task-arithmetic": {
        "ours": ["--method", "task-arithmetic", "--weight", "0.5", "--weight", "0.25"],
        "models": 3, "time": 0.75, "memory": 0.35,
    },
    "ties": {
        "ours": ["--method", "ties", "--density", "0.2"],
        "models": 3, "time": 0.5, "memory": 0.35,
    },
    "dare-ties": {
        "ours": ["--method", "dare-ties", "--density", "0.3"],
        "models": 3, "time": 0.5, "memory": None,
    },
    "slerp": {
        "ours": ["--method", "slerp", "--t", "0.3"],
        "models": 2, "time": 0.35, "memory": 0.35,
    },
    "layer-cosine": {"ours": ["--threshold", "0.9802"], "models": 2, "time": None, "memory": None},
    "passthrough": {
        "ours": ["--method", "passthrough"],
        "models": 2, "time": 1 / 8, "memory": None,
    },
}  # fmt: skip
"""Words of the command, how many of the models take part, and targets as ratios to mergekit."""
PARAMS: dict[str, dict[str, Any]] = {
    "task-arithmetic": {"weights": (0.5, 0.25)},
    "ties": {"densities": (0.2, 0.2)},
    "slerp": {"t": 0.3},
}
PEER = (
    "import torch, transformers.configuration_utils as c; c.torch = torch\n"
    "from mergekit.scripts.run_yaml import main; main()"
)
"""mergekit's command; its classes need a name that transformers 5 has for type checkers only."""
CHECKED = ("model.layers.0.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight",
           "model.norm.weight")  # fmt: skip


def main() -> int:
    """Measure, print, and write where asked."""
    options = _options()
    peer = os.environ.get("HEADSIGHT_MERGEKIT")
    shape = Shape(options.hidden, options.layers)
    alike = parity(peer) if peer else {}
    print("parity in float32:", alike)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        sizes = [make_model(folder / m, shape, seed=i, step=STEPS[m]) for i, m in enumerate(MODELS)]
        rows = {}
        for row in options.rows:
            rows[row] = measure(folder, row, peer, options.repeats)
            print(_line(row, rows[row]), flush=True)
    if options.json:
        words = " ".join(word for word in sys.argv[1:] if word != "--json")
        path = write_report(
            "merging",
            {
                "rows": rows,
                "parity": alike,
                "model_bytes": sizes[0],
                "repeats": options.repeats,
                "threads": 1,
                "mergekit": _version(peer),
            },
            packages=("numpy",),
            options=f" {words}" if words else "",
        )
        print(f"written: {path}", file=sys.stderr)
    return 0 if all(_holds(row) for row in rows.values()) else 1


def measure(folder: Path, row: str, peer: str | None, repeats: int) -> dict[str, Any]:
    """Medians of ours and of mergekit, their ratios, and the errors of both."""
    commands = {"ours": ours(folder, row)}
    if peer:
        commands["peer"] = theirs(folder, row, peer)
    runs = run_in_turns(commands, folder, repeats)
    found: dict[str, Any] = {who: median_of(list_)._asdict() for who, list_ in runs.items()}
    found["errors"] = {who: _error(folder, who, row) for who in commands}
    if peer:
        found |= compare_runs(runs["ours"], runs["peer"])
    return found | {"time_target": ROWS[row]["time"], "memory_target": ROWS[row]["memory"]}


def parity(peer: str) -> dict[str, float]:
    """The largest difference to mergekit of each row on small float32 models; 0: the same bits."""
    from safetensors.numpy import save_file

    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder, shape = Path(name), Shape(64, 2, words=300)
        for index, model in enumerate(MODELS):
            random = np.random.default_rng(index)
            make_model(folder / model, shape, seed=0)
            tensors = {n: random.standard_normal(s, np.float32) for n, s in shape.tensors()}
            save_file(tensors, folder / model / "model.safetensors", {"format": "pt"})
        for row in ("linear", "task-arithmetic", "ties", "slerp", "passthrough"):
            run_measured([*ours(folder, row), "--overwrite"])
            run_measured(theirs(folder, row, peer, dtype="float32"))
            pair = [open_checkpoint(folder / who).tensors for who in ("ours", "peer")]
            found[row] = max(
                float(np.abs(widen(t.read(), t.dtype) - widen(pair[1][n].read(), "F32")).max())
                for n, t in pair[0].items()
            )
            if found[row] > (0 if row in ("task-arithmetic", "ties", "passthrough") else 1e-6):
                raise SystemExit(f"{row} differs from mergekit's by {found[row]:.1e}.")
    return found


def ours(folder: Path, row: str) -> list[str]:
    """The command of ours."""
    experts = MODELS[1 : ROWS[row]["models"]]
    words = ["merge", "--base", folder / "base", "--out", folder / "ours"]
    words += [w for expert in experts for w in ("--expert", folder / expert)]
    return [sys.executable, "-m", "headsight", *map(str, words), *ROWS[row]["ours"]]


def theirs(folder: Path, row: str, python: str, dtype: str = "bfloat16") -> list[str]:
    """The command of mergekit, whose file is written."""
    used = MODELS[: ROWS[row]["models"]]
    method = {"layer-cosine": "linear"}.get(row, row).replace("-", "_")
    own: dict[str, dict[str, float]] = {name: {"weight": 1.0} for name in used}
    if row == "task-arithmetic":
        own = {"one": {"weight": 0.5}, "two": {"weight": 0.25}}
    if row in ("ties", "dare-ties"):
        density = 0.2 if row == "ties" else 0.3
        own = {name: {"weight": 1.0, "density": density} for name in used[1:]}
    if row == "passthrough":
        own = {"one": {}}
    if row == "slerp":
        own = {name: {} for name in used}
    config: dict[str, Any] = {
        "merge_method": method,
        "models": [{"model": str(folder / n), "parameters": p} for n, p in own.items()],
        "dtype": dtype,
    }
    if method not in ("linear", "passthrough"):
        config["base_model"] = str(folder / "base")
    if row == "slerp":
        config["parameters"] = {"t": 0.3}
    path = folder / f"{row}.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return [python, "-c", PEER, str(path), str(folder / "peer"), "--no-copy-tokenizer"]


def _error(folder: Path, who: str, row: str) -> float | None:
    """Mean distance to the exact result over its mean size; None where there is no exact one."""
    if row == "dare-ties" or (row, who) == ("layer-cosine", "peer"):
        return None
    method = "linear" if row == "layer-cosine" else row
    folders = [open_checkpoint(folder / m).tensors for m in MODELS[: ROWS[row]["models"]]]
    result = open_checkpoint(folder / who).tensors
    far = size = 0.0
    for name in CHECKED:
        base, *models = (widen(t[name].read(), "BF16").astype(np.float64) for t in folders)
        got = widen(result[name].read(), "BF16")
        if row == "layer-cosine":
            exact = min((base, models[0]), key=lambda m: np.abs(m - got).sum())
        elif row == "ties":  # all in float32, rounded at the end only
            exact = merge_tensors(method, base, models, Params(**PARAMS[row]))
        else:
            exact = _exact(row, base, models)
        far += float(np.abs(exact - got).sum())
        size += float(np.abs(exact).sum())
    return far / size


def _exact(row: str, base: np.ndarray, models: list[np.ndarray]) -> np.ndarray:
    if row == "linear":
        return sum(models, base) / (1 + len(models))
    if row == "passthrough":
        return models[0]
    if row == "task-arithmetic":
        return base + 0.5 * (models[0] - base) + 0.25 * (models[1] - base)
    angle = np.arccos(base @ models[0] / np.sqrt((base @ base) * (models[0] @ models[0])))
    parts = np.sin(0.7 * angle) * base + np.sin(0.3 * angle) * models[0]
    return parts / np.sin(angle)


def _holds(row: dict[str, Any]) -> bool:
    if "peer" not in row:
        return True
    errors = row["errors"]
    is_right = None in errors.values() or errors["ours"] <= errors["peer"] * 1.001 + 1e-12
    return is_right and all(
        row[f"{what}_target"] is None or row[f"{what}_ratio"] <= row[f"{what}_target"]
        for what in ("time", "memory")
    )


def _line(name: str, row: dict[str, Any]) -> str:
    parts = [
        f"{who} {row[who]['cpu_s']:.2f} CPU s, {row[who]['anon_mb']:.0f} MB"
        for who in ("ours", "peer")
        if who in row
    ]
    if "peer" in row:
        parts.append(
            f"time {row['time_ratio']:.3f}x ({row['time_low']:.3f} to {row['time_high']:.3f}),"
            f" memory {row['memory_ratio']:.3f}x{'' if _holds(row) else '  MISSED'}"
        )
    return f"{name}: {'; '.join(parts)}; errors {row['errors']}"


def _version(python: str | None) -> str | None:
    if not python:
        return None
    code = "from importlib.metadata import version; print(version('mergekit'))"
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--folder", help="where the temporary folder is made")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

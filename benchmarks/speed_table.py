"""The table of speed and memory in docs/speed.md, out of `benchmarks/results/<version>/`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["speed_table"]

Row = tuple[str, str, str]
"""What was measured, the figure, the target."""
Result = dict[str, Any]


def _rounds(result: Result) -> list[Row]:
    shares = {"tokens read": result["tokens_share"], "time": result["time_share"]}
    return [
        (
            f"17 keypoints of a person, one after the other in a cache: {what} against 17 prompts",
            f"{share:.2f} x",
            "<= 0.30 x",
        )
        for what, share in shares.items()
    ]


def speed_table(folder: Path) -> str:
    """A few rows a benchmark, for those that have a results file."""
    lines = ["| what | measured | target | command |", "| --- | --- | --- | --- |"]
    loads = []
    for name, rows in _ROWS.items():
        for path in sorted(folder.glob(f"{name}--*.json")):
            result = json.loads(path.read_text("utf-8"))
            loads.append(result["load"])
            for what, figure, target in rows(result):
                lines.append(f"| {what} | {figure} | {target} | `{result['command']}` |")
    if not loads:
        return "No figures yet.\n"
    load = f"Load of the machine (2 cores) while measuring: {min(loads):.1f} to {max(loads):.1f}."
    return "\n".join([*lines, "", load, ""])


def _merging(result: Result) -> list[Row]:
    rows = []
    for name, row in result["rows"].items():
        if "peer" not in row:
            continue
        against = "'s linear (it chooses no layers)" if name == "layer-cosine" else ""
        targets = [
            f"{what} <= {row[f'{what}_target']:.3g}x"
            for what in ("time", "memory")
            if row[f"{what}_target"] is not None
        ]
        rows.append(
            (
                f"merging models of {result['model_bytes'] / 1e9:.2f} GB, {name}: against mergekit"
                f" {result['mergekit']}{against}, CPU s and anonymous memory",
                f"{row['ours']['cpu_s']:.2f} s to {row['peer']['cpu_s']:.2f} s"
                f" ({row['time_ratio']:.2f}x, {row['time_low']:.2f} to {row['time_high']:.2f});"
                f" {row['ours']['anon_mb']:.0f} MB to {row['peer']['anon_mb']:.0f} MB"
                f" ({row['memory_ratio']:.2f}x)",
                ", ".join(targets) or "-",
            )
        )
    return rows


def _lora_fold(result: Result) -> list[Row]:
    ours, peer = result["ours"], result["peer"]
    rows = [
        (
            f"folding LoRA into {result['model_bytes'] / 1e9:.2f} GB: against peft"
            " merge_and_unload and save",
            f"{ours['cpu_s']:.2f} s to {peer['cpu_s']:.2f} s ({result['time_ratio']:.2f}x);"
            f" {ours['anon_mb']:.0f} MB to {peer['anon_mb']:.0f} MB"
            f" ({result['memory_ratio']:.3f}x)",
            f"time <= {result['time_target']:.0f}x, memory <= {result['memory_target']:.2f}x",
        )
    ]
    if result["bound"]:
        sizes = ", ".join(
            f"{row['model_bytes'] / 1e9:.1f} GB: {row['anon_mb']:.0f} MB" for row in result["bound"]
        )
        target = f"< {result['bound_target_mb']:.0f} MB"
        rows.append(("its memory at the width of CogVLM, by size of the model", sizes, target))
    return rows


def _main_job(result: Result) -> list[Row]:
    memory = result["memory_mb"]
    return [
        (
            "all heads of a 640 x 480 photograph with five, with poses",
            f"{result['heads_s']:.2f} s",
            f"<= {result['target_s']:.1f} s",
        ),
        (
            "its peak memory beyond torch's own",
            f"{memory['beyond_torch']:.0f} MB",
            f"<= {memory['target']:.0f} MB",
        ),
    ]


def _import_time(result: Result) -> list[Row]:
    target = f"<= {result['target']:.2f}"
    return [
        (f"`{what}`, time over that of `import peft`", f"{ratio['median']:.4f}", target)
        for what, ratio in result["ratios"].items()
    ]


def _shared_prefix(result: Result) -> list[Row]:
    what = f"{result['questions']} questions about one picture, nano: against `generate` for each"
    return [(what, _times([result]), ">= 4 x")]


def _reading(what: str) -> Callable[[Result], list[Row]]:
    def rows(result: Result) -> list[Row]:
        own = [rate for rate in result["rates"] if "same text" not in rate["peer"]]
        return [(what, _times(own), ">= 4 x")]

    return rows


def _scenes_rate(result: Result) -> list[Row]:
    rates = [result[name]["scenes_per_s"] for name in ("plain", "assets") if name in result]
    what = f"labelled scenes of 256 px a second, {result['workers']} processes"
    return [(what, _span(rates, "{:.1f}"), f">= {result['target_per_s']}")]


def _objects_rate(result: Result) -> list[Row]:
    what = "pictures of objects with keypoints, 256 px, written by one core a second"
    return [(what, f"{result['pictures_per_cpu_s']:.1f}", f">= {result['target_per_s']}")]


def _depthwise(result: Result) -> list[Row]:
    what = "5 x 5 depthwise convolution in training, bf16: against PyTorch"
    return [(what, _times(result["rows"]), "")]


def _attention_capture(result: Result) -> list[Row]:
    row = result["rows"][-1]
    what = f"last attention row of every head, {row['layers']} layers, {row['tokens']} tokens:"
    return [
        (f"{what} against eager `output_attentions`", _times([row]), ">= 3 x"),
        (
            f"{what} memory of the whole pass against the same (plain SDPA itself takes"
            f" {row['sdpa_mb']:.0f} of {row['ours_mb']:.0f} MB)",
            f"{row['memory_ratio']:.0f} x less",
            "",
        ),
        (
            f"{what} memory beyond a plain SDPA pass, against the same",
            f"{(row['eager_maps_mb'] - row['sdpa_mb']) / (row['ours_mb'] - row['sdpa_mb']):.0f} x"
            " less",
            ">= 25 x",
        ),
        (f"{what} time over that of plain SDPA", f"{row['of_sdpa']:.2f}", "<= 1.05"),
    ]


def _discovery(result: Result) -> list[Row]:
    rows = [row for row in result["rows"] if row["maps"] == "heads"]
    of_all, _, as_used = rows
    what = "sum, elbow and entropy of 1024 heads on 24 x 24 cells,"
    loop = "against a loop over the heads"
    return [
        (f"{what} all entropies", f"{of_all['ours_ms']:.1f} ms", "<= 1 ms"),
        (f"{what} all entropies: {loop}", _times([of_all]), ">= 50 x"),
        (f"{what} entropies of the candidates", f"{as_used['ours_ms']:.1f} ms", "<= 1 ms"),
        (f"{what} entropies of the candidates: {loop}", _times([as_used]), ">= 50 x"),
    ]


def _expressions(result: Result) -> list[Row]:
    targets = {12: ">= 6 x", 32: ">= 10 x"}
    return [
        (
            f"{row['expressions']} expressions about one picture, a LLaVA of random weights:"
            " against `generate` for each",
            _times([row]),
            targets.get(row["expressions"], ""),
        )
        for row in result["rows"]
    ]


def _map_to_box(result: Result) -> list[Row]:
    what = "map to box: against scikit-image `label` and `regionprops`, same rule"
    return [(what, _times(result["rows"][:1]), ">= 5 x")]


def _nms(result: Result) -> list[Row]:
    supervision = [row for row in result["rows"] if row["peer"] == "supervision"]
    opencv = [
        row for row in result["rows"] if row["peer"] != "supervision" and row["boxes"] == 4000
    ]
    return [
        ("NMS of 1000 and 4000 boxes: against supervision", _times(supervision), ">= 5 x"),
        ("NMS of 4000 boxes: against OpenCV", _times(opencv), ">= 1 x"),
    ]


def _teaching(result: Result) -> list[Row]:
    targets = {2_039: ">= 1 x", 32_000: ">= 2.5 x", 151_936: ">= 5 x"}
    rows = [
        (
            f"LoRA step, {row['vocabulary']:,} words: scores of the answer alone against a plain"
            " peft step",
            _times([row]),
            targets[row["vocabulary"]],
        )
        for row in result["rows"]
    ]
    spent = [100 * (1 / row["ratio"] - 1) for row in result["loops"]]
    what = f"{result['loops'][0]['steps']} steps of a stage: time over that of a bare loop"
    return [*rows, (what, _span(spent, "{:+.1f}") + " %", "<= 5 %")]


def _keypoints(result: Result) -> list[Row]:
    peers = [
        (
            f"average precision of poses, {result['persons']} persons, {result['results']} results:"
            f" against {row['peer']}",
            _times([row]),
            "",
        )
        for row in result["rows"]
    ]
    return [
        (
            f"PCK, NME, AUC, tables and intervals of {result['instances']} instances",
            f"{result['pass']['cpu_s']:.2f} s",
            f"<= {result['target_s']:.0f} s",
        ),
        ("the same over 60000 pairs of episodes", f"{result['episodes']['cpu_s']:.2f} s", ""),
        *peers,
    ]


def _times(rows: Sequence[dict[str, Any]]) -> str:
    """The median ratio, or the span of several medians."""
    return _span([row["ratio"] for row in rows], "{:.1f}") + " x"


def _span(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


_ROWS: dict[str, Callable[[Result], list[Row]]] = {
    "main_job": _main_job,
    "import_time": _import_time,
    "shared_prefix": _shared_prefix,
    "answer_reading": _reading(
        "strict answers of 1 to 20 boxes read: against supervision's `from_vlm`, own formats"
    ),
    "native_reading": _reading(
        "native answers of 7 families, 1 to 20 boxes: against supervision's `from_vlm`"
    ),
    "expressions_per_picture": _expressions,
    "attention_capture": _attention_capture,
    "discovery_analysis": _discovery,
    "map_to_box": _map_to_box,
    "nms": _nms,
    "scenes_rate": _scenes_rate,
    "objects_rate": _objects_rate,
    "depthwise": _depthwise,
    "teaching_step": _teaching,
    "merging": _merging,
    "lora_fold": _lora_fold,
    "keypoint_metrics": _keypoints,
    "keypoint_rounds": _rounds,
}

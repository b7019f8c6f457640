"""Running a plan: tensor by tensor from files to files, resumable, with little memory."""

from __future__ import annotations

__all__ = ["run_plan", "scan"]

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from headsight.errors import CheckpointError, ConfigError, ResumeError
from headsight.files import Journal, write_atomic
from headsight.merging.blocks import ReadBlocks, not_finite
from headsight.merging.moments import Moments, moments
from headsight.merging.numbers import BLOCK, FLOATS, Floats, narrow, widen
from headsight.merging.plan import OutFile, OutTensor, Plan
from headsight.merging.report import MergeReport, UnitRow, no_op_warning
from headsight.merging.scoring import parents, score_units, two_parents, units_of
from headsight.merging.selection import decide
from headsight.merging.source import TensorReader
from headsight.merging.writing import WeightFile, file_hash, told

Advance = Callable[[int], None]
"""Told how many bytes of the result were done."""

INDEX = "model.safetensors.index.json"
REPORT, CHART, CARD = "merge-report.json", "merge-report.png", "README.md"
_STATE = "merge-state.jsonl"
_NOT_COPIED = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack")
_MARGIN = 50_000_000
"""Bytes of disk beside the weights: tokenizer, report, chart."""


def run_plan(
    plan: Plan, out: Path, *, overwrite: bool = False, advance: Advance = lambda done: None
) -> MergeReport:
    """Write the merged checkpoint into the folder `out`, and tell what was done.

    It is built in `<out>.partial`, which takes the place of `out` when all of it is on the disk. A
    run that was killed goes on after the last finished file when it is called again.

    Raises:
        ConfigError: `out` is one of the models, or there and `overwrite` is not given.
        ResumeError: `<out>.partial` belongs to another merge.
        CheckpointError: NaN or infinity in a weight, too large for its type, or a full disk.
    """
    work = out.with_name(out.name + ".partial")
    check_place(plan, out, overwrite=overwrite)
    if overwrite and work.exists() and not _is_ours(work, plan):
        shutil.rmtree(work)
    check_room(plan, work)
    with told(work):
        work.mkdir(parents=True, exist_ok=True)
    with Journal(work / _STATE) as journal:
        if journal.records and journal.records[0].get("key") != plan.key:
            raise ResumeError(
                f"{work} was begun by another merge, or a model changed since. Delete it, or give"
                " --overwrite."
            )
        if not journal.records:
            journal.add({"key": plan.key})
        chosen, rows = _chosen(plan, journal, advance)
        for number, file in enumerate(plan.files, 1):
            done = next((r for r in journal.records if r.get("file") == file.name), None)
            if done and _is_whole(work / file.name, done["sha256"]):
                rows += [UnitRow(**{**r, "tensors": tuple(r["tensors"])}) for r in done["rows"]]
                advance(file.nbytes)
                continue
            written = _write_file(plan, file, work, chosen, advance)
            rows += written
            # of the last file no hash is needed: nothing comes after it that takes long
            digest = file_hash(work / file.name) if number < len(plan.files) else ""
            journal.add({"file": file.name, "sha256": digest, "rows": [asdict(r) for r in written]})
    report = _report(plan, out, rows)
    _write_rest(plan, work, report)
    _put_in_place(work, out)
    return report


def scan(plan: Plan, advance: Advance = lambda done: None) -> list[str]:
    """Read all weights and tell every tensor that holds NaN; nothing is written."""
    problems = []
    seen = set()
    for source in (plan.reference, *plan.sources):
        for name, stored in source.tensors.items():
            if stored in seen or not stored.is_float:
                continue
            seen.add(stored)
            for start in range(0, stored.size, BLOCK):
                values = widen(stored.read(start, min(start + BLOCK, stored.size)), stored.dtype)
                if np.isnan(values).any():
                    problems.append(str(not_finite(name, source.name, values, start)))
                    break
            advance(stored.nbytes)
    return problems


def check_place(plan: Plan, out: Path, *, overwrite: bool) -> None:
    """Pass if the result may be written to `out`.

    Raises:
        ConfigError: it is one of the models, a file, or there and `overwrite` is not given.
    """
    for source in (plan.reference, *plan.sources):
        folders = [source.checkpoint.folder, *([source.adapter.folder] if source.adapter else [])]
        if out.exists() and any(out.samefile(folder) for folder in folders):
            raise ConfigError(f"{out} is one of the models. Choose another --out.")
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not overwrite):
        raise ConfigError(f"{out} exists. Choose another --out, or give --overwrite.")


def check_room(plan: Plan, work: Path) -> None:
    """Pass if the result fits on the disk.

    Raises:
        CheckpointError: it does not.
    """
    parent = next(p for p in work.absolute().parents if p.exists())
    there = sum(f.stat().st_size for f in work.glob("*") if f.is_file()) if work.exists() else 0
    free = shutil.disk_usage(parent).free + there
    if free < plan.nbytes + _MARGIN:
        raise CheckpointError(
            f"The result needs {(plan.nbytes + _MARGIN) / 1e9:.2f} GB, but {parent} has"
            f" {free / 1e9:.2f} GB free. Make room, or choose another --out."
        )


def _is_ours(work: Path, plan: Plan) -> bool:
    if not (work / _STATE).exists():
        return False
    with Journal(work / _STATE) as journal:
        return bool(journal.records) and journal.records[0].get("key") == plan.key


def _is_whole(path: Path, digest: str) -> bool:
    return bool(digest) and path.is_file() and file_hash(path) == digest


def _chosen(
    plan: Plan, journal: Journal, advance: Advance
) -> tuple[dict[str, bool], list[UnitRow]]:
    """Which units come from the expert, and their rows; empty unless layers are selected."""
    if not plan.job.is_selection:
        return {}, []
    units = units_of(plan)
    kept = next((r["scores"] for r in journal.records if "scores" in r), None)
    if kept is None:
        scores = score_units(plan, units, advance)
        journal.add({"scores": {name: list(vars(s).values()) for name, s in scores.items()}})
    else:
        scores = {name: Moments(*values) for name, values in kept.items()}
    chosen = decide(scores, plan.job.threshold)
    rows = []
    for unit in units:
        score = scores[unit.name]
        decision: Any = "expert" if chosen[unit.name] else "base"
        rows.append(
            UnitRow(
                unit.name,
                tuple(s.tensor.name for s in unit.segments),
                score.cosine,
                score.relative_norm,
                decision if score.difference else "equal",
                unit.nbytes,
            )
        )
    return chosen, rows


def _write_file(
    plan: Plan, file: OutFile, work: Path, chosen: Mapping[str, bool], advance: Advance
) -> list[UnitRow]:
    target = WeightFile(work, file)
    rows = []
    try:
        winners = _winners(plan, chosen) if chosen else {}
        for tensor in file.tensors:
            if chosen:
                for start, stop, wins in winners[tensor.name]:
                    reader = two_parents(plan, tensor)[wins]
                    _put(target, tensor, reader, start, stop)
            else:
                rows.append(_merge_tensor(plan, tensor, target))
            advance(tensor.nbytes)
    except BaseException:
        target.drop()
        raise
    target.finish()
    return rows


def _winners(plan: Plan, chosen: Mapping[str, bool]) -> dict[str, list[tuple[int, int, bool]]]:
    """For every tensor its spans of numbers, and whether the expert has won them."""
    found: dict[str, list[tuple[int, int, bool]]] = {}
    for unit in units_of(plan):
        for segment in unit.segments:
            span = (segment.start, segment.stop, chosen[unit.name])
            found.setdefault(segment.tensor.name, []).append(span)
    return found


def _put(
    target: WeightFile, tensor: OutTensor, reader: TensorReader, start: int, stop: int
) -> None:
    """Numbers of one model as they are; bytes for bytes where the type stays."""
    stored = reader.stored
    item = tensor.nbytes // max(stored.size, 1)
    if reader.is_plain and stored.dtype == tensor.dtype:
        target.copy(tensor.name, start * item, stored, start, stop)
        return
    for block in ReadBlocks(tensor.name, None, [reader], [str(stored.file)], (start, stop)):
        _put_values(target, tensor, block.start, block.tensors[0])


def _put_values(target: WeightFile, tensor: OutTensor, start: int, values: Floats) -> None:
    data = narrow(values, tensor.dtype)
    if tensor.dtype == "F16" and not np.isfinite(data.view(np.float16)).all():
        raise CheckpointError(
            f"{tensor.name} does not fit into float16: its largest number is"
            f" {np.abs(values).max():.3g}. Give --dtype bfloat16 or float32."
        )
    target.write(tensor.name, start * (len(data) // len(values)), data)


def _merge_tensor(plan: Plan, tensor: OutTensor, target: WeightFile) -> UnitRow:
    """Merge one tensor into the file; copied where nothing changes."""
    way, params = plan.job.way, tensor.params
    reference = plan.reference.reader(tensor.name)
    size = reference.stored.size

    def row(found: Moments, decision: Any) -> UnitRow:
        return UnitRow(
            tensor.name, (tensor.name,), found.cosine, found.relative_norm, decision, tensor.nbytes
        )

    if not tensor.takings or tensor.dtype not in FLOATS:
        _put(target, tensor, reference, 0, size)
        return row(Moments(), "equal")
    blocks = plan.blocks(tensor)
    if way.name == "passthrough" and not (one := blocks.readers[0]).is_one_with(reference):
        if one.is_plain:  # copied without a look
            _put(target, tensor, one, 0, size)
            return row(Moments(math.nan), "expert")
    elif way.keeps_equal(params) and blocks.are_equal():
        _put(target, tensor, blocks.readers[0], 0, size)
        return row(Moments(), "equal")
    found, total = way.survey(blocks, params), Moments()
    for block in blocks:
        merged = way.combine(block, params, found)
        if block.base is not None:
            first = block.base
        else:
            first = reference.values(block.start, block.start + len(merged))
        total += moments(first, merged)
        _put_values(target, tensor, block.start, merged)
    return row(total, "merged")


def _report(plan: Plan, out: Path, rows: list[UnitRow]) -> MergeReport:
    job = plan.job
    settings: dict[str, Any] = {"dtype": job.dtype or "as the base", "missing": job.missing}
    warnings = list(plan.notes)
    if job.is_selection:
        settings |= {
            "threshold": str(job.threshold), "granularity": job.granularity, "space": job.space,
        }  # fmt: skip
        told = no_op_warning(rows, str(job.threshold), parents(plan))
        warnings += [told] if told else []
    else:
        settings |= {**job.parameters, "seed": job.seed}
        settings |= {f"parameters of {m.source}": dict(m.parameters) for m in job.models}
    return MergeReport(
        job.way.name,
        plan.reference.name,
        tuple(source.name for source in plan.sources),
        str(out),
        settings,
        tuple(rows),
        tuple(file.name for file in plan.files),
        plan.nbytes,
        tuple(warnings),
    )


def _write_rest(plan: Plan, work: Path, report: MergeReport) -> None:
    """Index, config, tokenizer and processor files, report, chart and card."""
    from headsight.merging.chart import draw_merge, png_bytes

    folder = plan.reference.checkpoint.folder
    with told(work):
        for path in sorted(folder.iterdir()):
            is_other = path.suffix in _NOT_COPIED or path.name.startswith((".", "adapter_"))
            if path.is_file() and not is_other and path.name not in (INDEX, REPORT, CHART, CARD):
                shutil.copyfile(path, work / path.name)
        if len(plan.files) > 1:
            where = {t.name: file.name for file in plan.files for t in file.tensors}
            index = {"metadata": {"total_size": plan.nbytes}, "weight_map": where}
            write_atomic(work / INDEX, json.dumps(index, indent=1).encode() + b"\n")
        if plan.job.dtype and (work / "config.json").exists():
            _set_dtype(work / "config.json", plan)
        text = json.dumps(report.to_dict(), indent=1)
        write_atomic(work / REPORT, text.encode() + b"\n")
        write_atomic(work / CHART, png_bytes(draw_merge(report)))
        write_atomic(work / CARD, report.card().encode())
        (work / _STATE).unlink()


def _set_dtype(path: Path, plan: Plan) -> None:
    names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
    config = json.loads(path.read_text("utf-8"))
    dtype = next((t.dtype for f in plan.files for t in f.tensors if t.dtype in names), None)
    for part in (config, *(v for v in config.values() if isinstance(v, dict))):
        for key in ("dtype", "torch_dtype"):
            if key in part and dtype:
                part[key] = names[dtype]
    write_atomic(path, json.dumps(config, indent=2).encode() + b"\n")


def _put_in_place(work: Path, out: Path) -> None:
    with told(out):
        old = out.with_name(out.name + ".old")
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        work.rename(out)
        shutil.rmtree(old, ignore_errors=True)

"""Measuring expressions: what is asked, the journalled run, and the result that is written."""

from __future__ import annotations

__all__ = ["Evaluation", "evaluate"]

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from headsight.errors import InputError

if TYPE_CHECKING:
    from headsight.attention.head_set import HeadSet
    from headsight.cli.journalled import Outcome
    from headsight.cli.masks import MaskOptions
    from headsight.data.refs import RefSample, RefSet

_LISTED = 20
"""Most left-out or failed expressions that are listed one by one."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The options of `headsight eval refer` and `eval segment`; their helps tell what each is."""

    protocol: Literal["refer", "segment"]
    """Whether boxes or masks are judged."""
    data: str
    model: str
    split: str | None
    images: Path | None
    method: str
    heads: Path | None
    k: int | None
    choice: str | None
    kernel: int | None
    sigma: float | None
    segmenter: str | None
    sam_prompt: str
    rec_box: str
    server: str | None
    dialect: str | None
    device: str
    limit: int | None
    output: Path | None
    overwrite: bool
    seed: int
    as_json: bool
    quiet: bool

    @property
    def has_masks(self) -> bool:
        """Whether masks are judged."""
        return self.protocol == "segment"


def evaluate(asked: Evaluation) -> None:
    """Ask every expression, judge the answers, and write and print the figures.

    Raises:
        typer.Exit: 1 where some expressions could not be judged, 3 where none could.
        HeadsightError: nothing can be measured at all.
    """
    from headsight.cli.expression_tables import show_figures
    from headsight.cli.journalled import plain
    from headsight.cli.masks import mask_options
    from headsight.cli.written import tell_written
    from headsight.files import write_atomic

    heads = _chosen(asked)
    masking = mask_options(
        mask=asked.has_masks, segmenter=asked.segmenter, sam_prompt=asked.sam_prompt,
        rec_box=asked.rec_box, by_heads=heads is not None, device=asked.device,
    )  # fmt: skip
    refs = _read(asked)
    samples = _by_picture(refs.samples[: asked.limit])
    judge, summarise, rule = _protocol(asked.protocol)
    settings = _settings(asked, refs, samples, heads, rule)
    outcome = _run(asked, settings, samples, judge, heads, masking)
    judged = [one for _, one in outcome.judged]
    figures = plain(summarise(judged, seed=asked.seed))
    items = _items(asked.protocol, judged, [name for name, _ in outcome.judged])
    result = {**_result(asked, settings, refs, outcome, figures), **items}
    text = json.dumps(plain(result), indent=1)
    if asked.as_json:
        sys.stdout.write(text + "\n")
    else:
        show_figures(result)
    if asked.output is not None:
        write_atomic(asked.output, text.encode() + b"\n")
        tell_written(asked.output, quiet=asked.quiet)
    for failure in outcome.failures[:_LISTED]:
        sys.stderr.write(f"headsight: {failure['id']}: {failure['error']}\n")
    if outcome.failures or refs.problems:
        raise typer.Exit(1 if outcome.judged else 3)


def _chosen(asked: Evaluation) -> HeadSet | None:
    """The attention heads to look with, read as the options say.

    Raises:
        InputError: options that change nothing.
    """
    from headsight.attention.head_set import HeadSet
    from headsight.cli.method import chosen_heads

    path = chosen_heads(asked.method, asked.heads, asked.model, server=asked.server)
    reading: dict[str, Any] = {
        "k": asked.k, "choice": asked.choice, "kernel": asked.kernel, "sigma": asked.sigma,
    }  # fmt: skip
    if path is None and any(value is not None for value in reading.values()):
        raise InputError("--k, --choice, --kernel and --sigma read attention heads: give --heads.")
    if not asked.has_masks and asked.segmenter is not None and asked.rec_box != "sam":
        raise InputError(
            f"--segmenter {asked.segmenter} changes no box by itself. Add --rec-box sam, or use"
            " headsight eval segment."
        )
    return None if path is None else HeadSet.load(path).changed(**reading)


def _settings(
    asked: Evaluation, refs: RefSet, samples: Sequence[RefSample], heads: HeadSet | None, rule: str
) -> dict[str, Any]:
    """What the answers depend on: a journal with other settings is not resumed."""
    from headsight.data.ref_sample import fingerprint

    return {
        "protocol": asked.protocol, "data": refs.name, "split": refs.split,
        "expressions": len(samples), "fingerprint": fingerprint(samples), "model": asked.model,
        "server": asked.server, "dialect": asked.dialect, "method": asked.method,
        "heads": None if heads is None else heads.to_dict(), "segmenter": asked.segmenter,
        "sam_prompt": asked.sam_prompt, "rec_box": asked.rec_box, "rule": rule, "seed": asked.seed,
    }  # fmt: skip


def _run(
    asked: Evaluation,
    settings: dict[str, Any],
    samples: list[RefSample],
    judge: Callable[..., Any],
    heads: HeadSet | None,
    masking: MaskOptions,
) -> Outcome[Any]:
    """Every expression asked and judged; what a journal beside the output holds is not asked."""
    from rich.console import Console
    from rich.progress import Progress

    from headsight.cli.asking import PictureAsker, unpack
    from headsight.cli.journalled import open_journal, run_journalled
    from headsight.grounder import load

    opened = (
        nullcontext()
        if asked.output is None
        else closing(open_journal(asked.output, settings, overwrite=asked.overwrite))
    )
    console = Console(stderr=True)
    with opened as journal:
        grounder = load(
            asked.model, device=asked.device, server=asked.server, dialect=asked.dialect
        )
        known = {record.get("id") for record in (journal.records if journal else [])}
        unknown = [s for s in samples if s.id not in known]
        ask = PictureAsker(grounder, unknown, heads=heads, masking=masking)
        is_hidden = asked.quiet or not console.is_terminal
        with Progress(console=console, disable=is_hidden) as progress:
            return run_journalled(
                [(s.id, s) for s in samples],
                ask,
                lambda sample, record: (sample.id, judge(unpack(record, sample), sample)),
                journal=journal,
                progress=progress,
                what="expressions",
            )


def _result(
    asked: Evaluation,
    settings: dict[str, Any],
    refs: RefSet,
    outcome: Outcome[Any],
    figures: dict[str, Any],
) -> dict[str, Any]:
    from headsight.versions import versions

    exchanges = (outcome.first or {"exchanges": []})["exchanges"]
    return {
        "schema": f"headsight.eval-{asked.protocol}/1",
        "settings": settings,
        "versions": versions(),
        "prompt": exchanges[0]["prompt"] if exchanges else None,
        "seconds_per_expression": _median(outcome.seconds),
        "figures": figures,
        "notes": list(refs.notes),
        "left_out": {
            "expressions": len(refs.problems),
            "first": [p._asdict() for p in refs.problems[:_LISTED]],
        },
        "failures": outcome.failures,
    }


def _items(protocol: str, judged: list[Any], names: list[str]) -> dict[str, Any]:
    """Scores of every expression by boxes, so that two results can be compared in pairs."""
    if protocol != "refer":
        return {}
    from headsight.eval.item_scores import refer_scores

    scores = refer_scores(judged, names)
    return {"items": {name: one.to_dict() for name, one in scores.items()}}


def _read(asked: Evaluation) -> RefSet:
    """The expressions; with masks only those that have one, before a model is asked in vain."""
    from dataclasses import replace

    from headsight.cli.scene_expressions import scene_expressions
    from headsight.data.refs import Problem, read_refs
    from headsight.errors import AnnotationError

    refs = read_refs(
        asked.data, split=asked.split, images=asked.images, expressions=scene_expressions
    )
    if not asked.has_masks:
        return refs
    if not any(s.regions for s in refs.samples):
        raise AnnotationError(
            f"{refs.name} has no masks. Use headsight eval refer, or labels with segmentation."
        )
    bare = [Problem(s.id, "It has no true mask.") for s in refs.samples if not s.has_mask]
    usable = tuple(s for s in refs.samples if s.has_mask)
    return replace(refs, samples=usable, problems=(*refs.problems, *bare))


def _protocol(name: str) -> tuple[Callable[..., Any], Callable[..., dict[str, Any]], str]:
    if name == "refer":
        from headsight.eval import refer as boxes

        return boxes.judge_refer, boxes.summarise_refer, boxes.RULE
    from headsight.eval import segment as masks

    return masks.judge_segment, masks.summarise_segment, masks.RULE


def _by_picture(samples: tuple[RefSample, ...]) -> list[RefSample]:
    """All expressions about a picture one after the other."""
    grouped: dict[Path, list[RefSample]] = {}
    for sample in samples:
        grouped.setdefault(sample.image, []).append(sample)
    return [sample for group in grouped.values() for sample in group]


def _median(values: list[float]) -> float:
    import numpy as np

    return float(np.median(values)) if values else float("nan")

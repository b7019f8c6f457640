"""`headsight eval keypoints`: predicted keypoints against labelled ones."""

from __future__ import annotations

__all__ = ["Evaluated", "evaluate_keypoints", "keypoints"]

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options

if TYPE_CHECKING:
    from headsight.data.keypoints import KeypointPrediction, KeypointSet
    from headsight.data.ref_sample import Problem

METRICS = ("pck", "oks")
PROTOCOLS = ("all", "episodes")
_LISTED = 20
"""Most broken annotations and predictions that are listed one by one."""


def keypoints(
    gt: Annotated[
        str,
        typer.Option(
            "--gt",
            help="A COCO keypoint file, MP-100's mp100_split1_test.json, a folder of scenes, or a"
            " sample (300w, coco, ap10k ...).",
        ),
    ],
    pred: Annotated[
        Path | None,
        typer.Option(
            "--pred",
            help="Predictions: COCO results, or headsight.keypoint-predictions/1 (by instance).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Ask this model: a folder or hub id. In place of --pred."),
    ] = None,
    schema: Annotated[
        list[str] | None,
        typer.Option("--schema", help="Of the categories, by name or file; else found by name."),
    ] = None,
    mode: options.RoundMode = None,
    window: options.Window = None,
    order: Annotated[
        str | None,
        typer.Option("--order", help="Of the points: schema, or confidence (the surest first)."),
    ] = None,
    decode: options.Decode = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Ask only about the first so many objects.")
    ] = None,
    device: options.Device = "auto",
    metric: Annotated[
        str, typer.Option("--metric", help="pck, oks or pck,oks (mean OKS and COCO's AP).")
    ] = "pck",
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            help="all: every instance once. episodes: as support-based methods are scored. Or both:"
            " all,episodes.",
        ),
    ] = "all",
    shots: Annotated[int, typer.Option("--shots", min=1, help="Supports an episode.")] = 1,
    episodes: Annotated[
        int, typer.Option("--episodes", min=1, help="Episodes a category (published: 200).")
    ] = 200,
    queries: Annotated[int, typer.Option("--queries", min=1, help="Queries an episode.")] = 15,
    images: options.Images = None,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", help="Constant of OKS for all keypoints; else COCO's by name."),
    ] = None,
    compat: Annotated[
        bool,
        typer.Option("--compat", help="Instances without a labelled point have PCK 0."),
    ] = False,
    output: options.Output = None,
    overwrite: options.StartAgain = False,
    seed: options.BootstrapSeed = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure keypoints: PCK at 0.05 to 0.25 and their mean, NME, EPE, AUC, OKS-AP, intervals.

    PCK is a mean over instances, in units of the longer side of the box; the mean mpck is of all
    five thresholds. A point without a usable answer is a miss at every threshold, and left out of
    nme and epe. Pictures may be missing: what is there is scored, and a line tells how much that
    is. Figures of the two protocols must not be compared.

    Examples:
      headsight eval keypoints --gt person_keypoints_val2017.json --pred r.json --metric pck,oks
      headsight eval keypoints --gt mp100/annotations/mp100_split1_test.json --pred p.json
      headsight eval keypoints --gt mp100_split1_test.json --pred p.json --protocol all,episodes
      headsight eval keypoints --gt objects-unseen/ --model ./my-model --output result.json
    """
    from headsight.cli.keypoint_answers import ask_model
    from headsight.cli.written import tell_written
    from headsight.data.keypoint_files import read_keypoints
    from headsight.data.keypoint_results import read_predictions
    from headsight.errors import InputError
    from headsight.files import write_atomic
    from headsight.tasks.keypoint_asking import ORDERS

    if output is not None and output.exists() and not overwrite:
        raise InputError(f"{output} exists. Choose another --output, or give --overwrite.")
    if (pred is None) == (model is None):
        raise InputError("Give either --pred, a file of predictions, or --model, who is asked.")
    if order is not None and order not in ORDERS:
        raise InputError(f"--order is {order!r}; expected {' or '.join(ORDERS)}.")
    asking = {
        "schema": schema, "mode": mode, "window": window, "order": order, "decode": decode
    }  # fmt: skip
    if pred is not None and any(value is not None for value in (*asking.values(), limit)):
        raise InputError(
            "--schema, --mode, --window, --order, --decode and --limit say how a --model is asked."
            " Leave them out."
        )
    settings = {
        "gt": gt, "pred": pred and str(pred), "model": model, **asking, "limit": limit,
        "metric": metric, "protocol": protocol, "shots": shots, "episodes": episodes,
        "queries": queries, "sigma": sigma, "compat": compat, "seed": seed,
    }  # fmt: skip
    rules = Evaluated(
        metrics=_chosen(metric, METRICS, "--metric"),
        protocols=_chosen(protocol, PROTOCOLS, "--protocol"),
        shots=shots,
        episodes=episodes,
        queries=queries,
        sigma=sigma,
        compat=compat,
        seed=seed,
    )
    truth = read_keypoints(gt, images=images)
    if limit is not None:
        truth = truth.first(limit)
    failures: list[dict[str, Any]] = []
    if pred is not None:
        predictions, problems = read_predictions(pred, truth)
    else:
        assert model is not None
        problems = []
        predictions, failures = ask_model(
            truth, model, gt, asking, device=device, output=output,
            settings={"gt": gt, "images": images and str(images), "model": model, **asking},
            overwrite=overwrite, quiet=quiet,
        )  # fmt: skip
    result = evaluate_keypoints(truth, predictions, rules, settings=settings, problems=problems)
    result["failures"] += failures
    text = json.dumps(result, indent=1)
    if output is not None:
        write_atomic(output, text.encode() + b"\n")
        tell_written(output, quiet=quiet)
    if as_json:
        sys.stdout.write(text + "\n")
    elif not quiet:
        from headsight.cli.keypoint_tables import show_keypoints

        show_keypoints(result)
    failures = result["failures"]
    for failure in failures[:_LISTED]:
        sys.stderr.write(f"headsight: {failure['id']}: {failure['error']}\n")
    if len(failures) > _LISTED:
        sys.stderr.write(f"headsight: and {len(failures) - _LISTED} more; --json lists them all\n")
    if failures:
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What is measured, and by which rules."""

    metrics: tuple[str, ...] = ("pck",)
    """Of `METRICS`."""
    protocols: tuple[str, ...] = ("all",)
    """Of `PROTOCOLS`."""
    shots: int = 1
    episodes: int = 200
    queries: int = 15
    sigma: float | None = None
    compat: bool = False
    seed: int = 0
    """Of the bootstrap; episodes are drawn with the published seed."""


def evaluate_keypoints(
    truth: KeypointSet,
    predictions: Sequence[KeypointPrediction],
    rules: Evaluated,
    *,
    settings: Mapping[str, Any],
    problems: Sequence[Problem] = (),
) -> dict[str, Any]:
    """The whole report as plain values, wherever the predictions come from.

    Raises:
        AnnotationError: predictions that cannot be compared as asked.
        InputError: keypoints for which no similarity is defined, where that is asked for.
    """
    from headsight.cli.journalled import plain
    from headsight.data.episodes import draw_episodes
    from headsight.eval.keypoints import (
        answer_figures,
        compare_keypoints,
        keypoint_scores,
        oks_figures,
        pck_figures,
    )
    from headsight.versions import versions

    figures: dict[str, Any] = {}
    notes, items, coverage = list(truth.notes), {}, truth.coverage
    if "pck" in rules.metrics:
        compared = compare_keypoints(truth, predictions)
        coverage = compared.coverage
        figures |= {"instances": len(compared.instances), "unanswered": compared.unanswered}
        items["pck@0.2"] = keypoint_scores(compared).to_dict()
        for protocol in rules.protocols:
            drawn = None
            if protocol == "episodes":
                drawn = draw_episodes(
                    compared.instances,
                    shots=rules.shots,
                    episodes=rules.episodes,
                    queries=rules.queries,
                    categories=list(truth.categories.values()),
                )
                notes += [
                    f"{name}: {number} instances are too few for {rules.shots} supports and a query"
                    for name, number in drawn.left_out.items()
                ]
            measured = pck_figures(compared, drawn, compat=rules.compat, seed=rules.seed)
            figures[protocol] = measured.to_dict()
    if "oks" in rules.metrics:
        figures["oks"] = oks_figures(truth, predictions, sigma=rules.sigma)
        notes += figures["oks"].pop("notes")
    figures["answers"] = answer_figures(predictions)
    broken = [*truth.problems, *problems]
    return {
        "schema": "headsight.eval-keypoints/1",
        "settings": dict(settings),
        "versions": versions(),
        "coverage": coverage,
        "left_out": dict(truth.left_out),
        "notes": notes,
        "figures": plain(figures),
        "items": items,
        "failures": [problem._asdict() for problem in broken],
    }


def _chosen(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """The words of a list with commas, in the order of `known`."""
    from headsight.errors import InputError

    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        raise InputError(
            f"{option} is {text!r}; expected {' or '.join(known)}, or both: {','.join(known)}."
        )
    return tuple(word for word in known if word in words)

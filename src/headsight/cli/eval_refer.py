"""`headsight eval refer` and `headsight eval segment`: expressions against labelled pictures."""

from __future__ import annotations

__all__ = ["refer", "segment"]

from typing import Annotated

import typer

from headsight.cli import options
from headsight.cli.expression_run import Evaluation, evaluate

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="refexp_coco_sample, a refs(...).p file, a .jsonl file, or a folder of refs, ReasonSeg"
        " or scenes.",
    ),
]
Split = Annotated[
    str | None, typer.Option("--split", help="val (if not told), train, testA, test, ... or all.")
]


def refer(
    data: Data,
    model: options.Model = "nano",
    split: Split = None,
    images: options.Images = None,
    method: options.Method = "auto",
    heads: options.Heads = None,
    k: options.HeadCount = None,
    choice: options.HeadChoice = None,
    kernel: options.Kernel = None,
    sigma: options.Sigma = None,
    segmenter: options.Segmenter = None,
    sam_prompt: options.SamPrompt = "box",
    rec_box: options.RecBox = "attention",
    server: options.Server = None,
    dialect: options.Dialect = None,
    device: options.Device = "auto",
    limit: options.Limit = None,
    output: options.Output = None,
    overwrite: options.StartAgain = False,
    seed: options.BootstrapSeed = 0,
    as_json: options.Json = False,
    quiet: options.NoBar = False,
) -> None:
    """Measure referring expressions by boxes: Acc at IoU 0.25 to 0.9, bad answers, intervals.

    acc@ and mean_iou are of expressions for one place; set_acc of those for several (all of them
    and no other); n_acc of those for nothing, t_acc of all others: whether that something is
    there is answered rightly. right is the share of all; multi_box the share of those for one
    place that several boxes answer.

    Examples:
      headsight eval refer --data refexp_coco_sample
      headsight eval refer --data refcocog/ --split val --model ./my-vlm --output result.json
      headsight eval refer --data expressions.jsonl --limit 50 --json
      headsight eval refer --data x.jsonl --server http://host:8000 --model m --dialect qwen3_vl
      headsight eval refer --data refcoco/ --model ./my-vlm --heads heads.json --k 5 --sigma 0
    """
    evaluate(Evaluation(protocol="refer", **locals()))


def segment(
    data: Data,
    model: options.Model = "nano",
    split: Split = None,
    images: options.Images = None,
    method: options.Method = "auto",
    heads: options.Heads = None,
    k: options.HeadCount = None,
    choice: options.HeadChoice = None,
    kernel: options.Kernel = None,
    sigma: options.Sigma = None,
    segmenter: options.Segmenter = None,
    sam_prompt: options.SamPrompt = "box",
    rec_box: options.RecBox = "attention",
    server: options.Server = None,
    dialect: options.Dialect = None,
    device: options.Device = "auto",
    limit: options.Limit = None,
    output: options.Output = None,
    overwrite: options.StartAgain = False,
    seed: options.BootstrapSeed = 0,
    as_json: options.Json = False,
    quiet: options.NoBar = False,
) -> None:
    """Measure referring expressions by masks: cIoU, gIoU, P at IoU 0.5 to 0.9, intervals.

    The masks are those of `headsight ground --mask`: coarse ones without a --segmenter.

    Examples:
      headsight eval segment --data refcoco/ --split testA --model ./my-vlm --output result.json
      headsight eval segment --data ReasonSeg/ --split val --limit 20
      headsight eval segment --data refcoco/ --model ./llava --heads heads.json --segmenter ./sam
    """
    evaluate(Evaluation(protocol="segment", **locals()))

"""The options that several commands share, so that each means the same everywhere."""

from __future__ import annotations

__all__ = [
    "BootstrapSeed",
    "BoxesFrom",
    "Constrain",
    "Decode",
    "Device",
    "Dialect",
    "HeadChoice",
    "HeadCount",
    "Heads",
    "Images",
    "Json",
    "Kernel",
    "Limit",
    "Mask",
    "Method",
    "MinScore",
    "Model",
    "NoBar",
    "Output",
    "Overwrite",
    "Pictures",
    "Quantize",
    "Quiet",
    "Raw",
    "RecBox",
    "RoundMode",
    "SamPrompt",
    "Save",
    "Segmenter",
    "Server",
    "Sigma",
    "StartAgain",
    "Verbose",
    "Window",
]

from pathlib import Path
from typing import Annotated

import typer


def _score(value: float) -> float:
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"{value:g} is no score; expected 0 to 1, such as 0.5.")
    return value


Pictures = Annotated[
    list[str],
    typer.Argument(metavar="PICTURE", help="Pictures, folders or patterns such as 'in/*.jpg'."),
]
Model = Annotated[
    str, typer.Option("--model", help="Name of a model, a local folder, or a hub id.")
]
Heads = Annotated[
    Path | None,
    typer.Option("--heads", help="Read the place from these attention heads (see find-heads)."),
]
HeadCount = Annotated[int | None, typer.Option("--k", help="How many heads are used.")]
HeadChoice = Annotated[
    str | None,
    typer.Option("--choice", help="fixed heads, or greedy: those each picture would choose."),
]
Kernel = Annotated[
    int | None, typer.Option("--kernel", help="Cells of the smoothing of attention maps; 1: none.")
]
Sigma = Annotated[float | None, typer.Option("--sigma", help="Of the smoothing, in cells.")]
Method = Annotated[
    str, typer.Option("--method", help="native (the model's answer), heads (attention) or auto.")
]
Server = Annotated[
    str | None,
    typer.Option("--server", help="Address of a chat endpoint (vLLM, ...) that serves --model."),
]
Dialect = Annotated[
    str | None,
    typer.Option("--dialect", help="Answer format of a served model whose name does not tell it."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Quantize = Annotated[
    int | None,
    typer.Option("--quantize", help="4 or 8: bits a weight of a model folder's layers, on CUDA."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Show questions and answers as the model saw and said them.")
]
Save = Annotated[
    Path | None,
    typer.Option("--save", help="Write the drawn picture here; a folder for several pictures."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what --save would write.")]
MinScore = Annotated[
    float,
    typer.Option("--min-score", help="Leave out places of a lower score.", callback=_score),
]
Constrain = Annotated[
    bool, typer.Option("--constrain", help="Let the model write well-formed answers only.")
]
BoxesFrom = Annotated[
    str | None,
    typer.Option(
        "--boxes-from", help="Whose boxes the poses are read in: truth, or the name of a model."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No table, no progress bar.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log what is done, to stderr.")]
Mask = Annotated[
    bool,
    typer.Option("--mask", help="Put a mask to every place: coarse, unless --segmenter is given."),
]
Segmenter = Annotated[
    str | None,
    typer.Option(
        "--segmenter",
        metavar="FOLDER|HUB-ID",
        help="SAM, SAM-HQ, SAM 2, SAM 3 or EdgeTAM, which draws the masks (implies --mask).",
    ),
]
SamPrompt = Annotated[
    str,
    typer.Option(
        "--sam-prompt", help="What the segmenter is given: box, or box+mask (the map of --heads)."
    ),
]
RecBox = Annotated[
    str,
    typer.Option(
        "--rec-box", help="Box of a place: attention (as found), or sam (read from its mask)."
    ),
]
RoundMode = Annotated[
    str | None,
    typer.Option("--mode", help="independent or cumulative; by default as the model learned."),
]
Window = Annotated[
    int | None, typer.Option("--window", min=0, help="Earlier answers that are remembered.")
]
Decode = Annotated[
    str | None,
    typer.Option("--decode", help="argmax (as written), or mean or median of the density."),
]
Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of the pictures, if not beside the labels.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", help="Write the result here; a journal beside it resumes."),
]
StartAgain = Annotated[bool, typer.Option("--overwrite", help="Start again and replace --output.")]
BootstrapSeed = Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")]
NoBar = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]

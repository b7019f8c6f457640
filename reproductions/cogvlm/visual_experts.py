"""What the visual expert of CogVLM (arXiv 2311.03079) is for, shown on a tiny model in minutes.

A small decoder learns a language about coloured things and about boxes as text (see
`coloured_squares.py`). Then it learns to say where a coloured square of a picture is, three ways,
with the same batches and the same number of steps: `adapter` trains the adapter alone, `expert` a
visual expert in every layer and the adapter, `language` the whole decoder and the adapter. Whether
the language is kept is read from held-out text: its perplexity, and whether every logit has the
same bits as before.

    python reproductions/cogvlm/visual_experts.py --json runs/visual_experts.json
    python reproductions/cogvlm/visual_experts.py --quick
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, get_args

import numpy as np
import torch
from coloured_squares import BOXES, SIDE, Example, example, text
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from headsight.files import write_atomic
from headsight.geometry.boxes import box_iou
from headsight.language.codec import parse
from headsight.models.grounding import GroundingProcessor, GroundingVLM, GroundingVLMConfig
from headsight.models.grounding.positions import answer_positions
from headsight.models.grounding.tokenizer import build_tokenizer

Way = Literal["adapter", "expert", "language"]
Batch = dict[str, Tensor]
WAYS: tuple[Way, ...] = get_args(Way)
TITLES: dict[Way, str] = {
    "adapter": "(a) adapter only",
    "expert": "(b) visual expert + adapter",
    "language": "(c) whole decoder + adapter",
}
SCHEMA = "headsight.visual-experts/1"
_HIT = 0.5  # IoU from which on a box is right, as in REC


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and budgets; the same for all three ways."""

    hidden_size: int = 64
    layers: int = 3
    text_steps: int = 800
    """Steps that teach the language."""
    picture_steps: int = 600
    """Steps that teach to look, in each of the three ways."""
    text_batch: int = 32
    picture_batch: int = 32
    text_lr: float = 3e-3
    picture_lr: float = 2e-3
    held_out: int = 256
    """Pictures, and documents of text, that are only measured."""


QUICK = Settings(
    hidden_size=32, layers=2, text_steps=40, picture_steps=25, text_batch=16, picture_batch=16,
    held_out=32,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one way came to with one seed."""

    way: Way
    seed: int
    trained_parameters: int
    iou: float
    """Mean over held-out pictures; an answer without a box counts 0."""
    hits: float
    """Share of held-out pictures with an IoU of at least 0.5."""
    strict: float
    """Share of answers that are exactly in the format."""
    loss: float
    """Of the answers to held-out pictures, nats a token."""
    perplexity_before: float
    """Of held-out text, a token."""
    perplexity_after: float
    logits_equal: bool
    """Whether all logits of held-out text have the same bits as before."""
    seconds: float
    """Of the training that this way took."""


def main() -> int:
    """Run every seed, print the table, write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="example: python reproductions/cogvlm/visual_experts.py --seeds 3 --json out.json",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how often to repeat (default: 3)")
    parser.add_argument("--quick", action="store_true", help="seconds: shows the form, not the gap")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = QUICK if options.quick else Settings()
    seeds = range(1 if options.quick else max(1, options.seeds))
    outcomes: list[Outcome] = []
    steps = settings.text_steps + len(WAYS) * settings.picture_steps
    with _progress(len(seeds) * steps) as advance:
        for seed in seeds:
            outcomes += run_seed(settings, seed, advance)
    sys.stdout.write(table(outcomes))
    if options.json is not None:
        document = {
            "schema": SCHEMA,
            "settings": asdict(settings),
            "versions": {"torch": torch.__version__},
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.json, json.dumps(document, indent=1).encode() + b"\n")
    return 0


def run_seed(
    settings: Settings, seed: int, advance: Callable[[], None] = lambda: None
) -> list[Outcome]:
    """The three ways, each from the same language model and with the same batches."""
    tokenizer = build_tokenizer()
    rng = np.random.default_rng(seed)
    reader = GroundingProcessor.for_model(config(settings, "language"), tokenizer)
    held_text = _texts(reader, rng, settings.held_out)
    held_out = [example(rng) for _ in range(settings.held_out)]
    steps = settings.text_steps
    texts = (_texts(reader, rng, settings.text_batch) for _ in range(steps))
    torch.manual_seed(seed)
    language = GroundingVLM(config(settings, None))
    train(language, texts, steps=steps, lr=settings.text_lr, advance=advance)
    before = text_logits(language, held_text)

    steps = settings.picture_steps
    lessons = [
        _lesson(reader, [example(rng) for _ in range(settings.picture_batch)]) for _ in range(steps)
    ]
    outcomes = []
    for way in WAYS:
        torch.manual_seed(seed)
        model = seeing(language, settings, way)
        trained = unfreeze(model, way)
        began = time.perf_counter()
        train(model, lessons, steps=steps, lr=settings.picture_lr, advance=advance)
        seconds = time.perf_counter() - began
        after = text_logits(model, held_text)
        outcomes.append(
            Outcome(
                way=way,
                seed=seed,
                trained_parameters=trained,
                **measure(model, reader, held_out),
                perplexity_before=perplexity(before, held_text),
                perplexity_after=perplexity(after, held_text),
                logits_equal=torch.equal(before, after),
                seconds=seconds,
            )
        )
    return outcomes


def config(settings: Settings, way: Way | None) -> GroundingVLMConfig:
    """The model of one way; None = the language model alone."""
    tokenizer = build_tokenizer()
    tower = {
        "encoder": "eva", "image_size": SIDE, "patch_size": 4, "hidden_size": settings.hidden_size,
        "num_heads": 4, "num_hidden_layers": 1, "intermediate_size": 2 * settings.hidden_size,
    }  # fmt: skip
    return GroundingVLMConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=2 * settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        expert_layers="all" if way == "expert" else [],
        vision_config=None if way is None else tower,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def seeing(language: GroundingVLM, settings: Settings, way: Way) -> GroundingVLM:
    """`language` with a new adapter and a random encoder; experts are copies of its layers."""
    model = GroundingVLM(config(settings, way))
    model.load_state_dict(language.state_dict(), strict=False)
    model.init_experts_from_language_()
    # as loud as the pixels; the usual 0.02 would hide from the adapter where a patch lies
    nn.init.normal_(model.model.vision.patch_embedding.position_embedding.weight)
    return model


def unfreeze(model: GroundingVLM, way: Way) -> int:
    """Number of parameters that this way trains, after freezing all others; never the encoder."""
    for name, parameter in model.named_parameters():
        is_adapter = name.startswith(("model.vision.linear_proj.", "model.vision.boi"))
        is_adapter |= name == "model.vision.eoi"
        is_expert = ".vision_expert_" in name or ".vision_mlp." in name
        is_language = not name.startswith("model.vision.") and not is_expert
        parameter.requires_grad_(
            is_adapter or (is_expert and way == "expert") or (is_language and way == "language")
        )
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def train(
    model: GroundingVLM,
    batches: Iterable[Batch],
    *,
    steps: int,
    lr: float,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """One pass over `batches` with CogVLM's AdamW, a short warm-up and a cosine."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.05)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda i: min((i + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * i / steps)),
    )
    model.train()
    for batch in batches:
        loss = model(**batch, logits_to_keep=answer_positions(batch["labels"])).loss
        loss.backward()
        clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        advance()
    model.eval()


@torch.no_grad()
def text_logits(model: GroundingVLM, batch: Batch) -> Tensor:
    """Logits (n, V) of every token of text that is foretold, in row order."""
    return model(**batch, logits_to_keep=answer_positions(batch["labels"])).logits


def perplexity(logits: Tensor, batch: Batch) -> float:
    """Of a batch of text, whose logits are `logits`: exp of the mean loss a token."""
    labels = batch["labels"][:, 1:]
    return math.exp(cross_entropy(logits.double(), labels[labels != -100]).item())


@torch.no_grad()
def measure(
    model: GroundingVLM, reader: GroundingProcessor, examples: Sequence[Example]
) -> dict[str, float]:
    """Boxes that the model writes, and the loss of the right ones."""
    lesson = _lesson(reader, examples)
    loss = model(**lesson, logits_to_keep=answer_positions(lesson["labels"])).loss.item()
    prompts = reader([e.picture for e in examples], [e.question for e in examples])
    longest = int((lesson["labels"] != -100).sum(1).max())
    ids = model.generate(**prompts, max_new_tokens=longest, do_sample=False)
    written = ids[:, prompts["input_ids"].shape[1] :].tolist()
    answers = [parse(reader.decode_answer(row), BOXES) for row in written]
    ious = [
        float(box_iou(a.value[:1], e.box_rel[None])[0, 0]) if _is_box(a.value) else 0.0
        for a, e in zip(answers, examples, strict=True)
    ]
    return {
        "iou": fmean(ious),
        "hits": fmean(iou >= _HIT for iou in ious),
        "strict": fmean(a.strict for a in answers),
        "loss": loss,
    }


def table(outcomes: Sequence[Outcome]) -> str:
    """The Markdown table of the README: mean and spread over the seeds."""
    lines = [
        "| trained | parameters | box IoU | IoU >= 0.5 | loss of answers | text perplexity:"
        " before | after | text logits |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way in dict.fromkeys(o.way for o in outcomes):
        mine = [o for o in outcomes if o.way == way]
        same = sum(o.logits_equal for o in mine)
        cells = [
            TITLES[way],
            f"{mine[0].trained_parameters:,}",
            _spread([o.iou for o in mine]),
            _spread([o.hits for o in mine]),
            _spread([o.loss for o in mine]),
            _spread([o.perplexity_before for o in mine]),
            _spread([o.perplexity_after for o in mine]),
            f"the same bits in {same} of {len(mine)}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _texts(reader: GroundingProcessor, rng: np.random.Generator, number: int) -> Batch:
    """Documents, every token of which is to be learned."""
    batch = dict(reader(None, [text(rng) for _ in range(number)], [""] * number))
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    del batch["token_type_ids"]
    return batch


def _lesson(reader: GroundingProcessor, examples: Sequence[Example]) -> Batch:
    pictures = [e.picture for e in examples]
    batch = dict(reader(pictures, [e.question for e in examples], [e.answer for e in examples]))
    del batch["content_wh_rel"]
    return batch


def _is_box(value: Any) -> bool:
    return value is not None and np.ndim(value) == 2 and len(value) > 0


def _spread(values: Sequence[float]) -> str:
    around = f" ± {stdev(values):,.2f}" if len(values) > 1 else ""
    return f"{fmean(values):,.2f}{around}"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr where that is a terminal; gives what advances it by one step."""
    console = Console(stderr=True)
    columns = ("steps", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("steps", total=total)
        yield lambda: progress.advance(task)


if __name__ == "__main__":
    sys.exit(main())

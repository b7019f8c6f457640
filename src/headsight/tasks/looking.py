"""Words to places without a word written: where a few attention heads look (arXiv 2503.06287).

One prefill a question, no training and no answer text. The heads are found once for a model (see
`finding`) and saved as a `HeadSet`; their maps, added and smoothed, show the place. What is asked
about one picture shares the prefill of the picture where the model allows it.
"""

from __future__ import annotations

__all__ = [
    "AS_IN_PAPER",
    "PROMPT",
    "Looks",
    "Question",
    "ground_by_heads",
    "ground_each_by_heads",
    "look",
    "look_each",
    "read_looks",
    "view_of",
]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from headsight.attention.head_set import HeadSet, Query, Views, model_fingerprint
from headsight.attention.localization import fuse_maps, merge_views, valid_cells
from headsight.attention.selection import Head, head_statistics, sample_heads
from headsight.detections import Detections, Exchange
from headsight.geometry.heatmaps import map_mean, map_to_box
from headsight.geometry.region_maps import RegionMap
from headsight.language.prompts import clean_expression
from headsight.models.base import AttentiveVLM, RegionVLM
from headsight.models.image_views import ImageView, RegionView
from headsight.picture import Picture

PROMPT = "{words}."
"""What the model reads by default: the words with a full stop (the paper's form)."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """How the model is asked, and what of its attention is looked at."""

    prompt: str = PROMPT
    """Template, with {words}."""
    query: Query = "last_text"
    """The token that looks: the last of the words and what ends them ("last_text", the paper's),
    the last that the model reads before it answers ("last_prompt"), the last of the answer's
    `opening` ("answer"), or the mean over all of the words ("mean_text")."""
    opening: str = ""
    """How every answer of the model begins, see `headsight.language.dialects.opening`."""
    views: Views = "global"
    """The grid of the whole picture ("global", the paper's), or that of its tiles with the whole
    one added by its share of attention ("merged"), where a model has such."""

    @classmethod
    def of(cls, heads: HeadSet) -> Question:
        """The one that the heads were found with."""
        return cls(
            prompt=heads.prompt or PROMPT,
            query=heads.query,
            opening=heads.opening,
            views=heads.views,
        )


AS_IN_PAPER = Question()
"""The words alone, and their last token looks."""


@dataclass(frozen=True, eq=False)
class Looks:
    """Attention of one question to one grid over the picture."""

    maps: Float[NDArray[np.float64], "layers heads h w"]
    """True shares of attention; 0 where a cell has no token. That of tokens which hold a region is
    spread over it."""
    view: ImageView | RegionView
    """Where the cells lie; merged cells have no token of their own."""
    valid: Bool[NDArray[np.bool_], "h w"]
    """Cells that were looked at and show some of the picture; all of a canvas of regions."""

    def truth(self, boxes: Float[NDArray[Any], "n 4"]) -> Bool[NDArray[np.bool_], "h w"]:
        """Cells whose centre lies in one of the boxes (xyxy px of the original picture)."""
        height, width = self.valid.shape
        x0, y0, x1, y1 = self.view.region
        xs = x0 + (x1 - x0) * (np.arange(width) + 0.5) / width
        ys = y0 + (y1 - y0) * (np.arange(height) + 0.5) / height
        across = (boxes[:, :1] <= xs) & (xs < boxes[:, 2:3])  # (N, W)
        down = (boxes[:, 1:2] <= ys) & (ys < boxes[:, 3:])
        return np.asarray((down[:, :, None] & across[:, None]).any(0) & self.valid)


def look(
    vlm: AttentiveVLM, picture: Picture, words: str, question: Question = AS_IN_PAPER
) -> Looks:
    """Where every attention head looks from one token of the question; see `look_each`."""
    [looks] = look_each(vlm, picture, [words], question)
    return looks


def look_each(
    vlm: AttentiveVLM,
    picture: Picture,
    words: Sequence[str],
    question: Question = AS_IN_PAPER,
) -> Iterator[Looks]:
    """Where every attention head looks, for one expression after the other about one picture.

    Raises:
        InputError: no words, or a model whose image tokens have no place in the picture.
    """
    from headsight.attention.lab import HeadLab
    from headsight.attention.reducers import Rows

    asked = [_asked(vlm, picture, w, question) for w in words]
    shared, calls = _calls(vlm, asked)
    with HeadLab(vlm.model) as lab:
        while asked:
            one, call = asked.pop(0), calls.pop(0)
            rows = tuple(row if row < 0 else row - shared for row in one.rows)
            columns = np.concatenate([view.positions for view in one.views])
            kept = lab.capture(call, Rows(rows, columns=tuple(columns.tolist())))
            weights = kept["rows"][0].double().mean(2).cpu().numpy()  # (L, H, cells)
            yield _looks(weights, one.views, picture.image_wh, question.views)


@dataclass(frozen=True)
class _Asked:
    """One question as the model reads it."""

    inputs: dict[str, Any]
    rows: tuple[int, ...]
    """Tokens that look; -1 is the last."""
    views: tuple[ImageView | RegionView, ...]


def _asked(vlm: AttentiveVLM, picture: Picture, words: str, question: Question) -> _Asked:
    expression, query = clean_expression(words), question.query
    asked = question.prompt.replace("{words}", expression)
    rows: tuple[int, ...] = (-1,)
    if query in ("last_text", "mean_text"):
        is_whole = asked.startswith(expression)  # then the full stop belongs to the words
        first, after = vlm.text_span(picture, asked, asked if is_whole else expression)
        rows = tuple(range(first, after)) if query == "mean_text" else (after - 1,)
    written = question.opening if query == "answer" else ""
    inputs = vlm.prepare(picture, asked, written=written)
    return _Asked(inputs, rows, _views(vlm, picture, asked))


def view_of(vlm: AttentiveVLM, picture: Picture, asked: str) -> ImageView | RegionView:
    """Where the image tokens of a question look: the boxes they hold, or the whole picture's grid.

    Raises:
        InputError: image tokens without a place in the picture.
    """
    return _views(vlm, picture, asked)[0]


def _views(vlm: AttentiveVLM, picture: Picture, asked: str) -> tuple[ImageView | RegionView, ...]:
    regions = vlm.regions(picture, asked) if isinstance(vlm, RegionVLM) else None
    return vlm.views(picture, asked) if regions is None else (regions,)


def _calls(vlm: AttentiveVLM, questions: Sequence[_Asked]) -> tuple[int, list[dict[str, Any]]]:
    """What the model is called with for each question, behind so many tokens they share."""
    inputs = [question.inputs for question in questions]
    if len(inputs) < 2:
        return 0, inputs
    from headsight.models.shared_prefix import after_prefix

    looking = [row for question in questions for row in question.rows if row >= 0]
    shortest = min(one["input_ids"].shape[1] for one in inputs)
    return after_prefix(vlm.model, inputs, at_most=min([*looking, shortest - 1]))


def _looks(
    weights: Float[NDArray[np.float64], "layers heads cells"],
    views: tuple[ImageView | RegionView, ...],
    image_wh: tuple[int, int],
    wanted: Views,
) -> Looks:
    """The rows of all views laid on one grid."""
    whole = views[0]
    if isinstance(whole, RegionView):
        return Looks(whole.lay(weights), whole, np.ones(whole.grid_hw, bool))
    grids = [view for view in views if isinstance(view, ImageView)]
    ends = np.cumsum([len(view.positions) for view in grids])
    parts = np.split(weights, ends[:-1], -1)
    maps = [view.lay(part) for part, view in zip(parts, grids, strict=True)]
    if wanted == "global" or len(grids) == 1:
        return Looks(maps[0], whole, valid_cells(whole, image_wh))
    merged, region = merge_views(maps, grids)
    height, width = merged.shape[-2:]
    canvas = ImageView((height, width), np.full(height * width, -1), region, whole.kind)
    x0, y0, x1, y1 = np.moveaxis(canvas.cells, -1, 0)
    is_shown = (x1 > 0) & (y1 > 0) & (x0 < image_wh[0]) & (y0 < image_wh[1])
    return Looks(merged, canvas, is_shown.reshape(height, width))


def ground_by_heads(vlm: AttentiveVLM, picture: Picture, words: str, heads: HeadSet) -> Detections:
    """The place that `words` name, read from the maps of `heads`; see `ground_each_by_heads`."""
    [found] = ground_each_by_heads(vlm, picture, [words], heads)
    return found


def ground_each_by_heads(
    vlm: AttentiveVLM, picture: Picture, words: Sequence[str], heads: HeadSet
) -> list[Detections]:
    """The place that each expression names, read from the maps of `heads`; none where it is flat.

    The exchange tells which heads were used, and why there is no box where there is none. The score
    is the share of the fused attention that lies in the box. `heat` is that map; its cells without
    a token, or wholly beside the picture, stand at its mean: they tell nothing.

    Raises:
        CheckpointError: the heads were found in another model.
        InputError: no words, or a model whose image tokens have no place in the picture.
    """
    heads.require(model_fingerprint(vlm.model))
    question = Question.of(heads)
    each = look_each(vlm, picture, words, question)
    return [
        _place(looks, picture, clean_expression(expression), heads, question.prompt)
        for looks, expression in zip(each, words, strict=True)
    ]


def read_looks(
    looks: Looks, heads: HeadSet
) -> tuple[tuple[Head, ...], Float[NDArray[np.float64], "h w"]]:
    """The heads that are used, and their maps fused: those of the set, or those of this picture."""
    chosen = heads.heads
    if heads.choice == "greedy":
        statistics = head_statistics(looks.maps, heads.rule, valid=looks.valid)
        chosen = sample_heads(statistics, heads.rule, count=len(chosen))
    if not chosen:
        return (), np.zeros(looks.valid.shape)
    maps = np.stack([looks.maps[head] for head in chosen])
    return chosen, fuse_maps(maps, kernel=heads.kernel, sigma=heads.sigma, valid=looks.valid)


def _place(looks: Looks, picture: Picture, label: str, heads: HeadSet, prompt: str) -> Detections:
    chosen, heat = read_looks(looks, heads)
    found = map_to_box(heat, looks.view.region, image_wh=picture.image_wh, valid=looks.valid)
    boxes, scores = np.zeros((0, 4)), np.zeros(0)
    if found.box is not None and found.cells is not None:
        x0, y0, x1, y1 = found.cells
        share = heat[y0:y1, x0:x1].sum() / max(float(heat.sum()), 1e-12)
        boxes, scores = np.array([found.box]), np.array([share]).clip(0, 1)
    reading = {
        "method": "heads",
        "heads": [list(pair) for pair in chosen],
        "valid": found.box is not None,
        "failure": found.reason or None,
    }
    shown = np.where(looks.valid, heat, map_mean(heat, valid=looks.valid))
    return Detections(
        boxes,
        scores,
        np.zeros(len(boxes), np.int64),
        (label,),
        picture.image_wh,
        heat=RegionMap(shown, looks.view.region),
        exchanges=(Exchange(prompt.replace("{words}", label), "", reading),),
        picture=picture,
    )

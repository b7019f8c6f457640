"""Words to places without a word written: where a few attention heads look (arXiv 2503.06287).

One prefill a question, no training and no answer text. The heads are found once for a model
(`discover`) and saved as a `HeadSet`; their maps, added and smoothed, show the place.
"""

from __future__ import annotations

__all__ = ["Looks", "discover", "ground_by_heads", "look", "view_of"]

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from headsight.attention.head_set import HeadSet, Query, model_fingerprint
from headsight.attention.localization import fuse_maps, valid_cells
from headsight.attention.selection import PRESETS, SelectionRule
from headsight.attention.selection_counts import SelectionCounts
from headsight.detections import Detections, Exchange
from headsight.errors import HeadsightError, InputError
from headsight.geometry.heatmaps import map_to_box
from headsight.language.prompts import clean_expression
from headsight.models.base import AttentiveVLM, RegionVLM
from headsight.models.image_views import ImageView, RegionView
from headsight.picture import Picture

PROMPT = "{words}."
"""What the model reads by default: the words with a full stop (the paper's form)."""


@dataclass(frozen=True, eq=False)
class Looks:
    """Attention of one question on the view of the whole picture."""

    maps: Float[NDArray[np.float64], "layers heads h w"]
    """True shares of attention; 0 where a cell has no token. That of tokens which hold a region is
    spread over it."""
    view: ImageView | RegionView
    """Where the cells lie."""
    valid: Bool[NDArray[np.bool_], "h w"]
    """Cells that have a token and show some of the picture; all cells of a canvas of regions."""


def look(
    vlm: AttentiveVLM,
    picture: Picture,
    words: str,
    *,
    prompt: str = PROMPT,
    query: Query = "last_text",
    opening: str = "",
) -> Looks:
    """Where every attention head looks from one token of the question.

    Args:
        vlm: the model.
        picture: where to look.
        words: what to look for.
        prompt: template of the question, with {words}.
        query: the token: the last of the words and what ends them ("last_text", the paper's), the
            last that the model reads before it answers ("last_prompt"), the last of the answer's
            `opening` ("answer"), or the mean over all of the words ("mean_text").
        opening: how every answer of the model begins, see `headsight.language.dialects.opening`.

    Raises:
        InputError: no words, or a model whose image tokens have no place in the picture.
    """
    from headsight.attention.lab import HeadLab
    from headsight.attention.reducers import Rows

    expression = clean_expression(words)
    asked = prompt.replace("{words}", expression)
    view = view_of(vlm, picture, asked)
    rows: tuple[int, ...] = (-1,)
    if query in ("last_text", "mean_text"):
        is_whole = asked.startswith(expression)  # then the full stop belongs to the words
        first, after = vlm.text_span(picture, asked, asked if is_whole else expression)
        rows = tuple(range(first, after)) if query == "mean_text" else (after - 1,)
    written = opening if query == "answer" else ""
    with HeadLab(vlm.model) as lab:
        columns = tuple(view.positions.tolist())
        inputs = vlm.prepare(picture, asked, written=written)
        kept = lab.capture(inputs, Rows(rows, columns=columns))
    weights = kept["rows"][0].double().mean(2).cpu().numpy()  # (L, H, tokens)
    if isinstance(view, RegionView):
        return Looks(view.lay(weights), view, np.ones(view.grid_hw, bool))
    return Looks(view.lay(weights), view, valid_cells(view, picture.image_wh))


def view_of(vlm: AttentiveVLM, picture: Picture, asked: str) -> ImageView | RegionView:
    """Where the image tokens of a question look: the boxes they hold, or the whole picture's grid.

    Raises:
        InputError: image tokens without a place in the picture.
    """
    regions = vlm.regions(picture, asked) if isinstance(vlm, RegionVLM) else None
    return regions or vlm.views(picture, asked)[0]


def ground_by_heads(vlm: AttentiveVLM, picture: Picture, words: str, heads: HeadSet) -> Detections:
    """The place that `words` name, read from the maps of `heads`; none where they are flat.

    The exchange tells which heads were used, and why there is no box where there is none. The score
    is the share of the fused attention that lies in the box.

    Raises:
        CheckpointError: the heads were found in another model or with another prompt.
        InputError: no words, or a model whose image tokens have no place in the picture.
    """
    heads.require(
        model=model_fingerprint(vlm.model), prompt=heads.prompt, query=heads.query, views="global"
    )
    prompt = heads.prompt or PROMPT
    looks = look(vlm, picture, words, prompt=prompt, query=heads.query, opening=heads.opening)
    chosen = np.stack([looks.maps[layer, head] for layer, head in heads.heads])
    heat = fuse_maps(chosen, kernel=heads.kernel, sigma=heads.sigma, valid=looks.valid)
    found = map_to_box(heat, looks.view.region, image_wh=picture.image_wh, valid=looks.valid)
    boxes, scores = np.zeros((0, 4)), np.zeros(0)
    if found.box is not None and found.cells is not None:
        x0, y0, x1, y1 = found.cells
        share = heat[y0:y1, x0:x1].sum() / max(float(heat.sum()), 1e-12)
        boxes, scores = np.array([found.box]), np.array([share]).clip(0, 1)
    label = clean_expression(words)
    reading = {
        "method": "heads",
        "heads": [list(pair) for pair in heads.heads],
        "valid": found.box is not None,
        "failure": found.reason or None,
    }
    return Detections(
        boxes,
        scores,
        np.zeros(len(boxes), np.int64),
        (label,),
        picture.image_wh,
        exchanges=(Exchange(prompt.replace("{words}", label), "", reading),),
        picture=picture,
    )


def discover(
    vlm: AttentiveVLM,
    samples: Iterable[tuple[str, Picture, str]],
    *,
    rule: SelectionRule = PRESETS["paper"],
    prompt: str = PROMPT,
    query: Query = "last_text",
    opening: str = "",
    counts: SelectionCounts | None = None,
) -> Iterator[tuple[str, SelectionCounts, HeadsightError | None]]:
    """Count which heads look at what the words name, sample after sample; no map is kept.

    Args:
        vlm: the model.
        samples: name, picture and words of each.
        rule: how heads are chosen.
        prompt: see `look`.
        query: see `look`.
        opening: see `look`.
        counts: of an earlier run, to go on from.

    Yields:
        The sample's name, all counts so far, and what was wrong with the sample, if anything.
    """
    for name, picture, words in samples:
        error = None
        try:
            looks = look(vlm, picture, words, prompt=prompt, query=query, opening=opening)
            if counts is None:
                layers, heads = looks.maps.shape[:2]
                counts = SelectionCounts(layers, heads, rule)
            counts.add(looks.maps, valid=looks.valid)
        except InputError as found:
            error = found
        if counts is not None:
            yield name, counts, error

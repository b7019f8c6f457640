"""Words to places without a word written: where a few attention heads look (arXiv 2503.06287).

One prefill a question, no training and no answer text. The heads are found once for a model
(`discover`) and saved as a `HeadSet`; their maps, added and smoothed, show the place.
"""

from __future__ import annotations

__all__ = ["Looks", "discover", "ground_by_heads", "look"]

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from headsight.attention.head_set import HeadSet, model_fingerprint
from headsight.attention.localization import fuse_maps, valid_cells
from headsight.attention.selection import PRESETS, SelectionRule
from headsight.attention.selection_counts import SelectionCounts
from headsight.detections import Detections, Exchange
from headsight.errors import HeadsightError, InputError
from headsight.geometry.heatmaps import map_mean, map_to_box
from headsight.geometry.region_maps import RegionMap
from headsight.language.prompts import clean_expression
from headsight.models.base import AttentiveVLM
from headsight.models.image_views import ImageView
from headsight.picture import Picture

PROMPT = "{words}."
"""What the model reads by default: the words with a full stop (the paper's form)."""
Query = Literal["last_text", "last_prompt"]


@dataclass(frozen=True, eq=False)
class Looks:
    """Attention of one question's last token on the view of the whole picture."""

    maps: Float[NDArray[np.float64], "layers heads h w"]
    """True shares of attention; 0 where a cell has no token."""
    view: ImageView
    """Where the cells lie."""
    valid: Bool[NDArray[np.bool_], "h w"]
    """Cells that have a token and show some of the picture."""


def look(
    vlm: AttentiveVLM,
    picture: Picture,
    words: str,
    *,
    prompt: str = PROMPT,
    query: Query = "last_text",
) -> Looks:
    """Where every attention head looks from one token of the question.

    Args:
        vlm: the model.
        picture: where to look.
        words: what to look for.
        prompt: template of the question, with {words}.
        query: the token: the last of the words and what ends them ("last_text", the paper's), or
            the last that the model reads before it answers ("last_prompt").

    Raises:
        InputError: no words, or a model whose image tokens have no place in the picture.
    """
    from headsight.attention.lab import HeadLab
    from headsight.attention.reducers import Rows

    expression = clean_expression(words)
    asked = prompt.replace("{words}", expression)
    view = vlm.views(picture, asked)[0]
    row = -1
    if query == "last_text":
        is_whole = asked.startswith(expression)  # then the full stop belongs to the words
        row = vlm.text_span(picture, asked, asked if is_whole else expression)[1] - 1
    with HeadLab(vlm.model) as lab:
        columns = tuple(view.positions.tolist())
        kept = lab.capture(vlm.prepare(picture, asked), Rows((row,), columns=columns))
    rows = kept["rows"][0, :, :, 0].double().cpu().numpy()  # (L, H, cells)
    maps = rows.reshape(*rows.shape[:2], *view.grid_hw)
    return Looks(maps, view, valid_cells(view, picture.image_wh))


def ground_by_heads(vlm: AttentiveVLM, picture: Picture, words: str, heads: HeadSet) -> Detections:
    """The place that `words` name, read from the maps of `heads`; none where they are flat.

    The exchange tells which heads were used, and why there is no box where there is none. The score
    is the share of the fused attention that lies in the box. `heat` is that map; its cells without
    a token, or wholly beside the picture, stand at its mean: they tell nothing.

    Raises:
        CheckpointError: the heads were found in another model or with another prompt.
        InputError: no words, or a model whose image tokens have no place in the picture.
    """
    query: Query = "last_prompt" if heads.query == "last_prompt" else "last_text"
    heads.require(
        model=model_fingerprint(vlm.model), prompt=heads.prompt, query=query, views="global"
    )
    looks = look(vlm, picture, words, prompt=heads.prompt or PROMPT, query=query)
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
    shown = np.where(looks.valid, heat, map_mean(heat, valid=looks.valid))
    return Detections(
        boxes,
        scores,
        np.zeros(len(boxes), np.int64),
        (label,),
        picture.image_wh,
        heat=RegionMap(shown, looks.view.region),
        exchanges=(Exchange((heads.prompt or PROMPT).replace("{words}", label), "", reading),),
        picture=picture,
    )


def discover(
    vlm: AttentiveVLM,
    samples: Iterable[tuple[str, Picture, str]],
    *,
    rule: SelectionRule = PRESETS["paper"],
    prompt: str = PROMPT,
    query: Query = "last_text",
    counts: SelectionCounts | None = None,
) -> Iterator[tuple[str, SelectionCounts, HeadsightError | None]]:
    """Count which heads look at what the words name, sample after sample; no map is kept.

    Args:
        vlm: the model.
        samples: name, picture and words of each.
        rule: how heads are chosen.
        prompt: see `look`.
        query: see `look`.
        counts: of an earlier run, to go on from.

    Yields:
        The sample's name, all counts so far, and what was wrong with the sample, if anything.
    """
    for name, picture, words in samples:
        error = None
        try:
            looks = look(vlm, picture, words, prompt=prompt, query=query)
            if counts is None:
                layers, heads = looks.maps.shape[:2]
                counts = SelectionCounts(layers, heads, rule)
            counts.add(looks.maps, valid=looks.valid)
        except InputError as found:
            error = found
        if counts is not None:
            yield name, counts, error

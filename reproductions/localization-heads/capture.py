"""Where every attention head of nano looks, for many expressions, kept small and once for all.

Of each expression the attention of four query rows on the 48 image tokens is kept (24 kB), with the
box each token holds and the true box. Files hold 50 expressions; a run that was stopped goes on
behind the last whole one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from headsight.attention.head_set import QUERIES, model_fingerprint
from headsight.attention.lab import HeadLab
from headsight.attention.reducers import Rows
from headsight.cli.scene_expressions import scene_expressions
from headsight.data.refs import RefSample, read_refs
from headsight.files import write_atomic
from headsight.geometry.boxes import box_iou
from headsight.language.dialects import DIALECTS
from headsight.language.dialects.opening import opening
from headsight.language.prompts import refer
from headsight.models.base import RegionVLM
from headsight.models.image_views import RegionView
from headsight.picture import Picture, open_picture
from headsight.tasks.refer import ground

_PART = 50
"""Expressions a file."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of n expressions (q query rows, l layers, h heads, t image tokens)."""

    rows: Float[NDArray[np.float32], "n q l h t"]
    """Attention, in the order of `QUERIES`."""
    regions: Float[NDArray[np.float32], "n t 4"]
    """Box that each token holds, xyxy px of the picture."""
    image_wh: Int[NDArray[np.int64], "n 2"]
    true: Float[NDArray[np.float64], "n 4"]
    """Box that the words name."""
    native: Float[NDArray[np.float64], " n"]
    """IoU of the first box that the model writes; NaN where it was not asked."""

    def __len__(self) -> int:
        return len(self.rows)

    def view(self, index: int) -> RegionView:
        """Where the tokens of one expression look."""
        width, height = self.image_wh[index].tolist()
        regions = self.regions[index].astype(np.float64)
        return RegionView(np.arange(len(regions)), regions, (width, height))


def draw(data: str, number: int, *, seed: int) -> list[RefSample]:
    """Expressions that name one head, drawn by chance, those about one picture in a row."""
    samples = read_refs(data, expressions=scene_expressions).samples
    single = [sample for sample in samples if len(sample.boxes) == 1]
    drawn = np.random.default_rng(seed).permutation(len(single))[:number]
    return [single[i] for i in sorted(drawn.tolist())]


def capture(
    vlm: RegionVLM,
    samples: Sequence[RefSample],
    folder: Path,
    *,
    ask: bool,
    tell: Callable[[int], None] = lambda _: None,
) -> Kept:
    """What is kept of `samples`, from the files in `folder` as far as they go.

    Args:
        vlm: the model.
        samples: the expressions.
        folder: where the files are; made for one model and these samples.
        ask: whether the model also writes its answer.
        tell: called with the number of expressions done.
    """
    settings = {"model": model_fingerprint(vlm.model), "ask": ask, "ids": [s.id for s in samples]}
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "settings.json"
    if note.exists() and json.loads(note.read_text("utf-8")) != settings:
        raise SystemExit(f"{folder} holds other samples or another model. Give another --maps.")
    write_atomic(note, json.dumps(settings).encode())
    parts = []
    for start in range(0, len(samples), _PART):
        path = folder / f"{start:05d}.npz"
        if not path.exists():
            _write(path, _part(vlm, samples[start : start + _PART], ask=ask))
        with np.load(path) as stored:
            parts.append(dict(stored))
        tell(min(start + _PART, len(samples)))
    return Kept(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _part(vlm: RegionVLM, samples: Sequence[RefSample], *, ask: bool) -> dict[str, NDArray[Any]]:
    found, last, picture = [], None, None
    for sample in samples:
        if picture is None or sample.image != last:
            last, picture = sample.image, open_picture(sample.image)
        rows, regions = look_at_all(vlm, picture, sample.text)
        native = _native(vlm, picture, sample) if ask else np.nan
        found.append((rows, regions, picture.image_wh, sample.boxes[0], native))
    names = ("rows", "regions", "image_wh", "true", "native")
    return {
        name: np.array(values) for name, values in zip(names, zip(*found, strict=True), strict=True)
    }


def look_at_all(
    vlm: RegionVLM, picture: Picture, words: str
) -> tuple[Float[NDArray[np.float32], "q l h t"], Float[NDArray[np.float32], "t 4"]]:
    """Attention of the rows of all queries, by one prefill, and the boxes of the tokens."""
    asked = refer(words)
    view = vlm.regions(picture, asked)
    assert view is not None
    first, after = vlm.text_span(picture, asked, words)
    question = vlm.prepare(picture, asked)["input_ids"].shape[1]
    inputs = vlm.prepare(picture, asked, written=opening(DIALECTS["headsight"]))
    answer = inputs["input_ids"].shape[1] - 1
    rows = (*range(first, after), question - 1, answer)
    with HeadLab(vlm.model) as lab:
        kept = lab.capture(inputs, Rows(rows, columns=tuple(view.positions.tolist())))
    weights = kept["rows"][0].float().cpu().numpy()  # (L, H, rows, t)
    ends = {
        "last_text": weights[:, :, after - first - 1],
        "last_prompt": weights[:, :, -2],
        "mean_text": weights[:, :, : after - first].mean(2),
        "answer": weights[:, :, -1],
    }
    return np.stack([ends[query] for query in QUERIES]), view.regions.astype(np.float32)


def _native(vlm: RegionVLM, picture: Picture, sample: RefSample) -> float:
    boxes = ground(vlm, picture, sample.text).boxes[:1]
    return float(np.asarray(box_iou(boxes, sample.boxes[:1])).max(initial=0))


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    file = BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    write_atomic(path, file.getvalue())

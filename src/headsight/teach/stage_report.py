"""One page about a stage: what the skills were before and after, curves, failures, examples."""

from __future__ import annotations

__all__ = ["write_report"]

import base64
import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headsight.detections import Detections
from headsight.errors import HeadsightError
from headsight.files import write_atomic
from headsight.geometry.rotations import ypr_to_matrix
from headsight.language.codec import parse
from headsight.language.spec import CodecSpec
from headsight.merging.engine import CHART
from headsight.picture import Picture, open_picture
from headsight.teach.curves import Curve, draw_curves
from headsight.teach.keypoint_rounds import KeypointData
from headsight.teach.lineage import Lineage
from headsight.teach.plan import START, Data, Plan, TuneStage
from headsight.teach.sample import Sample

_EXAMPLES = 6
_WIDTH = 320
_SHOWN = {
    "score": ("score", 1.0, ".3f"),
    "strict_invalid": ("not strict", 100.0, ".1f %"),
    "mae": ("MAE, deg", 1.0, ".1f"),
    "geodesic_median": ("geodesic median, deg", 1.0, ".1f"),
    "mae_penalised": ("MAE penalised, deg", 1.0, ".1f"),
}
"""Figures of a probe that the table shows: heading, factor, form."""


def write_report(folder: Path, *, plan: Plan, stage: Any, lineage: Lineage) -> None:
    """Write `report.md`, `report.html` and `curves.svg` of a finished stage into its folder.

    What there is nothing of (a merge has no curves, a plan without skills no table) is left out.
    """
    number = [s.name for s in plan.stages].index(stage.name)
    before = {name: _skills(_place(plan, name)) for name in plan.parents(number)}
    after = _skills(folder / "after.json")
    curves = draw_curves(_curves(folder / "log.csv"))
    if curves:
        write_atomic(folder / "curves.svg", curves.encode())
    title = f"{plan.name}: stage {stage.name}"
    facts = _facts(lineage, stage)
    table = _table(before, after)
    confusions = {name: skill["format"] for name, skill in after.items() if skill.get("format")}
    lines = [f"# {title}", "", *[f"- {fact}" for fact in facts], ""]
    if table:
        lines += ["## Skills, before and after", "", *_markdown(table), ""]
    if curves:
        lines += ["## Curves", "", "![curves](curves.svg)", ""]
    merged = folder / "model" / CHART
    if merged.exists():
        lines += ["## Merged units", "", f"![merged units](model/{CHART})", ""]
    for name, form in confusions.items():
        lines += [f"## Kinds of answers to {name}", "", *_markdown(_confusion(form)), ""]
    write_atomic(folder / "report.md", "\n".join(lines).encode())
    body = [f"<h1>{html.escape(title)}</h1>", "<ul>"]
    body += [f"<li>{html.escape(fact)}</li>" for fact in facts]
    body.append("</ul>")
    if table:
        body += ["<h2>Skills, before and after</h2>", _html(table)]
    if curves:
        body += ["<h2>Curves</h2>", curves]
    if merged.exists():
        body += ["<h2>Merged units</h2>", _embedded(merged.read_bytes(), "png")]
    for name, form in confusions.items():
        body += [f"<h2>Kinds of answers to {html.escape(name)}</h2>", _html(_confusion(form))]
    examples = _examples(plan, after)
    if examples:
        body += ["<h2>Examples after the stage</h2>", '<div class="examples">', *examples, "</div>"]
    page = _PAGE.replace("{title}", html.escape(title)).replace("{body}", "\n".join(body))
    write_atomic(folder / "report.html", page.encode())


def _place(plan: Plan, parent: str) -> Path:
    """Where the answers of a parent are."""
    return plan.output / ("start.json" if parent == START else f"{parent}/after.json")


def _skills(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    return dict(json.loads(path.read_text("utf-8"))["skills"])


def _facts(lineage: Lineage, stage: Any) -> list[str]:
    facts = [f"made from {', '.join(lineage.parents)}"]
    told = dict(lineage.facts)
    samples = told.pop("samples", None)
    if samples:
        facts.append(f"samples of an epoch: {samples['new']} new, {samples['old']} rehearsed")
    learning = told.pop("learning", None)
    if learning:
        facts.append(f"weights that learned: {learning:,}")
    facts += [f"{name.replace('_', ' ')}: {value}" for name, value in told.items()]
    if isinstance(stage, TuneStage) and stage.lora is not None:
        lora = stage.lora
        facts.append(f"LoRA rank {lora.r}, alpha {lora.alpha:g}, targets {lora.targets}")
    facts += [f"data {path}, sha256 {digest[:12]}" for path, digest in lineage.data.items()]
    return facts


def _table(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Any]) -> list[list[str]]:
    """Rows of a table, its heading first: a skill and figure a row, a column for every parent."""
    if not after:
        return []
    rows = [["skill", "questions", "figure", *(f"before: {name}" for name in before), "after"]]
    for name, skill in after.items():
        figures = skill["figures"]
        old = [parent.get(name, {}).get("figures", {}) for parent in before.values()]
        for key, (heading, factor, form) in _SHOWN.items():
            if key in figures:
                values = [_number(each.get(key), factor, form) for each in (*old, figures)]
                rows.append([name, f"{figures['questions']:.0f}", heading, *values])
    return rows


def _number(value: float | None, factor: float, form: str) -> str:
    if value is None or not np.isfinite(value):
        return "-"
    digits, _, unit = form.partition(" ")
    return f"{value * factor:{digits}}{' ' + unit if unit else ''}"


def _confusion(form: Mapping[str, Any]) -> list[list[str]]:
    table = form["confusion"]
    columns = sorted({answered for row in table.values() for answered in row})
    rows = [["asked \\ answered", *columns]]
    rows += [[kind, *(str(row.get(c, 0)) for c in columns)] for kind, row in table.items()]
    return rows


def _curves(path: Path) -> list[Curve]:
    """Loss and validation loss of the loop's log."""
    if not path.exists():
        return []
    found: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["name"], []).append((float(row["step"]), float(row["value"])))
    names = {"loss": "training loss", "val_loss": "loss on the skills' questions"}
    return [Curve(names[n], tuple(points)) for n, points in found.items() if n in names]


def _examples(plan: Plan, after: Mapping[str, Any]) -> list[str]:
    """Figures of the first questions of every skill with the answers drawn in."""
    made: list[str] = []
    for name, data in plan.skills.items():
        texts = after.get(name, {}).get("texts", [])
        share = max(1, _EXAMPLES // max(1, len(plan.skills)))
        chosen = np.linspace(0, len(texts) - 1, min(share, len(texts))).astype(int)
        made += _drawn(data, {int(place): texts[place] for place in chosen})
    return made


def _drawn(data: Data | KeypointData, texts: Mapping[int, str]) -> list[str]:
    source = data.read()
    figures = []
    for index, text in texts.items():
        sample = source.draw(index, None)
        shown = _drawn_in(sample, text)
        buffer = io.BytesIO()
        shown.save(buffer, "JPEG", quality=85)
        figures.append(
            f"<figure>{_embedded(buffer.getvalue(), 'jpeg')}"
            f"<figcaption>{html.escape(sample.question)}<br><b>{html.escape(text[:120])}</b>"
            f"<br>true: {html.escape(sample.answer[:120])}</figcaption></figure>"
        )
    return figures


def _drawn_in(sample: Sample, text: str) -> Image.Image:
    """The picture, small, with what an answer says; of a pose at the box that was asked about."""
    picture = open_picture(sample.picture)
    small = picture.image.copy()
    small.thumbnail((_WIDTH, _WIDTH))
    wh = small.size
    is_pose = sample.kind == "pose"
    asked = sample.question[sample.question.find("[[") :] if is_pose else text
    found = parse(asked, CodecSpec("boxes"), image_wh=wh).value
    boxes = np.zeros((0, 4)) if found is None else np.asarray(found, np.float64)
    rotations = None
    if is_pose:
        rotations = np.full((len(boxes), 3, 3), np.nan)
        pose = parse(text, CodecSpec("pose"))
        if pose.is_valid and pose.value is not None and len(boxes):
            rotations[0] = ypr_to_matrix(np.asarray(pose.value, np.float64))
    points = None
    if sample.kind == "point":
        point = parse(text, CodecSpec("point"), image_wh=wh)
        boxes = np.array([[0.0, 0.0, *wh]])
        points = np.zeros((1, 1, 3))
        if point.is_valid and point.value is not None:
            points[0, 0] = (*point.value, 2)
    try:
        detections = Detections(
            boxes, np.ones(len(boxes)), np.zeros(len(boxes), np.int64), ("",), wh,
            rotations=rotations, keypoints=points, picture=Picture(small),
        )  # fmt: skip
        return detections.draw(chips=False)
    except HeadsightError:  # a box without area, say
        return small


def _embedded(image: bytes, form: str) -> str:
    encoded = base64.b64encode(image).decode()
    return f'<img src="data:image/{form};base64,{encoded}" alt="">'


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *rest = rows
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rest]


def _html(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    cells = "".join(f"<th>{html.escape(c)}</th>" for c in head)
    lines = ["".join(f"<td>{html.escape(c)}</td>" for c in row) for row in rest]
    return f"<table><tr>{cells}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd; }
td + td, th + th { text-align: right; } svg { max-width: 100%; height: auto; }
.examples { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 20rem; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; } img { max-width: 100%; }
</style></head><body>
{body}
</body></html>
"""

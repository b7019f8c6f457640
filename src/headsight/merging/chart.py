"""A chart of a merge: every unit's cosine in the order of the layers, and which parent won it."""

from __future__ import annotations

__all__ = ["draw_merge", "png_bytes"]

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from headsight.font import font_of
from headsight.merging.report import MergeReport, UnitRow

_SIZE = (1100, 520)
_PLOT = (90, 80, 760, 440)
_BARS = (890, 80, 1070, 440)
_INK, _GREY, _LIGHT = "#222222", "#777777", "#dddddd"
_COLORS = {"base": "#2b6cb0", "expert": "#dd6b20", "merged": "#6b46c1", "equal": "#bbbbbb"}
_NAMES = {
    "base": "from the first parent",
    "expert": "from the expert",
    "merged": "merged",
    "equal": "equal in all models",
}


def draw_merge(report: MergeReport) -> Image.Image:
    """Left: a dot a unit, at its cosine, in the colour of its origin. Right: the histogram."""
    image = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(image)
    low, high = _span([unit.cosine for unit in report.compared], _threshold(report))
    what = "base and expert" if report.method == "layer-cosine" else "base and result"
    pen.text((_PLOT[0] - 60, 14), f"{report.method}: cosine of {what}", _INK, font_of(20))
    _legend(pen, report)
    _axes(pen, low, high)
    _dots(pen, report.units, low, high)
    threshold = _threshold(report)
    if threshold is not None and low <= threshold <= high:
        y = _height(threshold, low, high)
        pen.line([(_PLOT[0], y), (_PLOT[2], y)], "#c53030", 1)
        pen.text((_PLOT[2] - 4, y - 3), f"{threshold:g}", "#c53030", font_of(14), anchor="rs")
    _histogram(pen, report)
    return image


def png_bytes(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _threshold(report: MergeReport) -> float | None:
    text = str(report.settings.get("threshold", ""))
    return None if not text or text.startswith("quantile") else float(text)


def _span(cosines: Sequence[float], threshold: float | None) -> tuple[float, float]:
    """Lowest and highest cosine of the axis: what there is and the threshold, if it is near."""
    values = list(cosines) or [0.0, 1.0]
    low, high = min(values), max(values)
    reach = max(high - low, 1e-7)
    if threshold is not None and -1 <= threshold <= 1 and low - 3 * reach <= threshold:
        low, high = min(low, threshold), max(high, threshold)
    reach = max(high - low, 1e-7)
    return max(low - 0.05 * reach, -1.0), min(high + 0.05 * reach, 1.0)


def _height(cosine: float, low: float, high: float) -> float:
    return _PLOT[3] - (_PLOT[3] - _PLOT[1]) * (cosine - low) / (high - low)


def _legend(pen: ImageDraw.ImageDraw, report: MergeReport) -> None:
    x = float(_PLOT[0])
    for decision, count in sorted(report.taken.items()):
        text = f"{_NAMES[decision]}: {count}"
        pen.ellipse([x, 52, x + 10, 62], fill=_COLORS[decision])
        pen.text((x + 16, 57), text, _INK, font_of(14), anchor="lm")
        x += 16 + font_of(14).getlength(text) + 26


def _axes(pen: ImageDraw.ImageDraw, low: float, high: float) -> None:
    x0, y0, x1, y1 = _PLOT
    digits = 2
    while digits < 8 and (high - low) * 10**digits < 20:
        digits += 1
    for step in range(5):
        value = low + (high - low) * step / 4
        y = _height(value, low, high)
        pen.line([(x0, y), (x1, y)], _LIGHT, 1)
        pen.text((x0 - 8, y), f"{value:.{digits}f}", _INK, font_of(14), anchor="rm")
    pen.line([(x0, y0), (x0, y1), (x1, y1)], _GREY, 2)
    pen.text(
        ((x0 + x1) / 2, y1 + 44),
        "units in the order of their names",
        _INK,
        font_of(14),
        anchor="mm",
    )


def _dots(pen: ImageDraw.ImageDraw, units: Sequence[UnitRow], low: float, high: float) -> None:
    x0, _, x1, y1 = _PLOT
    radius = 4 if len(units) <= 150 else 2
    for place, unit in enumerate(units):
        x = x0 + (x1 - x0) * (place + 0.5) / len(units)
        if unit.decision == "equal" or math.isnan(unit.cosine):  # no height: a mark below the axis
            pen.line([(x, y1 + 6), (x, y1 + 14)], _COLORS[unit.decision], 2)
            continue
        y = _height(unit.cosine, low, high)
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=_COLORS[unit.decision])
    for place in sorted({0, len(units) - 1} if units else set()):
        anchor = "la" if place == 0 else "ra"
        x = x0 if place == 0 else x1
        pen.text((x, y1 + 18), _shortened(units[place].name), _GREY, font_of(12), anchor=anchor)


def _histogram(pen: ImageDraw.ImageDraw, report: MergeReport) -> None:
    x0, y0, x1, y1 = _BARS
    rows = report.histogram[::-1]
    most = max((count for _, _, count in rows), default=0)
    pen.text((x0 - 70, y0 - 28), "units by cosine", _INK, font_of(16))
    step = (y1 - y0) / len(rows)
    for place, (low, high, count) in enumerate(rows):
        y = y0 + place * step
        pen.text((x0 - 8, y + step / 2), f"{low:g} to {high:g}", _INK, font_of(13), anchor="rm")
        end = x0 + (x1 - x0 - 40) * count / max(most, 1)
        if count:
            pen.rectangle([x0, y + 5, max(end, x0 + 2), y + step - 5], fill=_GREY)
        pen.text((end + 6, y + step / 2), str(count), _INK, font_of(13), anchor="lm")


def _shortened(name: str) -> str:
    return name if len(name) <= 44 else f"{name[:20]}...{name[-20:]}"

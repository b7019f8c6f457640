"""Curves over training steps as a small SVG."""

from __future__ import annotations

__all__ = ["Curve", "draw_curves"]

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 720, 260, 60, 20, 20, 40
_COLORS = ("#2b6cb0", "#dd6b20", "#2f855a", "#805ad5")


@dataclass(frozen=True)
class Curve:
    """One line."""

    name: str
    points: tuple[tuple[float, float], ...]
    """Step (or what else runs to the right) and value."""


def draw_curves(curves: Sequence[Curve], *, x_name: str = "step") -> str:
    """All curves on one pair of axes from zero; an empty text of none."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return ""
    last = max(x for x, _ in points) or 1.0
    top = max(1e-9, *(y for _, y in points)) * 1.05
    inner = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + inner[0] * x / last, _TOP + inner[1] * (1 - max(y, 0.0) / top)

    left, base = place(0.0, 0.0)
    right = place(last, 0.0)[0]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<path d="M{left} {_TOP}V{base}H{right}" fill="none" stroke="#999"/>',
        f'<text x="{left - 6}" y="{_TOP + 5}" text-anchor="end">{top:.3g}</text>',
        f'<text x="{left - 6}" y="{base}" text-anchor="end">0</text>',
        f'<text x="{right}" y="{base + 18}" text-anchor="end">{x_name} {last:g}</text>',
    ]
    for number, curve in enumerate(curves):
        color = _COLORS[number % len(_COLORS)]
        spots = [place(x, y) for x, y in curve.points]
        if len(spots) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
            )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in spots[-1:]
        ]
        x, y = left + 12 + 250 * (number % 2), base + 18 + 16 * (number // 2)
        name = html.escape(curve.name)
        parts.append(f'<text x="{x + 60}" y="{y}" fill="{color}">{name}</text>')
    return "\n".join((*parts, "</svg>"))

"""The forgetting report: skills before and after, bad answers by kind, drift of the weights."""

from __future__ import annotations

__all__ = [
    "SCHEMA",
    "SkillRun",
    "answer_counts",
    "forget_report",
    "require_known",
    "summary",
    "tables",
    "to_html",
    "to_markdown",
]

import html
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headsight.errors import InputError
from headsight.eval.forgetting import backward_transfer, forgetting, paired_change
from headsight.eval.item_scores import Scores
from headsight.merging.drift import ModuleDrift

SCHEMA = "headsight.eval-forget/1"
_MODULES = 10
"""Most moved modules that are told one by one."""
_CHIEF = {"boxes": "mean_iou", "pose": "mae_penalised", "refer": "right"}
"""The figure that stands for a skill in forgetting and backward transfer."""
_NAMES = {
    "recall": "heads found",
    "mean_iou": "mean IoU, missed: 0",
    "false_boxes": "false boxes a picture",
    "mae": "angles, read answers, °",
    "mae_penalised": "angles, unread: 90, °",
    "geodesic_penalised": "turn, unread: 90, °",
    "right": "right",
    "iou": "IoU",
}


@dataclass(frozen=True)
class SkillRun:
    """One model's answers to one set of probes."""

    data: str
    """What it was asked about."""
    scores: Mapping[str, Scores]
    """By figure."""
    answers: Mapping[str, Any]
    """What `answer_counts` gives."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data": self.data,
            "answers": dict(self.answers),
            "items": {name: scores.to_dict() for name, scores in self.scores.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SkillRun:
        """The run of `to_dict`."""
        items = {name: Scores.from_dict(v) for name, v in values["items"].items()}
        return cls(str(values["data"]), items, dict(values.get("answers", {})))


def answer_counts(readings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How many answers there were, the share not to be used, and failures with their counts."""
    kept = list(readings)
    failures = Counter(str(r["failure"]) for r in kept if r.get("failure"))
    unusable = sum(not r.get("valid", not r.get("failure")) for r in kept)
    number = max(len(kept), 1)
    return {
        "asked": len(kept),
        "invalid": unusable / number,
        "strict_invalid": sum(not r.get("strict", not r.get("failure")) for r in kept) / number,
        "swapped": failures["wrong_kind"] / number,
        "blended": failures["blended"] / number,
        "failures": dict(failures.most_common()),
    }


def forget_report(
    before: Mapping[str, SkillRun],
    after: Mapping[str, SkillRun],
    *,
    names: tuple[str, str] = ("before", "after"),
    new: Sequence[str] = (),
    drift: Sequence[ModuleDrift] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that changed, JSON-ready.

    Args:
        before: runs by skill.
        after: runs of the same skills.
        names: of the two models.
        new: skills that were taught in between: they have nothing to forget.
        drift: of the weights, where both are known.
        resamples: bootstrap resamples over pictures.
        seed: seed of the resampling.

    Raises:
        InputError: other skills before than after, or other items.
    """
    if set(before) != set(after):
        raise InputError(
            f"Before {', '.join(sorted(before)) or 'nothing'} was measured, after"
            f" {', '.join(sorted(after)) or 'nothing'}. Measure the same skills of both models."
        )
    require_known(new, before)
    skills = {}
    for skill, old in before.items():
        now = after[skill]
        figures = {
            name: {
                "better": scores.better,
                **paired_change(scores, now.scores[name], resamples=resamples, seed=seed).to_dict(),
            }
            for name, scores in old.scores.items()
            if name in now.scores
        }
        skills[skill] = {
            "data": old.data,
            "is_new": skill in new,
            "figures": figures,
            "answers": {"before": dict(old.answers), "after": dict(now.answers)},
        }
    return {
        "schema": SCHEMA,
        "before": names[0],
        "after": names[1],
        "skills": skills,
        **_transfer(skills, new),
        "weights": None if drift is None else _weights(drift),
    }


def require_known(new: Iterable[str], skills: Iterable[str]) -> None:
    """Refuse new skills that are not among `skills`.

    Raises:
        InputError: one is not.
    """
    known = list(skills)
    if unknown := sorted(set(new) - set(known)):
        raise InputError(
            f"--new names {', '.join(unknown)}, but the skills are {', '.join(known)}."
        )


def _transfer(skills: Mapping[str, Any], new: Sequence[str]) -> dict[str, Any]:
    """Forgetting of each old skill's chief figure, and backward transfer, higher being better.

    Degrees are turned round, so that a skill that lost five degrees has changed by -5.
    """
    table, old = [], []
    for skill, row in skills.items():
        name = _CHIEF.get(skill.partition(" ")[0], next(iter(row["figures"]), ""))
        if skill in new or name not in row["figures"]:
            continue
        figure = row["figures"][name]
        sign = 1.0 if figure["better"] == "higher" else -1.0
        table.append([sign * figure["before"], sign * figure["after"]])
        old.append((skill, name))
    scores = np.array(table, np.float64).reshape(-1, 2).T
    lost = forgetting(scores)[-1] if len(old) else []
    return {
        "forgetting": {
            skill: {"figure": name, "lost": float(value)}
            for (skill, name), value in zip(old, lost, strict=True)
        },
        "backward_transfer": {
            name: backward_transfer(
                scores[:, [i for i, (_, n) in enumerate(old) if n == name]],
                [0] * sum(n == name for _, n in old),
            )
            for name in dict.fromkeys(n for _, n in old)
        },
    }  # fmt: skip


def _weights(drift: Sequence[ModuleDrift]) -> dict[str, Any]:
    ratios = np.array([d.norm_ratio for d in drift], np.float64)
    cosines = np.array([d.cosine for d in drift], np.float64)
    known = cosines[np.isfinite(cosines)]
    return {
        "modules": len(drift),
        "untouched": int((ratios == 0).sum()),
        "median_norm_ratio": float(np.median(ratios)) if len(ratios) else float("nan"),
        "lowest_cosine": float(known.min()) if len(known) else float("nan"),
        "most_moved": [d.to_dict() for d in drift[:_MODULES] if d.norm_ratio > 0],
    }


def _skill_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Skill, figure, before, after, change with interval, verdict: the cells of the table."""
    rows = []
    for skill, row in report["skills"].items():
        for name, figure in row["figures"].items():
            span = figure["interval"]
            change = "-" if figure["change"] is None else f"{_number(figure['change'], plus=True)}"
            if span is not None:
                change += f" ({_number(span[0], plus=True)} to {_number(span[1], plus=True)})"
            rows.append(
                [
                    f"{skill} (new)" if row["is_new"] else skill,
                    _NAMES.get(name, name),
                    _number(figure["before"]),
                    _number(figure["after"]),
                    change,
                    figure["verdict"],
                ]
            )
    return rows


def _answer_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Skill, trouble, share before, share after: the cells of the table of bad answers."""
    rows = []
    for skill, row in report["skills"].items():
        old, now = row["answers"].get("before", {}), row["answers"].get("after", {})
        if not old or not now:
            continue
        for title, key in (
            ("not to be used", "invalid"),
            ("not exactly in the format", "strict_invalid"),
            ("swapped: the other kind", "swapped"),
            ("blended: both kinds", "blended"),
        ):
            if old[key] or now[key] or key == "invalid":
                rows.append([skill, title, f"{old[key]:.1%}", f"{now[key]:.1%}"])
        rows += [
            [skill, f"  {kind}", *(str(side["failures"].get(kind, 0)) for side in (old, now))]
            for kind in sorted({*old["failures"], *now["failures"]})
        ]
    return rows


def to_markdown(report: Mapping[str, Any]) -> str:
    """The whole report as Markdown."""
    blocks = [f"# What changed from {_plain(report['before'])} to {_plain(report['after'])}"]
    blocks.append(_plain(summary(report)))
    for title, header, rows in tables(report):
        lines = [f"## {title}", "", _line(header), _line(["---"] * len(header)), *map(_line, rows)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """`text` for Markdown, whatever a folder is called."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def to_html(report: Mapping[str, Any]) -> str:
    """The whole report as one page that loads nothing."""
    title = html.escape(f"What changed from {report['before']} to {report['after']}")
    parts = [f"<h1>{title}</h1>", f"<p>{html.escape(summary(report))}</p>"]
    for name, header, rows in tables(report):
        head = "".join(f"<th>{html.escape(c)}</th>" for c in header)
        body = "\n".join(
            (f'<tr class="{row[-1]}">' if row[-1] in ("gained", "forgot") else "<tr>")
            + "".join(f"<td>{html.escape(c)}</td>" for c in row)
            + "</tr>"
            for row in rows
        )
        parts.append(
            f"<h2>{html.escape(name)}</h2>\n<table><thead><tr>{head}</tr></thead>\n"
            f"<tbody>{body}</tbody></table>"
        )
    return _PAGE.replace("{title}", title).replace("{body}", "\n".join(parts))


def tables(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of every table of the report."""
    head = ["skill", "figure", report["before"], report["after"], "change (95 %)", "verdict"]
    tables = [("Skills", head, _skill_rows(report))]
    if rows := _answer_rows(report):
        header = ["skill", "answers", report["before"], report["after"]]
        tables.append(("Answers that went wrong", header, rows))
    weights = report["weights"]
    if weights is not None and weights["most_moved"]:
        rows = [
            [m["module"], str(m["numbers"]), f"{m['norm_ratio']:.4f}", _number(m["cosine"])]
            for m in weights["most_moved"]
        ]
        header = ["module", "weights", "change / norm", "cosine"]
        tables.append(("Modules that moved most", header, rows))
    return tables


def summary(report: Mapping[str, Any]) -> str:
    """Two sentences: what was gained and lost, and how far the weights moved."""
    by: dict[str, list[str]] = {"gained": [], "forgot": [], "too few pictures": []}
    for skill, row in report["skills"].items():
        name = _CHIEF.get(skill.partition(" ")[0], next(iter(row["figures"]), ""))
        verdict = row["figures"].get(name, {}).get("verdict")
        if verdict in by:
            by[verdict].append(skill)
    unclear = by.pop("too few pictures")
    said = "; ".join(f"{verdict}: {', '.join(names) or 'nothing'}" for verdict, names in by.items())
    text = f"By the paired 95 % intervals: {said}."
    if unclear:
        text += f" Too few pictures to tell of {', '.join(unclear)}."
    weights = report["weights"]
    if weights is None:
        return text
    return (
        f"{text} Of {weights['modules']} modules {weights['untouched']} are untouched; the median"
        f" change is {weights['median_norm_ratio']:.4f} of the norm, the lowest cosine"
        f" {_number(weights['lowest_cosine'])}."
    )


def _number(value: float | None, *, plus: bool = False) -> str:
    if value is None or math.isnan(value):
        return "-"
    digits = 3 if abs(value) < 10 else 1
    text = f"{value:+.{digits}f}" if plus else f"{value:.{digits}f}"
    return text if float(text) else text.lstrip("+-")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem}
table {border-collapse: collapse; width: 100%}
td, th {padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: left}
td {font-variant-numeric: tabular-nums}
tr.forgot td:last-child {color: #a40000; font-weight: 600}
tr.gained td:last-child {color: #00640a; font-weight: 600}
</style></head><body>
{body}
</body></html>
"""

"""How well a model has a skill: a probe set is asked, and every answer is read and scored.

An answer that cannot be read scores as the worst one, so that refusing never wins; figures of the
readable ones stand beside, with the share that is not.
"""

from __future__ import annotations

__all__ = ["Probe", "ProbeResult", "probe"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from headsight.eval.format_report import FormatReport, format_report
from headsight.eval.headpose_metrics import headpose_metrics
from headsight.geometry.boxes import box_iou
from headsight.geometry.rotations import geodesic_deg, ypr_to_matrix
from headsight.language.answer import Answer
from headsight.language.codec import parse
from headsight.language.spec import CodecSpec
from headsight.models.base import AttentiveVLM, Reply
from headsight.teach.answering import answer_samples
from headsight.teach.sample import Sample
from headsight.teach.tokens import Features

_NEAR_DEG = 20.0
_IOU = 0.5
_SPECS = {kind: CodecSpec(kind) for kind in ("boxes", "pose", "point", "points", "count")}


@dataclass(frozen=True)
class Probe:
    """A skill and what is asked to measure it."""

    name: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class ProbeResult:
    """What came of a probe (N samples)."""

    name: str
    scores: tuple[float, ...]
    """Of each sample, in [0, 1]. Boxes: F1 of the one-to-one matching at IoU 0.5. Poses: 1 within
    20 degrees, else 0. Points: 1 within a tenth of the picture. Counts and text: 1 where equal."""
    figures: dict[str, float]
    """Means; of poses also errors in degrees, valid answers only, and penalised."""
    report: FormatReport | None
    """Failures and confusion of kinds; None of plain text."""
    texts: tuple[str, ...]
    """The answers as they came."""

    @property
    def score(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores)) if self.scores else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "score": self.score,
            "figures": self.figures,
            "scores": list(self.scores),
            "format": None if self.report is None else self.report.to_dict(),
            "texts": list(self.texts),
        }


def probe(vlm: AttentiveVLM, what: Probe, features: Features | None = None) -> ProbeResult:
    """Ask `what` of the model, and score its answers."""
    return score_replies(what, answer_samples(vlm, what.samples, features))


def score_replies(what: Probe, replies: Sequence[Reply]) -> ProbeResult:
    """The scores of given answers."""
    read = [_read(s, r) for s, r in zip(what.samples, replies, strict=True)]
    scores = [_score(s, r, a) for s, r, a in zip(what.samples, replies, read, strict=True)]
    answers = [a for a in read if a is not None]
    report = format_report(answers) if answers else None
    figures = {"questions": float(len(scores)), "score": float(np.mean(scores)) if scores else 0.0}
    if report is not None:
        figures |= {"strict_invalid": report.strict_invalid, "invalid": report.invalid}
    figures |= _pose_figures(what.samples, read)
    texts = tuple(reply.text for reply in replies)
    return ProbeResult(what.name, tuple(scores), figures, report, texts)


def _read(sample: Sample, reply: Reply) -> Answer | None:
    spec = _SPECS.get(sample.kind)
    if spec is None:
        return None
    return parse(reply.text, spec, prompt=sample.question, hit_limit=not reply.ended)


def _score(sample: Sample, reply: Reply, answer: Answer | None) -> float:
    if answer is None:
        return float(" ".join(reply.text.split()) == " ".join(sample.answer.split()))
    truth = parse(sample.answer, _SPECS[sample.kind]).value
    if not answer.is_valid or answer.value is None or truth is None:
        return float(answer.is_valid and answer.value is None and truth is None)
    if sample.kind == "boxes":
        return _f1(np.asarray(answer.value), np.asarray(truth))
    if sample.kind == "pose":
        turned = [ypr_to_matrix(np.asarray(v, np.float64)) for v in (answer.value, truth)]
        return float(geodesic_deg(*turned) <= _NEAR_DEG)
    if sample.kind == "count":
        return float(answer.value == truth)
    given, wanted = np.atleast_2d(answer.value), np.atleast_2d(truth)
    if given.shape != wanted.shape:
        return 0.0
    return float((np.linalg.norm(given - wanted, axis=1) <= 0.1).mean())


def _f1(found: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Twice the pairs over all boxes of both; 1 where neither has any."""
    if not len(found) and not len(truth):
        return 1.0
    overlap = np.asarray(box_iou(found, truth)) >= _IOU
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return 2 * float(overlap[rows, columns].sum()) / (len(found) + len(truth))


def _pose_figures(samples: Sequence[Sample], read: Sequence[Answer | None]) -> dict[str, float]:
    pairs = [(s, a) for s, a in zip(samples, read, strict=True) if s.kind == "pose" and a]
    if not pairs:
        return {}
    nothing = np.full((3, 3), np.nan)
    truth = np.stack([ypr_to_matrix(parse(s.answer, _SPECS["pose"]).value) for s, _ in pairs])
    usable = [a.is_valid and a.value is not None for _, a in pairs]
    found = np.stack(
        [ypr_to_matrix(a.value) if u else nothing for u, (_, a) in zip(usable, pairs, strict=True)]
    )
    full = headpose_metrics(found, truth)["full"]
    names = ("yaw", "pitch", "roll", "mae", "geodesic_mean", "geodesic_median", "geodesic_p90")
    kept = (*names, "mae_penalised", "geodesic_penalised")
    return {name: full[name] for name in kept}

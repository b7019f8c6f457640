"""Named skills and the probes that measure them, for `headsight eval forget`."""

from __future__ import annotations

__all__ = ["SKILLS", "Skill", "parse_skills", "read_runs"]

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headsight.errors import AnnotationError, InputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from headsight.eval.forget_report import SkillRun
    from headsight.files import Journal
    from headsight.grounder import Grounder

SKILLS = ("boxes", "pose", "refer")
"""Where heads are, how those in true boxes are turned, and what expressions name."""
_BOX_FIGURES = ("recall", "mean_iou", "false_boxes")
_POSE_FIGURES = ("mae", "mae_penalised", "geodesic_penalised")


@dataclass(frozen=True)
class Skill:
    """One set of probes."""

    name: str
    kind: str
    data: str
    samples: tuple[Any, ...] = field(repr=False)
    """Pictures with heads, or expressions."""

    def settings(self) -> dict[str, Any]:
        """What a journal must agree with."""
        from headsight.cli.probes import fingerprint_heads
        from headsight.data.ref_sample import fingerprint

        mark = fingerprint if self.kind == "refer" else fingerprint_heads
        return {"name": self.name, "data": self.data, "fingerprint": mark(list(self.samples))}

    def run(
        self,
        grounder: Grounder,
        prefix: str,
        *,
        constrain: bool,
        journal: Journal | None,
        progress: Progress,
    ) -> tuple[SkillRun, list[dict[str, str]]]:
        """Ask a model all of it; and what could not be asked, with `item` as the scores name it."""
        if self.kind == "refer":
            return self._refer(grounder, prefix, journal=journal, progress=progress)
        return self._heads(
            grounder, prefix, constrain=constrain, journal=journal, progress=progress
        )

    def _heads(
        self,
        grounder: Grounder,
        prefix: str,
        *,
        constrain: bool,
        journal: Journal | None,
        progress: Progress,
    ) -> tuple[SkillRun, list[dict[str, str]]]:
        from headsight.cli.journalled import run_journalled
        from headsight.cli.probes import HeadProbe
        from headsight.data.heads import picture_name
        from headsight.eval.forget_report import SkillRun, answer_counts
        from headsight.eval.vlm_headpose import judge_poses, pose_items

        is_pose = self.kind == "pose"
        probe = HeadProbe(grounder, constrain=constrain, asks_boxes=not is_pose, asks_poses=is_pose)
        named = {f"{prefix}/{picture_name(s)}": s for s in self.samples}
        outcome = run_journalled(
            list(named.items()),
            probe,
            lambda sample, record: judge_poses(probe.answers(record, sample), sample, boxes="gt"),
            journal=journal,
            progress=progress,
            what=prefix,
        )
        figures = _POSE_FIGURES if is_pose else _BOX_FIGURES
        items = pose_items(outcome.judged)
        readings = [e.reading for j in outcome.judged for e in j.exchanges]
        run = SkillRun(self.data, {n: items[n] for n in figures}, answer_counts(readings))
        return run, [{**f, "item": picture_name(named[f["id"]])} for f in outcome.failures]

    def _refer(
        self, grounder: Grounder, prefix: str, *, journal: Journal | None, progress: Progress
    ) -> tuple[SkillRun, list[dict[str, str]]]:
        from headsight.cli.asking import PictureAsker, unpack
        from headsight.cli.journalled import run_journalled
        from headsight.cli.masks import mask_options
        from headsight.eval.forget_report import SkillRun, answer_counts
        from headsight.eval.item_scores import refer_scores
        from headsight.eval.refer import judge_refer

        masking = mask_options(
            mask=False, segmenter=None, sam_prompt="box", rec_box="attention", by_heads=False,
            device="auto",
        )  # fmt: skip
        known = {r.get("id") for r in (journal.records if journal else [])}
        unknown = [s for s in self.samples if f"{prefix}/{s.id}" not in known]
        ask = PictureAsker(grounder, unknown, heads=None, masking=masking)
        readings: list[Mapping[str, Any]] = []

        def judge(sample: Any, record: dict[str, Any]) -> tuple[str, Any]:
            readings.extend(e["reading"] for e in record["exchanges"])
            return sample.id, judge_refer(unpack(record, sample), sample)

        outcome = run_journalled(
            [(f"{prefix}/{s.id}", s) for s in self.samples], ask, judge,
            journal=journal, progress=progress, what=prefix,
        )  # fmt: skip
        scores = refer_scores([j for _, j in outcome.judged], [i for i, _ in outcome.judged])
        failed = [{**f, "item": f["id"].removeprefix(f"{prefix}/")} for f in outcome.failures]
        return SkillRun(self.data, scores, answer_counts(readings)), failed


def parse_skills(texts: Sequence[str], *, limit: int | None) -> list[Skill]:
    """The skills that `KIND=SET` texts name, with their data read.

    Raises:
        InputError: not such a text, or a kind that is none.
        HeadsightError: data that cannot be read.
    """
    pairs = []
    for text in texts:
        kind, mark, data = text.partition("=")
        if kind not in SKILLS or not mark or not data:
            raise InputError(
                f"--skill is {text!r}; expected KIND=SET with one of {', '.join(SKILLS)}, such as"
                " pose=aflw2000_sample."
            )
        pairs.append((kind, data))
    if len(set(pairs)) < len(pairs):
        raise InputError(f"--skill names {', '.join(texts)}: one of them twice. Name it once.")
    kinds = [kind for kind, _ in pairs]
    return [
        Skill(
            kind if kinds.count(kind) == 1 else f"{kind} {data}",
            kind,
            data,
            tuple(_read(kind, data)[:limit]),
        )
        for kind, data in pairs
    ]


def _read(kind: str, data: str) -> list[Any]:
    if kind != "refer":
        from headsight.data.heads import read_heads

        return read_heads(data)
    from headsight.cli.scene_expressions import scene_expressions
    from headsight.data.refs import read_refs

    grouped: dict[Path, list[Any]] = {}
    for sample in read_refs(data, expressions=scene_expressions).samples:
        grouped.setdefault(sample.image, []).append(sample)
    return [sample for group in grouped.values() for sample in group]


def read_runs(paths: Sequence[Path]) -> dict[str, SkillRun]:
    """The runs in results of `eval pose`, `eval heads` and `eval refer`, by skill.

    Raises:
        InputError: no such file.
        AnnotationError: not such a result, one without items, or a skill that is in two of them.
    """
    runs: dict[str, SkillRun] = {}
    for path in paths:
        for name, run in _runs_of(path).items():
            if name in runs:
                raise AnnotationError(
                    f"{path} measures {name}, and another file before it too. Give one a skill."
                )
            runs[name] = run
    return runs


def _runs_of(path: Path) -> dict[str, SkillRun]:
    from headsight.eval.forget_report import SkillRun
    from headsight.eval.item_scores import Scores

    if not path.is_file():
        raise InputError(f"{path} is no file; expected the JSON of an eval run, or a model.")
    try:
        document = json.loads(path.read_text("utf-8"))
        items = {n: Scores.from_dict(v) for n, v in document["items"].items()}
        figures, data = document["figures"], str(document["settings"]["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} holds no scores of items ({type(error).__name__} {error}). Expected the JSON"
            " of headsight eval pose, heads or refer; measure again."
        ) from error
    if "right" in items:
        return {"refer": SkillRun(data, items, _counts(figures.get("answers")))}
    answers = figures.get("invalid") or figures.get("answers") or {}
    runs = {}
    for name, wanted in (("boxes", _BOX_FIGURES), ("pose", _POSE_FIGURES)):
        chosen = {n: items[n] for n in wanted if n in items and len(items[n].items)}
        if chosen:
            runs[name] = SkillRun(data, chosen, _counts(answers.get(name)))
    return runs


def _counts(said: Mapping[str, Any] | None) -> dict[str, Any]:
    """Counts of answers as the report has them, from those of any of the commands."""
    if not said:
        return {}
    asked, failures = said["asked"], dict(said.get("failures", {}))
    strict = said.get("strict_invalid", said.get("not_strict"))
    return {
        "asked": asked,
        "invalid": said.get("invalid", strict) or 0.0,
        "strict_invalid": strict or 0.0,
        "swapped": failures.get("wrong_kind", 0) / max(asked, 1),
        "blended": failures.get("blended", 0) / max(asked, 1),
        "failures": failures,
    }

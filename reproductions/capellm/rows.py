"""How models of one seed are taught: every training starts from the same M0 (see base.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import base
import encoder

TRAININGS: dict[str, dict[str, Any]] = {
    "single": {"rounds": "single"},
    "fixed": {"rounds": "fixed", "k": 4},
    "dynamic": {"rounds": "dynamic", "k": 8},
    "vague": {"rounds": "dynamic", "k": 8, "with_reference": False},
    "digits2": {"rounds": "dynamic", "k": 8, "digits": 2},
    "image": {"rounds": "dynamic", "k": 8, "frame": "image"},
}
"""`single` is LocLLM's way; `vague` names a point and says nothing of where it lies."""
ASKED: dict[str, tuple[tuple[str, int], ...]] = {
    "single": (("independent", 0),),
    "fixed": (("independent", 0), ("cumulative", 3), ("cumulative", 16)),
    "dynamic": (("independent", 0), ("cumulative", 3), ("cumulative", 7)),
    "vague": (("cumulative", 7),),
    "digits2": (("cumulative", 7),),
    "image": (("cumulative", 7),),
    "base": (("independent", 0),),
    "nano-keypoints": (("cumulative", 7),),
}
"""Mode and window in which each is asked."""


@dataclass(frozen=True)
class Steps:
    """Length of the trainings."""

    encoder: tuple[int, ...] = encoder.STEPS
    base: int = base.STEPS
    rows: int = 350
    batch: int = 16
    rate: float = 5e-4


QUICK = Steps(encoder=(3, 2, 2), base=3, rows=2, batch=4)


def plan_of(
    seed: int,
    *,
    model: Path,
    objects: Path,
    out: Path,
    features: Path,
    steps: Steps,
    trainings: Mapping[str, Mapping[str, Any]] = TRAININGS,
) -> dict[str, Any]:
    """A plan for `headsight train`.

    Args:
        seed: of the order of the samples.
        model: M0.
        objects: rendered objects of the seen categories; their schemas lie beside them.
        out: folder of the stages.
        features: folder of the encoder's tokens, which all share.
        steps: length of the stages.
        trainings: those of TRAININGS that are made.
    """
    common = {"path": str(objects), "seed": seed, **base.WAY}
    stages = [
        {
            "name": name,
            "start": "model",
            "type": "capellm",
            "data": [{**common, **settings}],
            "lora": None,
            "steps": steps.rows,
            "batch_size": steps.batch,
            "lr": steps.rate,
            "number_spread": 8,
            "loop": {"bf16": True, "save_every": 50, "clip_norm": 1.0, "average_decay": 0.98},
        }
        for name, settings in trainings.items()
    ]
    return {
        "name": f"capellm-{seed}",
        "model": str(model),
        "output": str(out),
        "features": str(features),
        "seed": seed,
        "stages": stages,
    }

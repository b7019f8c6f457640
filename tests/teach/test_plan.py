"""Plans: every fault of a recipe is one clear error before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from headsight.errors import ConfigError
from headsight.teach.plan import MergeStage, TuneStage, is_plan, read_plan

GOOD: dict[str, Any] = {
    "name": "hpe",
    "model": "nano",
    "output": "runs/hpe",
    "skills": {"pose": {"path": "heldout.jsonl", "tasks": "pose"}},
    "stages": [
        {
            "name": "weak",
            "data": ["crowd.jsonl"],
            "lora": {"r": 10, "alpha": 1, "targets": "attention"},
            "loop": {"bf16": True},
        },
        {
            "name": "pose",
            "data": [{"path": "agora.jsonl", "tasks": ["pose"]}],
            "old": ["crowd.jsonl"],
            "rehearsal": 0.1,
            "steps": 100,
        },
        {"name": "merged", "merge": {"method": "layer-cosine", "base": "model", "expert": "pose"}},
        {"name": "final", "data": ["agora.jsonl"], "start": "merged", "lora": None},
    ],
}


def _written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def _with_stage(number: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**s, **changes} if n == number else s for n, s in enumerate(GOOD["stages"])]


def test_a_plan_is_read(tmp_path: Path) -> None:
    path = _written(tmp_path)
    assert is_plan(path)
    plan = read_plan(path, overrides={"output": tmp_path / "elsewhere", "seed": None})
    weak, pose, merged, final = plan.stages
    assert isinstance(weak, TuneStage)
    assert isinstance(merged, MergeStage)
    assert plan.output == tmp_path / "elsewhere"
    assert weak.lora is not None
    assert weak.lora.r == 10
    assert isinstance(pose, TuneStage)
    assert pose.rehearsal.ratio == 0.1
    assert pose.data[0].tasks == ("pose",)
    assert isinstance(final, TuneStage)
    assert final.lora is None
    assert [plan.parents(n) for n in range(4)] == [
        ("model",),
        ("weak",),
        ("model", "pose"),
        ("merged",),
    ]
    config = weak.loop_config(1000)
    assert config.bf16
    assert (config.warmup_steps, config.betas, config.trained_only) == (20, (0.9, 0.95), True)
    assert not final.loop_config(10).trained_only


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modell": "nano"}, "Did you mean 'model'"),
        ({"stages": []}, "lists no stages"),
        ({"stages": _with_stage(0, dta=[])}, "Did you mean 'data'"),
        ({"stages": _with_stage(0, data=[])}, "has no data"),
        ({"stages": _with_stage(1, rehearsal=1.5)}, "ratio is 1.5"),
        ({"stages": _with_stage(1, old=[])}, "no old data"),
        ({"stages": _with_stage(1, rehearsal={"ratoi": 0.1})}, "Did you mean 'ratio'"),
        ({"stages": _with_stage(0, lora={"rank": 4})}, "unknown key 'rank'"),
        ({"stages": _with_stage(0, name="model")}, "names must differ"),
        ({"stages": _with_stage(1, name="weak")}, "names must differ"),
        ({"stages": _with_stage(0, start="final")}, "what comes before it is model"),
        ({"stages": _with_stage(0, then="keep_adapter")}, "keeps its adapter"),
        ({"stages": _with_stage(0, then="keep")}, "fold or keep_adapter"),
        ({"stages": _with_stage(2, merge={"method": "ties", "base": "model"})}, "no expert"),
        ({"stages": _with_stage(0, data=[{"tasks": "pose"}])}, "names no path"),
        ({"stages": _with_stage(0, batch_size=0)}, "must be positive"),
        ({"stages": _with_stage(0, steps=0)}, "steps is 0"),
        ({"stages": _with_stage(0, lr="1e-4")}, "1e-4 as 1.0e-4"),
        ({"stages": _with_stage(0, lr=float("nan"))}, "lr is nan"),
        ({"stages": _with_stage(0, batch_size="many")}, "must be a whole number"),
        ({"stages": _with_stage(0, number_spread=-1)}, "number_spread is -1"),
        ({"stages": _with_stage(0, lora="decoder")}, "must be a mapping"),
        ({"stages": _with_stage(0, loop=[1])}, "must be a mapping"),
        ({"stages": _with_stage(0, loop={"steps": 5})}, "into the stage itself"),
        ({"stages": _with_stage(3, then="keep_adapter")}, "trains without one"),
        ({"stages": _with_stage(0, old=["crowd.jsonl"])}, "no `rehearsal`"),
        (
            {"stages": _with_stage(1, old=[{"path": "a", "weight": 1}, "b"])},
            "some old data have a weight",
        ),
        ({"stages": _with_stage(1, old=[{"path": "a", "weight": 0}])}, "weight is 0"),
        ({"stages": _with_stage(0, data=[{"path": "a", "limit": -1}])}, "limit is -1"),
        ({"stages": _with_stage(0, data=[{"path": "a", "jitter": 2}])}, "jitter is 2"),
        ({"stages": _with_stage(0, name="../weak")}, "name a folder"),
        ({"stages": _with_stage(0, name="features")}, "name a folder"),
        ({"stages": _with_stage(0, name=".weak")}, "no dot first"),
        ({"stages": _with_stage(0, name=7)}, "must be text"),
        ({"stages": _with_stage(2, merge="ties")}, "must be a mapping"),
        (
            {"stages": _with_stage(2, merge={"method": "ties", "base": "model", "expert": 5})},
            "must be names of stages",
        ),
        ({"model": None}, "model is None, but must be text"),
        ({"output": None}, "output is None, but must be a path"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"stages": ["weak"]}, "must be a mapping"),
        ({"skills": ["pose"]}, "must map names to data"),
    ],
)
def test_faults_are_told(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_plan(_written(tmp_path, **changes))
    assert said in str(caught.value)


def test_unknown_keys_of_the_loop_are_told(tmp_path: Path) -> None:
    plan = read_plan(_written(tmp_path, stages=_with_stage(0, loop={"stepz": 1})))
    stage = plan.stages[0]
    assert isinstance(stage, TuneStage)
    with pytest.raises(ConfigError, match="Did you mean 'steps'"):
        stage.loop_config(10)


def test_a_recipe_from_nothing_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "nano.yaml"
    path.write_text("name: nano\nencoder: {}\nstages: []\n")
    assert not is_plan(path)
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="a recipe is a mapping"):
        is_plan(path)


def test_one_source_needs_no_list(tmp_path: Path) -> None:
    plan = read_plan(_written(tmp_path, stages=_with_stage(0, data="crowd.jsonl")))
    assert isinstance(plan.stages[0], TuneStage)
    assert [data.path for data in plan.stages[0].data] == [Path("crowd.jsonl")]

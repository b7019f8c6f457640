"""A dry run: what would be done, in numbers, and every fault at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

from headsight.errors import ConfigError
from headsight.teach.check import check_plan, empty_model, estimate_memory
from headsight.teach.lora import LoraSpec
from headsight.teach.plan import Data, TuneStage, read_plan
from headsight.teach.stages import run_plan

RECIPES = Path(__file__).parents[2] / "src" / "headsight" / "teach" / "recipes"


def _changed(tmp_path: Path, school: Any, recipe: str, model: str) -> Path:
    """A shipped recipe whose files are the school's."""
    values = yaml.safe_load((RECIPES / recipe).read_text())

    def put(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "path": str(school.labels)}

    values["skills"] = {name: put(data) for name, data in values["skills"].items()}
    for stage in values["stages"]:
        for key in ("data", "old"):
            if key in stage:
                stage[key] = [put(data) for data in stage[key]]
    values |= {"model": model, "output": str(tmp_path / "out")}
    path = tmp_path / recipe
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_recipe_of_cogvlm_at_its_real_size(
    school: Any, tmp_path: Path, cogvlm_config: dict[str, Any]
) -> None:
    folder = tmp_path / "cogvlm"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(cogvlm_config))
    plan = read_plan(_changed(tmp_path, school, "hpe-cogvlm.yaml", str(folder)))
    told, wrong = check_plan(plan)
    text = "\n".join(told)
    assert "model: 17639.7 million weights" in text
    assert "LoRA on 190 modules, 14.64 million weights" in text
    assert "merged: layer-cosine of model, pose (threshold 0.95)" in text
    assert "weights 32.86 GiB" in text
    assert all("free" in line for line in wrong)  # the disk of the machine may be small
    stage = plan.stages[0]
    assert isinstance(stage, TuneStage)
    fits = estimate_memory(empty_model(str(folder)), stage)
    assert 35 < fits.total / 2**30 < 80


def test_the_recipe_of_nano(school: Any, tmp_path: Path) -> None:
    plan = read_plan(_changed(tmp_path, school, "hpe.yaml", "nano"))
    told, wrong = check_plan(plan)
    assert wrong == []
    text = "\n".join(told)
    assert "skill pose" in text
    assert "final: 0 steps" not in text
    assert "an epoch has 10 new samples and 2 rehearsed" in text


def test_every_fault_is_found_at_once(school: Any, tmp_path: Path) -> None:
    values = yaml.safe_load(_changed(tmp_path, school, "hpe.yaml", "nano").read_text())
    values["model"] = "nnao"
    values["skills"]["pose"]["path"] = str(tmp_path / "no.jsonl")
    values["stages"][0]["data"][0]["tasks"] = ["poses"]
    values["stages"][1]["loop"] = {"stepz": 3}
    values["stages"][2]["merge"]["method"] = "layer-cosin"
    path = tmp_path / "faulty.yaml"
    path.write_text(yaml.safe_dump(values))
    _, wrong = check_plan(read_plan(path))
    said = "\n".join(wrong)
    for part in ("nnao", "no.jsonl", "'poses'", "stepz", "layer-cosin"):
        assert part in said
    assert len(wrong) == 5


def test_the_command_ends_with_all_faults(school: Any, tmp_path: Path, run: Any) -> None:
    path = _changed(tmp_path, school, "hpe.yaml", str(school.model))
    good = run("train", path, "--dry-run")
    assert good.code == 0, good.err
    assert "4 stages" in good.out
    values = yaml.safe_load(path.read_text())
    values["stages"][0]["data"] = ["nowhere.jsonl"]
    path.write_text(yaml.safe_dump(values))
    bad = run("train", path, "--dry-run")
    assert bad.code == 2
    assert "1 thing is wrong" in bad.err
    assert not (tmp_path / "out").exists()


def test_checkpointing_and_micro_batches_save_memory(school: Any) -> None:
    model = empty_model(str(school.model))

    def need(**settings: Any) -> int:
        stage = TuneStage(name="s", data=(Data(path=Path("x")),), **settings)
        return estimate_memory(model, stage).activations

    assert need(batch_size=32) == 8 * need(batch_size=32, micro_batch=4)
    assert need(gradient_checkpointing=True) < need()
    whole = estimate_memory(model, TuneStage(name="s", data=(Data(path=Path("x")),), lora=None))
    few = estimate_memory(
        model, TuneStage(name="s", data=(Data(path=Path("x")),), lora=LoraSpec(r=2))
    )
    assert whole.learning > few.learning


@pytest.fixture
def cogvlm_config() -> dict[str, Any]:
    from cogvlm_config import COGVLM

    return dict(COGVLM)


def _damaged(folder: Path, school: Any) -> Path:
    """A copy of the school's labels whose third picture is cut off."""
    shutil.copytree(school.labels.parent, folder)
    cut = folder / "2.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    return folder / "labels.jsonl"


def test_pictures_and_weights_that_are_spoilt_are_found(school: Any, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(school.model, spoilt)
    weights = load_file(spoilt / "model.safetensors")
    name = next(name for name in weights if name.endswith("down_proj.weight"))
    weights[name][0, 0] = float("nan")
    save_file(weights, spoilt / "model.safetensors", metadata={"format": "pt"})
    values = yaml.safe_load(_changed(tmp_path, school, "hpe.yaml", str(spoilt)).read_text())
    values["stages"][0]["data"][0]["path"] = str(_damaged(tmp_path / "cut", school))
    path = tmp_path / "spoilt.yaml"
    path.write_text(yaml.safe_dump(values))
    _, quick = check_plan(read_plan(path))
    assert quick == []
    _, wrong = check_plan(read_plan(path), thorough=True)
    said = "\n".join(wrong)
    assert f"{name} holds values that are not finite" in said
    assert "labels.jsonl, question" in said
    assert "cut off" in said
    assert len(wrong) == 5  # the weights, and the picture's one box and three poses


def test_faults_of_settings_that_need_the_model(school: Any, tmp_path: Path) -> None:
    values = yaml.safe_load(_changed(tmp_path, school, "hpe.yaml", str(school.model)).read_text())
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (tmp_path / "file").write_text("")

    def fault(stage: dict[str, Any], **plan: Any) -> str:
        changed = [{**values["stages"][0], **stage}, *values["stages"][1:]]
        path = tmp_path / "faulty.yaml"
        path.write_text(yaml.safe_dump({**values, "stages": changed, **plan}))
        _, [said] = check_plan(read_plan(path))
        return said

    assert "no regular expression" in fault({"lora": {"targets": ["("]}})
    assert "save names 'nothing'" in fault({"lora": {"save": ["nothing"]}})
    assert "log_every is 0" in fault({"loop": {"log_every": 0}})
    assert "file" in fault({}, output=str(tmp_path / "file" / "below"))
    assert "holds an adapter, not a model" in fault({}, model=str(adapter))


def test_nothing_is_trained_while_something_is_wrong(school: Any, tmp_path: Path) -> None:
    values = yaml.safe_load(_changed(tmp_path, school, "hpe.yaml", str(school.model)).read_text())
    values["stages"][3]["data"] = ["nowhere.jsonl"]
    path = tmp_path / "late.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="stage final: nowhere"):
        run_plan(read_plan(path), quiet=True)
    assert not (tmp_path / "out").exists()

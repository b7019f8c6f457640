"""The record of a run: what was done, to which model, in words that a file can keep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headsight.attention import HeadLab, LastQueryRow, Replace, TopK, model_fingerprint, zero
from headsight.errors import InputError
from headsight.versions import versions

Specimens = Callable[[str], Any]


def loss(out: Any) -> torch.Tensor:
    return out.logits.float().square().mean((1, 2))


def test_everything_that_was_done_stands_in_the_file(specimen: Specimens, tmp_path: Path) -> None:
    it = specimen("llama, left")
    gates = torch.ones(3, 6)
    gates[1, 2] = 0
    with HeadLab(it.model) as lab, lab.logged() as log, torch.no_grad():
        lab.capture(it.inputs, [LastQueryRow(), TopK(2)])
        with lab.editing(gates), lab.recording(TopK(1)):
            lab.run(it.inputs, generate={"max_new_tokens": 1})
        lab.run(it.inputs, ablate=[zero((0, 5), (2, 1)), Replace([(1, 0)], torch.zeros(8))])
        lab.gate_gradients(it.inputs, loss)
        lab.sweep(it.inputs, loss, heads=[(0, 0)], ablation="mean")
        log.save(tmp_path / "run.json")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["schema"] == "headsight.head_lab/1"
    assert record["model"]["fingerprint"] == model_fingerprint(it.model)
    assert (record["model"]["family"], record["model"]["attention"]) == ("llama", "sdpa")
    assert record["model"]["dtypes"] == ["float32"]
    assert record["model"]["devices"] == ["cpu"]
    assert record["model"]["parameters"] == it.model.num_parameters()
    assert record["versions"] == versions()
    assert [site["num_heads"] for site in record["heads"]] == [6, 6, 6]
    steps = record["steps"]
    names = ["capture", "editing", "recording", "run", "run", "gate_gradients", "sweep"]
    assert [step["call"] for step in steps] == names  # what they call in their turn is theirs
    assert [step["within"] for step in steps] == [[], [], [1], [1, 2], [], [], []]
    assert {step["tower"] for step in steps} == {"text"}
    assert len({step["inputs"] for step in steps if "inputs" in step}) == 1
    assert steps[0]["reduce"][1] == {"kind": "TopK", "k": 2, "name": "topk"}
    assert steps[1]["gates"]["values"] == gates.tolist()
    assert steps[3]["generate"] == {"max_new_tokens": 1}
    assert steps[4]["ablate"] == [
        {"kind": "Scale", "heads": [[0, 5], [2, 1]], "factor": 0.0},
        {
            "kind": "Replace",
            "heads": [[1, 0]],
            "values": steps[4]["ablate"][1]["values"],
        },
    ]
    assert steps[4]["ablate"][1]["values"]["values"] == [0] * 8
    assert (steps[5]["loss_fn"], steps[6]["ablation"]) == ("loss", "mean")


def test_equal_runs_have_equal_records_and_others_do_not(specimen: Specimens) -> None:
    def record(name: str, gate: float, *, other: bool = False) -> dict[str, Any]:
        it = specimen(name)
        inputs = dict(it.inputs)
        if other:
            inputs["input_ids"] = inputs["input_ids"].flip(0)
        with HeadLab(it.model) as lab, lab.logged() as log, torch.no_grad():
            lab.run(inputs, gates=torch.full((6,), gate))
        return log.to_dict()

    first = record("llama, plain", 0.5)
    assert record("llama, plain", 0.5) == first
    changed = record("llama, plain", 0.25)
    assert changed["model"] == first["model"]
    assert changed["steps"][0]["inputs"] == first["steps"][0]["inputs"]
    assert changed["steps"][0]["gates"]["hash"] != first["steps"][0]["gates"]["hash"]
    others = record("llama, plain", 0.5, other=True)
    assert others["steps"][0]["gates"] == first["steps"][0]["gates"]
    assert others["steps"][0]["inputs"] != first["steps"][0]["inputs"]


def test_what_is_done_again_is_counted(specimen: Specimens) -> None:
    it = specimen("llama, plain")
    with HeadLab(it.model) as lab, lab.logged() as log:
        for _ in range(3):
            lab.capture(it.inputs, LastQueryRow())
        lab.capture(it.inputs, TopK(1))
    assert [step["times"] for step in log.steps] == [3, 1]
    assert len(log.steps) == 2


def test_large_tensors_are_told_by_shape_and_hash(specimen: Specimens) -> None:
    it = specimen("llama, plain")
    with HeadLab(it.model) as lab, lab.logged() as log, torch.no_grad():
        lab.run(it.inputs, ablate=[Replace([(0, 0)], torch.zeros(2, 10, 8))])
        with pytest.raises(InputError, match="cannot replace"):
            lab.run(it.inputs, ablate=[Replace([(0, 0)], torch.zeros(600, 8))])
        lab.run(it.inputs)  # a call that failed leaves the log in order
    small, large = (step["ablate"][0]["values"] for step in log.steps[:2])
    assert "values" in small
    assert large["shape"] == [600, 8]
    assert "values" not in large
    assert log.steps[2]["call"] == "run"


def test_nothing_is_noted_outside(specimen: Specimens) -> None:
    it = specimen("llama, plain")
    with HeadLab(it.model) as lab:
        with lab.logged() as log, pytest.raises(InputError, match="logged already"), lab.logged():
            pass
        lab.capture(it.inputs, LastQueryRow())
        assert log.steps == []

"""What `HeadLab` sees of every family: each bit as it was, each weight as plain attention has it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_vlms import llava
from tiny_vlms.watched import Calls, in_plain_steps, padded
from torch import Tensor

from headsight.attention import HeadLab, HeadSite, LastQueryRow, Recording, Step
from headsight.models.transformers_vlm import TransformersVLM, load_transformers
from headsight.picture import Picture

PROMPT = "the red cup."
LONGER = "Where is the small blue bird on the left?"
CLOSE = 1e-6
"""Weights are fp32 on both sides; what they are made of is fp64, so that layers below add nothing."""
GREEDY = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False, "num_beams": 1}


@pytest.fixture(scope="module")
def precise(vlm: TransformersVLM) -> TransformersVLM:
    """The same model in fp64, but for Kosmos-2, whose own masks are fp32 only."""
    if vlm.model.config.model_type == "kosmos-2":
        return vlm
    return TransformersVLM(deepcopy(vlm.model).double(), vlm.processor, name="precise")


def single(vlm: TransformersVLM, picture: Picture, prompt: str = PROMPT) -> dict[str, Any]:
    inputs = dict(vlm.prepare(picture, prompt))
    if vlm.model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[2, 5, 7]])
    return inputs


def batch(vlm: TransformersVLM, picture: Picture) -> dict[str, Any]:
    """Two questions of different length, filled up on the side that the family can bear."""
    rows = [single(vlm, picture, prompt) for prompt in (PROMPT, LONGER)]
    return padded(
        rows,
        vlm.processor.tokenizer.pad_token_id,
        side=getattr(vlm.family, "padding_side", "left"),
    )


def run(vlm: TransformersVLM, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = vlm.model(**inputs).logits
    return logits


def check(step: Step, calls: Calls, sites: Sequence[HeadSite]) -> None:
    """Every call of every layer: the last row, as the lab and as plain attention have it."""
    for site, parts in zip(sites, step.by_call("last_query_row"), strict=True):
        theirs = calls[site.module]
        assert len(parts) == len(theirs) >= 1, site
        for part, row in zip(parts, theirs, strict=True):
            assert part.shape == (*row.shape[:2], 1, row.shape[2])
            assert (part[:, :, 0] - row).abs().max() < CLOSE, site


@pytest.mark.parametrize("make", [single, batch])
def test_watching_changes_no_bit(vlm: TransformersVLM, picture: Picture, make: Any) -> None:
    inputs = make(vlm, picture)
    plain = run(vlm, inputs)
    with HeadLab(vlm.model) as lab:
        for tower in lab.heads.towers:
            with lab.recording(LastQueryRow(), tower=tower):
                assert torch.equal(run(vlm, inputs), plain)
    assert torch.equal(run(vlm, inputs), plain)


@pytest.mark.parametrize("make", [single, batch])
def test_rows_are_those_of_plain_attention(
    precise: TransformersVLM, picture: Picture, make: Any
) -> None:
    """In all towers, and in each chunk of those that are called once a picture or window."""
    inputs = make(precise, picture)
    records: dict[str, Recording] = {}
    with HeadLab(precise.model) as lab, ExitStack() as stack:
        for tower in lab.heads.towers:
            records[tower] = stack.enter_context(lab.recording(LastQueryRow(), tower=tower))
        run(precise, inputs)
        table = lab.heads
    with in_plain_steps(precise.model, table) as calls:
        run(precise, inputs)
    for tower, record in records.items():
        (step,) = record.steps
        check(step, calls, table.tower(tower))


def test_a_row_of_a_batch_is_as_alone(precise: TransformersVLM, picture: Picture) -> None:
    """The shorter question, with padding around it that nothing looks at."""
    together, alone = batch(precise, picture), single(precise, picture)
    with HeadLab(precise.model) as lab:
        both = lab.capture(together, LastQueryRow())["last_query_row"][0, :, :, 0]
        one = lab.capture(alone, LastQueryRow())["last_query_row"][0, :, :, 0]
    if precise.model.config.is_encoder_decoder:
        torch.testing.assert_close(both, one, atol=CLOSE, rtol=0)
        return
    kept = together["attention_mask"][0].bool()
    assert not both[..., ~kept].any()
    # the angles of positions are fp32 in an fp64 model too, and padding shifts them
    torch.testing.assert_close(both[..., kept], one, atol=5 * CLOSE, rtol=0)


def test_writing(vlm: TransformersVLM, picture: Picture) -> None:
    """`generate` writes the same tokens while it is watched."""
    inputs = vlm.prepare(picture, PROMPT)
    plain = vlm.model.generate(**inputs, **GREEDY)
    with HeadLab(vlm.model) as lab, lab.recording(LastQueryRow()):
        assert torch.equal(lab.run(inputs, generate=GREEDY), plain)


def test_rows_while_writing(precise: TransformersVLM, picture: Picture) -> None:
    """The prefill, and each step."""
    inputs = precise.prepare(picture, PROMPT)
    with HeadLab(precise.model) as lab, lab.recording(LastQueryRow()) as record:
        written = lab.run(inputs, generate=GREEDY)
        table = lab.heads
    with in_plain_steps(precise.model, table) as calls:
        assert torch.equal(precise.model.generate(**inputs, **GREEDY), written)
    assert len(record.steps) == 3
    for i, step in enumerate(record.steps):
        now = {name: rows[i : i + 1] for name, rows in calls.items()}
        check(step, now, table.tower())


def test_a_model_saved_while_it_is_watched(tmp_path: Path) -> None:
    """Nothing of the lab is in the folder."""
    tiny = llava.llava()
    vlm = TransformersVLM(tiny.model, tiny.processor, name="tiny")
    picture = Picture(Image.linear_gradient("L").resize((32, 32)).convert("RGB"))
    with HeadLab(vlm.model) as here:
        row = here.capture(single(vlm, picture), LastQueryRow())["last_query_row"]
        vlm.model.save_pretrained(tmp_path)
    vlm.processor.save_pretrained(tmp_path)
    loaded = load_transformers(str(tmp_path), device="cpu")
    assert loaded.model.config._attn_implementation == "sdpa"
    with HeadLab(loaded.model) as there:
        assert there.heads == here.heads
        again = there.capture(single(loaded, picture), LastQueryRow())["last_query_row"]
    # the same sums in another place of memory may be taken in another order
    torch.testing.assert_close(again, row, atol=5 * CLOSE, rtol=0)

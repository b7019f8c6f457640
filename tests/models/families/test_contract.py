"""One suite that every family passes, at tiny random size with the real processor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_vlms import BUILDERS

from headsight.errors import HeadsightError, InputError
from headsight.language.answer import Answer
from headsight.models.base import VLM
from headsight.models.families import FAMILIES, find_family
from headsight.models.image_views import ImageView
from headsight.models.transformers_vlm import TransformersVLM, load_transformers
from headsight.picture import Picture

if TYPE_CHECKING:
    from tiny_vlms.tiny import Tiny

PROMPT = "the red cup."
PROMPTS = [PROMPT, "Where is the small blue bird on the left?", "it"]


def embeddings(vlm: TransformersVLM, picture: Picture) -> np.ndarray[Any, Any]:
    """What enters the decoder: one row a token of the sequence."""
    seen: list[torch.Tensor] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["inputs_embeds"][0].detach().clone())

    hook = vlm.model.get_decoder().register_forward_pre_hook(look, with_kwargs=True)
    try:
        with torch.no_grad():
            vlm.model(**vlm.prepare(picture, PROMPT))
    finally:
        hook.remove()
    return seen[0].numpy()


def painted(picture: Picture, box: np.ndarray[Any, Any]) -> Picture:
    """The picture with the pixels of one cell (those wholly in it, at least one) made white."""
    pixels = picture.to_array().copy()
    height, width = pixels.shape[:2]
    x0, y0 = np.ceil(box[:2] - 1e-6).astype(int)
    x1, y1 = np.floor(box[2:] + 1e-6).astype(int)
    part = np.s_[
        max(y0, 0) : min(max(y1, y0 + 1), height), max(x0, 0) : min(max(x1, x0 + 1), width)
    ]
    pixels[part] = 255
    return Picture(Image.fromarray(pixels))


def probes(view: ImageView, image_wh: tuple[int, int]) -> list[int]:
    """Corners, centre and two others, as far as they have a token and show the picture."""
    rows, columns = view.grid_hw
    width, height = image_wh
    cells = view.cells
    inside = (
        (view.positions >= 0)
        & (cells[:, 0] >= -1e-6)
        & (cells[:, 1] >= -1e-6)
        & (cells[:, 2] <= width + 1e-6)
        & (cells[:, 3] <= height + 1e-6)
    )
    found = np.flatnonzero(inside)
    assert len(found), "no cell of the view shows the picture"
    chosen = {found[0], found[-1], found[len(found) // 2], found[len(found) // 3]}
    chosen |= set(found) & {columns - 1, (rows - 1) * columns}
    return sorted(int(i) for i in chosen)


def beside(view: ImageView, cell: int) -> np.ndarray[Any, Any]:
    """Which cells are `cell` or its neighbours, into which resizing carries it."""
    rows, columns = np.divmod(np.arange(len(view.positions)), view.grid_hw[1])
    row, column = divmod(cell, view.grid_hw[1])
    near: np.ndarray[Any, Any] = np.maximum(abs(rows - row), abs(columns - column)) <= 1
    return near


def test_every_family_is_tried() -> None:
    assert {name.partition("/")[0] for name in BUILDERS} == set(FAMILIES)


def test_families_are_told_apart() -> None:
    types = [t for family in FAMILIES.values() for t in family.model_types]
    assert len(types) == len(set(types))
    assert find_family("gpt2") is None


def test_every_family_has_a_dialect() -> None:
    from headsight.language.dialects import DIALECTS

    assert {family.dialect for family in FAMILIES.values()} <= set(DIALECTS)


def test_the_model_finds_its_family(vlm: TransformersVLM, case: str) -> None:
    assert isinstance(vlm, VLM)
    assert vlm.family is FAMILIES[case.partition("/")[0]]


def test_painting_a_cell_moves_its_token(
    vlm: TransformersVLM, tiny: Tiny, picture: Picture
) -> None:
    if not tiny.has_views:
        with pytest.raises(InputError):
            vlm.views(picture, PROMPT)
        return
    before = embeddings(vlm, picture)
    for view in vlm.views(picture, PROMPT):
        for cell in probes(view, picture.image_wh):
            after = embeddings(vlm, painted(picture, view.cells[cell]))
            moved = np.linalg.norm(after - before, axis=1)
            moved_here = np.where(view.positions >= 0, moved[view.positions], 0)
            assert moved_here.argmax() == cell, (view, cell)
            assert moved_here[~beside(view, cell)].max(initial=0) < 0.1 * moved_here[cell]
            assert moved[~np.isin(np.arange(len(moved)), image_tokens(vlm, picture))].max() == 0


def image_tokens(vlm: TransformersVLM, picture: Picture) -> list[int]:
    """Every place that any view speaks of."""
    views = vlm.views(picture, PROMPT)
    return [int(p) for view in views for p in view.positions if p >= 0]


def test_no_token_has_two_places(vlm: TransformersVLM, tiny: Tiny, picture: Picture) -> None:
    if tiny.has_views:
        places = image_tokens(vlm, picture)
        assert len(places) == len(set(places))
        assert max(places) < vlm.prepare(picture, PROMPT)["input_ids"].shape[1]


def test_words_are_found(vlm: TransformersVLM, picture: Picture) -> None:
    tokenizer = vlm.processor.tokenizer
    ids = vlm.prepare(picture, PROMPT)["input_ids"][0]
    for words in ("the red cup.", "red", "the red", "cup."):
        first, after = vlm.text_span(picture, PROMPT, words)
        assert tokenizer.decode(ids[first:after]).strip() == words
    with pytest.raises(InputError, match="not in the prompt"):
        vlm.text_span(picture, PROMPT, "a blue cup")
    with pytest.raises(InputError, match="not in the prompt"):
        vlm.text_span(picture, PROMPT, " ")


def test_a_batch_is_as_single_questions(vlm: TransformersVLM, picture: Picture) -> None:
    together = vlm.answer(picture, PROMPTS, max_new_tokens=6)
    alone = [vlm.answer(picture, [prompt], max_new_tokens=6)[0] for prompt in PROMPTS]
    assert [reply.prompt for reply in together] == PROMPTS
    for one, other in zip(together, alone, strict=True):
        assert one.tokens == other.tokens
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert "".join(one.tokens) == one.text
        assert len(one.tokens) == len(one.logprobs) <= 6
        assert all(value <= 0 for value in one.logprobs)
        assert one.ended == (len(one.tokens) < 6)
    assert vlm.answer(picture, []) == []


def test_logprobs_are_the_models_own(vlm: TransformersVLM, picture: Picture) -> None:
    """The first token's, from a plain forward call."""
    if vlm.model.config.is_encoder_decoder:
        return
    with torch.no_grad():
        logits = vlm.model(**vlm.prepare(picture, PROMPT)).logits[0, -1].float()
    (reply,) = vlm.answer(picture, [PROMPT], max_new_tokens=1)
    if reply.tokens:
        assert reply.logprobs[0] == pytest.approx(float(logits.log_softmax(-1).max()), abs=1e-5)


def test_what_is_written_stands_behind_the_question(vlm: TransformersVLM, picture: Picture) -> None:
    """What was read before it stays, where the family reads in order."""
    asked, longer = vlm.prepare(picture, PROMPT), vlm.prepare(picture, PROMPT, written="a cup")
    ids = vlm.processor.tokenizer.encode("a cup", add_special_tokens=False)
    question = asked["input_ids"][0].tolist()
    assert longer["input_ids"][0].tolist() == question + ids
    assert {name for name in asked if asked[name].shape == asked["input_ids"].shape} == {
        name for name in longer if longer[name].shape == longer["input_ids"].shape
    }
    if vlm.model.config.is_encoder_decoder or vlm.family.model_types[0] == "paligemma":
        return
    with torch.no_grad():
        before = vlm.model(**asked).logits[0, -1]
        after = vlm.model(**longer).logits[0, len(question) - 1]
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)  # fp32, another length


def test_the_reading_is_typed(vlm: TransformersVLM, picture: Picture) -> None:
    (reply,) = vlm.answer(picture, [PROMPT], max_new_tokens=6)
    answer = vlm.read(picture, reply)
    assert isinstance(answer, Answer)
    assert answer.text == reply.text


def test_save_and_load(vlm: TransformersVLM, picture: Picture, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    vlm.model.save_pretrained(folder)
    vlm.processor.save_pretrained(folder)
    loaded = load_transformers(str(folder), device="cpu")
    assert loaded.name == "model"
    assert type(loaded.model) is type(vlm.model)
    assert type(loaded.processor).__name__ == type(vlm.processor).__name__
    for name, tensor in vlm.prepare(picture, PROMPT).items():
        torch.testing.assert_close(loaded.prepare(picture, PROMPT)[name], tensor)
    (there,) = loaded.answer(picture, [PROMPT], max_new_tokens=4)
    (here,) = vlm.answer(picture, [PROMPT], max_new_tokens=4)
    assert there.tokens == here.tokens
    # the same sums in another place of memory may be taken in another order
    assert there.logprobs == pytest.approx(here.logprobs, abs=1e-4)


@pytest.mark.parametrize("image_wh", [(1, 1), (5, 3), (3, 40)])
def test_pictures_smaller_than_a_patch(
    vlm: TransformersVLM, tiny: Tiny, image_wh: tuple[int, int]
) -> None:
    """They are blown up, or refused in words; never answered about wrongly."""
    picture = Picture(Image.new("RGB", image_wh, "red"))
    try:
        vlm.prepare(picture, PROMPT)
    except InputError:
        with pytest.raises(InputError, match=f"{image_wh[0]} x {image_wh[1]}"):
            vlm.answer(picture, [PROMPT])
        return
    (reply,) = vlm.answer(picture, [PROMPT], max_new_tokens=1)
    assert reply.prompt == PROMPT
    if tiny.has_views:
        for view in vlm.views(picture, PROMPT):
            assert np.isfinite(view.cells).all()


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_prompt(vlm: TransformersVLM, picture: Picture, prompt: str) -> None:
    with pytest.raises(InputError, match="prompt is empty"):
        vlm.answer(picture, [PROMPT, prompt])


def test_a_line_of_pixels(vlm: TransformersVLM) -> None:
    with pytest.raises(HeadsightError, match="1000 x 1"):
        vlm.answer(Picture(Image.new("RGB", (1000, 1))), [PROMPT])


def test_size_as_seen(vlm: TransformersVLM, picture: Picture) -> None:
    assert min(vlm.seen_wh(picture, PROMPT)) > 0

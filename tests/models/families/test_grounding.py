"""Where the tokens of our own models look: CogVLM's squashed square, nano's kept cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_vlms.tiny import build, tokenizer

import headsight
from headsight.attention.lab import HeadLab
from headsight.attention.reducers import Rows
from headsight.errors import InputError
from headsight.models.families.grounding import GROUNDING, Grounding
from headsight.models.grounding import GroundingProcessor, GroundingVLM, GroundingVLMConfig
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.image_views import ImageView, RegionView
from headsight.picture import Picture, open_picture
from headsight.tasks.looking import Question, look

PROMPT = "Where is the red cup?"
EVA = {
    "encoder": "eva", "image_size": 56, "patch_size": 14, "hidden_size": 32, "num_heads": 2,
    "num_hidden_layers": 1, "intermediate_size": 24,
}  # fmt: skip
HEADGRID = {"encoder": "headgrid", "image_size": 128, "neck_channels": 32, "hidden_size": 32}
"""8 x 8 cells."""


def tiny(vision: dict[str, Any]) -> tuple[GroundingVLM, GroundingProcessor]:
    words = tokenizer([])
    config = GroundingVLMConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vision_config=vision,
    )
    return build(lambda: GroundingVLM(config)), GroundingProcessor.for_model(config, words)


def noise(image_wh: tuple[int, int]) -> Picture:
    width, height = image_wh
    pixels = np.random.default_rng(0).integers(96, 160, (height, width, 3), dtype=np.uint8)
    return Picture(Image.fromarray(pixels))


def painted(picture: Picture, cell: np.ndarray[Any, Any]) -> Picture:
    pixels = picture.to_array().copy()
    x0, y0, x1, y1 = cell.round().astype(int)
    pixels[y0:y1, x0:x1] = 255 * (pixels[y0:y1, x0:x1] < 128)
    return Picture(Image.fromarray(pixels))


def embeddings(model: GroundingVLM, inputs: dict[str, Any]) -> np.ndarray[Any, Any]:
    """What enters the first layer of the decoder, one row a token."""
    seen: list[torch.Tensor] = []
    hook = model.model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    return seen[0][0].numpy()


@pytest.mark.parametrize("vision", [EVA, {**HEADGRID, "keep_tokens": 0}], ids=["cogvlm", "nano"])
def test_painting_a_cell_moves_its_token(vision: dict[str, Any]) -> None:
    model, processor = tiny(vision)
    picture = noise((128, 64))
    inputs = GROUNDING.inputs(processor, picture, PROMPT)
    (view,) = GROUNDING.views(model.config, processor, inputs, picture.image_wh)
    rows, columns = view.grid_hw
    is_cogvlm = vision["encoder"] == "eva"
    assert rows == columns == (4 if is_cogvlm else 8)
    assert view.region == (0, 0, 128, 64 if is_cogvlm else 128)
    assert view.kind == ("whole" if is_cogvlm else "padded")
    before = embeddings(model, inputs)
    reach = 0 if is_cogvlm else 1  # random convolutions see as much of the next cell
    for cell in (0, 3, 6, 9, 12, 15) if is_cogvlm else (0, 7, 12, 24, 31):
        inputs = GROUNDING.inputs(processor, painted(picture, view.cells[cell]), PROMPT)
        moved = np.linalg.norm(embeddings(model, inputs) - before, axis=1)
        most = int(moved[view.positions].argmax())
        assert abs(most // columns - cell // columns) <= reach
        assert abs(most % columns - cell % columns) <= reach
        assert moved[np.setdiff1d(np.arange(len(moved)), view.positions)].max() == 0


def test_kept_cells_are_the_tokens_of_the_whole_grid() -> None:
    all_cells, _ = tiny({**HEADGRID, "keep_tokens": 0})
    some_cells, processor = tiny({**HEADGRID, "keep_tokens": 20})
    some_cells.load_state_dict(all_cells.state_dict())
    picture = noise((60, 90))
    inputs = GROUNDING.inputs(processor, picture, PROMPT)
    family = Grounding(some_cells)
    (view,) = family.views(some_cells.config, processor, inputs, picture.image_wh)
    has_token = view.positions >= 0
    assert has_token.sum() == 20
    assert view.positions[has_token].tolist() == list(range(2, 22))  # behind <s> and the border
    assert view.region == pytest.approx((0, 0, 60 * 128 / 85, 90))
    with torch.no_grad():
        pixels, shares = inputs["pixel_values"], inputs["content_wh_rel"]
        whole = all_cells.model.encode_pictures(pixels, shares)[0]
        kept = some_cells.model.encode_pictures(pixels, shares)[0]
    torch.testing.assert_close(kept, whole[torch.from_numpy(has_token)], rtol=0, atol=0)


def test_a_token_holds_the_box_that_is_read_in_its_cell() -> None:
    model, processor = tiny({**HEADGRID, "keep_tokens": 20})
    vlm = GroundingAdapter(model, processor, name="tiny")
    picture = noise((60, 90))
    view, (cells,) = vlm.regions(picture, PROMPT), vlm.views(picture, PROMPT)
    assert view is not None
    assert view.kind == "regions"
    assert view.region == (0, 0, 60, 90)
    assert view.grid_hw == (96, 64)
    assert view.positions.tolist() == cells.positions[cells.positions >= 0].tolist()
    inputs = GROUNDING.inputs(processor, picture, PROMPT)
    encoder = model.model.vision.encoder
    with torch.no_grad():
        reading = encoder.read(encoder.features(inputs["pixel_values"]))
    of_cells = reading.boxes[0].reshape(64, 4).numpy()[cells.positions >= 0]
    # the square is 90 px of the picture wide, as near as its pixels allow
    np.testing.assert_allclose(view.regions, of_cells * 90, rtol=0.01, atol=0.7)


def test_attention_on_a_token_lies_on_its_box_alone() -> None:
    """A mask of attention that leaves one image token open: all of its map is that box."""
    model, processor = tiny({**HEADGRID, "keep_tokens": 20})
    vlm = GroundingAdapter(model, processor, name="tiny")
    picture = noise((90, 60))
    before = look(vlm, picture, "the cup", Question(query="last_prompt"))
    view = before.view
    assert isinstance(view, RegionView)
    for token in (0, 7, 19):
        rows = np.zeros(20)
        rows[token] = 0.25
        canvas = view.lay(rows)
        assert canvas.sum() == pytest.approx(0.25)
        x0, y0, x1, y1 = view.regions[token].clip(0, [90, 60, 90, 60])
        lit = view.cells.reshape(*view.grid_hw, 4)[canvas > 0]
        cell = 90 / 96
        assert lit[:, 0].min() >= x0 - cell
        assert lit[:, 1].min() >= y0 - cell
        assert lit[:, 2].max() <= x1 + cell
        assert lit[:, 3].max() <= y1 + cell
    # attention on the picture is what it is on the tokens
    with HeadLab(model) as lab:
        columns = tuple(view.positions.tolist())
        kept = lab.capture(vlm.prepare(picture, "the cup."), Rows((-1,), columns=columns))
    on_tokens = kept["rows"][0, :, :, 0].sum(-1).double().numpy()
    np.testing.assert_allclose(before.maps.sum((-2, -1)), on_tokens, atol=1e-6)


def test_cells_of_cogvlm_hold_no_boxes() -> None:
    model, processor = tiny(EVA)
    vlm = GroundingAdapter(model, processor, name="tiny")
    picture = noise((64, 64))
    assert vlm.regions(picture, PROMPT) is None
    assert isinstance(look(vlm, picture, "the cup").view, ImageView)


def test_an_encoded_picture_gives_the_same_scores() -> None:
    model, processor = tiny({**HEADGRID, "keep_tokens": 20})
    vlm = GroundingAdapter(model, processor, name="tiny")
    picture = noise((60, 90))
    with torch.no_grad():
        whole = model(**GROUNDING.inputs(processor, picture, PROMPT)).logits
        torch.testing.assert_close(
            model(**vlm.prepare(picture, PROMPT)).logits, whole, atol=1e-5, rtol=1e-5
        )
        more = model(**vlm.prepare(picture, PROMPT, written="[[")).logits[:, : whole.shape[1]]
        torch.testing.assert_close(more, whole, atol=1e-5, rtol=1e-5)


def test_each_region_needs_a_token() -> None:
    with pytest.raises(InputError, match="2 positions were given for 1 regions"):
        RegionView(np.arange(2), np.zeros((1, 4)), (10, 10))


def test_kept_cells_need_the_model() -> None:
    model, processor = tiny({**HEADGRID, "keep_tokens": 20})
    inputs = GROUNDING.inputs(processor, noise((64, 64)), PROMPT)
    with pytest.raises(InputError, match=r"20 cells.*Grounding\(model\)"):
        GROUNDING.views(model.config, processor, inputs, (64, 64))


def test_cogvlm_at_its_own_size() -> None:
    vision = {**EVA, "image_size": 490}
    config = GroundingVLMConfig(vocab_size=107, vision_config=vision)
    processor = GroundingProcessor.for_model(config, tokenizer([]))
    inputs = GROUNDING.inputs(processor, noise((70, 35)), PROMPT)
    (view,) = GROUNDING.views(config, processor, inputs, (70, 35))
    assert view.grid_hw == (35, 35)
    assert view.positions.tolist() == list(range(2, 1227))
    assert view.cells[36].tolist() == pytest.approx([2, 1, 4, 2])


def test_words_are_found_and_an_empty_prompt_refused() -> None:
    for template in ("base", "chat", "vqa"):
        _, processor = tiny(EVA)
        processor.template = template
        inputs = GROUNDING.inputs(processor, noise((20, 20)), PROMPT)
        first, after = GROUNDING.text_span(processor, inputs, PROMPT, "red cup")
        assert processor.tokenizer.decode(inputs["input_ids"][0, first:after]) == "red cup"
    with pytest.raises(InputError, match="prompt is empty"):
        GROUNDING.inputs(processor, noise((20, 20)), " ")
    with pytest.raises(InputError, match="300 x 1"):
        GROUNDING.inputs(processor, noise((300, 1)), PROMPT)


def test_the_shipped_model_reads_a_head_where_its_token_looks() -> None:
    grounder = headsight.load()
    vlm: Any = grounder.vlm
    picture = open_picture(Path(headsight.__file__).parent / "samples" / "astronaut.jpg")
    family = replace(GROUNDING, model=vlm.model)
    inputs = family.inputs(vlm.processor, picture, PROMPT)
    (view,) = family.views(vlm.model.config, vlm.processor, inputs, picture.image_wh)
    assert view.grid_hw == (24, 24)
    assert (view.positions >= 0).sum() == vlm.model.model.slots_per_image - 2
    encoder = vlm.model.model.vision.encoder
    with torch.no_grad():
        reading = encoder.read(encoder.features(inputs["pixel_values"]))
    cell = int(reading.center_logits.argmax())
    (head,) = grounder.heads(picture).boxes
    x, y = (head[:2] + head[2:]) / 2
    x0, y0, x1, y1 = view.cells[cell]
    assert view.positions[cell] >= 0
    assert x0 <= x <= x1
    assert y0 <= y <= y1

"""Views at the real sizes of the families: known answers for a picture of 640 x 480."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DeepseekVLConfig, Idefics3Config, Idefics3Processor, InternVLConfig
from transformers.models.deepseek_vl.image_processing_pil_deepseek_vl import (
    DeepseekVLImageProcessorPil,
)
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from headsight.errors import CheckpointError, InputError
from headsight.models.families.deepseek_vl import DEEPSEEK_VL
from headsight.models.families.internvl import INTERNVL
from headsight.models.families.mistral3 import MISTRAL3, pixtral_views
from headsight.models.families.molmo2 import MOLMO2
from headsight.models.families.smolvlm import IDEFICS3
from headsight.models.families.stills import molmo2_image_processor, processor_class
from headsight.models.families.tiles import tiled_views
from headsight.picture import Picture

sys.path.insert(0, str(Path(__file__).parent))
from tiny_vlms import mistral3, smolvlm
from tiny_vlms.tiny import tokenizer

WH = (640, 480)
PICTURE = Picture(Image.new("RGB", WH))


class Parts:
    """Stands for a processor of which only some parts are asked for."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


def test_internvl_has_twelve_tiles_and_a_thumbnail_last() -> None:
    config = InternVLConfig()
    image_processor = GotOcr2ImageProcessorPil(size={"height": 448, "width": 448})
    ids = torch.full((1, 13 * 256), config.image_token_id)
    inputs = {"input_ids": ids, "pixel_values": torch.zeros(13, 1)}
    views = INTERNVL.views(config, Parts(image_processor=image_processor), inputs, WH)
    assert [view.kind for view in views] == ["whole", *["tile"] * 12]
    assert all(view.grid_hw == (16, 16) for view in views)
    assert views[0].positions[0] == 12 * 256
    assert views[0].region == (0, 0, 640, 480)
    assert views[1].region == (0, 0, 160, 160)  # four columns, three rows
    assert views[12].region == (480, 320, 640, 480)
    with pytest.raises(InputError, match=r"256 image tokens, but 3 x 4 tiles"):
        INTERNVL.views(
            config,
            Parts(image_processor=image_processor),
            {**inputs, "input_ids": ids[:, :256]},
            WH,
        )


@pytest.mark.parametrize("tags", [[], smolvlm.TAGS], ids=["spelled", "special"])
def test_idefics3_has_three_rows_of_four_tiles(tags: list[str]) -> None:
    words = tokenizer([*smolvlm.SPECIALS, *tags])
    processor = Idefics3Processor(Idefics3ImageProcessorPil(), words)
    vision = {"image_size": 364, "patch_size": 14}
    config = Idefics3Config(vision_config=vision, image_token_id=processor.image_token_id)
    inputs = IDEFICS3.inputs(processor, PICTURE, "a cup")
    views = IDEFICS3.views(config, processor, inputs, WH)
    assert len(views) == 13
    assert all(view.grid_hw == (13, 13) for view in views)
    assert views[5].region == (0, 160, 160, 320)
    places = np.concatenate([views[-1].positions, views[0].positions])
    assert (np.diff(places) > 0).all()


def test_deepseek_vl_lies_in_the_middle_of_a_square() -> None:
    config = DeepseekVLConfig(vision_config={"image_size": 384, "patch_size": 16})
    inputs = {"input_ids": torch.full((1, 576), config.image_token_id)}
    processor = Parts(image_processor=DeepseekVLImageProcessorPil())
    (view,) = DEEPSEEK_VL.views(config, processor, inputs, WH)
    assert (view.grid_hw, view.region, view.kind) == ((24, 24), (0, -80, 640, 560), "padded")
    (view,) = DEEPSEEK_VL.views(config, processor, inputs, (480, 640))
    assert view.region == (-80, 0, 560, 640)
    (view,) = DEEPSEEK_VL.views(config, processor, inputs, (384, 384))
    assert (view.region, view.kind) == ((0, 0, 384, 384), "whole")


def test_molmo2_reaches_beyond_the_picture_by_half_a_cell() -> None:
    """27 patches a side are pooled by two: 14 cells, of which the last is half empty."""
    image_processor = molmo2_image_processor()()
    grids = image_processor.preprocess([PICTURE.image], return_tensors="pt")["image_grids"]
    low_h, low_w, high_h, high_w = grids[0].tolist()
    count = low_h * low_w + high_h * high_w
    config = Parts(image_token_id=9, model_type="molmo2")
    inputs = {"input_ids": torch.full((1, count), 9), "image_grids": grids}
    low, high = MOLMO2.views(config, Parts(image_processor=image_processor), inputs, WH)
    assert low.grid_hw == (low_h, low_w) == (14, 14)
    assert low.region == pytest.approx((0, 0, 640 * 28 / 27, 480 * 28 / 27))
    assert low.kind == "padded"
    assert high.grid_hw == (high_h, high_w)
    assert high.positions.tolist() == list(range(196, count))


def test_molmo2_without_torchvision_resizes_and_normalises() -> None:
    """Halving 2 x 2 squares of one colour without antialiasing keeps the colours."""
    squares = np.random.default_rng(0).integers(0, 256, (378, 378, 3), dtype=np.uint8)
    image = Image.fromarray(squares.repeat(2, 0).repeat(2, 1))
    made = molmo2_image_processor()().preprocess([image], return_tensors="pt")
    patch = made["pixel_values"][0, 0].reshape(14, 14, 3)
    expected = squares[:14, :14] / 127.5 - 1
    np.testing.assert_allclose(patch.numpy(), expected, rtol=0, atol=1e-5)


def test_pixtral_behind_llava() -> None:
    """Its row breaks are no image tokens; one token a patch, 7 x 5 of 8 px."""
    tiny = mistral3.pixtral()
    picture = Picture(Image.new("RGB", (50, 40)))
    inputs = MISTRAL3.inputs(tiny.processor, picture, "a cup")
    (view,) = pixtral_views(tiny.model.config, tiny.processor, inputs, picture.image_wh)
    assert view.grid_hw == (5, 7)
    assert MISTRAL3.seen_wh(tiny.model.config, tiny.processor, inputs, (50, 40)) == (56, 40)
    assert np.diff(view.positions)[6] == 2
    assert view.region == (0, 0, 50, 40)


def test_one_token_is_refused() -> None:
    processor = mistral3.mistral3().processor
    with pytest.raises(InputError, match="9 x 3 px, but this model needs more than one cell"):
        MISTRAL3.inputs(processor, Picture(Image.new("RGB", (9, 3))), "a cup")


def test_tiles_of_nothing_are_the_whole() -> None:
    (view,) = tiled_views(np.arange(4), (2, 2), (0, 0), WH)
    assert (view.kind, view.region) == ("whole", (0, 0, 640, 480))


def test_an_unknown_processor() -> None:
    with pytest.raises(CheckpointError, match="'NoSuchProcessor'"):
        processor_class("NoSuchProcessor")

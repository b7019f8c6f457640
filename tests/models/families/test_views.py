"""Views at the real sizes of LLaVA, Qwen-VL, PaliGemma and Gemma 3: known answers, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    Gemma3Config,
    LlavaConfig,
    LlavaNextConfig,
    LlavaOnevisionConfig,
    PaliGemmaConfig,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from headsight.errors import InputError
from headsight.models.families.family import Inputs
from headsight.models.families.gemma3 import GEMMA3
from headsight.models.families.llava import LLAVA, square_region
from headsight.models.families.llava_next import LLAVA_NEXT, LLAVA_ONEVISION
from headsight.models.families.paligemma import PALIGEMMA
from headsight.models.families.qwen_vl import QWEN2_5_VL, QWEN3_VL
from headsight.models.families.unknown import UnknownFamily

WH = (640, 480)


class Parts:
    """Stands for a processor, or a config, of which only some parts are asked for."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


def image_tokens(config: Any, count: int, **more: Any) -> Inputs:
    """Two words, then so many image tokens, then a word."""
    ids = [1, 1, *[config.image_token_id] * count, 1]
    return {"input_ids": torch.tensor([ids]), **more}


def llava_processor(**settings: Any) -> Parts:
    square = {"height": 336, "width": 336}
    settings = {"size": {"shortest_edge": 336}, "crop_size": square, **settings}
    return Parts(image_processor=LlavaImageProcessorPil(**settings))


def box(view: Any) -> tuple[float, ...]:
    """Columns 6 to 11 and rows 6 to 14 of a grid of 24 x 24, the example of the paper's spec."""
    cells = view.cells.reshape(24, 24, 4)[6:15, 6:12].reshape(-1, 4)
    return (*cells[:, :2].min(0), *cells[:, 2:].max(0))


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        ({"do_pad": True}, "padded", (160, 80, 320, 320)),
        # the short side fills the crop: 480 px for 24 cells, 80 px cut off left and right
        ({}, "crop", (200, 120, 320, 300)),
        (
            {"do_center_crop": False, "size": {"height": 336, "width": 336}},
            "whole",
            (160, 120, 320, 300),
        ),
    ],
)
def test_llava(settings: dict[str, Any], kind: str, expected: tuple[int, ...]) -> None:
    config = LlavaConfig()
    inputs = image_tokens(config, 576, pixel_values=torch.zeros(1, 3, 336, 336))
    (view,) = LLAVA.views(config, llava_processor(**settings), inputs, WH)
    assert (view.grid_hw, view.kind) == ((24, 24), kind)
    assert view.positions.tolist() == list(range(2, 578))
    # 640 x 480 becomes 448 x 336, a scale without rounding
    assert box(view) == pytest.approx(expected)


def test_a_crop_larger_than_the_picture_brings_a_border() -> None:
    processor = LlavaImageProcessorPil(do_resize=False, crop_size={"height": 336, "width": 336})
    region, kind = square_region(processor, (300, 336))
    assert (region, kind) == ((-18, 0, 318, 336), "padded")


def test_llava_next_has_a_base_and_an_unpadded_grid() -> None:
    config = LlavaNextConfig()
    inputs = image_tokens(config, 2340, pixel_values=torch.zeros(1, 5, 3, 336, 336))
    base, tiles = LLAVA_NEXT.views(config, Parts(), inputs, WH)
    assert (base.grid_hw, base.region, base.kind) == ((24, 24), (0, 0, 640, 480), "whole")
    assert base.positions.tolist() == list(range(2, 578))
    assert (tiles.grid_hw, tiles.kind) == ((36, 48), "tile")
    rows = tiles.positions.reshape(36, 48)
    assert rows[0, 0] == 578
    assert rows[1, 0] - rows[0, -1] == 2  # a new line between them
    assert rows[-1, -1] == 2 + 2340 - 2
    # 672 x 504 of the canvas of 672 x 672: 6 of 48 rows of padding on each side
    assert tiles.region == pytest.approx((0, 0, 640, 480))


def test_llava_onevision_is_off_by_half_of_its_gap() -> None:
    """27 patches of 14 px leave 6 of 384 px of each tile unseen."""
    config = LlavaOnevisionConfig()
    count = 729 + 40 * (54 + 1)
    inputs = image_tokens(config, count, pixel_values=torch.zeros(1, 5, 3, 384, 384))
    base, tiles = LLAVA_ONEVISION.views(config, Parts(), inputs, WH)
    assert base.grid_hw == (27, 27)
    assert base.region == pytest.approx((0, 0, 640 * 378 / 384, 480 * 378 / 384))
    # 768 x 576 of 768 x 768, whose 54 rows are cut by (54 - 40) // 2 = 7 on each side
    assert tiles.grid_hw == (40, 54)
    # canvas px: x from -3 to 765, y from 7 * 768 / 54 - 3 - 96 of padding; then 640 / 768
    top = (7 * 768 / 54 - 99) * 640 / 768
    assert tiles.region == pytest.approx((-2.5, top, 637.5, top + 40 * 768 / 54 * 640 / 768))


def test_llava_next_with_too_few_tokens() -> None:
    config = LlavaNextConfig()
    inputs = image_tokens(config, 2000, pixel_values=torch.zeros(1, 5, 3, 336, 336))
    with pytest.raises(InputError, match=r"2000 image tokens, but .* need 2340"):
        LLAVA_NEXT.views(config, Parts(), inputs, WH)


def test_qwen_counts_merged_patches() -> None:
    """480 x 640 is resized to 476 x 644: 34 x 46 patches of 14 px, merged two by two."""
    config = Qwen2_5_VLConfig()
    grid = torch.tensor([[1, 34, 46]])
    inputs = image_tokens(config, 17 * 23, image_grid_thw=grid)
    (view,) = QWEN2_5_VL.views(config, Parts(), inputs, WH)
    assert (view.grid_hw, view.region) == ((17, 23), (0, 0, 640, 480))
    assert QWEN2_5_VL.seen_wh(config, Parts(), inputs, WH) == (644, 476)
    assert QWEN3_VL.seen_wh(Qwen3VLConfig(), Parts(), inputs, WH) == (736, 544)  # of 16 px


def test_paligemma_has_a_square() -> None:
    config = PaliGemmaConfig()
    inputs = image_tokens(config, 256, pixel_values=torch.zeros(1, 3, 224, 224))
    (view,) = PALIGEMMA.views(config, Parts(), inputs, WH)
    assert (view.grid_hw, view.region, view.kind) == ((16, 16), (0, 0, 640, 480), "whole")
    assert PALIGEMMA.seen_wh(config, Parts(), inputs, WH) == (224, 224)


def test_gemma3_pools_and_scans() -> None:
    """A picture of 1000 x 400 has round(2.5) = 3 crops of ceil(1000 / 3) = 334 px, less 2."""
    config = Gemma3Config()
    inputs = image_tokens(config, 4 * 256, pixel_values=torch.zeros(4, 3, 896, 896))
    views = GEMMA3.views(config, Parts(), inputs, (1000, 400))
    assert all(view.grid_hw == (16, 16) for view in views)
    assert [view.region for view in views] == [
        (0, 0, 1000, 400),
        (0, 0, 334, 400),
        (334, 0, 668, 400),
        (668, 0, 1000, 400),
    ]
    assert [view.kind for view in views] == ["whole", "tile", "tile", "tile"]
    assert views[3].positions[-1] == 2 + 1023
    tall = GEMMA3.views(config, Parts(), inputs, (400, 1000))
    assert tall[2].region == (0, 334, 400, 668)


def test_a_wrong_number_of_tokens() -> None:
    config = PaliGemmaConfig()
    inputs = image_tokens(config, 255, pixel_values=torch.zeros(1, 3, 224, 224))
    with pytest.raises(InputError, match=r"255 positions .* grid of 16 x 16"):
        PALIGEMMA.views(config, Parts(), inputs, WH)


@pytest.mark.parametrize("field", ["image_token_id", "image_token_index"])
def test_an_unknown_model_needs_a_grid(field: str) -> None:
    config = Parts(model_type="newest", **{field: 9})
    inputs = {"input_ids": torch.tensor([[1, 9, 9, 9, 9, 9, 9, 1]])}
    (view,) = UnknownFamily((2, 3)).views(config, Parts(), inputs, WH)
    assert (view.grid_hw, view.region) == ((2, 3), (0, 0, 640, 480))
    np.testing.assert_array_equal(view.positions, range(1, 7))
    with pytest.raises(InputError, match=r"'newest' is not known.*image_grid_hw=\(rows, columns\)"):
        UnknownFamily().views(config, Parts(), inputs, WH)
    with pytest.raises(InputError, match=r"2 x 2 = 4 cells, but the sequence has 6"):
        UnknownFamily((2, 2)).views(config, Parts(), inputs, WH)


def test_a_model_without_image_tokens() -> None:
    config = Parts(model_type="newest")
    inputs = {"input_ids": torch.tensor([[1, 2]])}
    with pytest.raises(InputError, match="none of image_token_id, image_token_index"):
        UnknownFamily((1, 2)).views(config, Parts(), inputs, WH)
    config = Parts(model_type="newest", image_token_id=9)
    with pytest.raises(InputError, match="No token 9"):
        UnknownFamily((1, 2)).views(config, Parts(), inputs, WH)

"""nano's encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headsight.errors import ConfigError
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.headgrid import (
    HeadGrid,
    HeadGridConfig,
    HeadReading,
    fourier_features,
    local_maxima,
)


@pytest.fixture(scope="module")
def encoder() -> HeadGrid:
    torch.manual_seed(0)
    return HeadGrid(
        {"image_size": 128, "neck_channels": 16, "hidden_size": 8, "keep_tokens": 0}
    ).eval()


def test_shapes(encoder: HeadGrid) -> None:
    tokens = encoder(torch.zeros(2, 3, 128, 128))
    assert tokens.shape == (2, 64, 8)
    assert encoder.grid_hw == (8, 8)
    assert encoder.num_tokens == 64


def test_config_refuses_a_size_the_grid_does_not_divide() -> None:
    with pytest.raises(ConfigError, match="multiple of 64"):
        HeadGridConfig(image_size=100)


def test_local_maxima_keeps_one_cell_a_hill() -> None:
    heat = torch.zeros(1, 5, 5)
    heat[0, 1, 1], heat[0, 1, 2], heat[0, 4, 4] = 0.9, 0.5, 0.3
    peaks = local_maxima(heat) & (heat > 0)
    assert torch.nonzero(peaks[0]).tolist() == [[1, 1], [4, 4]]


def test_fourier_features_tell_every_thousandth_apart() -> None:
    """The nearest neighbour of each of the 1000 values is itself, and similarity falls with distance."""
    features = fourier_features(torch.arange(1000) / 1000)
    likeness = features @ features.T
    assert (likeness.argmax(-1) == torch.arange(1000)).all()
    middle = likeness[500]
    assert middle[500] > middle[502] > middle[540]


def test_the_reading_reaches_the_token_of_its_peak_only(encoder: HeadGrid) -> None:
    def reading(x: float) -> HeadReading:
        logits = torch.full((1, 8, 8), -9.0)
        logits[0, 2, 3] = 4.0
        boxes = torch.zeros(1, 8, 8, 4)
        boxes[0, 2, 3] = torch.tensor([x, 0.2, x + 0.3, 0.5])
        sixd = torch.tensor([1.0, 0, 0, 0, 1, 0]).expand(1, 8, 8, 6)
        return HeadReading(logits, boxes, sixd, torch.zeros(1, 8, 8, 37))

    features = torch.zeros(1, 16, 8, 8)
    content = torch.ones(1, 2)
    with torch.no_grad():
        change = encoder.tokens(features, reading(0.3), content) - encoder.tokens(
            features, reading(0.4), content
        )
    moved = torch.nonzero(change[0].abs().sum(-1)).flatten().tolist()
    assert moved == [2 * 8 + 3]


def test_numbers_are_relative_to_the_picture_not_to_the_square(encoder: HeadGrid) -> None:
    """The same place in half a square reads as twice the thousandths."""

    def read(x2: float, share: float) -> torch.Tensor:
        logits = torch.full((1, 8, 8), 4.0)
        boxes = torch.tensor([0.1 * share, 0.1, x2, 0.5]).expand(1, 8, 8, 4)
        sixd = torch.tensor([1.0, 0, 0, 0, 1, 0]).expand(1, 8, 8, 6)
        whole = HeadReading(logits, boxes, sixd, torch.zeros(1, 8, 8, 37))
        return encoder.tokens(torch.zeros(1, 16, 8, 8), whole, torch.tensor([[share, 1.0]]))

    with torch.no_grad():
        torch.testing.assert_close(read(0.4, 1.0), read(0.2, 0.5))


def test_order_of_the_attributes_survives_a_saved_config(tmp_path: Path) -> None:
    """transformers sorts keys, and the order is that of the logits."""
    attributes = {"zebra": 1, "ant": 3, "cow": 1}
    encoder = HeadGrid(HeadGridConfig(image_size=64, keep_tokens=4, attributes=attributes))
    config = GroundingVLMConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        vision_config={"encoder": "headgrid", **encoder.config.to_dict()},
    )
    config.save_pretrained(tmp_path)
    again = GroundingVLMConfig.from_pretrained(tmp_path)
    loaded = HeadGrid(again.vision_config)
    assert list(loaded.config.attributes.items()) == list(attributes.items())

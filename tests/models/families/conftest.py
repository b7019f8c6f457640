"""One tiny model a family, made once for all tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from headsight.models.transformers_vlm import TransformersVLM
from headsight.picture import Picture

sys.path.insert(0, str(Path(__file__).parent))
from tiny_vlms import BUILDERS

if TYPE_CHECKING:
    from tiny_vlms.tiny import Tiny


@pytest.fixture(scope="session", params=BUILDERS)
def case(request: pytest.FixtureRequest) -> str:
    """The name of one tiny model."""
    return str(request.param)


@pytest.fixture(scope="session")
def tiny(case: str) -> Tiny:
    """That model, its processor and how it is tried."""
    return BUILDERS[case]()


@pytest.fixture(scope="session")
def vlm(tiny: Tiny, case: str) -> TransformersVLM:
    """The same behind the protocol."""
    return TransformersVLM(tiny.model, tiny.processor, name=case)


@pytest.fixture(scope="session")
def picture(tiny: Tiny) -> Picture:
    """Noise of the size that shows every kind of view."""
    return noise(tiny.image_wh)


def noise(image_wh: tuple[int, int]) -> Picture:
    """Grey noise, soft enough that a painted cell stands out."""
    width, height = image_wh
    pixels = np.random.default_rng(0).integers(96, 160, (height, width, 3), dtype=np.uint8)
    return Picture(Image.fromarray(pixels))

"""A recipe of a tiny model, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from headsight.train.loop import LoopConfig
from headsight.train.recipe import Recipe, Source, Stage


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    source = Source(labels=Path("x"), share=1.0)
    stage = Stage(name="s", kind="language", loop=LoopConfig(steps=1), sources=(source,))
    return Recipe(
        name="tiny",
        output=Path("out"),
        validation=Path("x"),
        encoder={"image_size": 128, "neck_channels": 16, "hidden_size": 192, "keep_tokens": 20},
        decoder={
            "hidden_size": 192,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "tie_word_embeddings": True,
            "adapter": "linear",
        },
        stages=(stage,),
    )

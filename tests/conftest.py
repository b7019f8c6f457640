"""A stand-in for somebody's model, and pictures to show to it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from headsight.language.spec import CodecSpec
from headsight.models.base import MODELS, Reply
from headsight.picture import Picture

# a busy machine must not fail a test for being slow
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("tests")

CONFIDENCE = 0.8

Script = Callable[[Picture, str], str]


@dataclass
class ScriptedVLM:
    """A third-party model that answers what a function tells it to; each number is one token."""

    script: Script
    name: str = "scripted"
    has_logprobs: bool = True
    ended: bool = True
    calls: list[tuple[Picture, tuple[str, ...], CodecSpec | None]] = field(default_factory=list)

    def answer(
        self,
        picture: Picture,
        prompts: Sequence[str],
        *,
        grammar: CodecSpec | None = None,
        max_new_tokens: int = 100,
    ) -> list[Reply]:
        self.calls.append((picture, tuple(prompts), grammar))
        return [self._reply(prompt, self.script(picture, prompt)) for prompt in prompts]

    def _reply(self, prompt: str, text: str) -> Reply:
        tokens = tuple(re.findall(r"[0-9]{1,3}|[^0-9]", text)) if self.has_logprobs else ()
        return Reply(prompt, text, tokens, (math.log(CONFIDENCE),) * len(tokens), self.ended)


@pytest.fixture
def scripted() -> type[ScriptedVLM]:
    """Makes a model from a script."""
    return ScriptedVLM


def two_heads(picture: Picture, prompt: str) -> str:
    """Two boxes; the left head looks 45 degrees to the image left, the right one is turned away."""
    if "yaw" in prompt:
        return "{315,010,000}" if "[[100," in prompt else "{180,000,355}"
    return "[[100,200,300,600;500,000,600,200]]"


@pytest.fixture
def vlm() -> ScriptedVLM:
    """Sees two heads everywhere."""
    return ScriptedVLM(two_heads)


@pytest.fixture
def picture() -> Picture:
    """1000 x 500, so that a step of a box answer is one pixel by half a pixel."""
    return Picture(Image.new("RGB", (1000, 500), "#806040"), "photo.png")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A file of 1000 x 500 pixels."""
    path = tmp_path / "photo.png"
    grey = np.linspace(0, 255, 1000, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(grey[None, :, None], (500, 1000, 3)).copy()).save(path)
    return path


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], vlm: ScriptedVLM
) -> Callable[..., Ran]:
    """Runs `headsight ...` in this process, with the scripted model in the place of nano."""
    from headsight.cli.main import main

    monkeypatch.setitem(MODELS, "nano", lambda device: vlm)

    def call(*words: object) -> Ran:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        caught = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Ran(left.value.code, caught.out, caught.err)

    return call


@pytest.fixture(scope="session")
def sam_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM of random weights, as save_pretrained writes it; what it draws means nothing."""
    import torch
    import transformers

    trio = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.SamConfig(
        vision_config=transformers.SamVisionConfig(
            **trio,
            output_channels=16,
            image_size=32,
            patch_size=8,
            window_size=2,
            global_attn_indexes=[0],
            num_pos_feats=8,
            mlp_dim=16,
        ),
        prompt_encoder_config=transformers.SamPromptEncoderConfig(
            hidden_size=16, image_size=32, patch_size=8, mask_input_channels=8
        ),
        mask_decoder_config=transformers.SamMaskDecoderConfig(
            **{**trio, "num_hidden_layers": 2}, mlp_dim=16, iou_head_hidden_dim=16
        ),
    )
    folder = tmp_path_factory.mktemp("sams") / "sam-tiny"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = transformers.SamModel(config)
        for weight in model.parameters():  # large enough that boxes and pixels matter
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=1.5 * weight[0].numel() ** -0.5)
    model.save_pretrained(folder)
    transformers.SamImageProcessorPil(
        size={"longest_edge": 32}, pad_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def made_set(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a small data set of a kind, in a folder of its name."""

    from head_sets import MAKERS

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        MAKERS[kind](folder)
        return folder

    return make

"""A crop regressor in the place of a vision-language model: pose works, words are declined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import headsight
from headsight.errors import CheckpointError, ConfigError, InputError
from headsight.geometry.rotations import ypr_to_matrix
from headsight.models.base import VLM, PoseReader
from headsight.models.headpose import SixDRepNet, SixDRepNetConfig
from headsight.models.headpose.pretrained import pretrained

SMALL = {
    "backbone": "tiny",
    "backbone_config": {"stem_width": 4, "widths": [4, 8], "depths": [1, 2]},
    "image_size": 32,
    "resize_size": None,
}


def says(ypr: tuple[float, float, float], **more: object) -> SixDRepNet:
    """A network that answers the same six numbers whatever it sees."""
    model = SixDRepNet(SixDRepNetConfig(**SMALL, **more)).eval()
    matrix = ypr_to_matrix(np.array(ypr, np.float64))
    with torch.no_grad():
        model.linear_reg.weight.zero_()
        model.linear_reg.bias.copy_(torch.from_numpy(matrix[:, :2].T.ravel()))
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    says((30, 10, -20)).save_pretrained(tmp_path / "reader")
    return tmp_path / "reader"


@pytest.fixture
def photo() -> Image.Image:
    return Image.new("RGB", (100, 80), "grey")


def test_a_folder_answers_poses_of_boxes(folder: Path, photo: Image.Image) -> None:
    grounder = headsight.load(str(folder))
    assert isinstance(grounder.vlm, PoseReader)
    assert isinstance(grounder.vlm, VLM)
    found = grounder.pose(photo, [(10, 10, 50, 60), (0, 0, 20, 20)])
    np.testing.assert_allclose(found.poses, [[30, 10, -20]] * 2, atol=1e-3)
    assert found.attributes["pose_reading"] == ("regressed", "regressed")
    assert found.scores.tolist() == [1, 1]
    assert found.exchanges == ()


def test_words_are_declined_and_the_way_out_is_told(folder: Path, photo: Image.Image) -> None:
    with pytest.raises(InputError, match="--boxes-from nano"):
        headsight.load(str(folder)).heads(photo)


def test_the_frame_of_the_released_weights_is_converted(photo: Image.Image) -> None:
    """A 6DRepNet matrix Rz(r) Ry(y) Rx(p) for yaw alone is our matrix of the same yaw."""
    from headsight.geometry.rotations import convert
    from headsight.models.headpose.reader import CropReader

    ours = ypr_to_matrix(np.array([40.0, 25, -10]))
    model = says((0, 0, 0), convention="6drepnet")
    theirs = convert(ours, "cv", "6drepnet")
    with torch.no_grad():
        model.linear_reg.bias.copy_(torch.from_numpy(theirs[:, :2].T.ravel()))
    picture = headsight.open_picture(photo)
    seen = CropReader(model, name="x").read_poses(picture, np.array([[0.0, 0, 50, 50]]))
    np.testing.assert_allclose(seen[0], ours, atol=1e-6)


def test_parallel_columns_are_no_pose(tmp_path: Path, photo: Image.Image) -> None:
    model = says((0, 0, 0))
    with torch.no_grad():
        model.linear_reg.bias.copy_(torch.tensor([1.0, 0, 0, 2, 0, 0]))
    model.save_pretrained(tmp_path)
    found = headsight.load(str(tmp_path)).pose(photo, (10, 10, 50, 60))
    assert found.attributes["pose_reading"] == ("degenerate",)
    assert np.isnan(found.rotations).all()
    assert found.scores.tolist() == [0]


def test_flipping_keeps_the_mean_of_both(photo: Image.Image) -> None:
    """Always (30, 0, 0) whatever the side: with the mirrored crop's answer that is 0."""
    model = says((30, 0, 0))
    pixels = torch.zeros(1, 3, 32, 32)
    seen = model.rotations(pixels, flip=True)[0]
    torch.testing.assert_close(seen, torch.eye(3), atol=1e-6, rtol=0)


def test_labels_give_the_loss() -> None:
    model = says((30, 0, 0))
    truth = torch.eye(3)[None]
    out = model(torch.zeros(1, 3, 32, 32), labels=truth)
    assert float(out.loss.detach().rad2deg()) == pytest.approx(30, abs=1e-3)


def test_damaged_folders_are_told_apart(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    values["backbone_config"]["widths"] = [4, 8, 8]
    values["backbone_config"]["depths"] = [1, 2, 1]
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"linear_reg|layer3"):
        headsight.load(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        headsight.load(str(folder))


def test_low_bits_are_for_language_models(folder: Path) -> None:
    with pytest.raises(InputError, match="crop regressor"):
        headsight.load(str(folder), quantize=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"convention": "hopenet"}, "expected one of cv"),
        ({"image_size": 16}, "Use 64"),
        ({"image_size": 224, "resize_size": 200}, "cut out"),
        ({"margin": -0.5}, "margin"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SixDRepNetConfig(**settings)


@pytest.mark.parametrize(
    ("backbone", "message"), [("repvgg_b1g4", "Did you mean 'repvgg_b1g2'"), ("q", "neither ours")]
)
def test_unknown_backbones(backbone: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SixDRepNet(SixDRepNetConfig(backbone=backbone))


def test_unknown_settings_of_a_backbone() -> None:
    with pytest.raises(ConfigError, match="backbone_config of 'tiny'"):
        SixDRepNet(SixDRepNetConfig(backbone="tiny", backbone_config={"depth": 3}))


OTHERS = {
    "resnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
    "vit": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    },
}


@pytest.mark.parametrize("kind", OTHERS)
def test_backbones_of_transformers_are_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    config = SixDRepNetConfig(
        backbone=kind, backbone_config=OTHERS[kind], image_size=64, resize_size=None
    )
    model = SixDRepNet(config).eval()
    pixels = torch.randn(2, 3, 64, 64)
    model.save_pretrained(tmp_path)
    again = SixDRepNet.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(pixels).sixd, model(pixels).sixd, atol=0, rtol=0)
    assert model(pixels).rotations.shape == (2, 3, 3)


def test_a_pretrained_backbone_keeps_its_weights(tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetModel

    source = ResNetModel(ResNetConfig(**OTHERS["resnet"]))
    source.save_pretrained(tmp_path)
    model = pretrained(tmp_path, image_size=64, resize_size=None)
    kept = model.backbone.get_submodule("model").state_dict()
    for name, value in source.state_dict().items():
        torch.testing.assert_close(kept[name], value, atol=0, rtol=0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be loaded as a picture model"):
        pretrained(tmp_path)

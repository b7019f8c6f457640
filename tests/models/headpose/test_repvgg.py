"""RepVGG and ResNet-50 as published: sizes, names, and the fold into one convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headsight.errors import CheckpointError, ConfigError
from headsight.models.headpose import SixDRepNet, SixDRepNetConfig
from headsight.models.headpose.model import fold
from headsight.models.headpose.released import from_released, read_released

SIXD_HEAD = 2048 * 6 + 6
CLASSIFIER = 2048 * 1000 + 1000


def meta(**settings: object) -> SixDRepNet:
    with torch.device("meta"):
        return SixDRepNet(SixDRepNetConfig(**settings))


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "with_classifier"),
    [
        # RepVGG-B1g2's own table: 45.78M while it learns, 41.36M folded; ResNet-50: 25 557 032
        ({"backbone": "repvgg_b1g2"}, 45_782_376),
        ({"backbone": "repvgg_b1g2", "is_folded": True}, 41_360_104),
        ({"backbone": "resnet50"}, 25_557_032),
    ],
)
def test_sizes_are_those_of_the_published_classifiers(
    settings: dict[str, object], with_classifier: int
) -> None:
    assert parameters(meta(**settings)) - SIXD_HEAD + CLASSIFIER == with_classifier


def test_even_blocks_have_two_groups() -> None:
    groups = [
        m.groups
        for n, m in meta(backbone="repvgg_b1g2").named_modules()
        if n.endswith("rbr_dense.conv")
    ]
    # the stem, then 27 blocks: 2, 4, ..., 26 are grouped
    assert groups == [1] + [1, 2] * 13 + [1]


def random_norms(model: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms as after training: without them every branch would be folded trivially."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
    return model


def small(**more: object) -> SixDRepNet:
    torch.manual_seed(0)
    shape = {"stem_width": 8, "widths": [8, 16, 16, 24], "depths": [2, 2, 3, 1], "even_groups": 2}
    config = SixDRepNetConfig(
        backbone="tiny", backbone_config=shape, image_size=64, resize_size=None, **more
    )
    return random_norms(SixDRepNet(config)).eval()


def test_folding_changes_nothing_that_is_seen() -> None:
    """Known answer 9: less than 1e-4; the six numbers are of order one."""
    model = small()
    folded = fold(model)
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = model(pixels).sixd, folded(pixels).sixd
    assert before.abs().max() > 0.1
    assert (before - after).abs().max() < 1e-4
    assert not any("rbr_dense" in n for n in folded.state_dict())
    assert any("rbr_dense" in n for n in model.state_dict())  # the original stays


@pytest.mark.slow
def test_folding_the_published_shape() -> None:
    torch.manual_seed(0)
    model = random_norms(SixDRepNet(SixDRepNetConfig(backbone="repvgg_b1g2"))).eval()
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        before, after = model(pixels).sixd, fold(model)(pixels).sixd
    assert (before - after).abs().max() < 1e-4 * before.abs().max()


def test_folding_twice_or_a_resnet_is_an_error() -> None:
    with pytest.raises(ConfigError, match="folded already"):
        fold(fold(small()))
    with pytest.raises(ConfigError, match="no branches"):
        fold(meta(backbone="resnet50"))


def released(**settings: object) -> tuple[SixDRepNet, dict[str, torch.Tensor]]:
    """A model of the published shape, and its weights under the published names.

    One random number a tensor, expanded, so that no real memory is taken.
    """
    model = meta(**settings)
    state = {
        n.removeprefix("backbone."): torch.full((1,) * t.ndim, 0.5).expand(t.shape)
        if t.is_floating_point()
        else torch.zeros(t.shape, dtype=t.dtype)
        for n, t in model.state_dict().items()
    }
    return model, state


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            {"backbone": "repvgg_b1g2"},
            (
                "layer0.rbr_dense.conv.weight",
                "layer1.3.rbr_identity.running_var",
                "layer3.15.rbr_1x1.bn.weight",
                "layer4.0.rbr_dense.bn.bias",
            ),
        ),
        (
            {"backbone": "repvgg_b1g2", "is_folded": True},
            ("layer0.rbr_reparam.weight", "layer2.5.rbr_reparam.bias"),
        ),
        ({"backbone": "resnet50"}, ("conv1.weight", "layer1.0.downsample.1.bias")),
    ],
    ids=["branches", "folded", "360"],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_released_weights_load_under_their_own_names(
    settings: dict[str, object], names: tuple[str, ...], wrapped: bool
) -> None:
    _, state = released(**settings)
    assert set(names) <= set(state)
    assert {"linear_reg.weight", "linear_reg.bias"} <= set(state)
    values = {"model_state_dict": {f"module.{n}": t for n, t in state.items()}}
    model = from_released(values if wrapped else state)
    assert model.config.backbone == settings["backbone"]
    assert model.config.is_folded == settings.get("is_folded", False)
    assert model.config.convention == "6drepnet"  # they answer transposed, in mirrored axes
    assert all((p == 0.5).all() for p in model.linear_reg.parameters())


def test_a_published_file_is_read_and_its_names_are_kept(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """6DRepNet360's form: the bare state dict, with what is left of a classifier."""
    _, state = released(backbone="resnet50")
    torch.save({**state, "fc_finetune.weight": torch.zeros(3, 5)}, tmp_path / "x.pth")
    assert (tmp_path / "x.pth").stat().st_size < 1_000_000  # one number a tensor is stored
    model = read_released(tmp_path / "x.pth")
    assert (model.backbone.get_parameter("conv1.weight") == 0.5).all()


def test_other_weights_are_refused_by_name(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CheckpointError, match=r"first names: head\.weight"):
        from_released({"head.weight": torch.zeros(2, 2)})
    (tmp_path / "x.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_released(tmp_path / "x.pth")


def test_a_pickle_with_more_than_tensors_is_not_opened(tmp_path) -> None:  # type: ignore[no-untyped-def]
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    torch.save({"a": Runs()}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_released(tmp_path / "x.pth")

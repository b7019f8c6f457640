"""The SAM family at tiny random size: against transformers' own processors, and from folders."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig
from transformers.models.sam3.configuration_sam3 import Sam3ViTConfig

from headsight.errors import CheckpointError, InputError, MissingExtraError
from headsight.geometry.region_maps import RegionMap
from headsight.models.segmenters import PointSegmenter, Segmenter, load_segmenter
from headsight.picture import Picture

SIDE = 64
WIDTH, HEIGHT = 90, 50
PICTURE = Picture(
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
)
BOXES = np.array([[10.0, 5, 60, 45], [0, 0, 90, 50], [70.5, 20.25, 88, 31]])
POINTS = np.array([[[30.0, 20], [35, 25]], [[0, 0], [89, 49]], [[80.5, 25.25], [75, 30]]])
"""Two on each of three places."""
DECODER = {
    "hidden_size": 32,
    "mlp_dim": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "iou_head_hidden_dim": 16,
}
PROMPTS = {"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 8}
TRIO = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}


class ToyPyramidConfig(transformers.PreTrainedConfig):
    """Stands in for timm's encoder of EdgeTAM: that package brings torchvision with it."""

    model_type = "toy_pyramid"


class ToyPyramid(transformers.PreTrainedModel):
    """Four maps of 8, 16, 32 and 64 channels at strides 4, 8, 16 and 32."""

    config_class = ToyPyramidConfig

    def __init__(self, config: ToyPyramidConfig) -> None:
        super().__init__(config)
        self.stages = nn.ModuleList(nn.Conv2d(3, 8 * 2**i, 4 * 2**i, 4 * 2**i) for i in range(4))
        self.post_init()

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> SimpleNamespace:
        maps = [stage(pixel_values) for stage in self.stages]
        return SimpleNamespace(last_hidden_state=maps, hidden_states=None)


transformers.AutoConfig.register("toy_pyramid", ToyPyramidConfig, exist_ok=True)
transformers.AutoModel.register(ToyPyramidConfig, ToyPyramid, exist_ok=True)


def first_sam(name: str, **decoder: Any) -> Any:
    def config(part: str) -> Any:
        return getattr(transformers, f"{name}{part}Config")

    vision = config("Vision")(
        hidden_size=32,
        output_channels=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        window_size=4,
        global_attn_indexes=[1],
        num_pos_feats=16,
        mlp_dim=32,
    )
    prompts = config("PromptEncoder")(**PROMPTS, patch_size=8)
    whole = config("")(
        vision_config=vision,
        prompt_encoder_config=prompts,
        mask_decoder_config=config("MaskDecoder")(**DECODER, **decoder),
    )
    return getattr(transformers, f"{name}Model")(whole)


def second_sam(name: str, vision: Any) -> Any:
    def config(part: str) -> Any:
        return getattr(transformers, f"{name}{part}Config")

    whole = config("")(
        vision_config=vision,
        prompt_encoder_config=config("PromptEncoder")(**PROMPTS, patch_size=16),
        mask_decoder_config=config("MaskDecoder")(**DECODER),
    )
    return getattr(transformers, f"{name}Model")(whole)


LEVELS = {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 32}


def hiera() -> Any:
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 2, 2],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    channels = [64, 32, 16, 8]
    return transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=channels, **LEVELS
    )


def pyramid() -> Any:
    return transformers.EdgeTamVisionConfig(
        backbone_config=ToyPyramidConfig(), backbone_channel_list=[64, 32, 16, 8], **LEVELS
    )


def plain_transformer() -> Any:
    backbone = Sam3ViTConfig(
        **TRIO,
        num_hidden_layers=2,
        image_size=SIDE,
        patch_size=16,
        window_size=2,
        global_attn_indexes=[1],
        pretrain_image_size=32,
    )
    return transformers.Sam3VisionConfig(backbone_config=backbone, **LEVELS)


def sam3() -> Any:
    text = transformers.CLIPTextConfig(
        vocab_size=54,
        hidden_size=16,
        intermediate_size=16,
        projection_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=1,
    )
    config = transformers.Sam3Config(
        vision_config=plain_transformer(),
        text_config=text,
        geometry_encoder_config={**TRIO, "num_layers": 1, "roi_size": 3},
        detr_encoder_config={**TRIO, "num_layers": 1},
        detr_decoder_config={**TRIO, "num_layers": 1, "num_queries": 6},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    return transformers.Sam3Model(config)


def clip_tokenizer() -> Any:
    letters = [chr(97 + i) for i in range(26)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    return transformers.CLIPTokenizer(vocab={p: i for i, p in enumerate(pieces)}, merges=[])


BUILD: dict[str, Callable[[], Any]] = {
    "sam": lambda: first_sam("Sam"),
    "sam_hq": lambda: first_sam("SamHQ", vit_dim=32),
    "sam2": lambda: second_sam("Sam2", hiera()),
    "edgetam": lambda: second_sam("EdgeTam", pyramid()),
    "sam3_tracker": lambda: second_sam("Sam3Tracker", plain_transformer()),
    "sam3": sam3,
}
PADDED = ("sam", "sam_hq")
BY_BOX = tuple(name for name in BUILD if name != "sam3")


def spread_(model: nn.Module) -> None:
    """Weights large enough that boxes and pixels matter."""
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        if weight.dim() > 1:
            drawn = torch.randn(weight.shape, generator=generator)
            weight.data = drawn * 1.5 * weight[0].numel() ** -0.5


def sam_processor(name: str) -> Any:
    image_processor = transformers.SamImageProcessorPil(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    if name == "sam":
        return transformers.SamProcessor(image_processor)
    return transformers.SamHQProcessor(image_processor)


def stretching_processor() -> Any:
    """Any processor that stretches: those of SAM 2 and SAM 3 cannot be imported here."""
    return transformers.ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.25]
    )


def save(name: str, folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BUILD[name]()
    spread_(model)
    model.save_pretrained(folder)
    if name == "sam":
        sam_processor(name).image_processor.save_pretrained(folder)  # as on the hub
    elif name == "sam_hq":
        sam_processor(name).save_pretrained(folder)  # as it is written today
    else:
        stretching_processor().save_pretrained(folder)
    if name == "sam3":
        clip_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save(name, tmp_path_factory.mktemp(name)) for name in BUILD}


@pytest.fixture(scope="module")
def segmenters(folders: dict[str, Path]) -> dict[str, Any]:
    return {name: load_segmenter(folder, device="cpu") for name, folder in folders.items()}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A folder that a test may spoil."""
    return lambda name: Path(shutil.copytree(folders[name], tmp_path / name))


@pytest.mark.parametrize("name", BUILD)
def test_contract(segmenters: dict[str, Any], name: str) -> None:
    segmenter = segmenters[name]
    assert isinstance(segmenter, Segmenter)
    assert segmenter.reads_maps == (name != "sam3")
    seen = segmenter.embed(PICTURE)
    found = segmenter.from_boxes(seen, BOXES, words="red cup")
    assert found.masks.shape == (3, HEIGHT, WIDTH)
    assert found.scores.shape == (3,)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert found.source == "segmenter"
    assert not found.is_coarse
    assert 0 < found.masks.mean() < 1
    none = segmenter.from_boxes(seen, BOXES[:0], words="red cup")
    assert none.masks.shape == (0, HEIGHT, WIDTH)
    with pytest.raises(InputError, match=r"Box 2 is \[88.0, 20.25, 70.5, 31.0\], but x1 < x2"):
        segmenter.from_boxes(seen, np.vstack((BOXES[:2], BOXES[2, [2, 1, 0, 3]])), words="cup")


def real_inputs(name: str, **prompts: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Pixels and prompts as transformers' processors give them."""
    if name in PADDED:
        inputs = sam_processor(name)(PICTURE.image, **prompts, return_tensors="pt")
        return inputs["pixel_values"], _prompts(inputs)
    pixels = stretching_processor()(PICTURE.image, return_tensors="pt")["pixel_values"]
    kind = "Sam3TrackerProcessor" if name == "sam3_tracker" else "Sam2Processor"
    processor = getattr(transformers, kind)(stretching_processor())
    sizes = [[HEIGHT, WIDTH]]
    return pixels, _prompts(processor(original_sizes=sizes, **prompts, return_tensors="pt"))


def _prompts(inputs: Any) -> dict[str, Tensor]:
    found = {name: inputs[name] for name in inputs if name.startswith("input_")}
    return {name: v.float() if v.is_floating_point() else v.long() for name, v in found.items()}


def to_picture(name: str, masks: Tensor) -> Tensor:
    """Logits (N, M, h, w) at the size of the picture, as transformers' processors do it."""
    if name in PADDED:
        size, resized = [[HEIGHT, WIDTH]], [[36, 64]]  # 50 * 64 / 90 = 35.6
        processor = sam_processor(name)
        [logits] = processor.post_process_masks(masks[None], size, resized, binarize=False)
        return logits
    return functional.interpolate(masks, (HEIGHT, WIDTH), mode="bilinear")


@pytest.mark.parametrize("name", BY_BOX)
def test_same_masks_as_with_the_real_processor(segmenters: dict[str, Any], name: str) -> None:
    segmenter = segmenters[name]
    pixels, prompts = real_inputs(name, input_boxes=[BOXES.tolist()])
    torch.testing.assert_close(segmenter.framing.pixels(PICTURE.image), pixels)
    with torch.no_grad():
        out = segmenter.model(pixel_values=pixels, **prompts, multimask_output=False)
    logits = to_picture(name, out.pred_masks[0])
    found = segmenter.from_boxes(segmenter.embed(PICTURE), BOXES)
    # pixels whose logit is nearly 0 may fall to either side
    is_clear = logits[:, 0].abs() > 1e-4 * logits.abs().max()
    assert is_clear.float().mean() > 0.9
    np.testing.assert_array_equal(found.masks[is_clear], (logits[:, 0] > 0)[is_clear])
    scores = out.iou_scores[0, :, 0].clamp(0, 1)
    np.testing.assert_allclose(found.scores, scores, atol=1e-4)


@pytest.mark.parametrize("name", BY_BOX)
@pytest.mark.parametrize("each", [1, 2])
def test_points_as_with_the_real_processor(
    segmenters: dict[str, Any], name: str, each: int
) -> None:
    """One and two points a place, all on it; of the three masks the surest."""
    segmenter, points = segmenters[name], POINTS[:, :each]
    labels = [[[1] * each] * len(points)]
    pixels, prompts = real_inputs(name, input_points=[points.tolist()], input_labels=labels)
    with torch.no_grad():
        out = segmenter.model(pixel_values=pixels, **prompts, multimask_output=True)
    assert out.iou_scores.shape == (1, 3, 3)
    found = segmenter.from_points(segmenter.embed(PICTURE), points)
    for row, scores in enumerate(out.iou_scores[0]):
        best = int(scores.argmax())
        logits = to_picture(name, out.pred_masks[0])[row, best]
        is_clear = logits.abs() > 1e-4 * logits.abs().max()
        np.testing.assert_array_equal(found.masks[row][is_clear], (logits > 0)[is_clear])
        assert found.scores[row] == pytest.approx(float(scores[best].clamp(0, 1)), abs=1e-4)


@pytest.mark.parametrize("name", BUILD)
def test_contract_of_points(segmenters: dict[str, Any], name: str) -> None:
    segmenter = segmenters[name]
    assert isinstance(segmenter, PointSegmenter)
    seen = segmenter.embed(PICTURE)
    many = np.tile(POINTS, (7, 1, 1))  # more than go into one call
    found = segmenter.from_points(seen, many, words="red cup")
    assert (found.masks.shape, found.source) == ((21, HEIGHT, WIDTH), "segmenter")
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    one = segmenter.from_points(seen, many[:1], words="red cup")
    assert (one.masks[0] == found.masks[0]).mean() > 0.999
    assert segmenter.from_points(seen, POINTS[:0], words="cup").masks.shape == (0, HEIGHT, WIDTH)
    with pytest.raises(InputError, match=r"Place 1 has the points \[\[91.0, 5.0\]\]"):
        segmenter.from_points(seen, np.array([[[1.0, 1.0]], [[91.0, 5.0]]]), words="cup")
    with pytest.raises(InputError, match=r"shape \(2, 0, 2\), but \(N, K, 2\)"):
        segmenter.from_points(seen, np.zeros((2, 0, 2)), words="cup")


@pytest.mark.parametrize("name", BY_BOX)
def test_the_picture_is_encoded_once_for_many_boxes(segmenters: dict[str, Any], name: str) -> None:
    segmenter = segmenters[name]
    calls: list[int] = []
    hook = segmenter.model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        seen = segmenter.embed(PICTURE)
        boxes = np.tile(BOXES, (7, 1))  # more than go into one call
        found = segmenter.from_boxes(seen, boxes)
        again = segmenter.from_boxes(seen, boxes[:1])
    finally:
        hook.remove()
    assert len(calls) == 1
    for start in range(0, 21, 3):
        assert (found.masks[start : start + 3] == found.masks[:3]).mean() > 0.999
    assert (again.masks == found.masks[:1]).mean() > 0.999
    np.testing.assert_allclose(again.scores, found.scores[:1], atol=1e-4)


@pytest.mark.parametrize("name", BY_BOX)
def test_a_map_is_a_mask_prompt(segmenters: dict[str, Any], name: str) -> None:
    segmenter = segmenters[name]
    seen = segmenter.embed(PICTURE)
    prompts: list[Tensor] = []
    encoder = segmenter.model.prompt_encoder
    hook = encoder.register_forward_pre_hook(
        lambda module, args, kwargs: prompts.append(kwargs["input_masks"]), with_kwargs=True
    )
    whole = (0.0, 0.0, float(WIDTH), float(HEIGHT))
    right = RegionMap(np.array([[0.0, 0.0, 1.0, 1.0]]), whole)
    corner = RegionMap(np.array([[0.0, 0.0], [0.0, 1.0]]), whole)
    try:
        found = segmenter.from_boxes(seen, BOXES[:2], maps=[right, corner])
        plain = segmenter.from_boxes(seen, BOXES[:2])
    finally:
        hook.remove()
    assert prompts.pop() is None
    cells = 4 * (SIDE // (8 if name in PADDED else 16))
    for prompt in prompts:
        assert prompt.shape == (1, 1, cells, cells)
        assert prompt.abs().max() <= 10
    # the picture takes 36 of 64 rows of a padded square, and all of a stretched one
    rows = cells * 36 // 64 if name in PADDED else cells
    assert (prompts[0][0, 0, :rows, : cells // 4] == -10).all()
    assert (prompts[0][0, 0, :rows, -cells // 4 :] == 10).all()
    assert (prompts[0][0, 0, rows:] == -10).all()
    # mean 1/4, so the corner is 3/4 above it, and the others 1/4 below
    np.testing.assert_allclose(prompts[1][0, 0, rows - 1, -1], 10, atol=1e-5)
    np.testing.assert_allclose(prompts[1][0, 0, 0, 0], -10 / 3, atol=1e-5)
    assert (found.masks != plain.masks).any()
    with pytest.raises(InputError, match="1 maps came with 2 boxes"):
        segmenter.from_boxes(seen, BOXES[:2], maps=[right])


def test_pictures_far_from_square(segmenters: dict[str, Any]) -> None:
    for size in ((300, 1), (1, 300), (1, 1)):
        thin = Picture(Image.new("RGB", size, "#806040"))
        for name in BY_BOX:
            segmenter = segmenters[name]
            found = segmenter.from_boxes(segmenter.embed(thin), np.array([[0.0, 0, *size]]))
            assert found.masks.shape == (1, *size[::-1])


# SAM 3 searches for a concept


def proposals(segmenter: Any, words: str) -> Any:
    """What the model itself finds, by its own forward."""
    tokens = clip_tokenizer()(words, padding="max_length", max_length=32, return_tensors="pt")
    pixels = stretching_processor()(PICTURE.image, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        out = segmenter.model(pixel_values=pixels, **tokens)
    scores = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0]
    shares = functional.interpolate(out.pred_masks.sigmoid(), (HEIGHT, WIDTH), mode="bilinear")
    boxes = out.pred_boxes[0] * torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    return scores.numpy(), shares[0].numpy(), boxes.double().numpy()


def test_words_find_and_the_box_chooses(
    segmenters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenters["sam3"]
    scores, shares, boxes = proposals(segmenter, "red cup")
    limit = (float(scores.min()) + float(np.sort(scores)[1])) / 2
    monkeypatch.setattr(segmenter, "threshold", limit)  # one proposal is too weak
    is_found = scores >= limit
    assert is_found.sum() == len(scores) - 1
    clip = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    prompts = np.clip(boxes, 0, clip)
    seen = segmenter.embed(PICTURE)
    found = segmenter.from_boxes(seen, prompts, words="red cup")
    for prompt, mask, score in zip(prompts, found.masks, found.scores, strict=True):
        best = max(np.flatnonzero(is_found), key=lambda i: overlap(prompt, boxes[i]))
        is_clear = np.abs(shares[best] - 0.5) > 1e-4
        np.testing.assert_array_equal(mask[is_clear], (shares[best] > 0.5)[is_clear])
        assert score == pytest.approx(scores[best], abs=1e-4)
    assert len(set(found.scores)) > 1  # the choice was one

    other = segmenter.from_boxes(seen, prompts, words="dog")
    assert (other.scores != found.scores).any()


def test_words_find_and_the_point_chooses(
    segmenters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenters["sam3"]
    monkeypatch.setattr(segmenter, "threshold", 0.0)
    scores, shares, _ = proposals(segmenter, "red cup")
    is_clear = (np.abs(shares - 0.5) > 1e-4).all(0)
    ys, xs = np.nonzero(is_clear)
    points = np.stack([xs, ys], -1)[:: len(xs) // 40, None].astype(float)
    seen = segmenter.embed(PICTURE)
    found = segmenter.from_points(seen, points, words="red cup")
    chosen = set()
    for [(x, y)], mask, score in zip(points.astype(int), found.masks, found.scores, strict=True):
        covering = np.flatnonzero(shares[:, y, x] > 0.5)
        if not len(covering):
            assert not mask.any()
            assert score == 0
            continue
        best = max(covering, key=lambda i: scores[i])
        assert score == pytest.approx(scores[best], abs=1e-4)
        np.testing.assert_array_equal(mask[is_clear], (shares[best] > 0.5)[is_clear])
        chosen.add(best)
    assert len(chosen) > 1  # the choice was one
    monkeypatch.setattr(segmenter, "threshold", 1.0)
    assert not segmenter.from_points(seen, points, words="red cup").masks.any()
    with pytest.raises(InputError, match="SAM 3 needs words beside a point"):
        segmenter.from_points(seen, points)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.clip(sides, 0, None)))
    return both / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def test_nothing_found_is_an_empty_mask(
    segmenters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenters["sam3"]
    monkeypatch.setattr(segmenter, "threshold", 1.0)
    found = segmenter.from_boxes(segmenter.embed(PICTURE), BOXES, words="red cup")
    assert not found.masks.any()
    assert not found.scores.any()


def test_long_words_are_cut(segmenters: dict[str, Any]) -> None:
    segmenter = segmenters["sam3"]
    found = segmenter.from_boxes(segmenter.embed(PICTURE), BOXES[:1], words="cup " * 100)
    assert found.masks.shape == (1, HEIGHT, WIDTH)


def test_a_box_as_the_example_needs_torchvision(
    segmenters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenters["sam3"]
    seen = segmenter.embed(PICTURE)
    modeling_sam3 = sys.modules[type(segmenter.model).__module__]
    monkeypatch.delattr(modeling_sam3, "torchvision", raising=False)
    with pytest.raises(InputError, match=r"torchvision, which is not installed\. Give words"):
        segmenter.from_boxes(seen, BOXES)

    pooled: list[Tensor] = []

    def roi_align(features: Tensor, boxes: tuple[Tensor], size: int) -> Tensor:
        pooled.append(boxes[0])
        return functional.adaptive_avg_pool2d(features, size).expand(len(boxes[0]), -1, -1, -1)

    monkeypatch.setattr(
        modeling_sam3,
        "torchvision",
        SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align)),
        raising=False,
    )
    given: list[dict[str, Any]] = []
    hook = segmenter.model.geometry_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs), with_kwargs=True
    )
    try:
        found = segmenter.from_boxes(seen, BOXES)
    finally:
        hook.remove()
    assert found.masks.shape == (3, HEIGHT, WIDTH)
    processor = transformers.Sam3Processor(stretching_processor(), clip_tokenizer())
    for box, inputs in zip(BOXES, given, strict=True):
        wanted = processor(
            original_sizes=[[HEIGHT, WIDTH]], input_boxes=[[box.tolist()]], return_tensors="pt"
        )
        torch.testing.assert_close(inputs["box_embeddings"], wanted["input_boxes"])
        torch.testing.assert_close(inputs["box_labels"], wanted["input_boxes_labels"])
    # 4 x 4 features: the second box is the whole picture
    torch.testing.assert_close(pooled[1], torch.tensor([[0.0, 0, 4, 4]]))


# folders


def test_a_video_folder_gives_its_part_for_one_picture(
    segmenters: dict[str, Any], copy: Callable[[str], Path]
) -> None:
    folder = copy("sam2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "sam2_video"}))
    found = [
        segmenter.from_boxes(segmenter.embed(PICTURE), BOXES)
        for segmenter in (
            segmenters["sam2"],
            load_segmenter(folder, device="cpu"),
            load_segmenter(str(folder), device="cpu", as_type="sam2"),
        )
    ]
    for one in found[1:]:
        np.testing.assert_array_equal(one.masks, found[0].masks)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_is_wrong_with_a_folder(copy: Callable[[str], Path], tmp_path: Path) -> None:
    def refusal(folder: Path, **options: Any) -> str:
        with pytest.raises(CheckpointError) as caught:
            load_segmenter(folder, device="cpu", **options)
        return str(caught.value)

    (tmp_path / "empty").mkdir()
    assert "has no config.json" in refusal(tmp_path / "empty")
    (tmp_path / "sam_vit_b.pth").write_bytes(b"PK")
    assert "may hold a pickle" in refusal(tmp_path / "sam_vit_b.pth")
    (tmp_path / "sam.txt").write_text("sam")
    assert "sam.txt is a file, but a model is a folder" in refusal(tmp_path / "sam.txt")
    with pytest.raises(InputError, match=r"No folder is called '.*nowhere'.* form org/name"):
        load_segmenter(tmp_path / "nowhere", device="cpu")
    folder = copy("sam")
    assert "holds a 'llava' model, but a segmenter is one of sam" in refusal(
        folder, as_type="llava"
    )

    processor = folder / "preprocessor_config.json"
    good = processor.read_text()
    change(processor, size={"longest_edge": 32})
    assert "squares of 32 px, but its model reads 64 px" in refusal(folder)
    for bad in (
        {"size": {"height": 64, "width": 32}},
        {"size": None},
        {"image_mean": [0.5]},
        {"image_std": "none"},
        {"resample": 77},
    ):
        processor.write_text(good)
        change(processor, **bad)
        assert "lacks a square `size`, an `image_mean` or an `image_std`" in refusal(folder)
    processor.unlink()
    assert "has no processor_config.json" in refusal(folder)
    (folder / "processor_config.json").write_text("{}")
    assert "lacks a square `size`" in refusal(folder)
    processor.write_text(good)

    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    some = {k: v for k, v in tensors.items() if not k.startswith("mask_decoder.transformer")}
    save_file(some, weights, metadata={"format": "pt"})
    assert "weights of a SamModel (mask_decoder.transformer." in refusal(folder)
    weights.write_bytes(b"not a tensor")
    assert "cannot be loaded as SamModel" in refusal(folder)
    weights.unlink()
    assert "holds no weights" in refusal(folder)
    torch.save(tensors, folder / "pytorch_model.bin")
    assert "may hold a pickle" in refusal(folder)

    folder = copy("sam3")
    (folder / "tokenizer.json").write_text("{}")
    assert "tokenizer in" in refusal(folder)
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refusal(folder)


def test_a_hub_id_is_fetched_once_and_only_its_safe_files(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From a cache laid out as the hub client does, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"^org/sam cannot be loaded.*Check the id and the n"):
        load_segmenter("org/sam", device="cpu")
    home = tmp_path / "models--org--sam"
    shutil.copytree(folders["sam"], home / "snapshots" / ("a" * 40))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("a" * 40)
    segmenter = load_segmenter("org/sam", device="cpu")
    assert segmenter.name == "org/sam"
    found = segmenter.from_boxes(segmenter.embed(PICTURE), BOXES)
    assert found.masks.shape == (3, HEIGHT, WIDTH)


def test_edgetam_with_its_real_encoder_needs_timm(copy: Callable[[str], Path]) -> None:
    folder = copy("edgetam")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["backbone_config"] = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MissingExtraError, match=r"EdgeTamModel .* timm"):
        load_segmenter(folder, device="cpu")

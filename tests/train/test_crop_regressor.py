"""Crops that are varied keep exact labels; a short run learns; a recipe ends in a model folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import headsight
from headsight.errors import AnnotationError
from headsight.geometry.rotations import matrix_to_ypr, ypr_to_matrix
from headsight.models.headpose import SixDRepNet, SixDRepNetConfig
from headsight.models.headpose.crops import HeadCropper
from headsight.train.crop_regressor import CropAugmentation, CropJob, CropSource, augmented_crop
from headsight.train.labels import LabelledPicture

PLAIN = CropAugmentation(
    area_range=(1.0, 1.0), ratio_range=(1.0, 1.0), flip_share=0.0, blur_share=0.0
)
SMALL = {
    "backbone": "tiny",
    "backbone_config": {"stem_width": 8, "widths": [16, 32], "depths": [1, 1]},
    "image_size": 32,
    "resize_size": None,
}


def clock(yaw: float, side: int = 40) -> Image.Image:
    """A face that tells its yaw by where a dot stands."""
    image = Image.new("RGB", (side, side), "white")
    y = side / 2 - 0.5  # Pillow counts from the middle of the first pixel
    x = y - yaw / 90 * side / 3  # yaw > 0 turns to the image left
    ImageDraw.Draw(image).ellipse((x - 5, y - 5, x + 5, y + 5), fill="black")
    return image


def labelled(*yaws: float, trust: float = 1.0) -> list[LabelledPicture]:
    pictures = []
    for yaw in yaws:
        buffer = io.BytesIO()
        clock(yaw).save(buffer, "PNG")
        rotation = ypr_to_matrix(np.array([[yaw, 0, 0]], np.float64))
        pictures.append(
            LabelledPicture(
                encoded=buffer.getvalue(),
                boxes=np.array([[0, 0, 40, 40]], np.float32),
                rotations=rotation.astype(np.float32),
                pose_weights=np.array([trust], np.float32),
                attributes=({},),
                ignore=np.zeros((0, 4), np.float32),
            )
        )
    return pictures


def crop(config: CropAugmentation, seed: int = 0, yaw: float = 30) -> tuple[np.ndarray, np.ndarray]:
    """A varied crop of the face in the middle of a white picture, and the angles of its label."""
    rotation = ypr_to_matrix(np.array([yaw, 0, 0], np.float64))
    picture = Image.new("RGB", (100, 100), "white")
    picture.paste(clock(yaw), (30, 30))
    box = np.array([30.0, 30, 70, 70])
    rng = np.random.default_rng(seed)
    seen, turned = augmented_crop(picture, box, rotation, config, HeadCropper(image_size=40), rng)
    return seen, matrix_to_ypr(turned)[0]


def dot(pixels: np.ndarray) -> tuple[float, float]:
    """Middle of what is dark, from the middle of the crop, px."""
    y, x = np.nonzero(pixels.mean(-1) < 100)
    return float(x.mean()) + 0.5 - 20, float(y.mean()) + 0.5 - 20


def test_nothing_varied_is_the_crop_itself() -> None:
    pixels, ypr = crop(PLAIN)
    np.testing.assert_array_equal(pixels, np.asarray(clock(30)))
    assert ypr.tolist() == pytest.approx([30, 0, 0])


def test_a_mirrored_crop_has_the_mirrored_label() -> None:
    pixels, ypr = crop(CropAugmentation(**{**vars(PLAIN), "flip_share": 1.0}))
    np.testing.assert_array_equal(pixels, np.asarray(clock(30))[:, ::-1])
    assert ypr.tolist() == pytest.approx([-30, 0, 0])


def test_a_turned_crop_turns_its_dot_and_its_label_alike() -> None:
    """The dot stands to the left; turned clockwise by a it stands at -cos a, -sin a; roll is a."""
    config = CropAugmentation(**{**vars(PLAIN), "turn_share": 1.0, "max_turn_deg": 40.0})
    pixels, ypr = crop(config, seed=3, yaw=60)
    x, y = dot(pixels)
    seen = np.degrees(np.arctan2(-y, -x))
    truth = ypr_to_matrix(np.array([0.0, 0, seen])) @ ypr_to_matrix(np.array([60.0, 0, 0]))
    assert abs(seen) > 20
    np.testing.assert_allclose(ypr, matrix_to_ypr(truth)[0], atol=4)  # half a pixel


def test_a_part_of_the_window_is_no_smaller_than_asked() -> None:
    """The dot's distance grows with the zoom: a part of 0.5 of the area zooms by up to 1.41."""
    config = CropAugmentation(**{**vars(PLAIN), "area_range": (0.5, 0.5)})
    for seed in range(5):
        pixels, _ = crop(config, seed=seed, yaw=0)
        dark = (pixels.mean(-1) < 100).sum()
        assert dark / np.pi / 25 == pytest.approx(2, rel=0.25)


def test_the_same_step_is_the_same_batch_and_small_or_unlabelled_heads_are_passed_over() -> None:
    pictures = labelled(-30, 0, 30)
    unknown = labelled(60)
    unknown[0].rotations[:] = np.nan
    tiny = labelled(90)
    tiny[0].boxes[:] = [0, 0, 5, 5]
    untrusted = labelled(45, trust=0.0)
    source = CropSource([*pictures, *unknown, *tiny, *untrusted], 1.0)
    assert source.heads() == [(0, 0), (1, 0), (2, 0)]
    job = CropJob(
        SixDRepNet(SixDRepNetConfig(**SMALL)), [source], pictures, batch_size=4, lr=1e-3, seed=7
    )
    first, again, other = job.batch(3), job.batch(3), job.batch(4)
    assert torch.equal(first.pixel_values, again.pixel_values)
    assert torch.equal(first.rotations, again.rotations)
    assert not torch.equal(first.pixel_values, other.pixel_values)


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(AnnotationError, match="None of the sources"):
        CropJob(
            SixDRepNet(SixDRepNetConfig(**SMALL)), [CropSource(labelled(0, trust=0.0), 1.0)], [],
            batch_size=2, lr=1e-3, seed=0,
        )  # fmt: skip


def test_the_weighted_loss_is_in_radians() -> None:
    """Two crops, 30 and 90 degrees off, trusted 1 and 0.5: (30 + 45) / 1.5 = 50 degrees."""
    from headsight.train.crop_regressor import CropBatch

    model = SixDRepNet(SixDRepNetConfig(**SMALL))
    with torch.no_grad():
        model.linear_reg.weight.zero_()
        model.linear_reg.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
    job = CropJob(model, [CropSource(labelled(0), 1.0)], [], batch_size=2, lr=1e-3, seed=0)
    truth = torch.from_numpy(ypr_to_matrix(np.array([[30.0, 0, 0], [90, 0, 0]]))).float()
    batch = CropBatch(torch.zeros(2, 3, 32, 32), truth, torch.tensor([1.0, 0.5]))
    loss, figures = job.loss(batch)
    assert figures["degrees"] == pytest.approx(50, abs=1e-3)
    assert float(loss.detach()) == pytest.approx(np.radians(50), abs=1e-5)


def scenes(folder: Path, yaws: list[float]) -> Path:
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for k, yaw in enumerate(yaws):
        clock(yaw).save(folder / f"images/{k}.png")
        images.append({"id": k, "file_name": f"images/{k}.png", "width": 40, "height": 40})
        pose = {"yaw_deg": yaw, "pitch_deg": 0, "roll_deg": 0}
        annotations.append(
            {"image_id": k, "bbox": [0, 0, 40, 40], "head_pose": pose, "attributes": {}}
        )
    text = json.dumps({"images": images, "annotations": annotations})
    (folder / "annotations.json").write_text(text)
    return folder


RECIPE = """
name: small
output: {out}
validation: {data}
stages:
  - name: crops
    kind: crop_regressor
    batch_size: 12
    lr: 5.0e-3
    options:
      backbone: tiny
      backbone_config: {{stem_width: 8, widths: [16, 32], depths: [1, 1]}}
      image_size: 32
      resize_size: null
      {extra}
    loop: {{steps: 60, warmup_steps: 4, average_decay: 0.8, save_every: 60, validate_every: 60, weight_decay: 0.0}}
    sources: [{{labels: {data}, share: 1.0}}]
"""


def recipe(tmp_path: Path, extra: str = "augmentation: {area_range: [0.9, 1.0]}") -> Path:
    data = scenes(tmp_path / "data", list(np.linspace(-80, 80, 24)))
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(out=tmp_path / "out", data=data, extra=extra))
    return path


def test_a_recipe_learns_and_its_folder_answers(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = recipe(tmp_path)
    ran = run("train", path, "--quiet", "--export", tmp_path / "model")
    assert ran.code == 0, ran.err
    rows = [line.split(",") for line in (tmp_path / "out/crops/log.csv").read_text().splitlines()]
    held_out = {r[2]: float(r[3]) for r in rows if r[2].startswith("val_")}
    assert held_out["val_geodesic_median"] < 25  # 40 where nothing is learned
    grounder = headsight.load(str(tmp_path / "model"))
    for yaw in (-60, 60):
        seen = grounder.pose(clock(yaw), (0, 0, 40, 40)).poses[0, 0]
        assert np.sign(seen) == np.sign(yaw)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("backbon: tiny", "Did you mean 'backbone'"),
        ("augmentation: {jiter: 0.1}", "Did you mean 'jitter'"),
        ("augmentation: {flip_share: 2}", "flip_share is 2.0"),
        ("augmentation: {area_range: [0.0, 1.0]}", "area_range"),
    ],
)
def test_recipes_that_cannot_be(run, tmp_path: Path, extra: str, message: str) -> None:  # type: ignore[no-untyped-def]
    ran = run("train", recipe(tmp_path, extra), "--quiet")
    assert ran.code == 2
    assert message in ran.err


def test_the_shipped_recipe_is_one() -> None:
    from headsight.train.crop_regressor import build_regressor
    from headsight.train.recipe import read_recipe

    path = Path(headsight.__file__).parent / "train/recipes/crop-regressor.yaml"
    assert isinstance(build_regressor(read_recipe(path).stages[0]), SixDRepNet)


# known answer 11: six numbers and the angle against three sigmoid angles
POINTS = np.array(
    [
        (-6.825897, 6.760612, 4.402142), (-1.330353, 7.122144, 6.903745), (6.825897, 6.760612, 4.402142),
        (1.330353, 7.122144, 6.903745), (5.311432, 5.485328, 3.987654), (1.789930, 5.393625, 4.413414),
        (-1.789930, 5.393625, 4.413414), (-5.311432, 5.485328, 3.987654), (1.930245, 0.424351, 5.914376),
        (-1.930245, 0.424351, 5.914376), (2.774015, -2.080775, 5.048531), (-2.774015, -2.080775, 5.048531),
        (0, -3.116408, 6.097667),
    ]
) * [1, -1, -1]  # fmt: skip


def seen_points(
    number: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy points of heads turned to any side, their angles and rotations."""
    limits = np.array([180.0, 60, 45])
    ypr = rng.uniform(-limits, limits, (number, 3))
    rotations = ypr_to_matrix(ypr)
    flat = np.einsum("nij,kj->nki", rotations, POINTS)[..., :2] / 10
    noisy = flat + rng.normal(0, 0.02, flat.shape)
    return tuple(
        torch.tensor(a, dtype=torch.float32) for a in (noisy.reshape(number, -1), ypr, rotations)
    )  # type: ignore[return-value]


def mean_error(form: str, steps: int, seed: int = 0) -> float:
    """Mean geodesic degrees on held-out heads of a small network trained with one of the forms."""
    from headsight.geometry.rotations import geodesic_deg, sixd_to_matrix, unit_to_ypr, ypr_to_unit
    from headsight.models.headpose.geodesic import geodesic_loss

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    outputs = 6 if form == "sixd" else 3
    net = torch.nn.Sequential(
        torch.nn.Linear(26, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, outputs),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        points, ypr, rotations = seen_points(256, rng)
        if form == "sixd":
            loss = geodesic_loss(sixd_to_matrix(net(points)), rotations)
        else:
            loss = (net(points).sigmoid() - ypr_to_unit(ypr)).norm(dim=-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    points, _, rotations = seen_points(4096, rng)
    with torch.no_grad():
        said = net(points)
        read = (
            sixd_to_matrix(said) if form == "sixd" else ypr_to_matrix(unit_to_ypr(said.sigmoid()))
        )
    return float(geodesic_deg(read, rotations).mean())


def test_six_numbers_beat_three_angles() -> None:
    """Known answer 11 at a fifteenth of its steps, where the gap is wider still: 2 against 21."""
    assert mean_error("sixd", 200) < 0.6 * mean_error("euler", 200)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_six_numbers_beat_three_angles_at_full_length(seed: int) -> None:
    """Known answer 11: 6D + geodesic below 0.6 of sigmoid angles (1.27 against 3.12 degrees)."""
    sixd, euler = mean_error("sixd", 3000, seed), mean_error("euler", 3000, seed)
    assert sixd < 0.6 * euler
    assert sixd < 2

"""Points of an object from names: crops and back, modes, orders, failures, and a model that learns."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bars import SCHEMA, SIDE, taught_vlm, tiny_vlm, write_bars
from PIL import Image

from headsight.data.keypoint_files import read_keypoints
from headsight.errors import InputError
from headsight.language.rounds import RoundFormat
from headsight.picture import Picture, open_picture
from headsight.tasks.keypoint_asking import Asking, asking_of
from headsight.tasks.keypoints import Keypoints, find_keypoints, find_together

BOX = np.array([[100.0, 50.0, 180.0, 90.0]])
PICTURE = Picture(Image.new("RGB", (640, 480), "gray"))


def told(*answers: str) -> Any:
    """A script that answers the points of SCHEMA in their order."""

    def script(picture: Picture, prompt: str) -> str:
        place = next(i for i, name in enumerate(SCHEMA.names) if f"the {name} of" in prompt)
        return answers[place]

    return script


def test_answers_become_pixels(scripted: Any) -> None:
    # the spec's box: clean (100, 50, 79 x 39), centre (139.5, 69.5), side 79
    vlm = scripted(told("[0.253,0.380]", "[0.000,0.253]", "[0.999,0.500]"))
    found = find_keypoints(vlm, PICTURE, BOX, SCHEMA)
    expected = [[119.987, 60.020], [100.0, 49.987], [178.921, 69.5]]
    np.testing.assert_allclose(found.points[0], expected, atol=5e-4)
    np.testing.assert_allclose(found.scores, 0.8)
    assert found.failures == ((None, None, None),)
    [(picture, prompts, _)] = vlm.calls
    assert picture.image_wh == (224, 224)
    assert prompts[0].startswith("User: Where is the red of the bar?")


def test_answers_that_are_no_points_are_typed_and_missing(scripted: Any) -> None:
    vlm = scripted(told("I cannot tell", "[1.000,0.500]", "{315,007,000}"))
    found = find_keypoints(vlm, PICTURE, BOX, SCHEMA)
    assert found.failures == (("refusal", "out_of_range", "wrong_kind"),)
    assert np.isnan(found.points[0, [0, 2]]).all()
    np.testing.assert_allclose(found.points[0, 1], [178.921, 69.5], atol=5e-4)  # never (x, 0)
    assert found.scores[0].tolist() == [0, pytest.approx(0.8), 0]
    detections = found.to_detections()
    assert detections.keypoints is not None
    assert detections.keypoints[0, :, 2].tolist() == [0, 2, 0]
    [prediction] = found.predictions(["7"])
    assert (prediction.id, prediction.failures[0]) == ("7", "refusal")


def test_no_objects(scripted: Any) -> None:
    found = find_keypoints(scripted(told()), PICTURE, np.zeros((0, 4)), SCHEMA)
    assert found.points.shape == (0, 3, 2)
    assert len(found.to_detections()) == 0
    with_density = Asking(with_density=True)
    found = find_keypoints(tiny_vlm(), PICTURE, np.zeros((0, 4)), SCHEMA, asking=with_density)
    assert found.densities is not None
    assert found.densities.shape == (0, 3, 2, 1000)


@pytest.mark.parametrize("box", [[700, 10, 800, 50], [10, 10, 10, 50], [30, 10, 20, 50]])
def test_bad_boxes(scripted: Any, box: list[float]) -> None:
    with pytest.raises(InputError, match="no area inside the picture"):
        find_keypoints(scripted(told()), PICTURE, np.array([box], float), SCHEMA)


def test_what_cannot_be_asked(scripted: Any) -> None:
    vlm = scripted(told("[0.1,0.2]"))
    with pytest.raises(InputError, match="asked from outside"):
        find_keypoints(vlm, PICTURE, BOX, SCHEMA, asking=Asking(mode="cumulative"))
    with pytest.raises(InputError, match="each of red, middle, blue once"):
        find_keypoints(vlm, PICTURE, BOX, SCHEMA, asking=Asking(order=("red", "blue")))
    for wrong in ({"mode": "both"}, {"decode": "best"}, {"frame": "tile"}, {"window": -1}):
        with pytest.raises(InputError, match="expected"):
            Asking(**wrong)


def test_all_points_in_one_place_are_told(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    find_keypoints(scripted(told(*["[0.500,0.500]"] * 3)), PICTURE, BOX, SCHEMA)
    assert "degenerate" in caplog.text


def test_the_whole_picture_as_frame(scripted: Any) -> None:
    vlm = scripted(told(*["[0.250,0.500]"] * 3))
    found = find_keypoints(vlm, PICTURE, BOX, SCHEMA, asking=Asking(frame="image"))
    np.testing.assert_allclose(found.points[0, 0], [160.0, 240.0])


def test_a_model_is_asked_as_it_was_taught(caplog: pytest.LogCaptureFixture) -> None:
    vlm = tiny_vlm()
    kept = {
        "rounds": "fixed",
        "k": 4,
        "pad": 1.25,
        "side": 32,
        "digits": 2,
        "question": "{keypoint}",
    }
    vlm.model.config.headsight_keypoints = kept
    asking = asking_of(vlm)
    assert (asking.mode, asking.pad, asking.side) == ("independent", 1.25, 32)
    assert asking.form == RoundFormat(question="{keypoint}", digits=2)
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        assert asking_of(vlm, mode="cumulative").mode == "cumulative"
    assert "taught=fixed rounds=4 window=16" in caplog.text
    caplog.clear()
    asking_of(vlm, mode="cumulative", window=3)
    assert not caplog.text
    vlm.model.config.headsight_keypoints = {**kept, "rounds": "dynamic"}
    asking = asking_of(vlm)
    assert (asking.mode, asking.window) == ("cumulative", 3)
    assert asking_of(vlm, window=9).window == 9


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("bars")
    vlm, _ = taught_vlm(write_bars(folder / "new", 200, seed=0))
    return vlm, write_bars(folder / "held", 12, seed=1)


def _found(vlm: Any, held: Path, **changed: Any) -> tuple[list[Keypoints], float]:
    """What is found in every picture, and PCK at 0.2."""
    asking = asking_of(vlm, **changed)
    found, hits = [], []
    for one in read_keypoints(held).instances:
        found.append(
            find_keypoints(vlm, open_picture(one.image), one.box[None], SCHEMA, asking=asking)
        )
        errors = np.linalg.norm(found[-1].points[0] - one.points, axis=1)
        hits.append(errors / one.box_length < 0.2)
    return found, float(np.mean(hits))


def test_taught_points_are_found(taught: tuple[Any, Path]) -> None:
    vlm, held = taught
    raw = tiny_vlm()
    raw.model.config.headsight_keypoints = vlm.model.config.headsight_keypoints
    assert _found(raw, held)[1] == 0
    truth = np.stack([one.points for one in read_keypoints(held).instances])
    blind = np.linalg.norm(truth - truth.mean(0), axis=-1) / (SIDE - 1) < 0.2
    assert _found(vlm, held, mode="independent")[1] > blind.mean() + 0.1
    assert _found(vlm, held, mode="cumulative")[1] > blind.mean()


def test_answers_do_not_depend_on_how_they_are_had(taught: tuple[Any, Path]) -> None:
    vlm, held = taught
    alone, _ = _found(vlm, held, mode="independent")
    for changed in (
        {"mode": "cumulative", "window": 0},  # in a cache, with drafts
        {"mode": "independent", "with_density": True},
        {"mode": "independent", "constrain": True},
    ):
        for one, other in zip(alone, _found(vlm, held, **changed)[0], strict=True):
            np.testing.assert_allclose(one.points, other.points)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_objects_together_are_objects_one_by_one(taught: tuple[Any, Path]) -> None:
    vlm, held = taught
    pictures = [open_picture(one.image).image for one in read_keypoints(held).instances[:4]]
    row = Image.new("RGB", (SIDE * 4, SIDE))
    for number, image in enumerate(pictures):
        row.paste(image, (number * SIDE, 0))
    boxes = np.array([[n * SIDE, 0, (n + 1) * SIDE, SIDE] for n in range(4)], float)
    asking = asking_of(vlm, batch=3)
    together = find_keypoints(vlm, Picture(row), boxes, SCHEMA, asking=asking)
    for number, box in enumerate(boxes):
        alone = find_keypoints(vlm, Picture(row), box[None], SCHEMA, asking=asking)
        np.testing.assert_allclose(together.points[number], alone.points[0])
    objects = [(Picture(image), np.array([0.0, 0, SIDE, SIDE])) for image in pictures]
    for number, other in enumerate(find_together(vlm, objects, SCHEMA, asking=asking)):
        np.testing.assert_allclose(other.points[0], together.points[number] - (number * SIDE, 0))


def test_orders(taught: tuple[Any, Path]) -> None:
    vlm, held = taught
    one = read_keypoints(held).instances[0]
    picture = open_picture(one.image)

    def ask(order: Any) -> Keypoints:
        asking = asking_of(vlm, order=order)
        return find_keypoints(vlm, picture, one.box[None], SCHEMA, asking=asking)

    alone = find_keypoints(
        vlm, picture, one.box[None], SCHEMA, asking=asking_of(vlm, mode="independent")
    )
    for last_first in (("blue", "middle", "red"), "confidence"):
        found = ask(last_first)
        place = 2 if last_first != "confidence" else int(np.argmax(alone.scores[0]))
        # who is asked first knows of no other answer
        np.testing.assert_allclose(found.points[0, place], alone.points[0, place])
    np.testing.assert_allclose(ask(SCHEMA.names).points, ask("schema").points)


def test_distributions(taught: tuple[Any, Path]) -> None:
    vlm, held = taught
    one = read_keypoints(held).instances[0]
    picture = open_picture(one.image)

    def ask(**changed: Any) -> Keypoints:
        asking = asking_of(vlm, **changed)
        return find_keypoints(vlm, picture, one.box[None], SCHEMA, asking=asking)

    found = ask(with_density=True)
    assert found.densities is not None
    assert found.densities.shape == (1, 3, 2, 10)
    np.testing.assert_allclose(found.densities.sum(-1), 1, atol=1e-5)
    written = found.crops[0].to_crop(found.points[0])
    np.testing.assert_allclose(found.densities[0].argmax(-1) / 10, written, atol=1e-9)
    mean, median = (
        ask(decode=how).crops[0].to_crop(ask(decode=how).points[0]) for how in ("mean", "median")
    )
    steps = np.arange(10) / 10
    np.testing.assert_allclose(mean, (found.densities[0] * steps).sum(-1), atol=1e-5)
    below = (found.densities[0] * (steps < median[..., None] - 1e-9)).sum(-1)
    up_to = (found.densities[0] * (steps <= median[..., None] + 1e-9)).sum(-1)
    assert (below < 0.5).all()
    assert (up_to >= 0.5 - 1e-9).all()

"""The shipped schemas on real labels: as many points, the same sides, and sentences that are true."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headsight.data.keypoint_files import read_keypoints
from headsight.data.keypoints import KeypointInstance
from headsight.language.schema_library import schema

DATA = Path(os.environ.get("HEADSIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))
LABELLED = {
    "300w": "face-68",
    "aflw": "face-19",
    "ap10k": "animal-17",
    "coco": "person-17",
    "deepfashion2": "long-sleeved-dress-37",
    "fly": "fly-32",
    "macaque": "macaque-17",
    "onehand10k": "hand-21",
    "posetrack18": "person-17",
}
SPREAD = 0.03
"""Points nearer to each other than this share of the box say nothing of what is between them."""
TRUE_SHARE = 0.95
"""Of the sentences: a folded arm or leg may break one."""


@pytest.fixture(autouse=True)
def samples(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (DATA / "keypoint_samples").is_dir():
        pytest.skip("the keypoint samples are absent")
    monkeypatch.setenv("HEADSIGHT_DATA", str(DATA))


@pytest.mark.parametrize("sample", LABELLED)
def test_as_many_points_as_labelled(sample: str) -> None:
    found = read_keypoints(sample).instances
    assert found
    assert {len(instance.points) for instance in found} == {len(schema(LABELLED[sample]))}


@pytest.mark.parametrize("sample", ["ap10k", "coco", "macaque"])
def test_the_labels_own_names(sample: str) -> None:
    (names,) = {instance.names for instance in read_keypoints(sample).instances}
    assert tuple(name.replace("_", " ") for name in names) == schema(LABELLED[sample]).names


def test_the_sides_of_the_fly() -> None:
    (names,) = {instance.names for instance in read_keypoints("fly").instances}
    for theirs, ours in zip(names, schema("fly-32").names, strict=True):
        side = re.search(r"[LR](?=\d?$)", theirs)
        said = ours.split()[0] if ours.split()[0] in ("left", "right") else None
        assert {"L": "left", "R": "right"}.get(side[0] if side else "") == said
        assert set(re.findall("eye|foreleg|midleg|hindleg|wing", theirs)) <= set(ours.split())


def spoken(sample: str, phrase: str) -> Iterator[tuple[KeypointInstance, int, list[str]]]:
    """Every place where a description holds `phrase`, N in it standing for a keypoint's name."""
    texts = schema(LABELLED[sample])
    names = "|".join(sorted(map(re.escape, texts.names), key=len, reverse=True))
    pattern = re.compile(phrase.replace("N", rf"({names})\b"))
    for instance in read_keypoints(sample).instances:
        for index, point in enumerate(texts.keypoints):
            for match in pattern.finditer(point.description):
                yield instance, index, list(match.groups())


def between(sample: str, *, shift: int = 0) -> list[bool]:
    """For every "between the A and the B" of labelled points: is it so?

    With `shift` the sentences are taken for those of points so many places on.
    """
    names, told = schema(LABELLED[sample]).names, []
    for instance, index, ends in spoken(sample, "between the N(?: [a-z ]+?)? and the N"):
        point, *both = [(names.index(n) + shift) % len(names) for n in (names[index], *ends)]
        start, end = instance.points[both]
        way = end - start
        if not instance.visible[[point, *both]].all():
            continue
        if np.hypot(*way) < SPREAD * instance.box_length:
            continue
        share = (instance.points[point] - start) @ way / (way @ way)
        told.append(bool(-0.1 <= share <= 1.1))
    return told


def test_what_is_said_to_lie_between_does() -> None:
    told = [so for sample in LABELLED for so in between(sample)]
    assert len(told) > 250
    assert np.mean(told) >= TRUE_SHARE
    wrong = [so for sample in LABELLED for so in between(sample, shift=1)]
    assert np.mean(wrong) < 0.8  # an order that is off by one would show


def test_what_is_said_to_lie_above_and_below_does() -> None:
    """On upright faces, where the picture's down is the face's."""
    told = []
    for sample in ("300w", "aflw"):
        names = schema(LABELLED[sample]).names
        for instance, index, (word, other) in spoken(sample, r"\b(above|below) the N"):
            place = names.index(other)
            if instance.visible[[index, place]].all():
                is_lower = instance.points[index, 1] > instance.points[place, 1]
                told.append(bool(is_lower == (word == "below")))
    assert len(told) > 80
    assert np.mean(told) >= TRUE_SHARE

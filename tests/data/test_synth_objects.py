"""Rendered objects: schemas, exact truth, sides, the same picture everywhere, resumable folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from headsight.errors import ConfigError, InputError, ResumeError
from headsight.language.schema import KeypointSchema
from headsight.language.schema_lint import lint_schema

pytest.importorskip(
    "embreex", reason="scenes need the package embreex: pip install 'headsight[scenes]'"
)

from headsight.data.keypoint_files import read_keypoints
from headsight.data.synth.objects import (
    CATEGORIES,
    ObjectScene,
    ObjectsConfig,
    names_of,
    object_schema,
    render_objects,
    write_objects,
)
from headsight.data.synth.objects.kit import Model
from headsight.data.synth.objects.placing import view_rotation

CLEAN = ObjectsConfig(
    image_wh=(96, 96),
    second_share=0.0,
    occluder_share=0.0,
    cut_share=0.0,
    finish=0.0,
    size_share=(0.8, 0.9),
)


@cache
def model(name: str, seed: int) -> Model:
    return CATEGORIES[name].model(np.random.default_rng(seed))


def one(name: str, seed: int = 0, **changes: object) -> ObjectScene:
    """A clean picture of one object of that kind."""
    config = replace(CLEAN, split=CATEGORIES[name].split, categories=(name,), **changes)
    return render_objects(seed, 0, config)


def points(scene: ObjectScene, k: int = 0) -> dict[str, np.ndarray]:
    label = scene.labels[k]
    names = object_schema(CATEGORIES[label.category].schema).names
    return dict(zip(names, label.keypoints, strict=True))


class TestCategories:
    def test_counts_and_split(self) -> None:
        seen, unseen = set(names_of("seen")), set(names_of("unseen"))
        assert (len(seen), len(unseen)) == (34, 12)  # as docs/keypoints.md says
        assert not seen & unseen
        assert seen | unseen == set(CATEGORIES)

    @pytest.mark.parametrize("name", sorted({c.schema for c in CATEGORIES.values()}))
    def test_schemas_keep_the_rules(self, name: str) -> None:
        schema = object_schema(name)
        assert lint_schema(schema) == []
        assert 8 <= len(schema) <= 21
        assert all(12 <= len(p.description.split()) <= 35 for p in schema.keypoints)

    def test_an_unseen_schema_alone_brings_new_points(self) -> None:
        """Both kinds of novelty are there: new bodies of known points, and wholly new points."""
        known = {CATEGORIES[n].schema for n in names_of("seen")}
        new = [n for n in names_of("unseen") if CATEGORIES[n].schema not in known]
        assert sorted(new) == ["axe", "bed", "skirt", "teapot"]

    @pytest.mark.parametrize("name", CATEGORIES)
    def test_a_model_names_the_points_of_its_schema(self, name: str) -> None:
        category = CATEGORIES[name]
        schema = object_schema(category.schema)
        first, other = model(name, 1), model(name, 2)
        assert set(first.marks) == set(other.marks) == set(schema.names)
        assert first.points.shape != other.points.shape or not np.allclose(
            first.points, other.points
        )
        reach = np.linalg.norm(first.points, axis=1)
        assert reach.max() == pytest.approx(0.5, abs=1e-5)
        for mark in first.marks.values():  # on or in the object: near one of its corners
            assert np.linalg.norm(first.points - mark.at, axis=1).min() < 0.12
            assert 0 < mark.depth < 0.3

    @pytest.mark.parametrize("name", CATEGORIES)
    def test_left_is_the_object_s_own(self, name: str) -> None:
        """On average over a few objects, the left one of a pair lies at greater y."""
        schema = object_schema(CATEGORIES[name].schema)
        models = [model(name, seed) for seed in (1, 2)]
        for a, b in schema.left_right_pairs:
            left, right = sorted((schema.names[a], schema.names[b]), key=lambda n: "left" not in n)
            apart = [m.marks[left].at[1] - m.marks[right].at[1] for m in models]
            assert np.mean(apart) > 0.02, (left, apart)

    @pytest.mark.parametrize("name", ["chair", "table", "sofa", "bed", "car", "skirt", "mug"])
    def test_stiff_objects_are_their_own_mirror_images(self, name: str) -> None:
        schema = object_schema(CATEGORIES[name].schema)
        marks = model(name, 3).marks
        middle = np.mean([marks[schema.names[k]].at[1] for p in schema.left_right_pairs for k in p])
        for a, b in schema.left_right_pairs:
            left, right = marks[schema.names[a]].at, marks[schema.names[b]].at
            assert left[[0, 2]] == pytest.approx(right[[0, 2]], abs=1e-9)
            assert left[1] - middle == pytest.approx(middle - right[1], abs=1e-9)


class TestTruth:
    def test_known_views(self) -> None:
        """Facing the camera the left is at the right, at 90 degrees the front is; +y is down."""
        forward, left, up = np.eye(3)
        assert view_rotation(0, 0, 0) @ left == pytest.approx([1, 0, 0])
        assert view_rotation(0, 0, 0) @ forward == pytest.approx([0, 0, -1])
        assert view_rotation(90, 0, 0) @ forward == pytest.approx([1, 0, 0])
        assert view_rotation(0, 90, 0) @ up == pytest.approx([0, 0, -1])  # seen from above
        assert view_rotation(0, 0, 90) @ up == pytest.approx([1, 0, 0])

    @pytest.mark.parametrize("name", CATEGORIES)
    def test_points_lie_on_the_object(self, name: str) -> None:
        scene = one(name, seed=4)
        label = scene.labels[0]
        mask = scene.silhouettes == 0
        assert label.area == mask.sum() > 150
        assert label.visible == 1
        near = ndimage.binary_dilation(mask, iterations=2)  # a beak is thinner than a pixel
        wider = ndimage.binary_dilation(mask, iterations=3)
        x1, y1, x2, y2 = label.box
        rows, columns = np.nonzero(mask)
        assert [columns.min(), rows.min()] == pytest.approx([x1, y1], abs=2.5)
        assert [columns.max() + 1, rows.max() + 1] == pytest.approx([x2, y2], abs=2.5)
        seen = 0
        for point, (x, y, state) in points(scene).items():
            assert state > 0, f"{point} is outside an object that is whole"
            at = int(y), int(x)
            assert wider[at], f"{point} floats beside the object"
            assert state == 1 or near[at], f"{point} is said to be seen where nothing is"
            seen += state == 2
        assert seen >= 3

    @pytest.mark.parametrize(
        ("azimuth", "shown", "hidden"), [(90.0, "right", "left"), (-90.0, "left", "right")]
    )
    def test_the_far_side_is_hidden(self, azimuth: float, shown: str, hidden: str) -> None:
        view = {"azimuth_deg": (azimuth, azimuth), "elevation_deg": (5.0, 5.0)}
        for name, point in (
            ("cow", "shoulder"),
            ("fish", "gill"),
            ("car", "front wheel"),
            ("bus", "rear wheel"),
        ):
            found = points(one(name, seed=1, **view))
            assert found[f"{shown} {point}"][2] == 2, name
            assert found[f"{hidden} {point}"][2] == 1, name

    def test_sides_in_the_picture(self) -> None:
        front = {"azimuth_deg": (0.0, 0.0), "elevation_deg": (0.0, 0.0)}
        behind = {"azimuth_deg": (180.0, 180.0), "elevation_deg": (0.0, 0.0)}
        for name, point in (
            ("face", "ear"),
            ("shirt", "hem"),
            ("chair", "front foot"),
            ("bear", "hip"),
        ):
            for seed in range(2):
                a, b = points(one(name, seed, **front)), points(one(name, seed, **behind))
                assert a[f"left {point}"][0] > a[f"right {point}"][0]
                assert b[f"left {point}"][0] < b[f"right {point}"][0]

    def test_what_stands_before_an_object_hides_its_points(self) -> None:
        """The same objects with and without things before them: points only ever get hidden."""
        changed = 0
        for index in range(6):
            config = replace(CLEAN, occluder_share=1.0)
            free, covered = (render_objects(2, index, c) for c in (CLEAN, config))
            a, b = free.labels[0], covered.labels[0]
            assert np.array_equal(a.keypoints[:, :2], b.keypoints[:, :2])
            assert (b.keypoints[:, 2] <= a.keypoints[:, 2]).all()
            assert b.area <= a.area
            changed += int((b.keypoints[:, 2] < a.keypoints[:, 2]).sum())
            for x, y, state in b.keypoints:
                if state == 1 and covered.silhouettes[int(y), int(x)] == -2:
                    assert b.visible < 1
        assert changed >= 5

    def test_points_outside_the_picture(self) -> None:
        config = replace(CLEAN, cut_share=1.0)
        states = np.concatenate(
            [render_objects(0, i, config).labels[0].keypoints for i in range(7)]
        )
        inside = ((states[:, :2] >= 0) & (states[:, :2] < 96)).all(1)
        assert ((states[:, 2] > 0) == inside).all()
        assert 0.02 < 1 - inside.mean() < 0.5

    def test_same_picture_again_and_another_elsewhere(self) -> None:
        config = ObjectsConfig(image_wh=(96, 80))
        a, b, c, d = (render_objects(s, i, config) for s, i in ((5, 3), (5, 3), (5, 37), (6, 3)))
        assert a.image.shape == (80, 96, 3)
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.labels[0].keypoints, b.labels[0].keypoints)
        assert a.labels[0].category == c.labels[0].category == d.labels[0].category
        assert not np.array_equal(a.image, c.image)
        assert not np.array_equal(a.image, d.image)

    def test_two_objects(self) -> None:
        config = replace(CLEAN, second_share=1.0)
        scenes = [render_objects(1, i, config) for i in range(4)]
        assert max(len(s.labels) for s in scenes) == 2
        for s in scenes:
            for k, label in enumerate(s.labels):
                assert label.area == (s.silhouettes == k).sum()


class TestFolder:
    def test_coco_keypoints(self, tmp_path: Path) -> None:
        target = write_objects(tmp_path / "set", ObjectsConfig(image_wh=(64, 64)), 5, seed=1)
        document = json.loads(target.read_text())
        categories = {c["id"]: c for c in document["categories"]}
        assert [c["name"] for c in document["categories"]] == list(names_of("seen"))
        assert len(document["images"]) == 5
        for a in document["annotations"]:
            category = categories[a["category_id"]]
            marks = np.array(a["keypoints"]).reshape(-1, 3)
            assert len(marks) == len(category["keypoints"])
            assert a["num_keypoints"] == (marks[:, 2] > 0).sum()
            assert not marks[marks[:, 2] == 0].any()
            x, y, w, h = a["bbox"]
            assert min(x, y) >= 0
            assert max(x + w, y + h) <= 64
            assert 0 < a["area"] <= 64 * 64
            assert all(1 <= k <= len(marks) for edge in category["skeleton"] for k in edge)
        schemas = json.loads((target.parent / "schemas.json").read_text())
        by_name = {s["name"]: KeypointSchema.from_dict(s) for s in schemas["schemas"]}
        for category in categories.values():
            schema = by_name[schemas["categories"][category["name"]]]
            assert list(schema.names) == category["keypoints"]
        assert (target.parent / "contact_sheet.jpg").stat().st_size > 1500

    def test_our_reader_takes_it(self, tmp_path: Path) -> None:
        target = write_objects(tmp_path / "set", replace(CLEAN, image_wh=(64, 64)), 3)
        found = read_keypoints(target)
        assert [i.category for i in found.instances] == list(names_of("seen")[:3])
        assert found.instances[0].names == object_schema("animal-17").names
        assert found.instances[0].image.is_file()

    def test_resume(self, tmp_path: Path) -> None:
        config = replace(CLEAN, image_wh=(48, 48), split="unseen")
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        write_objects(whole, config, 4, seed=3)
        write_objects(parts, config, 2, seed=3)
        with (parts / "journal.jsonl").open("a") as journal:
            journal.write('{"index": 2, "torn')
        counts: list[int] = []
        write_objects(parts, config, 4, seed=3, resume=True, on_scene=counts.append)
        assert counts == [2, 3, 4]
        for name in ("annotations.json", "schemas.json", "images/000003.jpg", "contact_sheet.jpg"):
            assert (whole / name).read_bytes() == (parts / name).read_bytes()
        with pytest.raises(ResumeError, match="other settings"):
            write_objects(parts, config, 4, seed=4, resume=True)
        with pytest.raises(InputError, match="not empty"):
            write_objects(parts, config, 4, seed=3)

    def test_command(self, tmp_path: Path, run: Callable) -> None:  # type: ignore[type-arg]
        out = tmp_path / "set"
        said = run(
            "scenes", "--objects", "--n", 2, "--size", "48", "--split", "unseen", "--category",
            "teapot", "--out", out, "--workers", 0, "--json",
        )  # fmt: skip
        assert said.code == 0
        document = json.loads(said.out)
        assert document["schema"] == "headsight.objects/1"
        assert document["pictures"] == 2
        written = json.loads((out / "annotations.json").read_text())
        assert [c["name"] for c in written["categories"]] == ["teapot"]


class TestErrors:
    def test_settings(self) -> None:
        with pytest.raises(ConfigError, match="no seen category 'teapot'"):
            ObjectsConfig(categories=("teapot",))
        with pytest.raises(ConfigError, match="cut_share is 2"):
            ObjectsConfig(cut_share=2.0)
        with pytest.raises(ConfigError, match="size_share"):
            ObjectsConfig(size_share=(0.9, 0.2))
        with pytest.raises(InputError, match="No keypoint schema"):
            object_schema("unicorn-3")

    def test_words_on_the_command_line(self, tmp_path: Path, run: Callable) -> None:  # type: ignore[type-arg]
        wrong = run("scenes", "--objects", "--split", "train", "--out", tmp_path / "a")
        assert wrong.code == 2
        assert "seen" in wrong.err
        wrong = run("scenes", "--category", "dog", "--out", tmp_path / "b")
        assert "--objects" in wrong.err

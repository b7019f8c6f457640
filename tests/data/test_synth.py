"""Scenes: exact truth, the same picture everywhere, a folder that can be resumed, clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headsight.data.synth.assets import load_assets
from headsight.data.synth.bodies import Bodies, coarsened, quads_to_triangles, smooth_normals
from headsight.data.synth.config import SceneConfig
from headsight.errors import ConfigError, HeadsightError, InputError, ResumeError
from headsight.geometry.rotations import geodesic_deg, matrix_to_ypr, ypr_to_matrix

pytest.importorskip("anny", reason="scenes need the package anny: pip install 'headsight[scenes]'")
pytest.importorskip(
    "embreex", reason="scenes need the package embreex: pip install 'headsight[scenes]'"
)

from headsight.data.synth import (
    LANDMARKS,
    Scene,
    iterate_scenes,
    render_scene,
    write_scenes,
)

SMALL = SceneConfig(image_wh=(96, 96), people=(1, 2))


@pytest.fixture(scope="session")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Bodies:
    """The baked bodies; baked on first use, kept in the user's cache as for a user."""
    import warnings

    from headsight.data.synth.bodies import load_bodies

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anny and its solver warn while they build
        return load_bodies()


@pytest.fixture(scope="session")
def scenes(bodies: Bodies) -> list[Scene]:
    mixed = SceneConfig(image_wh=(128, 96), crowd_share=0.3, portrait_share=0.3)
    return [render_scene(3, i, mixed) for i in range(8)]


class TestTruth:
    def test_shapes_and_ranges(self, scenes: list[Scene]) -> None:
        assert sum(len(s.boxes) for s in scenes) >= 8
        for s in scenes:
            n = len(s.boxes)
            assert s.image.shape == (96, 128, 3)
            assert s.image.dtype == np.uint8
            assert s.boxes_full.shape == (n, 4)
            assert s.rotations.shape == (n, 3, 3)
            assert s.landmarks.shape == (n, len(LANDMARKS), 3)
            assert len(s.labels) == n
            assert ((s.visible > 0) & (s.visible <= 1)).all()
            assert (s.boxes[:, :2] >= 0).all()
            assert (s.boxes[:, 2:] <= (128, 96)).all()
            assert (s.boxes[:, 2:] > s.boxes[:, :2]).all()
            assert np.array_equal(np.clip(s.boxes_full, 0, (128, 96, 128, 96)), s.boxes)

    def test_rotations_are_rotations(self, scenes: list[Scene]) -> None:
        r = np.concatenate([s.rotations for s in scenes])
        # The joint transforms are held in float32.
        np.testing.assert_allclose(
            r @ r.swapaxes(1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-5
        )
        np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-5)

    def test_landmarks_turn_with_the_labels(self, bodies: Bodies) -> None:
        """A similarity fit of the posed landmarks to the unposed ones gives the rotation of the label."""
        from headsight.data.synth.landmarks import NEUTRAL_PITCH_DEG
        from headsight.data.synth.looks import random_look
        from headsight.data.synth.people import build_person

        rng = np.random.default_rng(0)
        look = random_look(rng, bodies, None, "train")
        turn = ypr_to_matrix(np.array([25.0, -15.0, 10.0]))
        still, posed = (
            build_person(look, bodies, None, turns=turns, owner=0, px_per_metre=400.0)
            for turns in ({}, {"head": turn})
        )
        # Only skull landmarks are rigid: the jaw shares weights with the neck.
        names = [n for n in LANDMARKS if "eye" in n or "brow" in n or "nose" in n]
        rows = [list(LANDMARKS).index(n) for n in names]
        a, b = (p.landmarks[rows].astype(np.float64) for p in (still, posed))
        u, _, vt = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
        fitted = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        neutral = ypr_to_matrix(np.array([0.0, NEUTRAL_PITCH_DEG, 0.0]))
        assert geodesic_deg(fitted @ neutral, posed.rotation) < 0.05
        assert geodesic_deg(turn @ neutral, posed.rotation) < 0.01

    def test_the_two_frames_differ_by_the_line_of_sight(self, scenes: list[Scene]) -> None:
        seen = 0
        for s in scenes:
            h, w = s.image.shape[:2]
            middles = (s.boxes_full[:, :2] + s.boxes_full[:, 2:]) / 2 - np.array([w, h]) / 2
            apart = geodesic_deg(s.rotations, s.camera_rotations)
            np.testing.assert_allclose(
                apart,
                np.degrees(np.arctan(np.linalg.norm(middles, axis=1) / s.focal_px)),
                atol=1e-6,
            )
            seen += len(apart)
        assert seen

    def test_signs_in_the_picture(self, bodies: Bodies) -> None:
        """Yaw > 0 moves the nose to the image left, pitch > 0 up, roll > 0 turns the eyes clockwise."""
        clean = SceneConfig(image_wh=(64, 64), portrait_share=1.0, finish=0.0)
        names = list(LANDMARKS)
        rows = []
        for index in range(24):
            s = render_scene(11, index, clean)
            marks = dict(zip(names, s.landmarks[0, :, :2], strict=True))
            yaw, pitch, roll = matrix_to_ypr(s.rotations[0])[0]
            if abs(yaw) > 50:
                continue
            eyes = (marks["left_eye_outer"] + marks["right_eye_outer"]) / 2
            mouth = (marks["left_mouth"] + marks["right_mouth"]) / 2
            side = (
                marks["left_eye_outer"] - marks["right_eye_outer"]
            )  # the person's left is image right
            across, down = (
                side / np.linalg.norm(side),
                np.array([-side[1], side[0]]) / np.linalg.norm(side),
            )
            nose = (marks["nose_tip"] - (eyes + mouth) / 2) / np.linalg.norm(mouth - eyes)
            rows.append(
                (yaw, -nose @ across, pitch, -nose @ down, roll, np.arctan2(side[1], side[0]))
            )
        assert len(rows) >= 12
        table = np.array(rows)
        for k, name in ((0, "yaw"), (2, "pitch"), (4, "roll")):
            assert np.corrcoef(table[:, k], table[:, k + 1])[0, 1] > 0.8, name

    def test_box_holds_the_landmarks(self, scenes: list[Scene]) -> None:
        for s in scenes:
            for box, marks in zip(s.boxes_full, s.landmarks, strict=True):
                slack = 0.03 * (box[3] - box[1])
                assert (marks[:, :2] >= box[:2] - slack).all()
                assert (marks[:, :2] <= box[2:] + slack).all()

    def test_crowded_heads_hide_one_another(self, bodies: Bodies) -> None:
        crowd = SceneConfig(image_wh=(96, 96), crowd_share=1.0)
        visible = np.concatenate([render_scene(5, i, crowd).visible for i in range(2)])
        assert len(visible) > 5
        assert visible.min() < 0.9
        assert np.median(visible) > 0.8

    def test_yaw_covers_the_circle(self, bodies: Bodies) -> None:
        from headsight.data.synth.placing import place_people

        rng = np.random.default_rng(0)
        wanted = [
            p.head_ypr_deg[0]
            for _ in range(200)
            for p in place_people(rng, "group", SceneConfig(people=(1, 4)))[0]
        ]
        assert np.histogram(wanted, np.arange(-180, 181, 30))[0].min() > 0
        assert np.mean(np.abs(wanted) < 60) > 0.4


class TestSameEverywhere:
    def test_same_seed_same_picture(self, scenes: list[Scene]) -> None:
        config = SceneConfig(image_wh=(128, 96), crowd_share=0.3, portrait_share=0.3)
        again = render_scene(3, 2, config)
        assert np.array_equal(again.image, scenes[2].image)
        assert again.to_dict() == scenes[2].to_dict()

    def test_other_seed_other_picture(self, scenes: list[Scene]) -> None:
        config = SceneConfig(image_wh=(128, 96), crowd_share=0.3, portrait_share=0.3)
        assert not np.array_equal(render_scene(4, 2, config).image, scenes[2].image)

    def test_workers_change_nothing(self, bodies: Bodies) -> None:
        alone = [s.to_dict() for _, s in iterate_scenes(SMALL, 2, seed=8)]
        shared = [s.to_dict() for _, s in iterate_scenes(SMALL, 2, seed=8, workers=1)]
        assert alone == shared

    def test_heldout_shows_other_people(self, bodies: Bodies) -> None:
        from headsight.data.synth.looks import random_look

        rng = np.random.default_rng(0)
        train = {random_look(rng, bodies, None, "train").identity for _ in range(60)}
        heldout = {random_look(rng, bodies, None, "heldout").identity for _ in range(60)}
        assert not train & heldout

    def test_no_people_is_a_picture_too(self, bodies: Bodies) -> None:
        scene = render_scene(0, 0, SceneConfig(image_wh=(64, 48), people=(0, 0)))
        assert scene.image.shape == (48, 64, 3)
        assert scene.landmarks.shape == (0, len(LANDMARKS), 3)
        assert scene.boxes.shape == (0, 4)
        assert scene.to_dict()["heads"] == []


class TestFolder:
    def test_coco_of_what_was_rendered(self, bodies: Bodies, tmp_path: Path) -> None:
        counts: list[int] = []
        target = write_scenes(tmp_path / "out", SMALL, 3, seed=1, on_scene=counts.append)
        whole = json.loads(target.read_text("utf-8"))
        assert counts == [0, 1, 2, 3]
        assert [i["file_name"] for i in whole["images"]] == [
            f"images/{k:06d}.jpg" for k in range(3)
        ]
        scene = render_scene(1, 0, SMALL)
        mine = [a for a in whole["annotations"] if a["image_id"] == 0]
        assert len(mine) == len(scene.boxes)
        for annotation, rotation, box in zip(mine, scene.rotations, scene.boxes, strict=True):
            pose = annotation["head_pose"]
            ypr = np.array([pose["yaw_deg"], pose["pitch_deg"], pose["roll_deg"]])
            # Angles are written to a thousandth of a degree.
            assert geodesic_deg(ypr_to_matrix(ypr), rotation) < 0.01
            x, y, w, h = annotation["bbox"]
            np.testing.assert_allclose([x, y, x + w, y + h], box, atol=0.02)
            assert len(annotation["keypoints"]) == 3 * len(LANDMARKS)
        with Image.open(tmp_path / "out" / "contact_sheet.jpg") as sheet:
            assert sheet.width > 100

    def test_resumes_after_a_torn_line(self, bodies: Bodies, tmp_path: Path) -> None:
        whole = write_scenes(tmp_path / "a", SMALL, 3, seed=1).read_bytes()
        write_scenes(tmp_path / "b", SMALL, 2, seed=1)
        journal = tmp_path / "b" / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-20])
        assert write_scenes(tmp_path / "b", SMALL, 3, seed=1, resume=True).read_bytes() == whole

    def test_resume_refuses_other_settings(self, bodies: Bodies, tmp_path: Path) -> None:
        write_scenes(tmp_path, SMALL, 1, seed=1)
        with pytest.raises(ResumeError, match="other settings"):
            write_scenes(tmp_path, SMALL, 2, seed=2, resume=True)

    def test_overwrites_only_when_told(self, bodies: Bodies, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="not empty"):
            write_scenes(tmp_path, SMALL, 1)
        write_scenes(tmp_path, SMALL, 1, overwrite=True)
        assert (tmp_path / "notes.txt").read_text() == "mine"


class TestErrors:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"image_wh": (8, 8)},
            {"people": (3, 1)},
            {"head_px": (1.0, 5.0)},
            {"crowd_share": 0.8, "portrait_share": 0.5},
            {"photo_share": 2.0},
        ],
    )
    def test_settings_that_cannot_be(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ConfigError, match=r"but|add up"):
            SceneConfig(**wrong)  # type: ignore[arg-type]

    def test_assets_folder_without_assets(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="lacks skins"):
            load_assets(tmp_path)
        with pytest.raises(InputError, match="no folder"):
            load_assets(tmp_path / "missing")

    def test_backgrounds_that_are_not_there(self, bodies: Bodies, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "missing"):
            config = SceneConfig(image_wh=(64, 64), backgrounds=(folder,))
            with pytest.raises(InputError, match="Backgrounds"):
                render_scene(0, 0, config)

    def test_missing_package_names_the_extra(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        import sys

        from headsight.data.synth.bake import bake_bodies

        monkeypatch.setitem(sys.modules, "anny", None)
        with pytest.raises(HeadsightError, match=r"headsight\[scenes\]"):
            bake_bodies(tmp_path / "bodies.npz")

    def test_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from headsight.cli.main import main

        for words, message in (
            (["--size", "big"], "--size"),
            (["--people", "many"], "--people"),
            (["--split", "test"], "--split"),
            (["--assets", str(tmp_path / "none")], "Assets folder"),
        ):
            with pytest.raises(SystemExit) as left:
                main(
                    ["scenes", "--out", str(tmp_path / "out"), "--n", "1", "--workers", "0", *words]
                )
            assert left.value.code == 2
            assert message in capsys.readouterr().err
        assert not list((tmp_path / "out").rglob("*.jpg"))


class TestMeshes:
    def test_quads_become_triangles(self) -> None:
        assert quads_to_triangles(np.array([[0, 1, 2, 3]], np.int32)).tolist() == [
            [0, 1, 2],
            [0, 2, 3],
        ]

    def test_normal_of_a_flat_square(self) -> None:
        points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9]], np.float32)
        normals = smooth_normals(points, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
        assert normals.tolist() == [[0, 0, 1]] * 4 + [[0, 0, 0]]

    def test_merged_vertices_drop_thin_faces(self) -> None:
        points = np.array([[0.1, 0.1, 0], [0.2, 0.1, 0], [2.5, 0, 0], [0, 2.5, 0]], np.float32)
        faces = np.array([[0, 1, 2], [0, 2, 3], [1, 2, 3]], np.int32)
        left, corners = coarsened(points, faces, np.ones(4, np.float32))
        # 0 and 1 become one vertex: the first face has no area, the last repeats the second.
        assert left.tolist() == [1]
        assert corners.tolist() == [[0, 2, 3]]

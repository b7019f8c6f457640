"""Data sets of heads, made in the layouts and formats in which the real ones are published."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def save_picture(path: Path, wh: tuple[int, int] = (1280, 720)) -> Path:
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", wh, "#707070").save(path)
    return path


def crowdhuman_line(name: str, heads: list[dict[str, Any]]) -> str:
    """A line of an .odgt file; each head is its box and what differs from an ordinary person."""
    people = []
    for head in heads:
        box = head["hbox"]
        people.append(
            {
                "fbox": [box[0] - 10, box[1], box[2] + 20, box[3] * 6],
                "vbox": [box[0] - 5, box[1], box[2] + 10, box[3] * 5],
                "head_attr": {"ignore": 0, "occ": 0, "unsure": 0},
                "extra": {"box_id": 0, "occ": 0},
                "tag": "person",
                **head,
            }
        )
    return json.dumps({"ID": name, "gtboxes": people})


def make_crowdhuman(folder: Path) -> None:
    """Two pictures of 1000 x 500: a crowd of four with two to learn, and one person."""
    crowd: list[dict[str, Any]] = [
        {"hbox": [100, 50, 80, 100]},
        {"hbox": [960, -20, 80, 90]},  # reaches over the border
        {"hbox": [300, 50, 80, 100], "head_attr": {"ignore": 1, "occ": 0, "unsure": 0}},
        {"hbox": [500, 50, 80, 100], "head_attr": {"ignore": 0, "occ": 1, "unsure": 1}},
        {"hbox": [0, 0, 1, 1], "fbox": [700, 10, 40, 90], "tag": "mask", "extra": {"ignore": 1}},
    ]
    names = ("273271,c9db000d5146c15", "284193,faa9000f2678b5e")
    lines = [crowdhuman_line(names[0], crowd), crowdhuman_line(names[1], crowd[:1])]
    (folder / "annotation_train.odgt").write_text("\n".join(lines) + "\n")
    for name in names:
        save_picture(folder / "Images" / f"{name}.jpg", (1000, 500))


def make_wider_face(folder: Path) -> None:
    """A parade with two faces and an invalid one, and a picture without faces."""
    (folder / "wider_face_split").mkdir(parents=True)
    rows = [
        "0--Parade/0_Parade_marchingband_1_849.jpg",
        "3",
        "449 330 122 149 0 0 0 0 0 0 ",
        "361 98 100 100 1 0 0 0 1 0 ",
        "10 10 4 5 2 0 0 1 2 0 ",
        "0--Parade/0_Parade_Parade_0_452.jpg",
        "0",
        "0 0 0 0 0 0 0 0 0 0 ",
    ]
    (folder / "wider_face_split" / "wider_face_val_bbx_gt.txt").write_text("\n".join(rows) + "\n")
    for row in (rows[0], rows[5]):
        save_picture(folder / "WIDER_val" / "images" / row, (1024, 768))


BIWI_POSE = (
    "0.980639 0.109899 0.162077 \n-0.11023 0.993882 -0.00697376 \n-0.161851 -0.011027 0.986754 \n"
    "\n43.4019 -30.7038 906.864 \n"
)
"""12/frame_00003_pose.txt of the real set, as its card on a dataset hub quotes it."""
BIWI_CALIBRATION = (
    "517.679 0 320 \n0 517.679 240.5 \n0 0 1 \n\n0 0 0 0 \n\n"
    "0.999947 0.00432361 0.00929419 \n-0.00446314 0.999877 0.0150443 \n"
    "-0.009228 -0.015085 0.999844 \n\n-24.0198 5.8896 -13.2308 \n\n640 480\n"
)


def make_biwi(folder: Path) -> None:
    """The first frame of sequence 12, with its real numbers."""
    place = folder / "hpdb" / "12"
    save_picture(place / "frame_00003_rgb.png", (640, 480))
    (place / "frame_00003_pose.txt").write_text(BIWI_POSE)
    (place / "rgb.cal").write_text(BIWI_CALIBRATION)


def save_mat(path: Path, ypr_deg: Sequence[float], landmarks: Any, **others: Any) -> Path:
    """A file as 300W-LP (`pt2d`) and AFLW2000 (`pt3d_68`) have them, and its picture of 450 px."""
    from scipy.io import savemat

    yaw, pitch, roll = np.deg2rad(ypr_deg)
    points = np.asarray(landmarks, np.float32).T  # (2, 68)
    fields = {
        "Pose_Para": np.array([[pitch, yaw, roll, 230.0, 210.0, -110.0, 0.00145]], np.float32),
        "pt3d_68": np.concatenate([points, np.zeros((1, 68), np.float32)]),
        "roi": np.array([[1, 1, 450, 450]], np.int16),
        **others,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: value for name, value in fields.items() if value is not None})
    save_picture(path.with_suffix(".jpg"), (450, 450))
    return path


def face_landmarks() -> NDArray[np.float64]:
    """68 landmarks; the 14 of the reference head lie as a frontal head of 10 px a unit shows them.

    The origin of the reference head is at (225, 225).
    """
    from headsight.geometry.head_fit import REFERENCE_POINTS

    points = np.full((68, 2), 225.0)
    order = [17, 21, 26, 22, 45, 42, 39, 36, 35, 31, 54, 48, 57, 8]
    points[order] = np.array(REFERENCE_POINTS)[:, :2] * (10, -10) + 225
    return points


def make_aflw2000(folder: Path) -> None:
    """A frontal portrait, and one that the protocol leaves out."""
    save_mat(folder / "image00002.mat", (0, 0, 0), face_landmarks())
    save_mat(folder / "image00004.mat", (100, 5, 5), face_landmarks())


def make_300w_lp(folder: Path) -> None:
    """A portrait and its mirror image, with the landmark files that lie beside the real ones."""
    for place, yaw in (("AFW", 30), ("AFW_Flip", -30)):
        landmarks = face_landmarks().astype(np.float32)
        name = "AFW_134212_1_0"
        save_mat(
            folder / place / f"{name}.mat", (yaw, 10, 0), landmarks, pt2d=landmarks.T, pt3d_68=None
        )
    from scipy.io import savemat

    (folder / "landmarks" / "AFW").mkdir(parents=True)
    savemat(folder / "landmarks" / "AFW" / f"{name}_pts.mat", {"pts_2d": landmarks})
    (folder / "Code").mkdir()
    savemat(folder / "Code" / "Model_Exp.mat", {"mu_exp": landmarks})


def posed_points(
    ypr_deg: Sequence[float], translation: Sequence[float], *, scale: float = 1.3
) -> NDArray[np.float64]:
    """The 14 reference points of a head with that pose, in camera axes."""
    from headsight.geometry.head_fit import REFERENCE_POINTS
    from headsight.geometry.rotations import ypr_to_matrix

    rotation = ypr_to_matrix(np.array(ypr_deg, np.float64)) @ np.diag((1.0, -1.0, -1.0))
    return np.asarray(scale * np.array(REFERENCE_POINTS) @ rotation.T + np.array(translation))


def save_panoptic(
    sequence: Path,
    cameras: dict[str, tuple[Any, Any]],
    frames: dict[int, list[Any]],
    *,
    wh: tuple[int, int] = (1280, 720),
    scores: float = 0.6,
) -> None:
    """A sequence: cameras (rotation, translation), and 14 reference points a face in world axes."""
    from headsight.data.panoptic import FACE_POINTS

    def camera(name: str, rotation: Any, translation: Any) -> dict[str, Any]:
        panel, node = (int(part) for part in name.split("_"))
        return {
            "name": name, "type": "hd", "resolution": list(wh), "panel": panel, "node": node,
            "K": [[1400.0, 0.0, 640.0], [0.0, 1400.0, 360.0], [0.0, 0.0, 1.0]],
            "distCoef": [0.0, 0.0, 0.0, 0.0, 0.0],
            "R": np.asarray(rotation).tolist(),
            "t": np.asarray(translation, float).reshape(3, 1).tolist(),
        }  # fmt: skip

    (sequence / "hdFace3d").mkdir(parents=True)
    others = [{**camera("01_01", np.eye(3), (0, 0, 0)), "type": "vga", "name": "01_01"}]
    known = [camera(name, *place) for name, place in cameras.items()]
    calibration = {"calibDataSource": "none", "cameras": others + known}
    (sequence / f"calibration_{sequence.name}.json").write_text(json.dumps(calibration))
    for frame, faces in frames.items():
        people = []
        for number, face in enumerate(faces):
            points = np.zeros((70, 3))
            points[list(FACE_POINTS)] = face
            found = {
                "landmarks": points.ravel().tolist(),
                "averageScore": [scores] * 70,
                "averageReproError": [0.5] * 70,
                "visibility": [[0]] * 70,
            }
            people.append({"id": number, "face70": found})
        labels = {"version": 0.5, "univTime": 1.0, "fpsType": "hd_29_97", "people": people}
        (sequence / "hdFace3d" / f"faceRecon3D_hd{frame:08d}.json").write_text(json.dumps(labels))
        for name in cameras:
            save_picture(sequence / "hdImgs" / name / f"{name}_{frame:08d}.jpg", wh)


KNOWN_LABELS = (
    ((20, 10, 30), (20, -10, 300), (648, 185, 216, 214)),
    ((0, 0, 0), (20, -10, 300), (624, 176, 215, 215)),
    ((-170, 5, -10), (20, -10, 500), (630, 245, 132, 133)),
)
"""Yaw, pitch, roll; place in camera axes; box x, y, width, height: worked by DirectMHP's rules."""


def make_panoptic(folder: Path) -> None:
    """A sequence of CMU-HPE's val part: three frames of one head, seen by one camera."""
    frames = {
        60 * number: [posed_points(ypr, place)]
        for number, (ypr, place, _) in enumerate(KNOWN_LABELS)
    }
    save_panoptic(folder / "171026_pose3", {"00_00": (np.eye(3), (0, 0, 0))}, frames)


def agora_joints(points: Any) -> NDArray[np.float64]:
    """127 SMPL-X joints in camera axes, m, whose face points are 13 points given in cm."""
    from headsight.data.agora import BEFORE_THE_FACE, FACE_POINTS

    joints = np.zeros((127, 3))
    joints[BEFORE_THE_FACE + np.array(FACE_POINTS)] = np.asarray(points)[:13] / 100
    return joints


def pickled_table(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A table as pandas 1.0 to 1.2 pickled it, AGORA's among them; pandas itself is not needed."""
    names = {
        "pandas.core.frame": "DataFrame",
        "pandas.core.internals.managers": "BlockManager",
        "pandas.core.indexes.base": "Index",
        "pandas.core.indexes.range": "RangeIndex",
    }
    made = {"pandas": ModuleType("pandas"), **{name: ModuleType(name) for name in names}}
    kinds = {}
    for module, name in names.items():
        kinds[name] = type(name, (), {"__module__": module})
        setattr(made[module], name, kinds[name])

    def new_index(kind: type, parts: dict[str, Any]) -> None:
        """Stands for the function that pandas names."""

    new_index.__module__, new_index.__qualname__ = "pandas.core.indexes.base", "_new_Index"
    made["pandas.core.indexes.base"]._new_Index = new_index  # type: ignore[attr-defined]

    class Made:
        def __init__(self, function: Any, *arguments: Any) -> None:
            self.call = (function, arguments)

        def __reduce__(self) -> Any:
            return self.call

    labels = np.empty(len(columns), object)
    labels[:] = list(columns)
    values = np.empty((len(columns), len(next(iter(columns.values())))), object)
    for row, entries in enumerate(columns.values()):
        for column, entry in enumerate(entries):
            values[row, column] = entry
    axes = [
        Made(new_index, kinds["Index"], {"data": labels, "name": None}),
        Made(new_index, kinds["RangeIndex"], {"name": None, "start": 0, "stop": 1, "step": 1}),
    ]
    blocks = [{"values": values, "mgr_locs": slice(0, len(columns), 1)}]
    manager = kinds["BlockManager"]()
    state = (axes, [values], [axes[0]], {"0.14.1": {"axes": axes, "blocks": blocks}})
    kinds["BlockManager"].__getstate__ = lambda self: state  # type: ignore[attr-defined]
    frame = kinds["DataFrame"]()
    frame.__dict__.update({"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}})
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        return pickle.dumps(frame, 4)
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def make_agora(folder: Path) -> None:
    """A validation picture of two heads and one who is hidden; a picture of nobody to label."""
    name = "ag_validationset_renderpeople_bfh_hdri_50mm_5_15_0000{}.png"
    heads = [posed_points(ypr, place) for ypr, place, _ in KNOWN_LABELS[:2]]
    joints = [agora_joints(h) for h in (heads[0], heads[1] + (100, 0, 100), heads[0])]
    table = {
        "imgPath": [name.format(1), name.format(2)],
        "occlusion": [[0.0, 89.9, 90.0], [95.0]],
        "isValid": [[True, True, False], [True]],
        "gt_joints_3d": [joints, joints[:1]],
    }
    (folder / "validation_SMPLX").mkdir(parents=True)
    (folder / "validation_SMPLX" / "validation_0_withjv.pkl").write_bytes(pickled_table(table))
    for number in (1, 2):
        small = name.format(number).replace(".png", "_1280x720.png")
        save_picture(folder / "validation" / small)


def make_hpe(folder: Path, *files: str) -> None:
    """AGORA-HPE or CMU-HPE: a picture with two heads in each file."""
    (folder / "annotations").mkdir(parents=True)
    for number, file in enumerate(files, 1):
        name = 1_000_000_000 + number
        heads = [([648, 185, 216, 214], [10.0, 20.0, 30.0]), ([10, 20, 30, 30], [5.0, -170.0, -10])]
        annotations = [
            {
                "face2d_pts": [[1.0], [2.0]], "bbox": box, "euler_angles": angles, "image_id": name,
                "id": name * 100 + row, "category_id": 1, "iscrowd": 0, "segmentation": [],
                "area": box[2] * box[3],
            }
            for row, (box, angles) in enumerate(heads)
        ]  # fmt: skip
        image = {"file_name": f"{name}.jpg", "height": 720, "width": 1280, "id": name}
        document = {"images": [image], "annotations": annotations, "categories": []}
        (folder / "annotations" / file).write_text(json.dumps(document))
        save_picture(folder / "images" / "all" / f"{name}.jpg")


MAKERS: dict[str, Callable[[Path], None]] = {
    "crowdhuman": make_crowdhuman,
    "wider_face": make_wider_face,
    "agora": make_agora,
    "panoptic": make_panoptic,
    "cmu_hpe": lambda folder: make_hpe(
        folder, "coco_style_sampled_train.json", "coco_style_sampled_val.json"
    ),
    "agora_hpe": lambda folder: make_hpe(
        folder, "coco_style_train.json", "coco_style_validation.json"
    ),
    "biwi": make_biwi,
    "aflw2000": make_aflw2000,
    "300w_lp": make_300w_lp,
}

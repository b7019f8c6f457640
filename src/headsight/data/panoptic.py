"""CMU Panoptic (arXiv:1612.03153): 31 HD cameras around people, with 3D face points.

Heads are labelled as for CMU-HPE (DirectMHP, arXiv:2302.01110): the reference head is fitted to 14
of OpenPose's 70 face points. A sequence is a folder with `calibration_NAME.json`, `hdFace3d/` and
the frames `hdImgs/00_CC/00_CC_FFFFFFFF.jpg` that the set's toolbox takes out of its videos.
"""

from __future__ import annotations

__all__ = ["FACE_POINTS", "TRAIN_SEQUENCES", "VAL_SEQUENCES", "frame_of", "read_panoptic"]

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.face_labels import label_faces
from headsight.data.head_folder import HeadFolder, Item, LeftOut, find_pictures
from headsight.data.heads import HeadSample
from headsight.data.ref_sample import picture_wh
from headsight.errors import AnnotationError

FACE_POINTS = (17, 21, 26, 22, 45, 42, 39, 36, 35, 31, 54, 48, 57, 8)
"""Which of the 70 face points are the 14 points of the reference head."""
LEAST_SCORE = 0.1
TRAIN_SEQUENCES = (
    "171204_pose3", "161029_piano4", "160422_ultimatum1", "170307_dance5", "160906_pizza1",
    "170221_haggling_b3", "170224_haggling_a3", "170404_haggling_a1", "170407_haggling_b2",
)  # fmt: skip
VAL_SEQUENCES = (
    "171026_pose3", "171026_cello3", "160224_haggling1", "160906_ian1", "170915_office1",
    "170221_haggling_m3", "170228_haggling_b1", "170407_haggling_a2",
)  # fmt: skip

Array = NDArray[np.float64]


class _Camera(NamedTuple):
    intrinsics: Float[Array, "3 3"]
    rotation: Float[Array, "3 3"]
    translation: Float[Array, 3]
    distortion: tuple[float, float, float, float, float]


def read_panoptic(folder: Path) -> HeadFolder:
    """Every frame that has a picture, with boxes and poses made as for CMU-HPE.

    A frame with a face that cannot be labelled is left out. Sequences of CMU-HPE are in the splits
    `train` and `val`, others in one of their own name.

    Raises:
        AnnotationError: there is no sequence, or one without calibration or pictures.
    """
    faces = sorted(p for p in folder.rglob("hdFace3d") if p.is_dir())
    if not faces:
        raise AnnotationError(
            f"{folder} holds no hdFace3d. Expected sequences such as 171204_pose3 with"
            " calibration_171204_pose3.json, hdFace3d and hdImgs (unpack hdFace3d.tar)."
        )
    items: dict[str, list[Item]] = {}
    for labels in faces:
        items.setdefault(_split(labels.parent.name), []).extend(_items(labels.parent))
    return HeadFolder("panoptic", folder, items)


def frame_of(image: Path) -> tuple[str, int, int]:
    """Sequence, camera and frame of a picture 00_CC_FFFFFFFF.jpg."""
    _, camera, frame = image.stem.split("_")
    return image.parents[2].name, int(camera), int(frame)


def _split(sequence: str) -> str:
    if sequence in TRAIN_SEQUENCES:
        return "train"
    return "val" if sequence in VAL_SEQUENCES else sequence


def _items(sequence: Path) -> list[Item]:
    """The frames of one sequence, camera after camera."""
    calibrations = sorted(sequence.glob("calibration_*.json"))
    if not calibrations:
        raise AnnotationError(
            f"{sequence} holds no calibration_*.json, without which no camera is known. Fetch"
            f" calibration_{sequence.name}.json of the set."
        )
    cameras = _read_cameras(calibrations[0])
    labels = {int(p.stem[-8:]): p for p in (sequence / "hdFace3d").glob("faceRecon3D_hd*.json")}
    pictures = list(find_pictures(sequence / "hdImgs"))
    if not pictures:
        raise AnnotationError(
            f"{sequence} holds no pictures in hdImgs. Take them out of hdVideos with the"
            " hdImgsExtractor of the panoptic-toolbox, or: ffmpeg -i hdVideos/hd_00_00.mp4"
            " -start_number 0 hdImgs/00_00/00_00_%08d.jpg"
        )
    items: list[Item] = []
    for image in pictures:
        frame = int(image.stem[-8:]) if image.stem[-8:].isdigit() else -1
        if frame in labels:  # others are not labelled
            make = partial(_sample, image, labels=labels[frame], cameras=cameras)
            items.append((f"{sequence.name}/{image.stem}", make))
    return items


def _read_cameras(path: Path) -> dict[str, _Camera]:
    """HD cameras by the start of the names of their pictures, such as `00_03`."""
    try:
        cameras = {}
        for c in json.loads(path.read_text("utf-8"))["cameras"]:
            if c.get("type", "hd") == "hd":
                k1, k2, p1, p2, k3 = np.array(c["distCoef"], np.float64).reshape(5).tolist()
                cameras[f"{c['panel']:02d}_{c['node']:02d}"] = _Camera(
                    np.array(c["K"], np.float64).reshape(3, 3),
                    np.array(c["R"], np.float64).reshape(3, 3),
                    np.array(c["t"], np.float64).reshape(3),
                    (k1, k2, p1, p2, k3),
                )
        return cameras
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected 'cameras', each with"
            " panel, node, K, distCoef (5 numbers), R and t; fetch it again."
        ) from error


def _sample(image: Path, *, labels: Path, cameras: dict[str, _Camera]) -> HeadSample | LeftOut:
    name = image.stem.rpartition("_")[0]
    if name not in cameras:
        raise AnnotationError(
            f"{image} is of camera {name}, which the calibration does not know (it knows"
            f" {len(cameras)} HD cameras). Check that they belong together."
        )
    camera = cameras[name]
    points, scores = _read_faces(labels)
    wh = picture_wh(image)
    boxes, rotations, faults = label_faces(
        points,
        camera.intrinsics,
        wh,
        weights=(scores > LEAST_SCORE).astype(np.float64),
        camera_rotation=camera.rotation,
        camera_translation=camera.translation,
        distortion=camera.distortion,
    )
    is_good = np.array([not f for f in faults], bool)
    if {"no fit", "no triple"} & set(faults):
        return LeftOut(image.stem, "a face that cannot be labelled")
    if not is_good.any():
        return LeftOut(image.stem, "no head in the picture")
    left_out = {"no box": int((~is_good).sum())} if not is_good.all() else {}
    return HeadSample(
        image,
        wh,
        boxes[is_good],
        rotations[is_good],
        box_kind="around",
        intrinsics=camera.intrinsics,
        left_out=left_out,
    )


def _read_faces(path: Path) -> tuple[Float[Array, "n 14 3"], Float[Array, "n 14"]]:
    """The reference points of every face in world axes, and their scores."""
    try:
        people = json.loads(path.read_text("utf-8"))["people"]
        faces = [p["face70"] for p in people]
        points = np.array([f["landmarks"] for f in faces], np.float64).reshape(-1, 70, 3)
        scores = np.array([f["averageScore"] for f in faces], np.float64).reshape(-1, 70)
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected people with face70:"
            " 210 landmarks and 70 averageScore; unpack hdFace3d.tar again."
        ) from error
    chosen = list(FACE_POINTS)
    return points[:, chosen], scores[:, chosen]

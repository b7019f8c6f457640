"""Labelled keypoints from whatever files people have.

Names stand for the public samples in the data directory (environment variable HEADSIGHT_DATA);
nothing is downloaded.
"""

from __future__ import annotations

__all__ = ["SAMPLES", "read_keypoints"]

import json
from dataclasses import replace
from pathlib import Path

from headsight.data.coco_keypoints import keypoint_set
from headsight.data.heads import data_folder
from headsight.data.keypoint_layouts import as_coco
from headsight.data.keypoints import KeypointSet
from headsight.data.mp100 import is_mp100, mp100_set
from headsight.errors import AnnotationError, InputError

SAMPLES: dict[str, str] = {
    "300w": "300w/test_300w.json",
    "aflw": "aflw/test_aflw.json",
    "aic": "aic/test_aic.json",
    "ak": "ak/test_animalkingdom.json",
    "animalpose": "animalpose/test_animalpose.json",
    "ap10k": "ap10k/test_ap10k.json",
    "coco": "coco/test_coco.json",
    "coco_wholebody": "coco/test_coco_wholebody.json",
    "cofw": "cofw/test_cofw.json",
    "crowdpose": "crowdpose/test_crowdpose.json",
    "deepfashion2": "deepfasion2/deepfasion2.json",
    "fld": "fld/test_fld.json",
    "fly": "fly/test_fly.json",
    "h36m": "h36m/h36m_coco.json",
    "horse10": "horse10/test_horse10.json",
    "macaque": "macaque/test_macaque.json",
    "mpii": "mpii/test_mpii.json",
    "mpii_trb": "mpii/test_mpii_trb.json",
    "onehand10k": "onehand10k/test_onehand10k.json",
    "panoptic": "panoptic/test_panoptic.json",
    "posetrack18": "posetrack18/annotations/test_posetrack18_val.json",
    "wflw": "wflw/test_wflw.json",
}
"""Label file of each named sample, below the folder `keypoint_samples`."""
_FOLDER = "keypoint_samples"


def read_keypoints(name: str | Path, *, images: Path | None = None) -> KeypointSet:
    """The labelled objects of a named sample, a COCO keypoint file or a folder with one.

    MP-100's annotation files are told by their names, those of MPII, DeepFashion2, COCO-WholeBody
    and Animal Kingdom by their content. Annotations that are broken are in `problems`; the rest go
    on.

    Args:
        name: key of `SAMPLES`, a .json file, or a folder with annotations.json.
        images: folder of the pictures, if not near the labels.

    Raises:
        InputError: no such sample, file or folder.
        AnnotationError: the file is no JSON, of no known form, or nothing of it can be used.
    """
    path = Path(name).expanduser()
    if str(name) in SAMPLES and not path.exists():
        path = data_folder(_FOLDER) / SAMPLES[str(name)]
    if path.is_dir():
        path = path / "annotations.json"
    if not path.is_file():
        raise InputError(
            f"'{name}' is no set of keypoints: {path} is no file. Known samples:"
            f" {', '.join(SAMPLES)}; or pass a COCO keypoint file, or a folder with"
            " annotations.json."
        )
    try:
        whole = json.loads(path.read_text("utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected a JSON file in COCO's"
            " keypoint layout."
        ) from error
    if is_mp100(path):
        return mp100_set(whole, path, images=images)
    try:
        rewritten = as_coco(whole, path)
    except (LookupError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} looks like a keypoint file of another layout, but is not complete:"
            f" {type(error).__name__} {error}. Fetch the file again."
        ) from error
    found = keypoint_set(rewritten, path, images=images)
    return replace(found, name=str(name)) if str(name) in SAMPLES else found

"""The data sets of heads that are read as they are published, by name or told by their files."""

from __future__ import annotations

__all__ = ["KINDS", "Kind", "find_kind", "open_heads"]

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from headsight.data.agora import read_agora
from headsight.data.biwi import read_biwi
from headsight.data.crowdhuman import read_crowdhuman
from headsight.data.head_folder import HeadFolder
from headsight.data.hpe_json import read_agora_hpe, read_cmu_hpe
from headsight.data.panoptic import read_panoptic
from headsight.data.pose_mat import read_300w_lp, read_aflw2000
from headsight.data.wider_face import read_wider_face
from headsight.errors import InputError
from headsight.picture import PICTURE_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a set is read and known."""

    title: str
    read: Callable[[Path], HeadFolder]
    sign: tuple[str, ...]
    """Patterns of files below the folder, any of which tells the set."""
    has_poses: bool = True
    is_as_seen: bool = False
    """Poses are relative to the line of sight already, not to the axes of the camera."""
    pictures: Mapping[str, int] = field(default_factory=dict)
    """Published number of labelled pictures by split; `all` where it is of the whole set."""
    heads: Mapping[str, int] = field(default_factory=dict)
    """Published number of heads by split."""


KINDS: dict[str, Kind] = {
    "crowdhuman": Kind(
        title="CrowdHuman",
        read=read_crowdhuman,
        sign=("*.odgt",),
        has_poses=False,
        pictures={"train": 15_000, "val": 4_370},
    ),
    "wider_face": Kind(
        title="WIDER FACE",
        read=read_wider_face,
        sign=("wider_face_*_bbx_gt.txt",),
        has_poses=False,
        pictures={"train": 12_880, "val": 3_226},
    ),
    "agora": Kind(
        title="AGORA",
        read=read_agora,
        sign=("*withjv*.pkl",),
        pictures={"train": 14_529, "validation": 1_077},
    ),
    "panoptic": Kind(title="CMU Panoptic", read=read_panoptic, sign=("hdFace3d",)),
    "cmu_hpe": Kind(
        title="CMU-HPE",
        read=read_cmu_hpe,
        sign=("coco_style_sampled_*.json",),
        pictures={"train": 15_718, "val": 16_216},
        heads={"train": 35_725, "val": 32_738},
    ),
    "agora_hpe": Kind(
        title="AGORA-HPE",
        read=read_agora_hpe,
        sign=("coco_style_train.json", "coco_style_validation.json"),
        pictures={"train": 14_408, "validation": 1_070},
        heads={"train": 105_046, "validation": 7_505},
    ),
    "biwi": Kind(
        title="BIWI", read=read_biwi, sign=("frame_*_pose.txt",), pictures={"all": 15_678}
    ),
    "aflw2000": Kind(
        title="AFLW2000-3D",
        read=read_aflw2000,
        is_as_seen=True,
        sign=("image[0-9][0-9][0-9][0-9][0-9].mat",),
        pictures={"all": 2_000},
    ),
    "300w_lp": Kind(
        title="300W-LP",
        read=read_300w_lp,
        is_as_seen=True,
        sign=("*.mat",),
        pictures={"all": 122_450},
    ),
}
"""By name; a folder is of the first kind whose sign it holds."""


def open_heads(
    folder: Path | str, kind: str | None = None, *, split: str | None = None
) -> HeadFolder:
    """The pictures of a data set in its published layout, read as they are asked for.

    Args:
        folder: of the set, or of a part of it.
        kind: key of `KINDS`; None: told by the files.
        split: only this part, such as `train`; None or `all`: every one.

    Raises:
        InputError: no such folder or kind, or a folder of no known kind.
        AnnotationError: labels that are missing or not in their format, or no such split.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise InputError(f"{path} is no folder. Pass the folder that a data set was unpacked into.")
    name = kind or find_kind(path)
    if name not in KINDS:
        raise InputError(f"There is no kind '{name}'. Choose one of: {', '.join(KINDS)}.")
    return KINDS[name].read(path).only(split)


def find_kind(folder: Path) -> str:
    """The key of `KINDS` that the files below a folder tell.

    Raises:
        InputError: none.
    """
    found = set()
    for _, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if not name.lower().endswith(PICTURE_SUFFIXES):
                found |= {
                    k for k, kind in KINDS.items() if any(fnmatch(name, s) for s in kind.sign)
                }
    known = next((name for name in KINDS if name in found), None)
    if known is not None:
        return known
    signs = "; ".join(f"{name}: {kind.sign[0]}" for name, kind in KINDS.items())
    raise InputError(
        f"{folder} is of no known kind. Expected the files of one of them ({signs}). Check the"
        " folder, or say what it is: --kind."
    )

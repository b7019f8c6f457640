"""Bodies from the parametric model `anny`, baked once into one file (CC0 base mesh `hm08`).

Building the model takes about a minute, so its result is kept: rest shapes of many identities
(phenotype and face shape varied), the facial actions, skinning weights of the joints that scenes
turn, faces and texture coordinates. Everything is written in the **body frame**: metres, x to the
person's left, y down, z backwards, which is the camera frame of OpenCV for a person who looks
straight at the camera.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.errors import require

__all__ = ["JOINTS", "bake_bodies", "bodies_path"]

logger = logging.getLogger(__name__)

JOINTS = (
    ("root", ""),
    ("spine01", "root"),
    ("neck01", "spine01"),
    ("neck02", "neck01"),
    ("neck03", "neck02"),
    ("head", "neck03"),
    ("upperarm01.L", "spine01"),
    ("lowerarm01.L", "upperarm01.L"),
    ("upperarm01.R", "spine01"),
    ("lowerarm01.R", "upperarm01.R"),
)
"""Joints that scenes turn, with their parents; other bones follow the nearest listed ancestor."""

VERSION = 1
IDENTITIES = 240
FACE_SHAPES = (
    "cheek",
    "chin",
    "ear",
    "eye-",
    "eyebrows",
    "forehead",
    "head-",
    "mouth",
    "neck",
    "nose",
)
TO_BODY_FRAME = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)
QUANTUM = 2.2 / 32767
"""Step of the stored coordinates, metres."""


def bodies_path() -> Path:
    """Where the baked bodies are kept: folder `HEADSIGHT_CACHE`, else `~/.cache/headsight`."""
    folder = os.environ.get("HEADSIGHT_CACHE")
    root = Path(folder) if folder else Path.home() / ".cache" / "headsight"
    return root / f"bodies-{VERSION}.npz"


def bake_bodies(path: Path, *, identities: int = IDENTITIES, seed: int = 20260101) -> None:
    """Write the bodies file; takes one to two minutes and needs the packages `anny` and `torch`.

    Raises:
        MissingExtraError: `anny` is not installed.
    """
    anny = require("anny")
    import torch

    logger.info("event=bake_start identities=%d path=%s", identities, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = _build_model(anny, path.parent)
    rng = np.random.default_rng(seed)
    traits = [_traits(rng) for _ in range(identities)]
    shapes = [_face_shape(rng, model.local_change_labels) for _ in range(identities)]
    vertices, joints = [], []
    joint_ids = [list(model.bone_labels).index(name) for name, _ in JOINTS]
    with torch.no_grad():
        for trait, shape in zip(traits, shapes, strict=True):
            coefficients = _coefficients(model, trait, shape, {})
            rest = model.get_rest_model(coefficients)
            heads = rest["rest_bone_heads"][0, joint_ids].double().numpy() @ TO_BODY_FRAME.T
            points = rest["rest_vertices"][0].double().numpy() @ TO_BODY_FRAME.T
            # The base of the neck is the origin of every body.
            vertices.append(np.round((points - heads[2]) / QUANTUM).astype(np.int16))
            joints.append((heads - heads[2]).astype(np.float32))
        actions = _actions(model, torch)
    corners = model.faces.numpy()
    uv_corners = model.face_texture_coordinate_indices.numpy()
    part = path.with_suffix(f".part{os.getpid()}.npz")
    np.savez_compressed(
        part,
        vertices=np.stack(vertices),
        quantum=np.float64(QUANTUM),
        joints=np.stack(joints),
        traits=np.array([[t[k] for k in _TRAIT_NAMES] for t in traits], np.float32),
        trait_names=np.array(_TRAIT_NAMES),
        actions=actions,
        action_names=np.array(model.facial_action_labels),
        quads=corners.astype(np.int32),
        uv_quads=uv_corners.astype(np.int32),
        uv=model.texture_coordinates.numpy().astype(np.float32),
        weights=_joint_weights(model).astype(np.float32),
    )
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    logger.info("event=bake_done path=%s", path)


def _build_model(anny: Any, folder: Path) -> Any:
    """The full model; its own cache of 1.5 GB is kept in `folder` only while it builds."""
    from anny.paths import get_anny_cache_path, set_anny_cache_path

    before = get_anny_cache_path()
    with tempfile.TemporaryDirectory(prefix="anny-", dir=folder) as scratch:
        set_anny_cache_path(scratch)
        try:
            return anny.Anny(
                rig="makehuman",
                topology="makehuman",
                facial_actions="all",
                phenotypes="all",
                local_changes="all",
            )
        finally:
            set_anny_cache_path(before)


_TRAIT_NAMES = (
    "gender",
    "age",
    "muscle",
    "weight",
    "height",
    "proportions",
    "cupsize",
    "firmness",
    "african",
    "asian",
    "caucasian",
)


def _traits(rng: np.random.Generator) -> dict[str, float]:
    """Phenotype of one identity; gender 0 is male, 1 female; age 1/3 is a child, 1 is old."""
    is_child = rng.random() < 0.08
    race = rng.dirichlet((0.45, 0.45, 0.45))
    gender = float(rng.random() < 0.45)
    return {
        "gender": abs(gender - float(rng.uniform(0, 0.25))),
        "age": float(rng.uniform(0.28, 0.5) if is_child else rng.uniform(0.55, 1.0)),
        "muscle": float(rng.uniform(0.25, 0.75)),
        "weight": float(np.clip(rng.normal(0.5, 0.22), 0.0, 1.0)),
        "height": float(rng.uniform(0.3, 0.7)),
        "proportions": float(rng.uniform(0.3, 0.9)),
        "cupsize": float(rng.uniform(0.2, 0.7)),
        "firmness": float(rng.uniform(0.3, 0.8)),
        "african": float(race[0]),
        "asian": float(race[1]),
        "caucasian": float(race[2]),
    }


def _face_shape(rng: np.random.Generator, labels: list[str]) -> dict[str, float]:
    """Random face shape, both sides nearly alike; nothing that would turn or move the head."""
    shape: dict[str, float] = {}
    for label in labels:
        name = label[2:] if label[:2] in ("l-", "r-") else label
        if not name.startswith(FACE_SHAPES) or (
            "trans" in name and name.startswith(("head", "neck"))
        ):
            continue
        if name.startswith(("head-angle", "head-age")):
            continue
        if label[:2] == "r-" and "l-" + name in shape:
            shape[label] = shape["l-" + name] + float(rng.normal(0, 0.04))
            continue
        spread = 0.12 if name.startswith("eye-") else 0.25
        shape[label] = float(np.clip(rng.normal(0, spread), -0.7, 0.7))
    return shape


def _coefficients(
    model: Any, traits: dict[str, float], shape: dict[str, float], actions: dict[str, float]
) -> Any:
    import torch

    def batched(values: dict[str, float]) -> dict[str, Any]:
        return {
            k: torch.tensor([v], dtype=model.template_vertices.dtype) for k, v in values.items()
        }

    _, phenotype, local, facial = model.get_tensor_inputs(
        None, batched(traits), batched(shape) or None, batched(actions) or None
    )
    return model._get_phenotype_blendshape_coefficients(phenotype, local, facial)


def _actions(model: Any, torch: Any) -> NDArray[np.int16]:
    """Displacement of every vertex by every facial action, in quanta."""
    prefix = "facial_action:"
    labels = list(model.blendshape_labels)
    rows = [labels.index(prefix + name) for name in model.facial_action_labels]
    moved = model.blendshapes[torch.tensor(rows)].double().numpy() @ TO_BODY_FRAME.T
    result: NDArray[np.int16] = np.round(moved / QUANTUM).astype(np.int16)
    return result


def _joint_weights(model: Any) -> NDArray[np.float64]:
    """(V, J) share of each joint of `JOINTS` in each vertex; rows sum to one."""
    labels, parents = list(model.bone_labels), list(model.bone_parents)
    names = [name for name, _ in JOINTS]
    weights = model.vertex_bone_weights.double().numpy()
    indices = model.vertex_bone_indices.numpy()
    result = np.zeros((len(weights), len(names)))
    for bone in range(len(labels)):
        ancestor = bone
        while labels[ancestor] not in names:
            ancestor = parents[ancestor]
        result[:, names.index(labels[ancestor])] += np.where(indices == bone, weights, 0).sum(1)
    total: NDArray[np.float64] = result.sum(1, keepdims=True)
    return result / np.where(total > 0, total, 1)

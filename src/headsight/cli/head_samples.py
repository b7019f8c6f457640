"""Where `find-heads` gets its pictures with expressions: from files, or rendered on the spot."""

from __future__ import annotations

__all__ = ["SCENES", "read_samples", "rendered_scenes"]

from pathlib import Path
from typing import TYPE_CHECKING

from headsight.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from headsight.data.refs import RefSample

SCENES = "scenes"
"""Data that is rendered where no folder of that name is there."""
_SCENE_WH = (448, 448)
_EXPRESSIONS_A_SCENE = 3
"""Fewest on average; at most four are made of one, and none of a scene without people."""


def read_samples(
    data: str,
    *,
    split: str | None,
    images: Path | None,
    number: int,
    seed: int,
    scenes: Path,
    progress: Progress,
) -> tuple[str, list[RefSample]]:
    """Name of the set, and its expressions that name something.

    Args:
        data: as for `read_refs`, or `scenes`.
        split: of the set.
        images: folder of the pictures.
        number: expressions that are wanted: so many scenes are rendered.
        seed: of the scenes.
        scenes: folder that they are rendered into, and taken from if they are there.
        progress: shows how far the rendering is.

    Raises:
        HeadsightError: data that cannot be read, or scenes that cannot be rendered.
    """
    from headsight.cli.scene_expressions import scene_expressions
    from headsight.data.refs import read_refs

    if data == SCENES and not Path(SCENES).exists():
        data = str(rendered_scenes(scenes, -(-number // _EXPRESSIONS_A_SCENE), seed, progress))
    refs = read_refs(data, split=split, images=images, expressions=scene_expressions)
    named = [sample for sample in refs.samples if not sample.is_none]
    if not named:
        raise InputError(f"{data} holds no expression that names something. Use other data.")
    return f"{refs.name}:{refs.split}" if refs.split else refs.name, named


def rendered_scenes(folder: Path, number: int, seed: int, progress: Progress) -> Path:
    """The folder, with so many scenes of a few people; what is there already is kept.

    Raises:
        HeadsightError: scenes that cannot be rendered, or others that are there.
    """
    from headsight.data.synth import SceneConfig, write_scenes

    bar = progress.add_task("scenes", total=number)
    write_scenes(
        folder,
        SceneConfig(image_wh=_SCENE_WH, people=(1, 4)),
        number,
        seed=seed,
        resume=True,
        on_scene=lambda count: progress.update(bar, completed=count),
    )
    return folder

"""Many scenes, in order, rendered by worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from headsight.data.synth.bodies import load_bodies
from headsight.data.synth.config import Scene, SceneConfig
from headsight.data.synth.parallel import render_numbered
from headsight.data.synth.scene import render_scene

__all__ = ["iterate_scenes"]


def iterate_scenes(
    config: SceneConfig, n: int, *, workers: int = 0, seed: int = 0, skip: Iterable[int] = ()
) -> Iterator[tuple[int, Scene]]:
    """Scenes 0 to n - 1 of the set `seed` with their numbers, in order, without those in `skip`.

    The scenes do not depend on `workers`; 0 renders in this process.

    Raises:
        ConfigError: `n` or `workers` is negative.
        MissingExtraError: `anny` or `embreex` is not installed.
        InputError: the assets or backgrounds of `config` cannot be used.
    """
    if workers > 0 and n > 0:
        load_bodies()  # baked once, before several processes would
    yield from render_numbered(partial(_render, seed, config), n, workers=workers, skip=skip)


def _render(seed: int, config: SceneConfig, index: int) -> Scene:
    return render_scene(seed, index, config)

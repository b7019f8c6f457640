"""Many scenes, in order, rendered by worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from headsight.data.synth.bodies import load_bodies
from headsight.data.synth.config import Scene, SceneConfig
from headsight.data.synth.scene import render_scene
from headsight.errors import ConfigError

__all__ = ["iterate_scenes"]

AHEAD = 4
"""Scenes in flight per worker: memory stays bounded however slow the reader is."""


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
    if n < 0 or workers < 0:
        raise ConfigError(f"n is {n} and workers is {workers}, but both must be 0 or more.")
    left_out = set(skip)
    numbers = [i for i in range(n) if i not in left_out]
    if not workers:
        for index in numbers:
            yield index, render_scene(seed, index, config)
        return
    load_bodies()  # baked once, before several processes would
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        waiting: deque[tuple[int, Future[Scene]]] = deque()
        try:
            for index in numbers:
                waiting.append((index, pool.submit(render_scene, seed, index, config)))
                if len(waiting) >= workers * AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"

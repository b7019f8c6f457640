"""Numbered pictures, in order, rendered here or by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from headsight.errors import ConfigError

__all__ = ["render_numbered"]

AHEAD = 4
"""Pictures in flight per worker: memory stays bounded however slow the reader is."""

Picture = TypeVar("Picture")


def render_numbered(
    render: Callable[[int], Picture], n: int, *, workers: int = 0, skip: Iterable[int] = ()
) -> Iterator[tuple[int, Picture]]:
    """What `render` gives for 0 to n - 1, with the numbers, in order, without those in `skip`.

    Args:
        render: a picklable function whose result depends on the number alone.
        n: how many pictures the set has.
        workers: processes; 0 renders in this one.
        skip: numbers to leave out.

    Raises:
        ConfigError: `n` or `workers` is negative.
    """
    if n < 0 or workers < 0:
        raise ConfigError(f"n is {n} and workers is {workers}, but both must be 0 or more.")
    left_out = set(skip)
    numbers = [i for i in range(n) if i not in left_out]
    if not workers:
        for index in numbers:
            yield index, render(index)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_work) as pool:
        waiting: deque[tuple[int, Future[Picture]]] = deque()
        try:
            for index in numbers:
                waiting.append((index, pool.submit(render, index)))
                if len(waiting) >= workers * AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _begin_work() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent tells nobody: its workers would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

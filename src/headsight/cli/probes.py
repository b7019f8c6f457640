"""Asking a model about a set of probes: heads and their poses, or expressions."""

from __future__ import annotations

__all__ = ["HeadProbe", "fingerprint_heads", "progress_on_stderr"]

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headsight.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from headsight.data.heads import HeadSample
    from headsight.eval.vlm_headpose import BoxChoice, HeadsAsked
    from headsight.grounder import Grounder


class HeadProbe:
    """Asks about the heads of one picture after the other, and makes a record of each."""

    def __init__(
        self,
        grounder: Grounder,
        *,
        boxes: str = "gt",
        constrain: bool = False,
        asks_boxes: bool = True,
        asks_poses: bool = True,
    ) -> None:
        from headsight.models.base import PoseReader

        self._grounder = grounder
        self.boxes: BoxChoice = "own" if boxes == "own" else "gt"
        self._finds = asks_boxes and not isinstance(self._grounder.vlm, PoseReader)
        self._constrain, self._asks_poses = constrain, asks_poses
        if not self._finds and (self.boxes == "own" or not asks_poses):
            raise InputError(
                f"{grounder.vlm.name} tells poses in given boxes and finds none of its own. Use"
                " --boxes gt, or headsight eval heads --boxes-from MODEL."
            )

    def __call__(self, sample: HeadSample) -> dict[str, Any]:
        """What the model said about one picture, JSON-ready."""
        from headsight.cli.head_records import pack_asked
        from headsight.eval.vlm_headpose import ask_heads

        began = time.perf_counter()
        asked = ask_heads(
            self._grounder,
            sample,
            boxes=self.boxes,
            constrain=self._constrain,
            finds_boxes=self._finds,
            asks_poses=self._asks_poses,
        )
        return {"seconds": time.perf_counter() - began, **pack_asked(asked)}

    @staticmethod
    def answers(record: dict[str, Any], sample: HeadSample) -> HeadsAsked:
        """What a record says."""
        from headsight.cli.head_records import unpack_asked

        return unpack_asked(record, sample.image_wh)


def fingerprint_heads(samples: Sequence[HeadSample]) -> str:
    """Short hash of pictures' names and labels: a journal goes on only with the same ones."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.image.name} {sample.image_wh}".encode())
        digest.update(sample.boxes.astype("<f8").tobytes())
        digest.update(sample.rotations.astype("<f8").tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def progress_on_stderr(quiet: bool) -> Iterator[Progress]:
    """A bar, silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=quiet or not console.is_terminal) as progress:
        yield progress

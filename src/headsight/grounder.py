"""The object that users hold: a loaded model and the questions it can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headsight.picture import Picture, PictureSource, open_picture

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray

    from headsight.detections import Detections
    from headsight.models.base import VLM, Reply

__all__ = ["Grounder", "load"]


class Grounder:
    """A model behind the questions; every method takes whatever `headsight.open_picture` takes."""

    def __init__(self, vlm: VLM) -> None:
        self.vlm = vlm

    def heads(
        self, source: PictureSource | Picture, *, poses: bool = True, constrain: bool = False
    ) -> Detections:
        """Every head with its box and, unless `poses` is False, its yaw, pitch and roll.

        Raises:
            ImageError: the picture cannot be opened.
        """
        from headsight.tasks.heads import find_heads

        return find_heads(self.vlm, open_picture(source), poses=poses, constrain=constrain)

    def pose(
        self,
        source: PictureSource | Picture,
        box: Sequence[float] | Float[NDArray[Any], "*n 4"],
        *,
        constrain: bool = False,
    ) -> Detections:
        """The pose of the head in `box` (x0, y0, x1, y1 in pixels; or several of them).

        Raises:
            ImageError: the picture cannot be opened.
            InputError: a box without area or outside the picture.
        """
        import numpy as np

        from headsight.tasks.pose import find_poses

        boxes = np.asarray(box, np.float64)
        return find_poses(self.vlm, open_picture(source), np.atleast_2d(boxes), constrain=constrain)

    def ground(
        self, source: PictureSource | Picture, words: str, *, constrain: bool = False
    ) -> Detections:
        """The places that `words` name, such as "the man in the red shirt".

        Raises:
            ImageError: the picture cannot be opened.
            InputError: no words, thousands of them, or control characters.
        """
        from headsight.tasks.refer import ground

        return ground(self.vlm, open_picture(source), words, constrain=constrain)

    def ask(self, source: PictureSource | Picture, *prompts: str) -> list[Reply]:
        """The model's own words to your own questions, nothing added and nothing read into them."""
        return self.vlm.answer(open_picture(source), prompts)

    def __repr__(self) -> str:
        return f"Grounder({self.vlm.name})"


def load(model: str = "nano", *, device: str = "auto") -> Grounder:
    """A model by name or folder, ready to be asked.

    Raises:
        InputError: no such model or device.
        CheckpointError: weights missing, damaged, foreign or in a refused format.
    """
    from headsight.models.base import load_vlm

    return Grounder(load_vlm(model, device=device))

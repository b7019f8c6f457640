"""The object that users hold: a loaded model and the questions it can be asked."""

from __future__ import annotations

__all__ = ["Grounder", "load"]

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headsight.errors import InputError
from headsight.picture import Picture, PictureSource, open_picture

if TYPE_CHECKING:
    from headsight.attention.head_set import HeadSet
    from headsight.detections import Detections
    from headsight.models.base import VLM, Reply
    from headsight.models.segmenters import Segmenter
    from headsight.tasks.segment import MaskMaker, RecBox, SamPrompt
    from headsight.tasks.tiling import Tiles


class Grounder:
    """A model behind the questions; every method takes whatever `headsight.open_picture` takes."""

    def __init__(self, vlm: VLM) -> None:
        self.vlm = vlm
        self._maker: tuple[tuple[Any, ...], MaskMaker] | None = None

    def heads(
        self,
        source: PictureSource | Picture,
        *,
        poses: bool = True,
        constrain: bool = False,
        tiles: Tiles = 1,
    ) -> Detections:
        """Every head with its box and, unless `poses` is False, its yaw, pitch and roll.

        With `tiles` (2, 3, ... or "auto") a large picture is also looked at in parts, for small
        heads; `constrain` lets the model write well-formed answers only.

        Raises:
            ImageError: the picture cannot be opened.
            InputError: `tiles` is out of range.
        """
        from headsight.tasks.heads import find_heads

        picture = open_picture(source)
        return find_heads(self.vlm, picture, poses=poses, constrain=constrain, tiles=tiles)

    def pose(
        self,
        source: PictureSource | Picture,
        box: Any,
        *,
        constrain: bool = False,
    ) -> Detections:
        """The pose of the head in `box`: x0, y0, x1, y1 in pixels, or a list or array of such.

        Raises:
            ImageError: the picture cannot be opened.
            InputError: a box without area or outside the picture.
        """
        from headsight.tasks.pose import find_poses

        return find_poses(self.vlm, open_picture(source), box, constrain=constrain)

    def ground(
        self,
        source: PictureSource | Picture,
        words: str,
        *,
        constrain: bool = False,
        heads: HeadSet | Path | str | None = None,
        masks: bool = False,
        segmenter: Segmenter | Path | str | None = None,
        sam_prompt: SamPrompt = "box",
        rec_box: RecBox = "attention",
    ) -> Detections:
        """The places that `words` name, such as "the woman looking at the camera".

        With `heads` (a `HeadSet`, or the file that `headsight find-heads` wrote) the model writes
        nothing: the place is read from where these attention heads look (arXiv 2503.06287).

        With `masks` every place has a mask. A `segmenter` (a folder or hub id of the SAM family,
        kept once loaded, or what `load_segmenter` gives) draws it, and implies `masks`; without one
        it is coarse: what of the box the heads look at, or the filled box. `attributes` tell which:
        `mask_kind`, `mask_by`, `mask_prompt`, `mask_score`, `box_from`.

        Args:
            source: the picture.
            words: what to find.
            constrain: let the model write well-formed answers only.
            heads: look with these instead of asking.
            masks: put a mask to every place.
            segmenter: what draws the masks.
            sam_prompt: what the segmenter is given: the box, or ("box+mask") the map of the heads
                with it.
            rec_box: whether a place keeps the box it was found with, or ("sam") takes that of the
                segmenter's mask.

        Raises:
            ImageError: the picture cannot be opened.
            InputError: no words, thousands of them, or control characters; a model whose attention
                cannot be looked at; or a mask that cannot be had.
            CheckpointError: `heads` of another model, or no file of heads; a folder that holds no
                segmenter.
        """
        [found] = self.ground_each(
            source, [words], constrain=constrain, heads=heads, masks=masks, segmenter=segmenter,
            sam_prompt=sam_prompt, rec_box=rec_box,
        )  # fmt: skip
        return found

    def ground_each(
        self,
        source: PictureSource | Picture,
        words: Sequence[str],
        *,
        constrain: bool = False,
        heads: HeadSet | Path | str | None = None,
        masks: bool = False,
        segmenter: Segmenter | Path | str | None = None,
        sam_prompt: SamPrompt = "box",
        rec_box: RecBox = "attention",
    ) -> list[Detections]:
        """The places of each of many expressions about one picture, which is read once for all.

        The answers are those of `ground`, in the order of `words`.

        Raises:
            ImageError: the picture cannot be opened.
            InputError: as for `ground`, of any of them; or `words` is one text.
            CheckpointError: `heads` of another model, no file of heads, or no segmenter.
        """
        if isinstance(words, str):
            raise InputError(
                f"The expressions are the one text {words[:40]!r}, but a list of texts is expected."
                " Pass a list, or call ground."
            )
        picture = open_picture(source)
        if not masks and segmenter is None and (sam_prompt, rec_box) == ("box", "attention"):
            return self._find(picture, words, constrain=constrain, heads=heads)
        maker = self._mask_maker(segmenter, sam_prompt, rec_box, by_heads=heads is not None)
        each = self._find(picture, words, constrain=constrain, heads=heads)
        return [maker.add(found) for found in each]

    def _find(
        self,
        picture: Picture,
        words: Sequence[str],
        *,
        constrain: bool,
        heads: HeadSet | Path | str | None,
    ) -> list[Detections]:
        from headsight.tasks.refer import ground_each

        if heads is None:
            return ground_each(self.vlm, picture, words, constrain=constrain)
        if constrain:
            raise InputError(
                "constrain is for written answers, but with heads nothing is written. Leave one of"
                " them out."
            )
        from headsight.attention.head_set import HeadSet
        from headsight.models.base import AttentiveVLM
        from headsight.tasks.looking import ground_each_by_heads

        if not isinstance(self.vlm, AttentiveVLM):
            raise InputError(
                f"{self.vlm.name} is served or scripted, so its attention cannot be looked at. Load"
                " the model itself, or leave heads out."
            )
        found = heads if isinstance(heads, HeadSet) else HeadSet.load(Path(heads))
        return ground_each_by_heads(self.vlm, picture, words, found)

    def _mask_maker(
        self,
        segmenter: Segmenter | Path | str | None,
        sam_prompt: SamPrompt,
        rec_box: RecBox,
        *,
        by_heads: bool,
    ) -> MaskMaker:
        """Kept from call to call, with the segmenter that it has loaded."""
        from headsight.models.segmenters import load_segmenter
        from headsight.tasks.segment import MaskMaker, check_request

        check_request(
            sam_prompt=sam_prompt,
            rec_box=rec_box,
            has_segmenter=segmenter is not None,
            by_heads=by_heads,
        )
        wanted = (segmenter, sam_prompt, rec_box)
        if self._maker is None or self._maker[0] != wanted:
            drawer = load_segmenter(segmenter) if isinstance(segmenter, (str, Path)) else segmenter
            maker = MaskMaker(drawer, sam_prompt=sam_prompt, rec_box=rec_box)
            self._maker = (wanted, maker)
        return self._maker[1]

    def ask(self, source: PictureSource | Picture, *prompts: str) -> list[Reply]:
        """The model's own words to your own questions, with nothing added to either."""
        return self.vlm.answer(open_picture(source), prompts)

    def __repr__(self) -> str:
        return f"Grounder({self.vlm.name})"


def load(
    model: str = "nano",
    *,
    device: str = "auto",
    quantize: int | None = None,
    server: str | None = None,
    dialect: str | None = None,
) -> Grounder:
    """A model by name, folder or hub id, or one that a server has loaded, ready to be asked.

    `server` is the address of an OpenAI-compatible chat endpoint (vLLM, llama.cpp, ...) that serves
    `model`; `dialect` its answer format, where the model's name does not tell.

    `quantize` is 4 or 8 for a folder whose decoder layers are to take so many bits a weight: then
    the weights of CogVLM 17B take 16 or 22 GB of a CUDA device instead of 35.

    Raises:
        InputError: no such model or device, one that cannot be quantised, or a bad address.
        CheckpointError: weights missing, damaged, foreign or in a refused format.
        MissingExtraError: bitsandbytes is needed and not installed.
    """
    from headsight.models.base import connect_vlm, load_vlm

    if server is not None:
        if model == "nano" and dialect is None:
            raise InputError(
                f"The server {server} was given, but not the name of the model it serves. Pass that"
                " as the model (--model NAME)."
            )
        return Grounder(connect_vlm(server, model, dialect=dialect))
    if dialect is not None:
        raise InputError(
            f"dialect is {dialect!r}, but only a served model needs one. Pass server= with it."
        )

    return Grounder(load_vlm(model, device=device, quantize=quantize))

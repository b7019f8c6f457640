"""What the commands share that put masks to places: their options, checked, and the segmenter."""

from __future__ import annotations

__all__ = ["MaskOptions", "mask_options"]

from typing import TYPE_CHECKING, TypedDict, cast

if TYPE_CHECKING:
    from headsight.models.segmenters import Segmenter
    from headsight.tasks.segment import RecBox, SamPrompt


class MaskOptions(TypedDict):
    """Arguments of `Grounder.ground`."""

    masks: bool
    segmenter: Segmenter | None
    sam_prompt: SamPrompt
    rec_box: RecBox


def mask_options(
    *,
    mask: bool,
    segmenter: str | None,
    sam_prompt: str,
    rec_box: str,
    by_heads: bool,
    device: str,
) -> MaskOptions:
    """The options checked and the segmenter loaded, before a larger model is.

    Raises:
        InputError: masks that cannot be had, or no such folder.
        CheckpointError: a folder that holds no segmenter.
    """
    from headsight.models.segmenters import load_segmenter
    from headsight.tasks.segment import check_request

    check_request(
        sam_prompt=sam_prompt,
        rec_box=rec_box,
        has_segmenter=segmenter is not None,
        by_heads=by_heads,
    )
    drawer = None if segmenter is None else load_segmenter(segmenter, device=device)
    return MaskOptions(
        masks=mask or drawer is not None,
        segmenter=drawer,
        sam_prompt=cast("SamPrompt", sam_prompt),
        rec_box=cast("RecBox", rec_box),
    )

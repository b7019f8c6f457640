"""Asking all expressions about a picture at once, and what is kept of each answer."""

from __future__ import annotations

__all__ = ["AT_ONCE", "PictureAsker", "pack", "unpack"]

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from headsight.errors import AnnotationError, HeadsightError, ImageError

if TYPE_CHECKING:
    from headsight.attention.head_set import HeadSet
    from headsight.data.refs import RefSample
    from headsight.detections import Detections
    from headsight.grounder import Grounder

_Found: TypeAlias = "tuple[Detections | HeadsightError, float]"

AT_ONCE = 32
"""Most expressions that are asked together, so that a kill loses little."""


class PictureAsker:
    """Makes the record of one sample after the other; those about a picture are asked together.

    Samples come in the order of `samples`, those about a picture in a row. A bad expression harms
    no other; where asking fails otherwise, the rest about the picture is asked one by one.
    """

    def __init__(
        self, grounder: Grounder, samples: Sequence[RefSample], *, heads: HeadSet | None
    ) -> None:
        self._grounder, self._heads = grounder, heads
        self._groups: dict[Path, list[RefSample]] = {}
        for sample in samples:
            self._groups.setdefault(sample.image, []).append(sample)
        self._found: dict[str, _Found] = {}
        self._alone: Path | None = None

    def __call__(self, sample: RefSample) -> dict[str, Any]:
        """What the model found, JSON-ready, with the seconds it took: those of all, shared evenly.

        Raises:
            HeadsightError: what is wrong with this sample.
        """
        if sample.id not in self._found:
            group = self._groups[sample.image]
            begin = next(i for i, other in enumerate(group) if other.id == sample.id)
            most = 1 if self._alone == sample.image else AT_ONCE
            self._found = self._ask(group[begin : begin + most])
        found, seconds = self._found.pop(sample.id)
        if isinstance(found, HeadsightError):
            raise found
        return pack(found, sample, seconds=seconds)

    def _ask(self, samples: Sequence[RefSample]) -> dict[str, _Found]:
        from headsight.picture import open_picture

        outcome, good = _sifted(samples)
        try:
            picture = open_picture(samples[0].image)
        except ImageError as error:
            return {sample.id: (error, 0.0) for sample in samples}
        if not good:
            return outcome
        began = time.perf_counter()
        try:
            words = [sample.text for sample in good]
            found = self._grounder.ground_each(picture, words, heads=self._heads)
        except HeadsightError as error:
            if len(good) == 1:
                return outcome | {good[0].id: (error, 0.0)}
            self._alone = samples[0].image
            return self._ask(samples[:1])
        seconds = (time.perf_counter() - began) / len(good)
        pairs = zip(good, found, strict=True)
        return outcome | {sample.id: (each, seconds) for sample, each in pairs}


def _sifted(samples: Sequence[RefSample]) -> tuple[dict[str, _Found], list[RefSample]]:
    """What is wrong with the words of some, and the others."""
    from headsight.language.prompts import clean_expression

    bad: dict[str, _Found] = {}
    for sample in samples:
        try:
            clean_expression(sample.text)
        except HeadsightError as error:
            bad[sample.id] = error, 0.0
    return bad, [sample for sample in samples if sample.id not in bad]


def pack(found: Detections, sample: RefSample, *, seconds: float) -> dict[str, Any]:
    """What was found, JSON-ready.

    Raises:
        AnnotationError: the picture is of another size than its labels say.
    """
    from headsight.geometry.masks import mask_to_rle

    if found.image_wh != sample.image_wh:
        raise AnnotationError(
            f"{sample.image} is {found.image_wh[0]} x {found.image_wh[1]} px, but the labels are"
            f" for {sample.image_wh[0]} x {sample.image_wh[1]}. Use the pictures of the data set."
        )
    masks = None if found.masks is None else [mask_to_rle(m, as_text=True) for m in found.masks]
    return {
        "seconds": seconds,
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "masks": masks,
        "mask_kind": list(found.attributes.get("mask_kind", ())),
        "exchanges": [e.to_dict() for e in found.exchanges],
    }


def unpack(record: dict[str, Any], sample: RefSample) -> Detections:
    """The detections of `pack`."""
    import numpy as np

    from headsight.detections import Detections, Exchange
    from headsight.geometry.masks import rle_to_mask

    number = len(record["boxes"])
    width, height = sample.image_wh
    masks = record["masks"]
    if masks is not None:
        masks = np.array([rle_to_mask(m) for m in masks], bool).reshape(number, height, width)
    kinds = tuple(record["mask_kind"])
    return Detections(
        np.array(record["boxes"], np.float64).reshape(-1, 4),
        np.array(record["scores"], np.float64),
        np.zeros(number, np.int64),
        (sample.text,),
        sample.image_wh,
        masks=masks,
        attributes={"mask_kind": kinds} if kinds else {},
        exchanges=tuple(Exchange(**e) for e in record["exchanges"]),
    )

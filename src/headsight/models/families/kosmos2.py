"""Kosmos-2: native answers in the cells of a 32 x 32 grid; its image tokens have no place."""

from __future__ import annotations

from typing import Any, ClassVar

from headsight.errors import InputError
from headsight.models.families.family import ChatFamily, Inputs
from headsight.models.image_views import ImageView

__all__ = ["KOSMOS2", "Kosmos2"]


class Kosmos2(ChatFamily):
    """Kosmos-2 (arXiv 2306.14824). Its processor puts the picture before any text by itself."""

    model_types = ("kosmos-2",)
    dialect = "kosmos2"
    template: ClassVar[str] = "{prompt}"
    padding_side: ClassVar[str] = "none"  # while it writes, transformers counts padding as words
    requires = ("image_embeds_position_mask",)

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """Always refuses.

        Raises:
            InputError: 64 learned queries read the whole picture; none of them looks anywhere.
        """
        raise InputError(
            f"The {config.latent_query_num} image tokens of {config.model_type!r} are answers to"
            " learned queries, and stand for no place in the picture, so attention to them cannot"
            " be mapped. Ask for its own answer: method 'native'."
        )


KOSMOS2 = Kosmos2()

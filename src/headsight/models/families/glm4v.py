"""GLM-4.1V, 4.5V and 4.6V: one grid as large as the picture asks for."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from headsight.models.families.family import Inputs
from headsight.models.families.qwen_vl import QwenVL
from headsight.picture import Picture

__all__ = ["GLM4V", "Glm4v"]


class Glm4v(QwenVL):
    """GLM-4.1V and its successors (arXiv 2507.01006); patches are merged as Qwen2-VL does."""

    template: ClassVar[str] = (
        "[gMASK]<sop><|user|>\n<|begin_of_image|>{image}<|end_of_image|>{prompt}<|assistant|>\n"
    )

    def inputs(self, processor: Any, picture: Picture, prompt: str) -> Inputs:
        """See `Family.inputs`."""
        with warnings.catch_warnings():  # the processor asks numpy in a way that it warns of
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            return super().inputs(processor, picture, prompt)


GLM4V = Glm4v(("glm4v", "glm4v_moe"), "glm4v")

"""One file a family of vision-language models: how it is asked, and where its image tokens look.

To add a family, write `families/<family>.py` with an instance of a class that fits `Family` (most
derive from `ChatFamily`), add one line to `FAMILIES`, and give the contract test a tiny model in
`tests/models/families/tiny_vlms/<family>.py`.
"""

from __future__ import annotations

from headsight.models.families.deepseek_vl import DEEPSEEK_VL
from headsight.models.families.family import ChatFamily, Family, Inputs
from headsight.models.families.florence2 import FLORENCE2
from headsight.models.families.gemma3 import GEMMA3
from headsight.models.families.glm4v import GLM4V
from headsight.models.families.internvl import INTERNVL
from headsight.models.families.kosmos2 import KOSMOS2
from headsight.models.families.llava import LLAVA
from headsight.models.families.llava_next import LLAVA_NEXT, LLAVA_ONEVISION
from headsight.models.families.mistral3 import MISTRAL3
from headsight.models.families.molmo2 import MOLMO2
from headsight.models.families.paligemma import PALIGEMMA
from headsight.models.families.qwen_vl import QWEN2_5_VL, QWEN2_VL, QWEN3_VL
from headsight.models.families.smolvlm import IDEFICS3, SMOLVLM

__all__ = ["FAMILIES", "ChatFamily", "Family", "Inputs", "find_family"]

FAMILIES: dict[str, Family] = {
    "llava": LLAVA,
    "llava_next": LLAVA_NEXT,
    "llava_onevision": LLAVA_ONEVISION,
    "qwen2_vl": QWEN2_VL,
    "qwen2_5_vl": QWEN2_5_VL,
    "qwen3_vl": QWEN3_VL,
    "paligemma": PALIGEMMA,
    "gemma3": GEMMA3,
    "internvl": INTERNVL,
    "idefics3": IDEFICS3,
    "smolvlm": SMOLVLM,
    "deepseek_vl": DEEPSEEK_VL,
    "glm4v": GLM4V,
    "mistral3": MISTRAL3,
    "kosmos2": KOSMOS2,
    "florence2": FLORENCE2,
    "molmo2": MOLMO2,
}
"""Every family by its name."""


def find_family(model_type: str) -> Family | None:
    """The family that answers for `config.model_type`, or None if none does."""
    return next((f for f in FAMILIES.values() if model_type in f.model_types), None)

"""Native grounding formats of families of vision-language models, both ways.

`DIALECTS[key]` asks, writes and reads as the family does. Add one: a file, and a line here.
"""

from __future__ import annotations

__all__ = ["DIALECTS", "Dialect", "NativeAnswer"]

from headsight.language.dialects.cogvlm import COGVLM
from headsight.language.dialects.deepseek import DEEPSEEK_VL2
from headsight.language.dialects.dialect import Dialect
from headsight.language.dialects.floats import FERRET, LLAVA, LLAVA_UNPADDED, SHIKRA
from headsight.language.dialects.florence2 import FLORENCE2
from headsight.language.dialects.glm import GLM4V
from headsight.language.dialects.internvl import INTERNVL
from headsight.language.dialects.json_boxes import GEMINI, KIMI_VL, QWEN2_5_VL, QWEN3_VL
from headsight.language.dialects.kosmos2 import KOSMOS2
from headsight.language.dialects.mini import MINICPM_V, MINIGPT_V2
from headsight.language.dialects.molmo import MOLMO
from headsight.language.dialects.molmo2 import MOLMO2
from headsight.language.dialects.native_answer import NativeAnswer
from headsight.language.dialects.own import HEADSIGHT
from headsight.language.dialects.paligemma import PALIGEMMA
from headsight.language.dialects.qwen_tags import QWEN2_VL, QWEN_VL

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        QWEN_VL,
        QWEN2_VL,
        QWEN2_5_VL,
        QWEN3_VL,
        INTERNVL,
        DEEPSEEK_VL2,
        COGVLM,
        KOSMOS2,
        PALIGEMMA,
        FLORENCE2,
        SHIKRA,
        FERRET,
        LLAVA,
        LLAVA_UNPADDED,
        GLM4V,
        KIMI_VL,
        MOLMO,
        MOLMO2,
        GEMINI,
        MINIGPT_V2,
        MINICPM_V,
        HEADSIGHT,
    )
}

"""Our own grounding model; importing this registers it with transformers' Auto classes."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.model import GroundingVLM, GroundingVLMModel
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.vision import VISION_ENCODERS

__all__ = [
    "VISION_ENCODERS",
    "GroundingProcessor",
    "GroundingVLM",
    "GroundingVLMConfig",
    "GroundingVLMModel",
]

AutoConfig.register("headsight_grounding", GroundingVLMConfig, exist_ok=True)
AutoModel.register(GroundingVLMConfig, GroundingVLMModel, exist_ok=True)
AutoModelForCausalLM.register(GroundingVLMConfig, GroundingVLM, exist_ok=True)
AutoModelForImageTextToText.register(GroundingVLMConfig, GroundingVLM, exist_ok=True)
AutoProcessor.register(GroundingVLMConfig, GroundingProcessor, exist_ok=True)

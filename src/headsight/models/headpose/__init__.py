"""Crop regressors of head pose (6DRepNet, arXiv 2202.12555), the baseline beside asking a VLM."""

from headsight.models.headpose.config import SixDRepNetConfig
from headsight.models.headpose.model import SixDRepNet

__all__ = ["SixDRepNet", "SixDRepNetConfig"]

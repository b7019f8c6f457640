"""The font of everything that is drawn: Pillow's own, so that pictures are the same everywhere."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

__all__ = ["font_of"]


@lru_cache(maxsize=64)
def font_of(points: int | float) -> ImageFont.FreeTypeFont:
    """The font in a size, px."""
    font = ImageFont.load_default(points)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font

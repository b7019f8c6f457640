"""Processors of transformers for still pictures, also where torchvision and num2words are missing.

Without torchvision transformers has no video processors, and then refuses to build any processor
with a place for one, although a picture never reaches it. Pixtral's processor and Molmo 2's image
processor refuse as well, each for the sake of one function. The classes made here are the library's
own with that refusal taken out, so that tokens and pixels are the library's; where torchvision is
there, they are the library's, untouched.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import Any

from headsight.errors import CheckpointError

__all__ = ["molmo2_image_processor", "processor_class", "processor_from_folder"]

_MODELS = "transformers.models"


@cache
def processor_class(name: str) -> type[Any]:
    """The processor class of transformers called `name`, fit for pictures.

    Raises:
        CheckpointError: transformers has none of that name.
    """
    if name == "PixtralProcessor":
        return _pixtral()
    if name == "SmolVLMProcessor":
        _spare_num2words()
    import transformers

    kind: type[Any] | None = getattr(transformers, name, None)
    if kind is None:
        raise CheckpointError(
            f"The processor is a {name!r}, which transformers {transformers.__version__} does not"
            " have. Check processor_config.json, or update transformers."
        )
    if _has_torchvision() or "video_processor" not in kind.get_attributes():
        return kind
    return _without_video(kind)


def processor_from_folder(folder: str, *, name: str, model_type: str, **options: Any) -> Any:
    """The processor of class `name` in `folder`; `options` go to every `from_pretrained`.

    Raises:
        CheckpointError: transformers has no such processor.
        OSError: a file is missing.
    """
    from transformers import AutoImageProcessor, AutoTokenizer

    kind = processor_class(name)
    if _has_torchvision() or not (model_type == "molmo2" or hasattr(kind, "_is_for_stills")):
        return kind.from_pretrained(folder, **options)
    image_processor = molmo2_image_processor() if model_type == "molmo2" else AutoImageProcessor
    parts = {
        "image_processor": image_processor.from_pretrained(folder, **options),
        "tokenizer": AutoTokenizer.from_pretrained(folder, **options),
        "video_processor": _no_videos(),
    }
    values, _ = kind.get_processor_dict(folder, **options)
    return kind.from_args_and_dict([parts[part] for part in kind.get_attributes()], values)


@cache
def molmo2_image_processor() -> type[Any]:
    """Molmo 2's image processor, its two calls of torchvision replaced by torch where needed."""
    module = importlib.import_module(f"{_MODELS}.molmo2.image_processing_molmo2")
    kind: type[Any] = module.Molmo2ImageProcessor
    if _has_torchvision():
        return kind
    return type(kind.__name__, (kind,), {"resize": _resize, "normalize": _normalize})


def _has_torchvision() -> bool:
    from transformers.utils.import_utils import is_torchvision_available

    return bool(is_torchvision_available())


def _without_video(kind: type[Any]) -> type[Any]:
    """`kind` with a place for a video processor that nothing is expected of."""

    def check_argument_for_proper_class(self: Any, name: str, argument: Any) -> Any:
        return None if name == "video_processor" else check(self, name, argument)

    def to_dict(self: Any) -> dict[str, Any]:
        return {k: v for k, v in describe(self).items() if k != "video_processor"}

    check, describe = kind.check_argument_for_proper_class, kind.to_dict
    own = {
        "__init__": kind.__init__,
        "check_argument_for_proper_class": check_argument_for_proper_class,
        "to_dict": to_dict,
        "_is_for_stills": True,
    }
    return type(kind.__name__, (kind,), own)


def _no_videos() -> Any:
    from transformers.video_processing_utils import VideoProcessorMixin

    return VideoProcessorMixin()


def _pixtral() -> type[Any]:
    """Its module takes a size function from the torchvision file; the PIL file has the same one."""
    package = f"{_MODELS}.pixtral"
    if _has_torchvision():
        return importlib.import_module(f"{package}.processing_pixtral").PixtralProcessor  # type: ignore[no-any-return]
    name = f"{package}.image_processing_pixtral"
    sys.modules[name] = importlib.import_module(f"{package}.image_processing_pil_pixtral")
    try:
        return importlib.import_module(f"{package}.processing_pixtral").PixtralProcessor  # type: ignore[no-any-return]
    finally:
        del sys.modules[name]


def _spare_num2words() -> None:
    """Let SmolVLM's processor be built without the package that spells out numbers of frames."""
    module: Any = importlib.import_module(f"{_MODELS}.smolvlm.processing_smolvlm")
    module.num2words = module.num2words or str


def _resize(self: Any, image: Any, size: Any, **kwargs: Any) -> Any:
    """What torchvision's `resize` does to a tensor (..., C, H, W) without antialiasing."""
    import torch.nn.functional as F

    is_single = image.dim() == 3
    images = image[None] if is_single else image
    resized = F.interpolate(
        images, size=(size.height, size.width), mode="bilinear", align_corners=False
    )
    return resized[0] if is_single else resized


def _normalize(self: Any, image: Any, mean: Any, std: Any, **kwargs: Any) -> Any:
    import torch

    mean, std = (torch.as_tensor(x, dtype=image.dtype)[:, None, None] for x in (mean, std))
    return (image - mean) / std

"""The whole error tree: every message says what was found, what was expected and what to do."""

from __future__ import annotations

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "ConfigError",
    "HeadsightError",
    "ImageError",
    "InputError",
    "LimitError",
    "MissingExtraError",
    "ResumeError",
    "ServerError",
    "require",
]

from importlib import import_module
from types import ModuleType
from typing import Any


class HeadsightError(Exception):
    """Base of everything Headsight raises on purpose."""


class InputError(HeadsightError, ValueError):
    """An argument that cannot be used: a box without area, an empty prompt, a wrong shape."""


class ImageError(HeadsightError):
    """A picture that cannot be opened safely."""


class AnnotationError(HeadsightError):
    """A label file that does not say what its format promises."""


class ConfigError(HeadsightError):
    """A recipe or setting with an unknown key or a value out of range."""


class CheckpointError(HeadsightError):
    """Weights that are missing, damaged, foreign or in a refused format."""


class ResumeError(HeadsightError):
    """A job that cannot be continued because its inputs or settings changed."""


class MissingExtraError(HeadsightError, ImportError):
    """An optional package that this function needs is not installed."""


class ServerError(HeadsightError):
    """A server that cannot be reached, refuses, or answers something that cannot be read."""

    def __init__(self, message: str, *, replies: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.replies = replies
        """What had been answered by then: a `Reply` or None a prompt, in the order of prompts."""


class LimitError(HeadsightError):
    """Input larger than a safety limit."""


_EXTRAS = {
    "anny": "scenes",
    "bitsandbytes": "quantize",
    "embreex": "scenes",
    "supervision": "supervision",
    "accelerate": "train",
    "yaml": "train",
}


def require(module: str) -> ModuleType:
    """The optional module `module`, imported now.

    Raises:
        MissingExtraError: it is not installed; the message holds the install line.
    """
    try:
        return import_module(module)
    except ImportError as error:
        extra = _EXTRAS.get(module.partition(".")[0], "all")
        raise MissingExtraError(
            f"The package '{module}' is not installed, but this function needs it."
            f" Run: pip install 'headsight[{extra}]'"
        ) from error

"""What is installed, on which device, and whether the model answers about the shipped picture."""

from __future__ import annotations

__all__ = ["SAMPLE", "Finding", "examine"]

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headsight.errors import HeadsightError

if TYPE_CHECKING:
    from headsight.grounder import Grounder

SAMPLE = Path(__file__).parent / "samples" / "astronaut.jpg"
"""The shipped picture: one head, facing the camera, its face near (222, 112)."""
_FACE = (222.0, 112.0)
_HEAD, _NOSE = (159.0, 23.0, 297.0, 179.0), (226.0, 131.0)
_CORE = ("torch", "transformers", "numpy", "scipy", "pillow", "safetensors", "typer", "rich")
_EXTRAS = {
    "scenes": ("anny", "embreex"),
    "train": ("accelerate", "peft"),
    "supervision": ("supervision",),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    is_good: bool
    said: str


def examine(model: str = "nano", *, device: str = "auto") -> list[Finding]:
    """Everything worth knowing, one finding each; what is broken is a finding, not an exception."""
    from headsight import __version__

    findings = [
        Finding("headsight", True, __version__),
        Finding("python", True, f"{platform.python_version()} on {platform.machine()}"),
    ]
    for name in _CORE:
        found = _version(name)
        said = found or f"not installed. Run: pip install {name}"
        findings.append(Finding(name, found is not None, said))
    for extra, packages in _EXTRAS.items():
        is_there = all(_version(package) for package in packages)
        said = "installed" if is_there else f"absent; pip install 'headsight[{extra}]' adds it"
        findings.append(Finding(f"extra {extra}", True, said))
    looks: dict[str, Callable[[], str]] = {
        "torchvision": _torchvision,
        "device": lambda: _device(device),
        f"model {model}": lambda: _self_check(model, device),
    }
    return findings + [_guarded(name, look) for name, look in looks.items()]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _guarded(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except HeadsightError as error:
        return Finding(name, False, str(error))
    except Exception as error:  # a broken installation fails in any way; telling which is the job
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _torchvision() -> str:
    """A torchvision built for another torch breaks transformers' picture processors."""
    if find_spec("torchvision") is None:
        return "absent, as it should be"
    try:
        import torchvision  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise HeadsightError(
            f"installed but broken ({error}). It does not fit this torch, and breaks transformers."
            " Run: pip uninstall torchvision"
        ) from error
    return f"{torchvision.__version__}, works"


def _device(device: str) -> str:
    import torch

    from headsight.models.grounding.adapter import resolve_device

    chosen = resolve_device(device)
    if chosen.type == "cuda":
        return f"{chosen} ({torch.cuda.get_device_name(chosen)})"
    return f"{chosen} ({torch.get_num_threads()} threads)"


def _self_check(model: str, device: str) -> str:
    from headsight.grounder import load

    began = time.perf_counter()
    grounder = load(model, device=device)
    loaded = time.perf_counter()
    found = _find_nose(grounder) if model == "nano-keypoints" else _find_head(grounder)
    seconds = time.perf_counter() - loaded
    return (
        f"found {found} in the shipped picture in {seconds:.2f} s"
        f" (loaded in {loaded - began:.2f} s)"
    )


def _find_head(grounder: Grounder) -> str:
    found = grounder.heads(SAMPLE)
    x, y = _FACE
    if not any(x0 < x < x1 and y0 < y < y1 for x0, y0, x1, y1 in found.boxes):
        raise HeadsightError(
            f"it found {len(found)} heads in the shipped picture {SAMPLE.name}, but not the one at"
            f" ({x:.0f}, {y:.0f}). The weights may be damaged or of an untrained model: reinstall"
            " headsight, or choose another --model."
        )
    return "the head"


def _find_nose(grounder: Grounder) -> str:
    """It tells points and finds no heads."""
    import numpy as np

    from headsight.language.schema_library import schema
    from headsight.picture import open_picture
    from headsight.tasks.keypoints import find_keypoints

    points = schema("face-5")
    boxes = np.array([_HEAD], np.float64)
    found = find_keypoints(grounder.vlm, open_picture(SAMPLE), boxes, points)
    x, y = found.points[0, points.names.index("nose tip")]
    if not np.hypot(x - _NOSE[0], y - _NOSE[1]) < 0.2 * (_HEAD[2] - _HEAD[0]):
        raise HeadsightError(
            f"it sees the nose in the shipped picture {SAMPLE.name} at ({x:.0f}, {y:.0f}), but it"
            f" is at ({_NOSE[0]:.0f}, {_NOSE[1]:.0f}). The weights may be damaged: reinstall"
            " headsight."
        )
    return "the nose"

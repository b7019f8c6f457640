"""What is installed, on which device, and whether the shipped model answers about the shipped picture."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from headsight.errors import HeadsightError

__all__ = ["SAMPLE", "Finding", "examine"]

SAMPLE = Path(__file__).parent / "samples" / "astronaut.jpg"
"""The shipped picture: one head, facing the camera, its face near (222, 112)."""
_FACE = (222.0, 112.0)
_CORE = ("torch", "transformers", "numpy", "pillow", "safetensors")
_EXTRAS = {"scenes": ("anny", "embreex"), "train": ("accelerate", "peft"), "supervision": ("supervision",)}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    is_good: bool
    said: str


def examine(model: str = "nano", *, device: str = "auto") -> list[Finding]:
    """Everything worth knowing, one finding each; none of them raises."""
    findings = [Finding("python", True, f"{platform.python_version()} on {platform.machine()}")]
    findings += [Finding(name, *_installed(name)) for name in _CORE]
    for extra, packages in _EXTRAS.items():
        missing = [p for p in packages if not _installed(p)[0]]
        said = "installed" if not missing else f"not installed (pip install 'headsight[{extra}]')"
        findings.append(Finding(f"extra {extra}", True, said))
    findings.append(_guarded("torchvision", _torchvision))
    findings.append(_guarded("device", lambda: _device(device)))
    findings.append(_guarded(f"model {model}", lambda: _self_check(model, device)))
    return findings


def _installed(name: str) -> tuple[bool, str]:
    try:
        return True, version(name)
    except PackageNotFoundError:
        return False, f"not installed. Run: pip install {name}"


def _guarded(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except HeadsightError as error:
        return Finding(name, False, str(error))


def _torchvision() -> str:
    """A torchvision built for another torch breaks transformers' picture processors when it is imported."""
    if find_spec("torchvision") is None:
        return "absent, as it should be"
    try:
        import torchvision  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except (ImportError, RuntimeError) as error:
        raise HeadsightError(
            f"installed but broken ({error}). It does not fit this torch and breaks transformers."
            " Run: pip uninstall torchvision"
        ) from error
    return f"{torchvision.__version__}, works"


def _device(device: str) -> str:
    import torch

    from headsight.models.grounding.adapter import resolve_device

    chosen = resolve_device(device)
    return f"{chosen} ({torch.get_num_threads()} CPU threads)"


def _self_check(model: str, device: str) -> str:
    from headsight.grounder import load

    began = time.perf_counter()
    grounder = load(model, device=device)
    loaded = time.perf_counter()
    found = grounder.heads(SAMPLE)
    seconds = time.perf_counter() - loaded
    x, y = _FACE
    hits = [b for b in found.boxes if b[0] < x < b[2] and b[1] < y < b[3]]
    if not hits:
        raise HeadsightError(
            f"the model found {len(found)} heads in {SAMPLE.name}, but not the one at ({x:.0f}, {y:.0f})."
            " Its weights may be damaged: reinstall headsight."
        )
    return f"found the head in {SAMPLE.name} in {seconds:.2f} s (loaded in {loaded - began:.2f} s)"

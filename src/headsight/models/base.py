"""The small protocol every vision-language model is used through, and how one is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.language.answer import Answer
from headsight.language.spec import CodecSpec
from headsight.models.checkpoints import HUB_ID, refuse_file
from headsight.models.image_views import ImageView, RegionView
from headsight.picture import Picture

__all__ = [
    "MAX_NEW_TOKENS",
    "MODELS",
    "NANO",
    "SHIPPED",
    "VLM",
    "AttentiveVLM",
    "NativeVLM",
    "PoseReader",
    "RegionVLM",
    "Reply",
    "connect_vlm",
    "load_vlm",
    "model_folder",
]

MAX_NEW_TOKENS = 520
"""Longest answer by default: 64 boxes in our own tokenizer, with room for the end."""


@dataclass(frozen=True)
class Reply:
    """One question and what the model wrote."""

    prompt: str
    text: str
    tokens: tuple[str, ...]
    """The pieces of `text`; joined they give it back."""
    logprobs: tuple[float, ...]
    """Log-probability of each token in the model's own distribution, grammar or not; of a number
    or its near neighbours where the model was trained on soft targets."""
    ended: bool = True
    """False where the limit of tokens cut the answer."""


@runtime_checkable
class VLM(Protocol):
    """A model that answers questions about a picture."""

    name: str

    def answer(
        self,
        picture: Picture,
        prompts: Sequence[str],
        *,
        grammar: CodecSpec | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Reply]:
        """One greedy reply a prompt, all about one picture.

        With `grammar` only strict answers of that kind can be written.
        """


@runtime_checkable
class NativeVLM(VLM, Protocol):
    """A model with a grounding format of its own, in which it is asked and read."""

    @property
    def dialect(self) -> str:
        """Key of `DIALECTS`."""
        ...

    def read(
        self, picture: Picture, reply: Reply, *, mode: Literal["strict", "lenient"] = "strict"
    ) -> Answer:
        """What `reply` says about `picture`, in pixels of it; any text can be read."""
        ...


@runtime_checkable
class AttentiveVLM(VLM, Protocol):
    """A model whose attention can be looked at, and whose image tokens have places."""

    @property
    def model(self) -> Any:
        """The transformers model itself."""
        ...

    def prepare(self, picture: Picture, prompt: str, *, written: str = "") -> dict[str, Any]:
        """What `model` is called with, by argument name; batch 1.

        `written` is how its answer begins, as if it had written that already.
        """
        ...

    def views(self, picture: Picture, prompt: str) -> tuple[ImageView, ...]:
        """Where each image token of `prepare` looks, the whole picture first.

        Raises:
            InputError: image tokens without a place in the picture.
        """
        ...

    def text_span(self, picture: Picture, prompt: str, words: str | None = None) -> tuple[int, int]:
        """First token of `words` (the prompt where None) in the sequence, and the one behind."""
        ...


@runtime_checkable
class RegionVLM(AttentiveVLM, Protocol):
    """A model whose image tokens may hold a box each, rather than a cell of a grid."""

    def regions(self, picture: Picture, prompt: str) -> RegionView | None:
        """What each image token of `prepare` holds; None of tokens that are plain cells."""
        ...


@runtime_checkable
class PoseReader(VLM, Protocol):
    """A model that tells the pose in a given box from the pixels, asked without words."""

    def read_poses(
        self, picture: Picture, boxes: Float[NDArray[Any], "n 4"]
    ) -> Float[NDArray[Any], "n 3 3"]:
        """Head to camera, a row a box; NaN where it says none."""
        ...


def load_vlm(model: str = "nano", *, device: str = "auto", quantize: int | None = None) -> VLM:
    """The model of that name, in that local folder, or of that hub id ("org/name").

    Only a hub id may cause a download, and no code that comes with a model is run. `device` is
    `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`. `quantize` is 4
    or 8 for a folder whose decoder layers are to take so many bits a weight, on CUDA only.

    Raises:
        InputError: no such model or device, or one that cannot be quantised.
        CheckpointError: weights missing, damaged, foreign or in a refused format.
        MissingExtraError: bitsandbytes is needed and not installed.
    """
    if model in MODELS:
        if quantize is not None:
            raise InputError(
                f"quantize={quantize} is for large models in a folder, but '{model}' is a name."
                " Leave quantize out, or pass the model's folder."
            )
        return MODELS[model](device)
    path = Path(model).expanduser()
    if path.is_dir():
        return _load_folder(path, device, quantize)
    refuse_file(path)
    if quantize is None and HUB_ID.fullmatch(model):
        from headsight.models.transformers_vlm import load_transformers

        return load_transformers(model, device=device)
    near = difflib.get_close_matches(model, MODELS, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known models: {', '.join(MODELS)}."
    raise InputError(
        f"No model and no folder is called '{model}'. {hint} Or pass a local folder, or a hub id"
        " such as org/name."
    )


def connect_vlm(url: str, model: str, *, dialect: str | None = None) -> NativeVLM:
    """The model that an OpenAI-compatible chat endpoint serves; nothing is sent yet.

    `dialect` (a key of `DIALECTS`) is its answer format where its name does not tell.

    Raises:
        InputError: a bad address, a dialect that is none, or a name that tells none.
    """
    from headsight.language.dialects import DIALECTS
    from headsight.models.server import ServerVLM

    if dialect is not None and dialect not in DIALECTS:
        near = difflib.get_close_matches(dialect, DIALECTS, n=1, cutoff=0)[0]
        raise InputError(
            f"No dialect is called {dialect!r}. Did you mean {near!r}? Known:"
            f" {', '.join(DIALECTS)}."
        )
    return ServerVLM(url, model, dialect=dialect)


def _load_folder(path: Path, device: str, quantize: int | None) -> VLM:
    from headsight.models.grounding.adapter import is_ours, load_folder
    from headsight.models.headpose.reader import is_crop_regressor, load_crop_regressor

    if is_crop_regressor(path):
        if quantize is not None:
            raise InputError(
                f"quantize={quantize} is for language models, but {path} holds a crop regressor."
                " Leave quantize out."
            )
        return load_crop_regressor(path, device=device)
    if quantize is None and not is_ours(path):
        from headsight.models.transformers_vlm import load_transformers

        return load_transformers(str(path), device=device)
    return load_folder(path, device=device, quantize=quantize)


def model_folder(model: str) -> Path:
    """Where a model lies that is ours or in a folder; of one at the hub nothing is there."""
    return SHIPPED.get(model) or Path(model).expanduser()


def _load_shipped(name: str, device: str) -> VLM:
    from headsight.models.grounding.adapter import load_folder

    return load_folder(SHIPPED[name], device=device, name=name, shared=NANO)


_GROUNDING = Path(__file__).parent / "grounding"
NANO = _GROUNDING / "nano"
"""Where the shipped model lies."""
SHIPPED = {"nano": NANO, "nano-keypoints": _GROUNDING / "nano_keypoints"}
"""Folders of the models that come along; weights that one of them lacks are nano's."""
MODELS: dict[str, Callable[[str], VLM]] = {name: partial(_load_shipped, name) for name in SHIPPED}
"""Loader of each known name; called with the device."""

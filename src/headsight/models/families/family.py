"""What a family of vision-language models must say about itself, and what most have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from headsight.errors import InputError
from headsight.models.image_views import ImageView
from headsight.picture import Picture

__all__ = [
    "IMAGE_TOKEN_FIELDS",
    "ChatFamily",
    "Family",
    "Inputs",
    "begun",
    "image_positions",
    "longer",
    "token_span",
]

Inputs = dict[str, Any]
"""What a model is called with, by argument name: tensors on the CPU, one picture, batch 1."""

IMAGE_TOKEN_FIELDS = ("image_token_id", "image_token_index")
"""Where a config may say which token stands for a piece of the picture."""

MAX_ASPECT = 200
"""Longest picture, as a multiple of its shorter side."""


@runtime_checkable
class Family(Protocol):
    """One family of checkpoints; without state, so that one instance serves every model.

    `processor` is the checkpoint's own processor, `config` the config of the whole model, `prompt`
    the user's message (already in the family's dialect), without chat template or image tokens.
    """

    @property
    def model_types(self) -> tuple[str, ...]:
        """Values of `config.model_type` that this family answers for."""

    @property
    def dialect(self) -> str:
        """Key into `DIALECTS`: how the family is asked for places, and writes them."""

    def inputs(self, processor: Any, picture: Picture, prompt: str) -> Inputs:
        """Everything the model needs to answer `prompt` about `picture`, in its native template.

        Raises:
            InputError: an empty prompt, one with image tokens in it, a picture the processor
                refuses, or a processor that leaves out something the model needs.
        """

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """Where each image token looks: the view of the whole picture first, then the tiles.

        Raises:
            InputError: the family's image tokens have no place in the picture.
        """

    def seen_wh(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[int, int]:
        """Width and height, px, of the picture as the model saw it (for absolute coordinates)."""

    def seen_region(
        self, processor: Any, image_wh: tuple[int, int]
    ) -> tuple[float, float, float, float] | None:
        """Xyxy px of the picture that the model's one square view shows; None: not one square."""

    def text_span(self, processor: Any, inputs: Inputs, prompt: str, words: str) -> tuple[int, int]:
        """First token of `words`, a part of `prompt`, in the sequence, and the one after the last.

        Raises:
            InputError: `words` are empty, or not to be found.
        """


class ChatFamily(ABC):
    """The usual family: a decoder that reads image tokens inside a chat message.

    A subclass gives `model_types`, `dialect` and `views`, and what differs of the rest.
    """

    model_types: tuple[str, ...] = ()
    dialect: str = ""
    template: ClassVar[str] = "{image}\n{prompt}"
    """The native prompt of a processor without a chat template."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Inputs without which the model goes wrong, or does so silently."""

    def text(self, processor: Any, prompt: str) -> str:
        """The message as the processor reads it, with one image token in it."""
        if getattr(processor, "chat_template", None):
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            message = [{"role": "user", "content": content}]
            return str(processor.apply_chat_template(message, add_generation_prompt=True))
        return self.template.format(image=image_token(processor), prompt=prompt)

    def inputs(self, processor: Any, picture: Picture, prompt: str) -> Inputs:
        """See `Family.inputs`."""
        text = self.text(processor, checked_prompt(processor, prompt))
        require_aspect(picture)
        try:
            made = processor(
                images=[picture.image],
                text=[text],
                add_special_tokens=not starts_whole(processor.tokenizer, text),
                **{"return_tensors": "pt", **self.options(processor)},
            )
        except ValueError as error:
            width, height = picture.image_wh
            raise InputError(
                f"The processor refuses the picture of {width} x {height} px or the prompt"
                f" {prompt[:40]!r}: {error} Give a larger picture or another prompt."
            ) from error
        return require_inputs(dict(made), self.requires, processor)

    def options(self, processor: Any) -> dict[str, Any]:
        """What the processor is told besides, or instead of, its own settings."""
        return {}

    @abstractmethod
    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """See `Family.views`."""

    def seen_wh(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[int, int]:
        """See `Family.seen_wh`; here the size of one picture in `pixel_values`."""
        height, width = inputs["pixel_values"].shape[-2:]
        return int(width), int(height)

    def seen_region(
        self, processor: Any, image_wh: tuple[int, int]
    ) -> tuple[float, float, float, float] | None:
        """See `Family.seen_region`."""
        return None

    def text_span(self, processor: Any, inputs: Inputs, prompt: str, words: str) -> tuple[int, int]:
        """See `Family.text_span`."""
        text = self.text(processor, prompt)
        return token_span(processor.tokenizer, inputs["input_ids"][0], text, prompt, words)


def image_token(processor: Any) -> str:
    """The text that stands for a picture in a prompt."""
    return str(getattr(processor, "image_token", "<image>"))


def checked_prompt(processor: Any, prompt: str) -> str:
    """`prompt`, if it can be asked.

    Raises:
        InputError: it is empty, or holds the token that stands for a picture.
    """
    if not prompt.strip():
        raise InputError("The prompt is empty; expected words. Say what to look for.")
    token = image_token(processor)
    if token and token in prompt:
        raise InputError(
            f"The prompt holds {token!r}, which stands for a picture. Leave it out: the picture is"
            " put in by itself."
        )
    return prompt


def require_aspect(picture: Picture) -> None:
    """Pass unless the picture is a mere line, which would be blown up to gigabytes.

    Raises:
        InputError: it is more than `MAX_ASPECT` times as long as wide.
    """
    short, long = sorted(picture.image_wh)
    if long > MAX_ASPECT * short:
        raise InputError(
            f"The picture is {picture.image_wh[0]} x {picture.image_wh[1]} px, but its sides may"
            f" differ {MAX_ASPECT} times at most. Cut it into pieces first."
        )


def starts_whole(tokenizer: Any, text: str) -> bool:
    """True where `text` brings its own token of beginning, so that no other may be added."""
    bos = tokenizer.bos_token
    return bool(bos) and text.startswith(bos)


def require_inputs(inputs: Inputs, names: tuple[str, ...], processor: Any) -> Inputs:
    """`inputs`, if nothing of `names` is missing.

    Raises:
        InputError: something is.
    """
    missing = [name for name in names if name not in inputs]
    if missing:
        raise InputError(
            f"{type(processor).__name__} made no {' and no '.join(missing)}, without which the"
            " model silently goes wrong. Use the processor of transformers for this model."
        )
    return inputs


def begun(tokenizer: Any, inputs: Inputs, written: str) -> Inputs:
    """`inputs` with the beginning of an answer behind the question; not changed themselves."""
    return longer(inputs, tokenizer.encode(written, add_special_tokens=False) if written else [])


def longer(inputs: Inputs, ids: Sequence[int]) -> Inputs:
    """`inputs` with further tokens of text behind; not changed themselves."""
    asked, added = inputs["input_ids"], len(ids)
    grown = dict(inputs)
    for name, values in inputs.items() if added else ():
        if values.shape == asked.shape and not values.is_floating_point():
            grown[name] = F.pad(values, (0, added), value=int(name == "attention_mask"))
    if added:
        new = torch.tensor([list(ids)], dtype=asked.dtype, device=asked.device)
        grown["input_ids"] = torch.cat([asked, new], 1)
    return grown


def image_positions(config: Any, inputs: Inputs) -> Int[NDArray[np.int64], " n"]:
    """Where the image tokens of the one sequence in `inputs` are, in order.

    Raises:
        InputError: the config names no image token, or the sequence has none.
    """
    found = [value for name in IMAGE_TOKEN_FIELDS if (value := getattr(config, name, None))]
    if not found:
        raise InputError(
            f"The config of {config.model_type!r} has none of {', '.join(IMAGE_TOKEN_FIELDS)}, so"
            " its image tokens cannot be told from words. This model can only answer in its own"
            " words."
        )
    positions = np.flatnonzero(inputs["input_ids"][0].numpy() == found[0])
    if not len(positions):
        raise InputError(
            f"No token {found[0]} (the image token of {config.model_type!r}) is in the sequence."
            " The processor does not belong to this model: load both from one folder."
        )
    return positions


def token_span(
    tokenizer: Any, ids: Int[Tensor, " t"], text: str, prompt: str, words: str
) -> tuple[int, int]:
    """First and one past last token of `words` in `ids`, by the offsets of characters in `text`.

    `text` is what was tokenised, but with one image token where `ids` have many. `words` are looked
    for in the last `prompt` of it, the last time they occur.

    Raises:
        InputError: `words` are empty, or not to be found.
    """
    start, end = _characters(text, prompt, words)
    short = tokenizer(
        text, return_offsets_mapping=True, add_special_tokens=not starts_whole(tokenizer, text)
    )
    touched = [i for i, (a, b) in enumerate(short["offset_mapping"]) if a < end and b > start]
    full = ids.tolist()
    first, after = touched[0], touched[-1] + 1
    if (tail := short["input_ids"][first:]) == full[len(full) - len(tail) :]:
        more = len(full) - len(short["input_ids"])
        return first + more, after + more
    if (head := short["input_ids"][:after]) == full[: len(head)]:
        return first, after
    raise InputError(
        f"The tokens of {words[:40]!r} are not in the sequence, so it was made of another prompt or"
        " by another processor. Make the inputs and the span of one prompt."
    )


def _characters(text: str, prompt: str, words: str) -> tuple[int, int]:
    """Where `words` are in `text`; templates may strip the blanks around a prompt."""
    sought, message = words.strip(), prompt.strip()
    at, inside = text.rfind(message), message.rfind(sought)
    if not sought or at < 0 or inside < 0:
        raise InputError(
            f"The words {words[:40]!r} are not in the prompt {prompt[:60]!r}. Give words of the"
            " prompt, in its own spelling."
        )
    return at + inside, at + inside + len(sought)

"""From pictures and prompts to the inputs of `GroundingVLM`, and from ids back to text.

A row is `[bos][boi][patches][eoi] question newline answer [eos]`. Boxes in text are in thousandths
of the original picture (see `Letterbox`), so neither the letterbox nor CogVLM's squashing needs a
correction after decoding.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from headsight.errors import InputError
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.letterbox import Letterbox

__all__ = ["TEMPLATES", "GroundingProcessor"]

TEMPLATES = {
    "base": "{question}",
    "chat": "Question: {question} Answer:",
    "vqa": "Question: {question} Short answer:",
}
"""Prompt forms of the CogVLM checkpoints; the grounding ones use `base`."""

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_LITE0_MEAN = (127 / 255,) * 3
_LITE0_STD = (128 / 255,) * 3
_SOME_PICTURE = object()  # takes the slots of a picture


class GroundingProcessor(ProcessorMixin):
    """Letterboxing, normalisation, templates and batching; saved and loaded beside the model."""

    image_size: int
    """Side of the square, px."""
    slots_per_image: int
    """Tokens a picture takes, its two borders included."""
    slot_token_id: int
    """Id at those places."""
    image_mean: list[float]
    """Of red, green and blue in [0, 1]."""
    image_std: list[float]
    """Likewise."""
    keep_aspect: bool
    """False squashes the picture over the square."""
    resample: str
    """Name of a PIL filter, in lower case."""
    fill: int
    """Grey of the padding, 0 to 255."""
    template: str
    """Entry of TEMPLATES."""
    separator: str
    """What stands between question and answer."""

    @no_type_check  # transformers reads the names from this very code object when it loads
    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_size: int = 384,
        slots_per_image: int = 98,
        slot_token_id: int = 0,
        image_mean: Sequence[float] = _LITE0_MEAN,
        image_std: Sequence[float] = _LITE0_STD,
        keep_aspect: bool = True,
        resample: str = "bilinear",
        fill: int = 114,
        template: str = "base",
        separator: str = "\n",
        **kwargs: Any,
    ) -> None:
        if template not in TEMPLATES:
            raise InputError(f"template is {template!r}; expected one of {', '.join(TEMPLATES)}.")
        self.image_size = image_size
        self.slots_per_image = slots_per_image
        self.slot_token_id = slot_token_id
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.keep_aspect = keep_aspect
        self.resample = resample
        self.fill = fill
        self.template = template
        self.separator = separator
        super().__init__(tokenizer, **kwargs)

    @classmethod
    def for_model(
        cls, config: GroundingVLMConfig, tokenizer: PreTrainedTokenizerBase
    ) -> GroundingProcessor:
        """The processor that fits a config: CogVLM's squash for encoder "eva", else a letterbox."""
        from headsight.models.grounding.vision import VisionPart

        with torch.device("meta"):
            vision = VisionPart(config)
        values = config.vision_config or {}
        is_cogvlm = values.get("encoder") == "eva"
        processor: GroundingProcessor = cls(
            tokenizer,
            image_size=int(values.get("image_size", 0) or vision.encoder.image_size),  # type: ignore
            slots_per_image=vision.slots_per_image,
            slot_token_id=config.slot_token_id,
            image_mean=_CLIP_MEAN if is_cogvlm else _LITE0_MEAN,
            image_std=_CLIP_STD if is_cogvlm else _LITE0_STD,
            keep_aspect=not is_cogvlm,
            resample="bicubic" if is_cogvlm else "bilinear",
            template=config.template,
            separator="" if is_cogvlm else "\n",
        )
        return processor

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        answers: str | Sequence[str] | None = None,
        *,
        history: Sequence[tuple[str, str]] = (),
        padding_side: str | None = None,
    ) -> BatchFeature:
        """Batched inputs; rows may have different prompts and different numbers of pictures.

        Args:
            images: one picture, or for each row one picture, a list of pictures, or None. They
            stand in front.
            text: one prompt, or one a row. A prompt may also be a list of strings and pictures, in
                their order; `images` must then be None.
            answers: for training: `labels` are then -100 up to the answer, the end-of-text token is
                included, and rows are padded on the right; without answers on the left, for
                generation.
            history: earlier questions and answers, put before every prompt (templates `chat` and
            `vqa`).
            padding_side: `left` or `right`, where the default is not wanted.

        Returns:
            input_ids, token_type_ids, attention_mask (B, L); with pictures pixel_values (M, 3, S,
            S) and content_wh_rel (M, 2); with answers labels (B, L).

        Raises:
            InputError: numbers of prompts, pictures and answers that do not fit, or an empty
            prompt.
        """
        rows = self._rows(images, text)
        said = [answers] if isinstance(answers, str) else answers
        if said is not None and len(said) != len(rows):
            raise InputError(f"{len(said)} answers were given for {len(rows)} prompts.")
        sequences, pictures = [], []
        for number, parts in enumerate(rows):
            answer = None if said is None else said[number]
            sequences.append(self._sequence(parts, history, answer))
            pictures += [part for part in parts if not isinstance(part, str)]
        side = padding_side or ("left" if said is None else "right")
        data = self._pad(sequences, side, with_labels=said is not None)
        if pictures:
            data["pixel_values"], data["content_wh_rel"] = self.pixels(pictures)
        return BatchFeature(data)

    def text_inputs(self, prompt: str) -> dict[str, Tensor]:
        """What `self(picture, prompt)` gives (1, L), but for the picture itself.

        For a model that is given the picture as `image_features`.
        """
        row = self._sequence([_SOME_PICTURE, prompt], (), None)
        return self._pad([row], "left", with_labels=False)

    def pixels(
        self, pictures: Sequence[Any]
    ) -> tuple[Float[Tensor, "m 3 s s"], Float[Tensor, "m 2"]]:
        """Normalised squares, and the share of each that its picture covers."""
        resample = Image.Resampling[self.resample.upper()]
        squares, shares = [], []
        for picture in pictures:
            image = _image(picture)
            box = self.letterbox(image.size)
            squares.append(box.apply(image, resample=resample, fill=self.fill))
            shares.append(box.content_wh_rel)
        scale = 255 * np.asarray(self.image_std, np.float32)
        shift = np.asarray(self.image_mean, np.float32) / np.asarray(self.image_std, np.float32)
        values = np.stack(squares).astype(np.float32) / scale - shift
        pixels = torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))
        return pixels, torch.tensor(shares, dtype=torch.float32)

    def letterbox(self, image_wh: tuple[int, int]) -> Letterbox:
        """Where a picture of this size lies in the model's square."""
        return Letterbox(image_wh, self.image_size, keep_aspect=self.keep_aspect)

    def question_ids(self, prompt: str, *, history: Sequence[tuple[str, str]] = ()) -> list[int]:
        """Ids of a prompt in its template, as they stand behind the image prefix."""
        if not prompt.strip():
            raise InputError("The prompt is empty; expected a question.")
        text = TEMPLATES[self.template].format(question=prompt)
        if self.template != "base":
            form = "Question: {question} Answer: {answer}\n"
            turns = [form.format(question=q, answer=a) for q, a in history]
            text = "".join(turns) + text
        return self._encode(text + self.separator)

    def decode_answer(self, ids: Sequence[int]) -> str:
        """Text of generated ids, up to the end of text."""
        kept = list(ids)
        if self.tokenizer.eos_token_id in kept:
            kept = kept[: kept.index(self.tokenizer.eos_token_id)]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True))

    def _rows(self, images: Any, text: Any) -> list[list[Any]]:
        """Each row as strings and pictures in their order."""
        if text is None:
            raise InputError("text is missing; expected a prompt, or one prompt a row.")
        prompts = [text] if isinstance(text, str) else list(text)
        if images is None:
            return [[p] if isinstance(p, str) else list(p) for p in prompts]
        given = list(images) if isinstance(images, list | tuple) else [images]
        if len(given) != len(prompts):
            raise InputError(f"{len(given)} pictures were given for {len(prompts)} prompts.")
        rows: list[list[Any]] = []
        for own, prompt in zip(given, prompts, strict=True):
            if not isinstance(prompt, str):
                raise InputError("A prompt with pictures inside was given, and images too.")
            front = list(own) if isinstance(own, list | tuple) else [own]
            rows.append([*(_image(p) for p in front if p is not None), prompt])
        return rows

    def _sequence(
        self, parts: Sequence[Any], history: Sequence[tuple[str, str]], answer: str | None
    ) -> tuple[list[int], list[int], list[int]]:
        """Ids, types and labels of one row."""
        ids, types = [self.tokenizer.bos_token_id], [0]
        last = max((i for i, part in enumerate(parts) if isinstance(part, str)), default=None)
        if last is None:
            raise InputError("A row has no text; expected a prompt beside its pictures.")
        for number, part in enumerate(parts):
            if not isinstance(part, str):
                new, kind = [self.slot_token_id] * self.slots_per_image, 1
            elif number == last:
                new, kind = self.question_ids(part, history=history), 0
            else:
                new, kind = self._encode(part), 0
            ids += new
            types += [kind] * len(new)
        labels = [-100] * len(ids)
        if answer is not None:
            said = [*self._encode(answer), self.tokenizer.eos_token_id]
            ids, types, labels = ids + said, types + [0] * len(said), labels + said
        return ids, types, labels

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _pad(
        self,
        sequences: Sequence[tuple[list[int], list[int], list[int]]],
        side: str,
        *,
        with_labels: bool,
    ) -> dict[str, Tensor]:
        length = max((len(ids) for ids, _, _ in sequences), default=0)
        shape = (len(sequences), length)
        pad = self.tokenizer.pad_token_id or 0
        table = {
            "input_ids": torch.full(shape, pad),
            "token_type_ids": torch.zeros(shape, dtype=torch.long),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, -100),
        }
        for number, (ids, types, labels) in enumerate(sequences):
            place = slice(length - len(ids), None) if side == "left" else slice(0, len(ids))
            table["input_ids"][number, place] = torch.tensor(ids)
            table["token_type_ids"][number, place] = torch.tensor(types)
            table["attention_mask"][number, place] = 1
            table["labels"][number, place] = torch.tensor(labels)
        if not with_labels:
            del table["labels"]
        return table


def _image(picture: Any) -> Image.Image:
    """The PIL image of a `Picture`, a PIL image or an array (H, W, 3) of bytes."""
    inner = getattr(picture, "image", picture)
    if isinstance(inner, Image.Image):
        return inner
    if isinstance(inner, np.ndarray) and inner.dtype == np.uint8 and inner.ndim == 3:
        return _from_array(inner)
    raise InputError(
        f"A {type(picture).__name__} was given as a picture; expected a Picture, a PIL image or"
        " a uint8 array (H, W, 3). Open files with headsight.open_picture."
    )


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    if array.shape[2] != 3 or not array.size:
        raise InputError(
            f"An array of shape {array.shape} was given; expected (H, W, 3) with H, W > 0."
        )
    return Image.fromarray(array)
